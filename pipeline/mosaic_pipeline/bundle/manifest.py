"""config.json of a bundle: all that using its tensors takes, and where they come from."""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator
from typing_extensions import Self

from mosaic_pipeline.bundle_files import CONFIG, MEND
from mosaic_pipeline.config import Config, parse_config
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.reading import read_record, read_tree

FORMAT: Literal[1] = 1

Md5 = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Triple = tuple[FiniteFloat, FiniteFloat, FiniteFloat]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Preparation(_Part):
    """How an image becomes what the dataset's images are: as `data.own` says it of one's own; None: all that is held.

    `size` is pixels or voxels a side, before the model's own.
    """

    dimension: Literal[2, 3]
    channels: Literal[1, 3]
    size: Annotated[int, Field(ge=1)]
    fit: Literal["pad", "stretch", "crop"] = "pad"
    window: tuple[FiniteFloat, FiniteFloat] | Literal["each"] | None = None


class Tested(_Part):
    """Test results of one dataset, with 95 % intervals over its test cases; None where undefined."""

    n: Annotated[int, Field(ge=1)]
    acc: Share | None
    auc: Share | None
    acc_interval: tuple[Share, Share] | None
    auc_interval: tuple[Share, Share] | None


class Known(_Part):
    """What a bundle knows of one dataset beside its form: words, where its images came from, and the test."""

    title: str
    specialist: str
    class_names: list[str]
    licence: str
    source: str
    official: bool
    preparation: Preparation
    test: Tested


class Provenance(_Part):
    """What a model was made from, by content: md5s of files (`model`, `config`, `weights`) and of each set's data.

    `revision` is that of the code that made the bundle, which may be later than what trained.
    """

    revision: str
    md5: dict[str, Md5]
    data: dict[str, Md5]
    weights: dict[str, str]


class Package(_Part):
    """The versions that made a bundle."""

    mosaic_pipeline: str
    torch: str
    timm: str


class _Format(BaseModel):
    format: int


class Manifest(_Part):
    """All of config.json. `config` is the resolved configuration of the training; `statistics` are mean and std.

    `validation` is the mean of its monitored metric over the validation splits, by which its round was chosen.
    """

    format: Literal[1]
    model_type: Literal["mosaic"]
    made_with: Package
    variant: str
    seed: Annotated[int, Field(ge=0)]
    deployed: Literal["student", "teacher", "composed"]
    statistics: tuple[Triple, Triple]
    validation: Share | None
    datasets: dict[str, Known]
    config: dict[str, Any]
    provenance: Provenance

    @cached_property
    def resolved(self) -> Config:
        """The configuration as values."""
        return parse_config(self.config)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if missing := {"model", "config", "weights"} - set(self.provenance.md5):
            raise ValueError(f"provenance.md5.{min(missing)}: missing")
        if list(self.datasets) != list(self.resolved.datasets):
            raise ValueError("datasets: not those of the configuration")
        for name, known in self.datasets.items():
            form = self.resolved.datasets[name]
            if len(known.class_names) != form.num_classes:
                raise ValueError(
                    f"datasets.{name}: {len(known.class_names)} class names for {form.num_classes} classes"
                )
            if (known.preparation.dimension, known.preparation.channels) != (form.dimension, form.channels):
                raise ValueError(f"datasets.{name}: prepared as another kind of image than its form says")
        return self


def read_manifest(folder: Path) -> Manifest:
    """Return what config.json of a bundle says. Raises PipelineError if the folder is none, or of a later version."""
    path = folder / CONFIG
    if not path.is_file():
        raise PipelineError(f"{folder}: no bundle, {CONFIG} is not in it; `mosaic bundle <variant>` makes one")
    if (found := read_tree(path, _Format, MEND)["format"]) > FORMAT:
        raise PipelineError(f"{path}: format {found}, and this version reads {FORMAT}; take a later one")
    return read_record(path, Manifest, MEND)
