"""The errors that end a stage with one line."""

from collections.abc import Iterable

from mosaic_pipeline.redact import redacted


def one_line(text: str) -> str:
    """Return `text` without line breaks, control characters and credentials, as it may go to a terminal."""
    text = redacted(" ".join(part.strip() for part in text.splitlines() if part.strip()))
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def few(names: Iterable[str], most: int = 3) -> str:
    """Return the first `most` names, and how many more there are."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def install(extra: str) -> str:
    """Say how an extra of this package is installed. By its name alone an index would give somebody else's package."""
    return f"`pip install '.[{extra}]'` in a checkout of this package, which is on no index"


class PipelineError(Exception):
    """Bad input or a bad environment; the message is one line that names the thing and the way out."""

    def __init__(self, message: str = "") -> None:
        """Keep the message as `one_line`, whatever a name or a library put into it."""
        super().__init__(one_line(message))


class Diverged(PipelineError):
    """A loss or a gradient that is not finite: the recipe's fault, not that of its inputs."""


class ProcessLost(Exception):
    """Another process of the training is gone, so that this one cannot go on."""
