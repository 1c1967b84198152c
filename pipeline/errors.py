"""The one kind of error that a user can mend."""


class PipelineError(Exception):
    """Bad input or a bad environment; the message is one line that names the thing and the way out."""
