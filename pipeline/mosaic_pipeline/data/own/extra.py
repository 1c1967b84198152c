"""Libraries that only some datasets need, and that are therefore installed by whoever has such files."""

from collections.abc import Iterator
from contextlib import contextmanager

from mosaic_pipeline.errors import install


@contextmanager
def needs(library: str, files: str) -> Iterator[None]:
    """Raise ValueError, which says what to install, if the body cannot import it."""
    try:
        yield
    except ImportError as error:
        raise ValueError(f"{files} are read by {library}, which is not there ({error}); {install('volumes')}") from None
