"""An exported graph beside the model in torch: CPU time of an answer, in fp32."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.engine import as_config, build_model
from benchmarks.result import Result
from benchmarks.setting import Setting, settings
from mosaic_pipeline.evaluation.predict import score
from mosaic_pipeline.export.graphs import group_datasets
from mosaic_pipeline.export.to_onnx import INPUT, export_graphs, random_images
from mosaic_pipeline.model.mosaic import Mosaic

BATCHES = (1, 64)
LEAST = 0.5  # seconds of CPU that a repetition takes at least


def run(names: Sequence[str], repeats: int) -> Result:
    """Answer batches of stored images in torch and in onnxruntime, in turn, on as many threads."""
    chosen = [setting for name, setting in settings("cpu", "fp32").items() if name in names]
    rows = [row for setting in chosen for row in _rows(setting, repeats)]
    return Result("exported", rows, [f"Milliseconds of CPU a batch, threads: {torch.get_num_threads()}."])


def _rows(setting: Setting, repeats: int) -> Iterator[dict[str, Any]]:
    model, dataset, config = build_model(setting).eval(), setting.datasets[setting.first], as_config(setting)
    sizes = {dataset.name: setting.stored[dataset.dimension]}
    (group,) = group_datasets(model, sizes)
    answer = _session(model, setting, sizes)

    for count in BATCHES:
        images = random_images(group, count)
        given = torch.from_numpy(images)
        spent: dict[str, list[float]] = {"torch": [], "onnxruntime": []}
        for _ in range(repeats):
            spent["torch"].append(_milliseconds(partial(score, model, given, dataset, config)))
            spent["onnxruntime"].append(_milliseconds(partial(answer, None, {INPUT: images})))
        ratios = [one / other for one, other in zip(*spent.values(), strict=True)]
        yield {"setting": setting.name, "images": count} | spent | {"torch / onnxruntime": ratios}


def _session(model: Mosaic, setting: Setting, sizes: dict[str, int]) -> Callable[..., object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        (exported,) = export_graphs(model, as_config(setting), sizes, Path(folder), {})
        path = Path(folder) / exported.file
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run


@torch.inference_mode()
def _milliseconds(answer: Callable[[], object]) -> float:
    answer()
    count, started = 0, time.process_time()
    while (spent := time.process_time() - started) < LEAST:
        answer()
        count += 1
    return 1000 * spent / count
