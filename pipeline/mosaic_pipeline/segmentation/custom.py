"""Sets of one's own, as `segmentation.data.custom` in params.yaml declares them."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, PlainValidator, ValidationError, model_validator
from typing_extensions import Self

from mosaic_pipeline.errors import PipelineError, few
from mosaic_pipeline.fields import Number, Section, Text, no_bool, written_as
from mosaic_pipeline.reading import first_problem, reading
from mosaic_pipeline.segmentation.datasets import HIGHEST_ID, NAMED, OTHERS, LabelledSet, custom_set

PARAMS_FILE = Path("params.yaml")

Modality = Annotated[str, written_as("[a-z][a-z0-9_]{0,31}", "a word in lower case, as ct, mri or ce_mri")]
LabelId = Annotated[int, BeforeValidator(no_bool), Field(ge=1, le=HIGHEST_ID)]


class Layout(Section):
    """How files are called below the folder, without suffix: {case} is where the id of a case stands.

    Without {case} in both, they are the one case that there is.
    """

    images: Text
    labels: Text


def _auto(value: Any) -> Any:
    if value is None or isinstance(value, dict | Section):
        return value
    if value == "auto":
        return None
    raise ValueError("should be a mapping, or auto")


def _ignored(value: Any) -> tuple[int, ...] | Literal["others"] | None:
    if value is None or value == OTHERS:
        return value
    ids = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not all(isinstance(id_, int) and not isinstance(id_, bool) for id_ in ids):
        raise ValueError(f"should be label ids, or {OTHERS}")
    return ids


class Custom(Section):
    """One set of one's own.

    `layout` is how its files are called, None (`auto`) as `data.folders.find_cases` finds out. `labels` are organ ->
    id, None (`auto`) those of its dataset.json. `ignore` are ids that count as background, `others` all that are no
    organ's, None those that dataset.json ignores. `split_by` slices has parts of every scan in all splits, for a set of
    one or two patients, and no number of it means anything. `window` is what becomes -1 and 1, in the scans' own unit;
    None for what scans of the modality have.
    """

    modality: Modality
    layout: Annotated[Layout | None, BeforeValidator(_auto)] = None
    labels: Annotated[dict[Text, LabelId] | None, BeforeValidator(_auto)] = None
    ignore: Annotated[tuple[int, ...] | Literal["others"] | None, PlainValidator(_ignored)] = None
    split_by: Literal["patient", "slices"] = "patient"
    window: tuple[Number, Number] | None = None
    title: Text | None = None
    licence: Annotated[str, Field(max_length=1000)] = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.labels is not None:
            self._set("it", self.labels, self.ignore or ())
        if self.window and not self.window[0] < self.window[1]:
            raise ValueError(f"window: {self.window[0]:g} is not below {self.window[1]:g}")
        return self

    def labelled_set(self, name: str, folder: Path) -> LabelledSet:
        """Return the set, with the labels of the folder's dataset.json under `auto`. Raises PipelineError."""
        if self.labels is not None:
            return self._set(name, self.labels, self.ignore or ())
        # Which imports numpy and nibabel, and every stage reads params.yaml.
        from mosaic_pipeline.segmentation.data.folders import DATASET_JSON, read_label_names

        labels, ignored = read_label_names(folder)
        with reading(Path(folder) / DATASET_JSON, f"say `labels` in segmentation.data.custom.{name}"):
            return self._set(name, labels, ignored if self.ignore is None else self.ignore)

    def _set(self, name: str, labels: dict[str, int], ignore: tuple[int, ...] | Literal["others"]) -> LabelledSet:
        images, labels_at = (None, None) if self.layout is None else (self.layout.images, self.layout.labels)
        return custom_set(
            name,
            self.modality,
            labels,
            ignore=ignore,
            images=images,
            labels_at=labels_at,
            title=self.title,
            licence=self.licence,
        )


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
