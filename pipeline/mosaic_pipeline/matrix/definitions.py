"""The stages of dvc.yaml one by one, with what stands for names and lists of params.yaml put in.

DVC does the same, in half a second a stage where there are hundreds of variants. Asked about thousands of stages this
module answers at once; a test holds it against DVC.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from mosaic_pipeline.errors import PipelineError

DVC_YAML = "dvc.yaml"
PARAMS_YAML = "params.yaml"
PLACEHOLDER = re.compile(r"\$\{([\w.]+)\}")


@dataclass(frozen=True)
class Definition:
    """A stage: what it runs, reads and writes.

    `matrix` says which of its group it is, by dimension; `params` has its values of params.yaml by dotted key.
    """

    name: str
    cmd: str
    deps: tuple[str, ...]
    params: Mapping[str, Any]
    outs: tuple[str, ...]
    matrix: Mapping[str, str] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """The name without which of them it is: `train` of `train@mosaic-42`."""
        return self.name.partition("@")[0]


def read_definitions(folder: Path) -> dict[str, Definition]:
    """Return all stages of a checkout by name, in the order of its dvc.yaml, which is that in which DVC runs them.

    Raises PipelineError if dvc.yaml or params.yaml is missing or not such a file.
    """
    params = _read_yaml(folder / PARAMS_YAML)
    stages = _read_yaml(folder / DVC_YAML).get("stages")
    if not isinstance(stages, dict):
        raise PipelineError(f"{folder / DVC_YAML}: no stages; `git checkout {DVC_YAML}` brings it back")
    try:
        return {each.name: each for name, stage in stages.items() for each in _expanded(name, stage, params)}
    except (KeyError, AttributeError, TypeError, StopIteration) as error:
        raise PipelineError(
            f"{folder / DVC_YAML}: a stage of a form that is not known here ({type(error).__name__}: {error}); "
            "it has a cmd, lists of deps, params and outs, and a matrix of lists"
        ) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    """Return a file as DVC reads it: 1e-05 is a number to YAML 1.2, and a text to PyYAML."""
    from ruamel.yaml import YAML, YAMLError

    try:
        return YAML(typ="safe").load(path) or {}
    except FileNotFoundError:
        raise PipelineError(f"{path}: no such file; run this from the repository root") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise PipelineError(f"{path}: not valid YAML: {error}") from None


def _expanded(name: str, stage: Mapping[str, Any], params: Mapping[str, Any]) -> Iterator[Definition]:
    matrix = {key: _listed(values, params) for key, values in stage.get("matrix", {}).items()}
    for combination in product(*matrix.values()):
        item = dict(zip(matrix, combination, strict=True))
        values = {f"item.{key}": value for key, value in item.items()}
        listed = [each for kind in ("outs", "metrics", "plots") for each in stage.get(kind, [])]
        yield Definition(
            name=f"{name}@{'-'.join(combination)}" if matrix else name,
            cmd=stage["cmd"],
            deps=tuple(_filled(dep, values) for dep in stage.get("deps", [])),
            params={key: _value(params, key) for key in stage.get("params", [])},
            outs=tuple(_filled(each if isinstance(each, str) else next(iter(each)), values) for each in listed),
            matrix=item,
        )


def _listed(values: Any, params: Mapping[str, Any]) -> list[str]:
    if isinstance(values, str) and (named := PLACEHOLDER.fullmatch(values)):
        values = _value(params, named[1])
    return [str(value) for value in values or ()]


def _filled(text: str, values: Mapping[str, str]) -> str:
    return PLACEHOLDER.sub(lambda found: values[found[1]], text)


def _value(tree: Any, key: str) -> Any:
    for part in key.split("."):
        if not isinstance(tree, Mapping) or part not in tree:
            raise PipelineError(f"{PARAMS_YAML}: {key}: missing, and {DVC_YAML} asks for it")
        tree = tree[part]
    return tree
