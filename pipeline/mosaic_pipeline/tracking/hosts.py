"""Whether several hosts may write to the MLflow store at once: SQLite's locks are not kept by network file systems."""

import re
from pathlib import Path

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.redact import redacted
from mosaic_pipeline.tracking.store import tracking_uri

# By what Linux calls them. A bind mount has the type of what it shows.
# fmt: off
NETWORK = {
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "fhgfs", "gfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs",
    "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "smb2", "smb3", "smbfs", "vboxsf", "virtiofs", "wekafs",
}
NETWORK_FUSE = {
    "ceph", "ceph-fuse", "curlftpfs", "davfs", "gcsfuse", "glusterfs", "goofys", "juicefs", "mfs", "moosefs",
    "rclone", "s3fs", "seaweedfs", "sshfs", "vmhgfs-fuse",
}
# fmt: on
MOUNTS = Path("/proc/self/mountinfo")


def check_several_hosts(root: Path) -> None:
    """Raise PipelineError if the MLflow store of the checkout at `root` is SQLite on a network file system.

    One host at a time may use such a file; several would overwrite each other's pages.
    """
    uri = tracking_uri(root)
    database = _sqlite_file(uri)
    kind = network_file_system(database) if database else None
    if kind:
        raise PipelineError(
            f"MLflow store {redacted(uri)}: SQLite on {kind}, a network file system, is damaged when several hosts "
            "write to it; start a tracking server (docs/group.md) and `export MLFLOW_TRACKING_URI=http://...`"
        )


def network_file_system(path: Path, mounts: Path = MOUNTS) -> str | None:
    """Return the type of the network file system on which `path` lies, there or not yet; None if it lies on none.

    None too where no one can tell: only Linux has `mounts`.
    """
    path = path.absolute().resolve()  # which makes an automounter mount what is below
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    deepest, found = -1, None
    for line in lines:
        before, separator, behind = line.partition(" - ")
        if not separator or len(before.split(" ")) < 5:
            continue
        place = Path(_unescaped(before.split(" ")[4]))
        if path.is_relative_to(place) and len(place.parts) >= deepest:  # the later one lies over the earlier one
            deepest, found = len(place.parts), behind.split(" ")[0]
    if found is None:
        return None
    fuse, _, kind = found.partition(".")
    return found if found in NETWORK or (fuse == "fuse" and kind in NETWORK_FUSE) else None


def _sqlite_file(uri: str) -> Path | None:
    scheme, _, rest = uri.partition("://")
    file = rest.partition("?")[0].removeprefix("/")
    return Path(file) if scheme.partition("+")[0] == "sqlite" and file and file != ":memory:" else None


def _unescaped(place: str) -> str:
    """Give blanks, tabs, line ends and backslashes back, which the kernel writes as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), place)
