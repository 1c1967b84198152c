"""MLflow, in one place: a run per train, evaluate, analyse and report stage. No other package imports mlflow."""

from mosaic_pipeline.tracking.lifecycle import tracked_run
from mosaic_pipeline.tracking.revision import git_revision
from mosaic_pipeline.tracking.run import Run

__all__ = ["Run", "git_revision", "tracked_run"]
