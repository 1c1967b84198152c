"""Segmentation: what the metrics of a case cost, and the memory that a large scan takes from file to metrics."""

import os
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.fresh import in_fresh_process, peak_memory
from benchmarks.result import Result
from pipeline.segmentation.config import Architecture, resolve
from pipeline.segmentation.data.intensity import Intensity
from pipeline.segmentation.data.nifti import read_image, read_labels
from pipeline.segmentation.datasets import NAMED
from pipeline.segmentation.evaluation.cases import case_record
from pipeline.segmentation.evaluation.inference import segment
from pipeline.segmentation.evaluation.metrics import case_metrics
from pipeline.segmentation.evaluation.predictions import write_prediction

# An expert's label map of AMOS22, where somebody has it; else bodies of about the same sizes.
REAL = Path(os.environ.get("MOSAIC_REAL_SCANS", Path(__file__).parents[2] / "shared/scans")) / "amos_0013_label.nii.gz"
DATASET = NAMED["amos22_ct"]
NSD_MM = 2.0
SHAPE, SPACING = (512, 512, 82), (0.78, 0.78, 5.0)
LARGE, FINE = (512, 512, 300), (0.78, 0.78, 1.3)
SHAPE_OF_SWIN_T = {"dim": 96, "depths": (2, 2, 2, 2), "heads": (3, 6, 12, 24), "window": 7, "patch": 4}
FULL = Architecture(**SHAPE_OF_SWIN_T, size=224, channels=3, drop_path=0.0, weights=None)
BATCH = 16


def run(repeats: int) -> Result:
    """Time the metrics of a case whose prediction is off by a few voxels, and weigh the evaluation of a large scan."""
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
        write_large(Path(scratch))
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
    return Result("segmentation", rows, notes)


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
        alone = {"include_background": True, "spacing": spacing}
        monai.compute_hausdorff_distance(y_pred, y, percentile=95, **alone)
        monai.compute_surface_dice(y_pred, y, [NSD_MM], use_subvoxels=True, **alone)
    ended = time.process_time()
    return {"metrics": ended - imported, "all": ended - started}


def write_large(folder: Path) -> None:
    """Write a scan and its label map, uncompressed."""
    import nibabel

    reference = bodies(LARGE, FINE)
    affine = np.diag([*FINE, 1.0])
    image = (reference.astype(np.int16) * 20) + (np.indices(LARGE, np.int16, sparse=True)[2] % 7)
    nibabel.save(nibabel.Nifti1Image(image, affine), folder / "image.nii")
    nibabel.save(nibabel.Nifti1Image(reference, affine), folder / "labels.nii")


def measure_large(folder: Path) -> dict[str, float]:
    """Evaluate the scan as the stage does and return the peak of the host's memory."""
    from pipeline.params import load_params
    from pipeline.segmentation.model.build import build_m4oe

    torch.set_num_threads(1)
    sets = {name: NAMED[name] for name in ("flare22", "amos22_ct", "atlas23")}
    config = resolve(load_params(), "m4oe", sets).model_copy(update={"model": FULL})
    model = TwoBatches(build_m4oe(config, seed=0))
    scan = read_image(folder / "image.nii")
    classes = segment(
        model,
        scan,
        DATASET,
        size=FULL.size,
        intensity=Intensity(window=(-160.0, 240.0)),
        device=torch.device("cpu"),
        precision=config.precision,
        batch_size=BATCH,
    )
    write_prediction(folder / "prediction.nii.gz", classes, scan, DATASET)
    reference = DATASET.to_classes(read_labels(folder / "labels.nii", scan))
    wrong = np.where(reference == 0, np.uint8(1), reference)
    case_record("large", reference, wrong, scan.spacing, DATASET.organs, NSD_MM)
    return peak_memory(torch.device("cpu"))


class TwoBatches(torch.nn.Module):
    """The model for two batches; then its last logits again, which take as much memory."""

    def __init__(self, model: torch.nn.Module) -> None:
        """Wrap a model."""
        super().__init__()
        self.model, self.seen, self.last = model, 0, torch.empty(0)

    def forward(self, images: torch.Tensor, dataset: str) -> torch.Tensor:
        """Return logits of the slices, or of others."""
        self.seen += 1
        if self.seen <= 2:
            self.last = self.model(images, dataset)
        return self.last[: len(images)]


def bodies(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> NDArray[np.uint8]:
    """Return classes 1 to 15, ellipsoids of 20 to 90 mm, next to each other."""
    classes = np.zeros(shape, np.uint8)
    generator = np.random.default_rng(0)
    extent = np.multiply(shape, spacing)
    for organ in range(1, len(DATASET.organs) + 1):
        centre, radii = extent * generator.uniform(0.2, 0.8, 3), generator.uniform(10, 45, 3)
        box = tuple(
            slice(max(0, int((c - r) / s)), min(n, int((c + r) / s) + 2))
            for c, r, s, n in zip(centre, radii, spacing, shape, strict=True)
        )
        at = np.ogrid[box]
        inside = sum(((a * s - c) / r) ** 2 for a, s, c, r in zip(at, spacing, centre, radii, strict=True)) < 1
        classes[box][inside] = organ
    return classes


def _case() -> tuple[NDArray[np.uint8], NDArray[np.uint8], tuple[float, float, float]]:
    """Return a label map, another one that is off by three and two voxels in the plane, and the spacing."""
    torch.set_num_threads(1)
    if REAL.exists():
        scan = read_image(REAL)
        reference, spacing = DATASET.to_classes(scan.voxels), scan.spacing
    else:
        reference, spacing = bodies(SHAPE, SPACING), SPACING
    return reference, np.roll(reference, (3, 2), (0, 1)), spacing
