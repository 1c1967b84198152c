"""What params.yaml declares of each dataset, in two files a dataset, so that stages depend on what concerns them alone.

`declared/<dataset>/source.yaml` decides what its images and labels are, `about.yaml` is what is said of it. The former
has a digest of the code that reads files of one's own, where a dataset is one: mending a reader reads no other again.
"""

import difflib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from mosaic_pipeline.atomic import write_text
from mosaic_pipeline.code import own_digest
from mosaic_pipeline.data import official
from mosaic_pipeline.datasets import About, Dataset
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.forms import read_form
from mosaic_pipeline.layout import DECLARED, about_file, source_file
from mosaic_pipeline.own import OwnSource
from mosaic_pipeline.params import Data, Params
from mosaic_pipeline.reading import first_problem, read_text, reading

T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """A dataset, and how it is read if it is one of one's own; one of MedMNIST has no `own`."""

    dataset: Dataset
    own: OwnSource | None

    def data(self, data: Data) -> Data:
        """Return the parameters that hold for this dataset."""
        if self.own is None:
            return data
        size = self.own.size or data.size(self.own.dimension)
        of_own = {"source": "own", "size_2d": size, "size_3d": size, "allow_leakage": self.own.allow_leakage}
        return data.model_copy(update=of_own)


def about(data: Data, name: str) -> About:
    """Return what is said of a dataset."""
    own = data.own.get(name)
    if own is None:
        return official.about(data.form(name))
    return About(own.title, own.specialist, own.classes, own.licence)


def write_declarations(params: Params) -> tuple[str, ...]:
    """Write the files of all datasets that params name, remove those of others, and return the names."""
    names = (*params.data.datasets, *params.data.external)
    for name in names:
        own = params.data.own.get(name)
        source = {"form": params.data.form(name).form()} | ({"own": own.source(), "code": own_digest()} if own else {})
        for file, tree in ((source_file(name), source), (about_file(name), about(params.data, name).record())):
            write_text(file, yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))
    for folder in DECLARED.iterdir():
        if folder.is_dir() and folder.name not in names:
            shutil.rmtree(folder)
    return names


def read_source(name: str) -> Source:
    """Return the source of a dataset. Raises PipelineError if it is not declared, or its file is not as it was."""

    def parse(tree: Any) -> Source:
        own = tree.get("own")
        return Source(read_form(name, tree["form"]), None if own is None else OwnSource.model_validate(own))

    return _read(source_file(name), parse)


def read_about(name: str) -> About:
    """Return what is said of a dataset. Raises PipelineError if it is not declared, or its file is not as it was."""
    return _read(about_file(name), lambda tree: About(**_About.model_validate(tree).model_dump()))


class _About(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: str
    specialist: str
    class_names: tuple[str, ...]
    licence: str


def _read(file: Path, parse: Callable[[Any], T]) -> T:
    name, known = file.parent.name, [folder.name for folder in sorted(DECLARED.glob("*"))]
    if known and name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"those that params.yaml names are {', '.join(known)}"
        raise PipelineError(f"{name}: no such dataset is declared; {hint}")
    text = read_text(file)
    with reading(file):
        try:
            return parse(yaml.safe_load(text))
        except ValidationError as error:
            raise ValueError(first_problem(error)) from None
        except (TypeError, AttributeError):
            raise ValueError("not a declaration") from None
