"""The errors that end a stage with one line."""


class PipelineError(Exception):
    """Bad input or a bad environment; the message is one line that names the thing and the way out."""


class Diverged(PipelineError):
    """A loss or a gradient that is not finite: the recipe's fault, not that of its inputs."""


class ProcessLost(Exception):
    """Another process of the training is gone, so that this one cannot go on."""
