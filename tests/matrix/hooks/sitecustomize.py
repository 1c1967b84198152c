"""Lets a test hold a training after a visit, or have it fail: Python imports this first, by its name.

Under the folder MOSAIC_TEST_HOOKS, `hold/<stage>` holds a training until it is deleted, or until it is told to stop;
`held/<stage>` appears when a process begins to be held, with what it sees of the GPUs; `fail/<stage>` has it fail.
"""

import os
import sys
import time
from pathlib import Path

if "MOSAIC_TEST_HOOKS" in os.environ and "stages.train" in sys.orig_argv:
    from mosaic_pipeline.command import GracefulStop
    from mosaic_pipeline.errors import PipelineError
    from mosaic_pipeline.training.checkpoint import Checkpoints

    hooks, stage = Path(os.environ["MOSAIC_TEST_HOOKS"]), os.environ["DVC_STAGE"]
    due, request = Checkpoints.due.fget, GracefulStop._request
    held, told = [], []

    def held_due(checkpoints: Checkpoints) -> bool:
        if (hooks / "fail" / stage).exists():
            raise PipelineError("this training was told to fail")
        if (hooks / "hold" / stage).exists() and not held:
            held.append(True)
            (hooks / "held" / stage).write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
        while (hooks / "hold" / stage).exists() and not told:
            time.sleep(0.05)
        return due(checkpoints)

    def noted_request(stop: GracefulStop, signum: int, frame: object) -> None:
        told.append(signum)
        request(stop, signum, frame)

    Checkpoints.due = property(held_due)
    GracefulStop._request = noted_request
