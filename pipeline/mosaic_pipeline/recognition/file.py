"""A recogniser on disk: means, whitening and limits as safetensors, and what they are of in its metadata."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import safe_open
from safetensors.numpy import save

from mosaic_pipeline.atomic import atomic
from mosaic_pipeline.data.augment import Statistics
from mosaic_pipeline.reading import first_problem, reading
from mosaic_pipeline.recognition.means import Means
from mosaic_pipeline.recognition.recogniser import Candidates, Recogniser, Sight

METADATA = "recogniser"


class Whose(BaseModel):
    """What the file says of itself: datasets by dimension, the md5 of the backbone's file, how that saw images."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    datasets: dict[int, tuple[str, ...]] = Field(min_length=1)
    weights: str
    size: int = Field(ge=1)
    statistics: Statistics
    precision: str


def save_recogniser(path: Path, recogniser: Recogniser, weights: str) -> None:
    """Write a recogniser that was fitted to the features of the backbone whose file has the md5 `weights`."""
    sight = recogniser.sight
    tensors: dict[str, NDArray] = {}
    for dimension, candidates in recogniser.candidates.items():
        tensors[f"{dimension}D.means"] = candidates.means.means
        tensors[f"{dimension}D.owners"] = candidates.means.owners
        tensors[f"{dimension}D.whitening"] = np.ascontiguousarray(candidates.means.whitening)
        tensors[f"{dimension}D.limits"] = candidates.limits
    whose = Whose(
        datasets={dimension: each.means.datasets for dimension, each in recogniser.candidates.items()},
        weights=weights,
        size=sight.size,
        statistics=sight.statistics,
        precision=sight.precision,
    )
    # safetensors puts several metadata entries in random order, so all of it stands in one.
    with atomic(path) as temporary:
        temporary.write_bytes(save(tensors, {METADATA: whose.model_dump_json()}))


def read_recogniser(path: Path, width: int, weights: str, mend: str | None = None) -> Recogniser:
    """Return what `save_recogniser` wrote for the backbone with the md5 `weights` and features of `width` values.

    Raises PipelineError, with `mend` as the way out, if there is no such file, if it is damaged or of another backbone.
    """
    with reading(path, mend), safe_open(path, framework="np") as file:
        whose = _whose((file.metadata() or {}).get(METADATA, "null"))
        if whose.weights != weights:
            raise ValueError(f"of another backbone, with md5 {whose.weights}, not {weights}")
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        candidates = {
            dimension: _candidates(found, f"{dimension}D.", datasets, width)
            for dimension, datasets in whose.datasets.items()
        }
        return Recogniser(candidates, Sight(whose.size, whose.statistics, whose.precision))


def _whose(text: str) -> Whose:
    try:
        return Whose.model_validate_json(text)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from None


def _candidates(found: dict[str, np.ndarray], prefix: str, datasets: tuple[str, ...], width: int) -> Candidates:
    """Return the candidates of one dimension. Raises ValueError, and KeyError, for arrays that cannot be theirs."""
    means, owners, whitening, limits = (found[f"{prefix}{name}"] for name in ("means", "owners", "whitening", "limits"))
    shapes = {"means": (means, (len(owners), width)), "owners": (owners, (len(means),))}
    shapes |= {"whitening": (whitening, (width, width)), "limits": (limits, (len(datasets),))}
    for name, (array, shape) in shapes.items():
        if array.shape != shape:
            raise ValueError(f"{prefix}{name} is {list(array.shape)}, expected {list(shape)}")
        if not np.isfinite(array).all():
            raise ValueError(f"{prefix}{name} holds values that are not finite")
    if set(owners.tolist()) != set(range(len(datasets))):
        raise ValueError(f"{prefix}owners: not those of {len(datasets)} datasets")
    return Candidates(Means(datasets, means, owners, whitening), limits)
