"""What an exception means to whoever runs a stage: an exit status, and one line with the thing and the way out."""

import errno
import os
import re
import traceback
from pathlib import Path

from mosaic_pipeline.errors import PipelineError, install, one_line

USER_ERROR = 2
DEFECT = 70  # EX_SOFTWARE of sysexits.h

DEBUG = "MOSAIC_DEBUG"

WAYS_OUT = {
    errno.ENOSPC: "free some space and run the command again",
    errno.EDQUOT: "free some space, or ask for a larger quota, and run the command again",
    errno.EFBIG: "larger than files may be here; raise the limit (`ulimit -f`) or use another file system",
    errno.EACCES: "let this user read it and write there (`ls -ld` shows who may)",
    errno.EPERM: "let this user read it and write there (`ls -ld` shows who may)",
    errno.EROFS: "make that file system writable, or work in a checkout elsewhere",
    errno.EMFILE: "raise the number of open files (`ulimit -n`), or lower compute.workers",
    errno.ENFILE: "this machine has too many open files; end other programs",
    errno.EIO: "the disk or the network drive failed; check it, then run the command again",
    errno.ENOENT: "`dvc repro` makes what a stage reads",
    errno.EISDIR: "a folder stands where a file belongs; move it away",
    errno.ENOTDIR: "a file stands where a folder belongs; move it away",
    errno.EEXIST: "something stands in its place; move it away",
    errno.ENOTEMPTY: "something stands in its place; move it away",
    errno.ENAMETOOLONG: "use a shorter name, or a checkout in a shorter path",
    errno.ELOOP: "a link points to itself; mend it",
    errno.EBUSY: "another program holds it; end that",
    errno.ETXTBSY: "another program holds it; end that",
}
MEMORY = "lower train.batch_size, compute.eval_batch_size or compute.device_cache_gb, or use a larger machine"
# How torch and its libraries say, in a RuntimeError, that memory is short.
NO_MEMORY = re.compile(
    "out of memory|can't allocate memory|not enough memory|bad_alloc|ALLOC_FAILED|failed to (allocate|map segment)",
    re.IGNORECASE,
)
NO_MODULE = (
    "in a checkout: activate the environment (`source .venv/bin/activate`), which `make repro` installs; "
    f"elsewhere: {install('pipeline')}"
)
NO_THREAD = re.compile("can't start new thread|Thread creation failed", re.IGNORECASE)


def explain(error: BaseException, stage: str) -> tuple[int, str]:
    """Return the exit status and the line for an exception that ends `stage`.

    USER_ERROR for what whoever runs it can mend: a PipelineError, an error of the system, too little memory; DEFECT
    for anything else.
    """
    foreseen = _foreseen(error)
    if foreseen is not None:
        return USER_ERROR, one_line(foreseen)
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    way_out = f"not foreseen, so probably a defect of the pipeline: {DEBUG}=1 shows the traceback"
    return DEFECT, one_line(f"{stage}: {said}{place_of(error)}; {way_out}")


def debugging() -> bool:
    """Whether tracebacks are asked for."""
    return os.environ.get(DEBUG, "") not in ("", "0")


def _foreseen(error: BaseException) -> str | None:
    """Say what can be mended, None for what cannot."""
    if isinstance(error, PipelineError):
        return str(error)
    if _is_memory(error):
        size = f" ({error})" if str(error) else ""
        return f"out of memory{size}; {MEMORY}"
    if isinstance(error, RuntimeError) and NO_THREAD.search(str(error)):
        return f"{error}; allow more (`ulimit -u`), or lower compute.threads, compute.workers and compute.processes"
    if isinstance(error, OSError):
        return _of_the_system(error)
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith(("mosaic_pipeline", "stages")):
        return f"{error}; {NO_MODULE}"
    return None


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    # torch's own class is one of RuntimeError; torch is not imported for its name. A library may not fit either.
    return isinstance(error, RuntimeError | ImportError) and bool(NO_MEMORY.search(str(error)))


def _of_the_system(error: OSError) -> str:
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes | Path)]
    if error.errno is None:
        said = " ".join(map(str, error.args)) or type(error).__name__
        return ": ".join([*names, said])
    way_out = WAYS_OUT.get(error.errno, "see that the disk, the network and this user's rights are in order")
    said = error.strerror or os.strerror(error.errno)
    return f"{' -> '.join(names) or 'the system'}: {said[:1].lower()}{said[1:]}; {way_out}"


def place_of(error: BaseException) -> str:
    """Name the file that the error names, and the innermost line of the project's own code."""
    library = Path(__file__).parents[1]
    file = getattr(error, "filename", None)
    named = f" in {os.fsdecode(file)}" if isinstance(file, str | bytes) else ""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.name == "command.py":  # which every stage runs in
            break
        for home, folder in ((library, "mosaic_pipeline"), (library.parent, "stages")):
            if path.is_relative_to(home / folder):
                return f"{named} ({path.relative_to(home).as_posix()}:{frame.lineno})"
    return named
