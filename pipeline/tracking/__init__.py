"""MLflow, in one place: a run per train, evaluate, analyse and report stage. No other package imports mlflow."""

from pipeline.tracking.lifecycle import tracked_run
from pipeline.tracking.revision import git_revision
from pipeline.tracking.run import Run

__all__ = ["Run", "git_revision", "tracked_run"]
