"""A model as ONNX graphs, one for each group of datasets; each is held against torch before it is given out."""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from mosaic_pipeline.errors import PipelineError, install
from mosaic_pipeline.export.graphs import Graph, Group, group_datasets, plain_copy
from mosaic_pipeline.model.mosaic import Mosaic

if TYPE_CHECKING:
    from mosaic_pipeline.config import Config

NEEDED = ("onnx", "onnxscript", "onnxruntime")
OPSET = 18  # the first with a Resize that filters images before it makes them smaller
INPUT = "pixels"
METADATA = "mosaic"  # key in a graph's metadata_props; the value is JSON
# Exporters tend to fix a batch of one, and a batch that is fixed passes with its own number of images.
CHECKED_BATCHES = (1, 7)
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Exported:
    """The file of a graph, what it says of itself, and the largest difference from torch's probabilities."""

    file: str
    description: dict[str, Any]
    difference: float


def check_installed() -> None:
    """Raise PipelineError if a package is missing that exporting takes."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise PipelineError(f"export to ONNX needs {', '.join(missing)}, not installed here; {install('onnx')}")


def export_graphs(
    model: Mosaic, config: "Config", sizes: Mapping[str, int], folder: Path, said: Mapping[str, Mapping[str, Any]]
) -> Iterator[Exported]:
    """Write the graphs of a model into `folder`; yield each once it is there and checked.

    `sizes` are pixels or voxels a side of the stored images of each dataset, `said` what else a graph says of it. All
    is computed in fp32, whatever the precision of training. Raises PipelineError for a graph that does not answer as
    torch does.
    """
    plain = plain_copy(model)
    for group in group_datasets(model, sizes):
        graph = Graph(plain, group, config.model.size(group.datasets[0].dimension))
        description = _describe(group, said)
        path = folder / f"{group.name}.onnx"
        _write(graph, description, path)
        yield Exported(path.name, description, _compare(graph, path))


def random_images(group: Group, count: int) -> NDArray[np.uint8]:
    """Return noise in the form of a group's images."""
    return np.random.default_rng(count).integers(0, 256, (count, *group.image_shape), dtype=np.uint8)


def _describe(group: Group, said: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "specialist": group.specialist,
        "input": {"name": INPUT, "type": "uint8", "shape": ["batch", *group.image_shape]},
        "outputs": {
            dataset.name: {
                "type": "float32",
                "shape": ["batch", dataset.num_classes],
                "probabilities": "of each label by itself" if dataset.multi_label else "add up to 1",
                **said.get(dataset.name, {}),
            }
            for dataset in group.datasets
        },
    }


def _write(graph: Graph, description: dict[str, Any], path: Path) -> None:
    import onnx

    with _silence():
        program = torch.onnx.export(
            graph,
            (torch.from_numpy(random_images(graph.group, 2)),),
            dynamo=True,
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            input_names=[INPUT],
            output_names=[dataset.name for dataset in graph.group.datasets],
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None  # as without dynamo
    # It has, for each node, the lines of the files of this machine that made it.
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()
    program.model.metadata_props[METADATA] = json.dumps(description)
    program.save(path)  # beyond 2 GB with a second file for the weights
    onnx.checker.check_model(path, full_check=True)


@contextmanager
def _silence() -> Iterator[None]:
    """Keep to themselves what the packages say of each other, and of nodes that they leave as they are."""
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _compare(graph: Graph, path: Path) -> float:
    """Return the largest difference between the file's probabilities and torch's."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    worst = 0.0
    for count in CHECKED_BATCHES:
        images = random_images(graph.group, count)
        with torch.inference_mode():
            expected = graph(torch.from_numpy(images))
        found = session.run(None, {INPUT: images})
        worst = max(worst, *(float(np.abs(a - b.numpy()).max()) for a, b in zip(found, expected, strict=True)))
    if not worst <= TOLERANCE:  # nor a nan
        raise PipelineError(
            f"{path.name}: onnxruntime {onnxruntime.__version__} and torch {torch.__version__} differ by {worst:.1e}, "
            f"and {TOLERANCE:.0e} is allowed; use the versions that requirements-dev.txt of the repository has"
        )
    return worst
