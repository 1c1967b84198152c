"""What the metrics of a case cost, and the memory that the test of a large scan takes from file to metrics."""

import os
import tempfile
import time
import warnings
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.fresh import in_fresh_process, peak_memory
from benchmarks.result import Result
from benchmarks.segmentation.data import bodies, write_scan
from benchmarks.segmentation.setting import SWIN_T, full_config
from mosaic_pipeline.segmentation.config import Architecture
from mosaic_pipeline.segmentation.data.index import Index, build_index
from mosaic_pipeline.segmentation.data.intensity import Intensity
from mosaic_pipeline.segmentation.data.nifti import read_image
from mosaic_pipeline.segmentation.datasets import NAMED
from mosaic_pipeline.segmentation.deployed import Deployed
from mosaic_pipeline.segmentation.evaluation.metrics import case_metrics
from mosaic_pipeline.segmentation.evaluation.test_set import run_test
from mosaic_pipeline.segmentation.model.build import build_m4oe
from mosaic_pipeline.segmentation.model.m4oe import M4oE

# An expert's label map of AMOS22, where somebody has it; else bodies of about the same sizes.
REAL = Path(os.environ.get("MOSAIC_REAL_SCANS", Path(__file__).parents[3] / "shared/scans")) / "amos_0013_label.nii.gz"
DATASET = NAMED["amos22_mr"]
NSD_MM = 2.0
SHAPE, SPACING = (512, 512, 82), (0.78, 0.78, 5.0)
LARGE, FINE = (512, 512, 300), (0.78, 0.78, 1.3)
CASE = "amos_0507"
BATCH = 16


def run(repeats: int) -> Result:
    """Time the metrics of a case whose prediction is off by a few voxels, and weigh the test of a large scan."""
    name = "an expert's map" if REAL.exists() else "a made map"
    rows = []
    for what, function in (("metrics", metrics_seconds), ("the same by MONAI, on the same boxes", monai_seconds)):
        measured = [in_fresh_process(function) for _ in range(repeats)]
        rows.append(
            {
                "what": f"{what}: 512 x 512 x 82, 15 organs, {name}, CPU s",
                "measured": [each["metrics"] for each in measured],
                "with imports": [each["all"] for each in measured],
                "bound": 2.0 if function is metrics_seconds else "",
            }
        )
    with tempfile.TemporaryDirectory() as scratch:
        write_scan(Path(scratch), CASE, LARGE, FINE)
        large = in_fresh_process(measure_large, Path(scratch))
    rows.append(
        {
            "what": "512 x 512 x 300 from file to prediction and metrics, the full model at 224 px, host MB",
            "measured": large["host_mb"],
            "bound": 3000,
        }
    )
    notes = [
        "One thread. Of the large scan the model computes two batches of 16 slices, all others have their logits;",
        "one of 15 organs is then predicted everywhere, which is the largest box that there can be.",
    ]
    return Result("segmentation: evaluation", rows, notes)


def metrics_seconds() -> dict[str, float]:
    """Return CPU seconds of the metrics, and of this process in all but for making the case."""
    reference, prediction, spacing = _case()
    started = time.process_time()
    case_metrics(reference, prediction, spacing, DATASET.organs, NSD_MM)
    seconds = time.process_time() - started
    return {"metrics": seconds, "all": seconds}


def monai_seconds() -> dict[str, float]:
    """Return what MONAI takes for the same numbers where both masks are cut out first, and its import."""
    reference, prediction, spacing = _case()
    warnings.simplefilter("ignore", FutureWarning)  # of what it calls itself
    started = time.process_time()
    import monai.metrics as monai
    from scipy.ndimage import find_objects

    imported = time.process_time()
    for place, boxes in enumerate(zip(find_objects(reference), find_objects(prediction), strict=True), start=1):
        box = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(*boxes, strict=True))
        y, y_pred = (
            torch.from_numpy(np.pad(classes[box] == place, 1))[None, None] for classes in (reference, prediction)
        )
        monai.compute_hausdorff_distance(y_pred, y, include_background=True, percentile=95, spacing=spacing)
        monai.compute_surface_dice(y_pred, y, [NSD_MM], include_background=True, spacing=spacing, use_subvoxels=True)
    ended = time.process_time()
    return {"metrics": ended - imported, "all": ended - started}


def measure_large(folder: Path, architecture: Architecture = SWIN_T) -> dict[str, float]:
    """Test the scan as the stage does and return the peak of the host's memory."""
    torch.set_num_threads(1)
    config = full_config("gate", model=architecture)
    deployed = Deployed(
        cast("M4oE", TwoBatches(build_m4oe(config, seed=0))),
        config.datasets,
        {DATASET.name: Intensity(percentiles=(0.5, 99.5))},
        config.model.size,
        config.precision,
    )
    index = build_index(folder, DATASET, lambda patients: dict.fromkeys(patients, "test"), source="made")
    run_test(
        deployed,
        Index.model_validate(index),
        folder,
        folder / "predictions",
        nsd_mm=dict.fromkeys(DATASET.organs, NSD_MM),
        largest_component=False,
        batch_size=BATCH,
        device=torch.device("cpu"),
    )
    return peak_memory(torch.device("cpu"))


class TwoBatches(torch.nn.Module):
    """The model for two batches; then its last logits again, which take as much memory. It finds one organ all over."""

    def __init__(self, model: M4oE) -> None:
        """Wrap a model."""
        super().__init__()
        self.model, self.seen, self.last = model, 0, torch.empty(0)

    def forward(self, images: torch.Tensor, dataset: str) -> torch.Tensor:
        """Return logits of the slices, or of others."""
        self.seen += 1
        if self.seen <= 2:
            self.last = self.model(images, dataset)
            self.last[:, 1] = self.last.max() + 1
        return self.last[: len(images)]


def _case() -> tuple[NDArray[np.uint8], NDArray[np.uint8], tuple[float, float, float]]:
    """Return a label map, another one that is off by three and two voxels in the plane, and the spacing."""
    torch.set_num_threads(1)
    if REAL.exists():
        scan = read_image(REAL)
        reference, spacing = DATASET.to_classes(scan.voxels), scan.spacing
    else:
        reference, spacing = bodies(SHAPE, SPACING), SPACING
    return reference, np.roll(reference, (3, 2), (0, 1)), spacing
