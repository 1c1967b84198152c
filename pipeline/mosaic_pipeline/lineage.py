"""What a result was made from, by content: the md5s that tie runs, files and reports together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.digest import md5_file
from mosaic_pipeline.layout import BACKBONE, TEST_DATA, TRAINING_DATA, run_folder
from mosaic_pipeline.reading import read_tree, reading
from mosaic_pipeline.weights.load import read_provenance

if TYPE_CHECKING:
    from mosaic_pipeline.data.batches import Split


@dataclass(frozen=True)
class Lineage:
    """What a training is made from, besides seed and code.

    `md5` are those of configuration and weights, `data` has the digest of what training reads of each dataset.
    `weights` says what they are, for whoever only gets the results: random, or a file by name and sha256. `sources` is
    where each dataset is from.
    """

    md5: dict[str, str]
    data: dict[str, str]
    weights: dict[str, str]
    sources: dict[str, str]

    @property
    def determinants(self) -> dict[str, str]:
        """All of it by name, for the key of a checkpoint."""
        return self.md5 | self.data


def read_lineage(config_md5: str, datasets: Iterable[str], pretrained: bool | None = None) -> Lineage:
    """Return the lineage of a training whose configuration has this md5, and whether it uses the weights of the file.

    None is what they are. Raises PipelineError if a file is missing.
    """
    provenance = read_provenance(BACKBONE) if pretrained is not False else {"source": "random"}
    return Lineage(
        md5={"config": config_md5, "weights": md5_file(BACKBONE)},
        data={name: data_digest(TRAINING_DATA / name) for name in datasets},
        weights={key: value for key, value in provenance.items() if key in ("source", "sha256")},
        sources={name: read_meta(TRAINING_DATA / name)["source"] for name in datasets},
    )


class _Kept(BaseModel):
    n: int = Field(ge=1)
    of: int = Field(ge=1)
    md5: dict[str, str]


class _Meta(BaseModel):
    """What is looked up in meta.json; the rest is passed on."""

    dataset: str
    source: str
    size: int = Field(ge=1)
    form: dict[str, Any]
    splits: dict[str, _Kept]
    findings: list[dict[str, Any]]  # not typed: their words would be code of a training, and change it


class _About(_Meta):
    """What is looked up in meta.json of a test split."""

    title: str
    specialist: str
    class_names: list[str]
    licence: str


class _Trained(BaseModel):
    """What is looked up in train.json; the rest is the report's."""

    variant: str
    seed: int
    deployed: Literal["student", "teacher", "composed"]
    md5: dict[str, str]


def read_meta(folder: Path, kind: type[_Meta] = _Meta) -> dict[str, Any]:
    """Return meta.json of one part of a cached dataset. Raises PipelineError if it is missing or another one's."""
    path = folder / "meta.json"
    meta = read_tree(path, kind)
    with reading(path):
        if meta["dataset"] != folder.name:
            raise ValueError(f"of {meta['dataset']}, not of {folder.name}")
    return meta


def check_splits(cached: Path, split: str, opened: "Mapping[str, Split]", datasets: Mapping[str, Dataset]) -> None:
    """Hold a split of several datasets, as opened, against what meta.json says of it.

    The labels are compared by content, the images by number and size. Raises PipelineError.
    """
    for name, arrays in opened.items():
        meta, labels = read_meta(cached / name), cached / name / f"{split}_labels.npy"
        with reading(cached / name / "meta.json"):
            kept = meta["splits"].get(split)
            if kept is None:
                raise ValueError(f"nothing on the split {split}")
            if meta["form"] != datasets[name].form():
                raise ValueError("not of the form that the configuration has")
            size = datasets[name].image_shape(meta["size"])
            found = (len(arrays), *arrays.images.shape[1:])
            if found != (kept["n"], *size):
                wanted = "x".join(map(str, size))
                raise ValueError(
                    f"{kept['n']} images of {wanted} in {split}, but {split}_images.npy holds {list(found)}"
                )
        with reading(labels):
            if kept["md5"].get("labels") != md5_file(labels):
                raise ValueError("not the labels that meta.json beside it speaks of")


def read_origin(dataset: str, training: Path = TRAINING_DATA, test: Path = TEST_DATA) -> dict[str, Any]:
    """Return what both parts of a cached dataset say of it, as one, for whoever only gets the results."""
    of_training, of_test = read_meta(training / dataset), read_meta(test / dataset, _About)
    splits = of_training["splits"] | of_test["splits"]
    return of_training | of_test | {"splits": splits, "findings": of_training["findings"] + of_test["findings"]}


def data_digest(folder: Path) -> str:
    """Return the md5 that stands for one part of a cached dataset, what training reads or the test split.

    It is that of meta.json, which holds the md5 of the arrays: hashing these again would read 50 GB for every run.
    """
    read_meta(folder)
    return md5_file(folder / "meta.json")


def read_training(variant: str, seed: int) -> dict[str, Any]:
    """Return train.json of a finished training. Raises PipelineError if it is missing or another training's."""
    path = run_folder(variant, seed) / "train.json"
    training = read_tree(path, _Trained)
    with reading(path):
        if (training["variant"], training["seed"]) != (variant, seed):
            raise ValueError(f"of {training['variant']} with seed {training['seed']}")
    return training
