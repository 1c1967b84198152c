"""The errors that end a stage with one line."""


class PipelineError(Exception):
    """Bad input or a bad environment; the message is one line that names the thing and the way out."""


class ProcessLost(Exception):
    """Another process of the training is gone, so that this one cannot go on."""
