"""The images of a request: nested lists of whole numbers, or files in base64; of one dataset and one size.

What is refused is told by its place and by what was wanted, never by what was there: images are somebody's.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mosaic_pipeline.bundle.inputs import MOST, InputError, check_images, describe_form
from mosaic_pipeline.bundle.manifest import Preparation
from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.errors import few
from mosaic_pipeline.serving.upload import Budget, read_upload

MOST_IMAGES = 256  # of a request, which is one forward pass
LIST_OR_FILE = "must be a nested list of whole numbers from 0 to 255, or a file in base64"


def known_dataset(name: object, datasets: Mapping[str, Dataset]) -> Dataset:
    """Return the dataset of that name. Raises InputError if the model knows none, without repeating the name."""
    if isinstance(name, str) and name in datasets:
        return datasets[name]
    raise InputError(f"dataset: unknown to this model, which knows {few(datasets, 20)}")


def read_images(given: Mapping[str, Any], dataset: Dataset, preparation: Preparation) -> NDArray[np.uint8]:
    """Return images uint8 [N,...] as the model takes them, of images by their places in the request.

    Raises InputError, which names the first that cannot be.
    """
    if not 1 <= len(given) <= MOST_IMAGES:
        raise InputError(f"images: must be 1 to {MOST_IMAGES} of a dataset, not {len(given):,}")
    budget = Budget()
    images: list[NDArray[np.uint8]] = []
    for place, each in given.items():
        if isinstance(each, str):
            images.append(read_upload(each, place, preparation, budget))
        else:
            images.append(_checked(_values(each, place), place, dataset))
        if images[-1].shape != images[0].shape:
            raise InputError(
                f"{place}: has {images[-1].shape[0]:,} a side, {next(iter(given))} {images[0].shape[0]:,}; the images "
                "of a request must be of one size"
            )
    return np.stack(images)


def _checked(image: NDArray[np.uint8], place: str, dataset: Dataset) -> NDArray[np.uint8]:
    try:
        return check_images(image[None], dataset)[0]
    except InputError:
        side = MOST[dataset.dimension]
        raise InputError(
            f"{place}: has the form {list(image.shape)}; {dataset.name} has {describe_form(dataset)}, S to {side:,}"
        ) from None


def _values(given: Any, place: str) -> NDArray[np.uint8]:
    if isinstance(given, np.ndarray):
        if given.dtype != np.uint8:
            raise InputError(f"{place}: is {given.dtype}, not uint8 from 0 to 255")
        return given
    if not isinstance(given, list):
        raise InputError(f"{place}: {LIST_OR_FILE}")
    shape = _shape(given, place)
    return np.frombuffer(b"".join(_rows(given, shape, place)), np.uint8).reshape(shape)


def _shape(given: list[Any], place: str) -> tuple[int, ...]:
    """Return the lengths of nested lists, as the first of each has them."""
    shape: list[int] = []
    inner: Any = given
    while isinstance(inner, list):
        shape.append(len(inner))
        if not inner:
            raise InputError(f"{place}: holds an empty list")
        if len(shape) > 4:
            raise InputError(f"{place}: lists are nested deeper than any image")
        inner = inner[0]
    return tuple(shape)


def _rows(given: Any, shape: tuple[int, ...], place: str) -> Iterator[bytes]:
    """Yield the innermost of nested lists, held to be whole numbers of a byte, in lists of that shape."""
    if not isinstance(given, list) or len(given) != shape[0]:
        raise InputError(f"{place}: is ragged, its lists differ in length or depth")
    if len(shape) > 1:
        for inner in given:
            yield from _rows(inner, shape[1:], place)
        return
    kinds = set(map(type, given))
    if list in kinds:
        raise InputError(f"{place}: is ragged, its lists differ in length or depth")
    if kinds != {int}:  # True is an int to everything but this
        raise InputError(f"{place}: holds what is no whole number (true, null, text or a fraction)")
    try:
        yield bytes(given)
    except ValueError:
        raise InputError(f"{place}: holds values outside 0 to 255") from None
