"""MLflow, in one place: a run per train, evaluate, analyse and report stage, and the registry.

No other package imports mlflow, but for the module that MLflow loads a registered bundle by (`serving/pyfunc.py`).
"""

from mosaic_pipeline.tracking.lifecycle import tracked_run
from mosaic_pipeline.tracking.notes import headline, measured
from mosaic_pipeline.tracking.revision import git_revision
from mosaic_pipeline.tracking.run import Inputs, Run

__all__ = ["Inputs", "Run", "git_revision", "headline", "measured", "tracked_run"]
