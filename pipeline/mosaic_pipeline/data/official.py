"""What MedMNIST publishes about each dataset: where its file is, the file's md5, and the names of its classes."""

import ast
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mosaic_pipeline.datasets import MEDMNIST, MOSAIC_ROUTING, About, Dataset
from mosaic_pipeline.present import present


@dataclass(frozen=True)
class Published:
    """Address and md5 of one official file."""

    url: str
    md5: str


def published(dataset: Dataset, size: int) -> Published:
    """Return where the official file at `size` pixels or voxels a side is, and its md5."""
    suffix = "" if size == 28 else f"_{size}"
    info = read_info()[dataset.name]
    return Published(url=info[f"url{suffix}"], md5=info[f"MD5{suffix}"])


def is_official(dataset: Dataset, size: int, md5: str) -> bool:
    """Whether a file with this md5 is the one that MedMNIST publishes; of other datasets it publishes none."""
    return dataset.name in MEDMNIST and md5 == published(dataset, size).md5


def file_name(dataset: Dataset, size: int) -> str:
    """Name of the published npz file; 28 px, the original size, has no suffix."""
    return f"{dataset.name}.npz" if size == 28 else f"{dataset.name}_{size}.npz"


def about(dataset: Dataset) -> About:
    """Return what MedMNIST says of a dataset, with the specialist that MOSAIC routes it to."""
    info = read_info()[dataset.name]
    labels = info["label"]
    return About(
        title=info["python_class"],
        specialist=MOSAIC_ROUTING[dataset.name],
        class_names=tuple(labels[str(index)] for index in range(len(labels))),
        licence=info["license"],
    )


@cache
def read_info() -> dict[str, dict[str, Any]]:
    """Return `medmnist.INFO` as a literal read from the package's source.

    Importing medmnist would start torch and torchvision (seconds, in every download process) and create a folder
    in the user's home.
    """
    package = present(present(find_spec("medmnist")).submodule_search_locations)[0]
    tree = ast.parse(Path(package, "info.py").read_text(encoding="utf-8"))
    (value,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "INFO"
    )
    return ast.literal_eval(value)
