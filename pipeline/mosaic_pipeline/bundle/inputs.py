"""What is given to a model, held against the dataset that it is said to be of: a sentence for whatever cannot be."""

import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.errors import PipelineError, few

# A side beyond which an array is no image of a dataset's, but a mistake, or made to fill memory.
MOST = {2: 4096, 3: 512}


class InputError(PipelineError):
    """What was asked cannot be answered, and is whoever's who asked."""


def find_dataset(name: object, datasets: Mapping[str, Dataset]) -> Dataset:
    """Return the dataset of that name. Raises InputError if the model knows none."""
    if isinstance(name, str) and name in datasets:
        return datasets[name]
    close = difflib.get_close_matches(str(name), datasets, n=1)
    hint = f"did you mean {close[0]}?" if close else f"it knows {few(datasets, 20)}"
    raise InputError(f"dataset {str(name)[:40]!r}: unknown to this model; {hint}")


def check_images(images: Any, dataset: Dataset) -> NDArray[np.uint8]:
    """Return images as the model takes them: uint8 [N,S,S], [N,S,S,3] or [N,S,S,S].

    Raises InputError for another type or shape, and for none.
    """
    wanted = f"{dataset.name} has {describe_form(dataset)}"
    if not isinstance(images, np.ndarray):
        raise InputError(f"images are {type(images).__name__}, not an array; {wanted}")
    if images.dtype != np.uint8:
        raise InputError(f"images are {images.dtype}, not uint8 from 0 to 255; {wanted}")
    shape = images.shape[1:]
    if not shape or not images.shape[0]:
        raise InputError(f"images have the shape {list(images.shape)}, in which there is no image; {wanted}")
    if shape != dataset.image_shape(shape[0]) or not shape[0]:
        raise InputError(f"images have the shape {list(images.shape)}; {wanted}")
    if shape[0] > MOST[dataset.dimension]:
        raise InputError(f"images have sides of {shape[0]:,}; at most {MOST[dataset.dimension]:,} are taken")
    return np.ascontiguousarray(images)


def find_alike(images: Any, datasets: Mapping[str, Dataset]) -> tuple[NDArray[np.uint8], list[str]]:
    """Return images as `check_images` does, and the datasets that they can be of by their shape.

    Raises InputError if there is none.
    """
    alike, refused = [], []
    for dataset in datasets.values():
        try:
            images = check_images(images, dataset)
            alike.append(dataset.name)
        except InputError as error:
            refused.append(error)
    if not alike:
        raise refused[0]
    return images, alike


def describe_form(dataset: Dataset) -> str:
    """Return what images of a dataset are, in the words of errors."""
    if dataset.dimension == 3:
        return "cubes [N, S, S, S]"
    return "square images in colour [N, S, S, 3]" if dataset.channels == 3 else "square grey images [N, S, S]"
