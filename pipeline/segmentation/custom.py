"""Sets of one's own, as `segmentation.data.custom` in params.yaml declares them."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator
from typing_extensions import Self

from pipeline.errors import PipelineError, few
from pipeline.fields import Section, Text, no_bool, written_as
from pipeline.reading import first_problem, reading
from pipeline.segmentation.data.folders import DATASET_JSON, read_label_names
from pipeline.segmentation.datasets import HIGHEST_ID, NAMED, LabelledSet, custom_set

PARAMS_FILE = Path("params.yaml")

SetName = Annotated[str, written_as("[a-z][a-z0-9_]{0,63}", "lower case: a-z, 0-9, _, at most 64 of them")]
Modality = Annotated[str, written_as("[a-z][a-z0-9_]{0,31}", "a word in lower case, as ct, mri or ce_mri")]
LabelId = Annotated[int, BeforeValidator(no_bool), Field(ge=1, le=HIGHEST_ID)]


class Layout(Section):
    """How files are called below the folder, without suffix: {case} is where the id of a case stands.

    Without {case} in both, they are the one case that there is.
    """

    images: Text
    labels: Text


class Custom(Section):
    """One set: `labels` are organ -> id, or `auto` for those of its dataset.json; `ignore` are ids that count as
    background, `others` all that are no organ's.
    """

    modality: Modality
    layout: Layout | Literal["auto"] = "auto"
    labels: dict[Text, LabelId] | Literal["auto"] = "auto"
    ignore: tuple[LabelId, ...] | Literal["others"] | None = None
    title: Text | None = None
    licence: Text | Literal[""] = ""

    @field_validator("ignore", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.labels != "auto":
            self._set("it", self.labels, self.ignore or ())
        return self

    def labelled_set(self, name: str, folder: Path) -> LabelledSet:
        """Return the set, with the labels of the folder's dataset.json under `auto`. Raises PipelineError."""
        if self.labels != "auto":
            return self._set(name, self.labels, self.ignore or ())
        labels, ignored = read_label_names(folder)
        with reading(Path(folder) / DATASET_JSON, f"say `labels` in segmentation.data.custom.{name}"):
            return self._set(name, labels, ignored if self.ignore is None else self.ignore)

    def _set(self, name: str, labels: dict[str, int], ignore: tuple[int, ...] | Literal["others"]) -> LabelledSet:
        images, labels_at = (None, None) if self.layout == "auto" else (self.layout.images, self.layout.labels)
        more = {"images": images, "labels_at": labels_at, "title": self.title, "licence": self.licence}
        return custom_set(name, self.modality, labels, ignore=ignore, **more)


def find_set(name: str, folder: Path) -> LabelledSet:
    """Return a set by its name: a named one, or one that params.yaml here declares. Raises PipelineError."""
    if name in NAMED:
        return NAMED[name]
    declared = _declared()
    if name not in declared:
        raise PipelineError(
            f"{name}: no set of that name; known are {', '.join(NAMED)}, and "
            f"{few(map(str, declared), 20) or 'none'} of segmentation.data.custom in {PARAMS_FILE}"
        )
    try:
        custom = Custom.model_validate(declared[name])
    except ValidationError as error:
        where = f"{PARAMS_FILE}: segmentation.data.custom.{name}"
        raise PipelineError(f"{where}.{first_problem(error)}") from None
    return custom.labelled_set(name, folder)


def _declared() -> dict[str, Any]:
    """Return what params.yaml declares; whether the rest of it is legal does not matter here."""
    if not PARAMS_FILE.exists():
        return {}
    with reading(PARAMS_FILE, "mend it"):
        tree = yaml.safe_load(PARAMS_FILE.read_text(encoding="utf-8")) or {}
        for key in ("segmentation", "data", "custom"):
            tree = (tree.get(key) if isinstance(tree, dict) else None) or {}
        return tree if isinstance(tree, dict) else {}
