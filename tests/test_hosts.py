"""SQLite on a network file system: refused where several hosts would write to it, with the way out."""

import pytest

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.tracking import hosts
from mosaic_pipeline.tracking.hosts import check_several_hosts, network_file_system

MOUNTINFO = r"""22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:40 / /home rw,relatime shared:3 master:1 - autofs systemd-1 rw
31 30 0:41 / /home/ada rw,relatime shared:5 - nfs4 server:/ada rw,vers=4.2
32 31 0:42 / /home/ada/fast\040disk rw - xfs /dev/sdb rw
33 22 0:43 / /lab rw - fuse.sshfs ada@server:/lab rw
34 22 0:44 / /local rw - fuse.fuse-overlayfs overlay rw
35 22 0:45 / /over rw - ext4 /dev/sdc rw
36 35 0:46 / /over rw - lustre mds:/fs rw
a line of another kernel
"""


@pytest.fixture
def mounts(tmp_path):
    file = tmp_path / "mountinfo"
    file.write_text(MOUNTINFO)
    return file


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/mlflow.db", None),
        ("/home/ada/mlflow.db", "nfs4"),
        ("/home/ada/not/yet/there.db", "nfs4"),
        ("/home/adam/mlflow.db", None),  # no part of /home/ada
        ("/home/ada/fast disk/mlflow.db", None),
        ("/lab/mlflow.db", "fuse.sshfs"),
        ("/local/mlflow.db", None),
        ("/over/mlflow.db", "lustre"),
    ],
)
def test_a_file_is_on_the_file_system_of_the_deepest_mount_above_it(mounts, path, kind):
    assert network_file_system(hosts.Path(path), mounts) == kind


def test_a_link_is_where_it_leads(mounts, tmp_path):
    (tmp_path / "link").symlink_to("/home/ada")
    assert network_file_system(tmp_path / "link/mlflow.db", mounts) == "nfs4"


def test_without_a_list_of_mounts_nothing_is_on_a_network(tmp_path):
    assert network_file_system(tmp_path, tmp_path / "missing") is None


@pytest.fixture
def network(monkeypatch):
    """All below /net is on a network file system."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(hosts, "network_file_system", lambda path: "nfs4" if path.is_relative_to("/net") else None)


@pytest.mark.parametrize("uri", [None, "sqlite:////net/mlflow.db", "sqlite+pysqlite:////net/mlflow.db?timeout=60"])
def test_sqlite_there_is_refused_with_file_kind_and_way_out(network, monkeypatch, uri):
    if uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(PipelineError) as caught:
        check_several_hosts(hosts.Path("/net" if uri is None else "/home"))
    message = str(caught.value)
    assert all(part in message for part in ("/net/mlflow.db", "nfs4", "docs/group.md", "MLFLOW_TRACKING_URI=http"))


@pytest.mark.parametrize(
    "uri", ["http://server:5000", "postgresql://ada:secret@server/mlflow", "sqlite:////srv/mlflow.db", "sqlite://"]
)
def test_a_server_or_a_local_file_is_not_refused(network, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    check_several_hosts(hosts.Path("/net"))
