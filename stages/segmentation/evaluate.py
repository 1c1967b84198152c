"""Stage `seg_evaluate`: test one variant and seed -> segmentation/results/<variant>/<seed>/evaluation.json and .npz.

Predictions go to segmentation/predictions/<variant>/<seed>/<dataset>/<case>.nii.gz, where they are to be kept.
"""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mosaic_pipeline.arguments import SEED, SEG_VARIANT, read_arguments
from mosaic_pipeline.command import run_command
from mosaic_pipeline.params import load_params

if TYPE_CHECKING:
    import numpy as np


def main() -> None:
    """Segment the test scans of every dataset on their own grid, and measure every organ of every case in mm."""
    variant, seed = read_arguments("segmentation.evaluate", __doc__, SEG_VARIANT, SEED)
    params = load_params()
    params.segmentation_variant(variant)
    params.check_seed(seed)
    section = params.segmentation

    # Heavy imports wait until the parameters are known to be good.
    import shutil
    from functools import partial

    from tqdm import tqdm

    from mosaic_pipeline.atomic import appearing, try_places
    from mosaic_pipeline.compute import pick_device
    from mosaic_pipeline.digest import md5_file
    from mosaic_pipeline.evaluation.summary import write_summary
    from mosaic_pipeline.layout import SLICES, index_file, prediction_folder, segmentation_evaluation
    from mosaic_pipeline.segmentation.data.index import read_tested
    from mosaic_pipeline.segmentation.data.slices import read_meta
    from mosaic_pipeline.segmentation.deployed import load_trained
    from mosaic_pipeline.segmentation.evaluation.cases import summary
    from mosaic_pipeline.segmentation.evaluation.metrics import METRICS, tolerances
    from mosaic_pipeline.segmentation.evaluation.test_set import run_test
    from mosaic_pipeline.segmentation.role import read_role
    from mosaic_pipeline.segmentation.sources import find_set, scan_folder
    from mosaic_pipeline.tracking import Inputs, headline, measured, tracked_run
    from mosaic_pipeline.tracking.segmentation_tested import log_test_means

    path, kept = segmentation_evaluation(variant, seed), prediction_folder(variant, seed)
    try_places(path, path.with_suffix(".npz"), kept.parent / "any")
    device, role = pick_device(params.compute), read_role(variant)
    deployed, training = load_trained(variant, seed, device)
    indices = {name: read_tested(index_file(name), dataset) for name, dataset in deployed.datasets.items()}
    options, md5 = section.evaluate, training["md5"]
    records, summaries = {}, {}
    arrays: dict[str, np.ndarray] = {}
    inputs = Inputs(
        "testing",
        {name: index.source for name, index in indices.items()},
        {name: md5_file(index_file(name)) for name in indices},
    )

    with tracked_run(
        "seg_evaluate",
        f"{variant}-{seed}-test",
        params.tracking,
        tags={"variant": variant, "seed": str(seed)} | {f"md5.{name}": value for name, value in md5.items()},
        note=headline(variant, seed, section.ablation.reasons()[variant], "test"),
        inputs=inputs,
        parent_model_md5=md5["model"],
    ) as run:
        with appearing(kept) as predictions:
            predictions.mkdir(parents=True)
            for name, index in indices.items():
                about, nsd_mm = find_set(section, name), tolerances(index.labelled_set.organs, options.nsd_mm)
                tested = run_test(
                    deployed,
                    index,
                    scan_folder(section, name),
                    predictions / name,
                    nsd_mm=nsd_mm,
                    largest_component=options.largest_component,
                    batch_size=options.slice_batch,
                    device=device,
                    progress=partial(tqdm, desc=name, unit="case", disable=not sys.stderr.isatty()),
                )
                train = read_meta(SLICES / name).splits["train"]
                records[name] = {
                    "title": about.title,
                    "modality": about.modality,
                    "organs": list(about.organs),
                    "licence": about.licence,
                    "citation": about.citation,
                    "source": index.source,
                    "size": deployed.size,
                    "nsd_mm": nsd_mm,
                    "cases": tested.cases,
                    "overlays": tested.overlays,
                    "train": {"cases": train.cases, "slices": train.n},
                    "findings": index.findings,
                }
                arrays |= {f"{name}/{key}": array for key, array in tested.arrays.items()}
                means = summaries[name] = summary(tested.cases)
                # The time goes to MLflow alone: a stage's files are the same for the same inputs.
                values = _values(name, means) | {f"test/{name}/seconds_per_case": tested.seconds}
                run.log_metrics(values, dataset=name)
                shown = ", ".join(f"{key.upper()} {means[key]:.4g}" for key in METRICS)
                counts = ", ".join(f"{means['counts'][status]} {status}" for status in ("missed", "invented"))
                print(f"{name}: {means['n']} cases, {shown} mm, organs {counts}", flush=True)
            if not role.predictions:
                shutil.rmtree(predictions)
                predictions.mkdir()
        head = {"variant": variant, "seed": seed, "main": role.main, "md5": md5}
        write_summary(path, head | {"datasets": records}, arrays)
        told = {name: measured({key: means[key] for key in METRICS}) for name, means in summaries.items()}
        run.describe("Test", "; ".join(f"{name} {values}" for name, values in told.items()))
        log_test_means(run, variant, seed, md5["model"])


def _values(name: str, means: Mapping[str, Any]) -> dict[str, float | None]:
    """Return what MLflow gets of a dataset: means over organs and of each, and how often one was missed or invented."""
    values = {f"test/{name}/{key}": means[key] for key in ("dsc", "nsd", "hd95")}
    for organ, own in means["organs"].items():
        values |= {f"test/{name}/{organ}/{key}": own[key] for key in ("dsc", "nsd", "hd95")}
    return values | {f"test/{name}/{status}": means["counts"][status] for status in ("missed", "invented")}


if __name__ == "__main__":
    run_command(main)
