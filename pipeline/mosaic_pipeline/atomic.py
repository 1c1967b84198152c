"""Files and folders that exist whole or not at all."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and takes the final name.

    On any exception, a full disk and an interrupt included, the temporary file is removed and whatever stood
    under the final name stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.tmp-", suffix=path.suffix)
    os.close(descriptor)
    temporary = Path(name)
    try:
        # mkstemp makes the file private; give it the permissions an ordinary open() would have.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        yield temporary
        _sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder that replaces `folder` if the body succeeds."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    try:
        yield partial
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with Unix line ends, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_texts(folder: Path, texts: Mapping[str, str]) -> None:
    """Write texts by name below `folder`, as `write_text` does: all are on the disk before the first takes its name."""
    with ExitStack() as placed:
        for name, text in texts.items():
            temporary = placed.enter_context(atomic(folder / name))
            temporary.write_text(text, encoding="utf-8", newline="\n")
            _sync(temporary)


def _sync(file: Path) -> None:
    with open(file, "rb") as stream:
        os.fsync(stream.fileno())


def try_places(*paths: Path, size: int = 1 << 20) -> None:
    """See that files of `size` bytes can be written under these names, before the work of which they are the result.

    Leaves nothing but folders behind. Raises the OSError that writing would raise: no rights, no such folder, a limit
    of the size of files, a full disk where the file system can tell.
    """
    for path in paths:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    for folder in dict.fromkeys(path.parent for path in paths):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryFile(dir=folder, prefix=".try.tmp-") as file:
                _reserve(file.fileno(), size)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(folder)) from None


def _reserve(descriptor: int, size: int) -> None:
    """Take `size` bytes of the disk, where the file system can, else see at least that a file may be that large."""
    os.ftruncate(descriptor, size)
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
