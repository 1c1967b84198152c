"""The command line of a stage or command: its help, and what it works on, from whoever runs it or from DVC."""

import argparse
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from mosaic_pipeline.errors import PipelineError


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, as all others."""

    def __init__(self, program: str, doc: str) -> None:
        """Parse for what is typed as `program`; `doc` says what it does and what it writes."""
        super().__init__(prog=program, description=" ".join(doc.split()), allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise PipelineError."""
        raise PipelineError(f"{message}; {' '.join(self.format_usage().split())} (--help says more)")


class CommandParser(Parser):
    """The parser of a command of `mosaic`."""

    def __init__(self, command: str, doc: str) -> None:
        """Parse for `mosaic <command>`."""
        super().__init__(f"mosaic {command}", doc)


@dataclass(frozen=True)
class Name:
    """A positional argument: what it is called, where it comes from, and its value for a text that is legal."""

    name: str
    source: str
    read: Callable[[str], Any]


def _named(what: str, pattern: str, legal: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise argparse.ArgumentTypeError(f"{text!r} is no {what} ({legal})")
        return text

    return read


def _seed(text: str) -> int:
    if not re.fullmatch("0|[1-9][0-9]{0,9}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no seed (a whole number, from 0)")
    return int(text)


_NAME = ("[a-z][a-z0-9_]*", "lower case: a-z, 0-9, _")

DATASET = Name("dataset", "a name in data.datasets", _named("name of a dataset", *_NAME))
EXTERNAL = Name("dataset", "a name in data.external", _named("name of a dataset", *_NAME))
CORRUPTION = Name("corruption", "one of data.corruptions", _named("corruption", "[a-z]+", "lower case: a-z"))
VARIANT = Name("variant", "a name in ablation.variants", _named("name of a variant", *_NAME))
SEG_VARIANT = Name("variant", "a name in segmentation.ablation.variants", _named("name of a variant", *_NAME))
SCAN_SET = Name("dataset", "a name in segmentation.data.datasets", _named("name of a dataset", *_NAME))
SEED = Name("seed", "one of seeds", _seed)
SPECIALIST = Name("specialist", "one of specialists", _named("specialist", "[A-Z]", "a capital letter"))


def read_arguments(stage: str, doc: str, *names: Name) -> list[Any]:
    """Return the values of a stage's arguments.

    Without any, those of the DVC stage that runs it: DVC writes `train@mosaic-42` into DVC_STAGE, where no shell
    reads it, so that dvc.yaml need not put a name into a command. Raises PipelineError, in one line.
    """
    parser = Parser(f"python -m stages.{stage}", doc)
    for name in names:
        parser.add_argument(name.name, type=name.read, help=name.source)
    given = sys.argv[1:] or (_of_dvc(stage) if names else [])
    values = parser.parse_args(given)
    return [getattr(values, name.name) for name in names]


def _of_dvc(stage: str) -> list[str]:
    """Return the parts of a matrix stage's key, which stand as `<file>:<stage>@<part>-<part>`, without the file."""
    own, _, key = os.environ.get("DVC_STAGE", "").rpartition(":")[2].partition("@")
    return key.split("-") if own == stage.replace("segmentation.", "seg_") and key else []
