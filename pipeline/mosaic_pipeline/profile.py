"""Profiles: partial trees of params.yaml that are laid over it, comments kept, in the form in which DVC writes it."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.params import PARAMS_FILE, parse_params
from mosaic_pipeline.reading import read_text

if TYPE_CHECKING:
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

PROFILES = Path("profiles")


def profile_file(name: str) -> Path:
    """Return a profile's file. Raises PipelineError, naming the profiles, if there is none of that name."""
    if name not in profile_names():
        raise PipelineError(f"{name}: no such profile; the profiles are {', '.join(profile_names())}")
    return PROFILES / f"{name}.yaml"


def read_profile(name: str) -> str:
    """Return a profile's text. Raises PipelineError if there is none of that name, or if it cannot be read."""
    file = profile_file(name)
    return read_text(file, f"correct or remove {file}")


def profile_names() -> list[str]:
    """Names of all profiles, sorted."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def overlay(params: str, profile: str, where: str) -> str:
    """Return the text of params.yaml with the profile's values in it; only lines of changed values differ.

    A mapping is laid over the mapping, anything else replaces what was there. `where` is what errors call the
    profile. Raises PipelineError if the profile is no mapping or the result is not legal (unknown key, bad value).
    """
    from ruamel.yaml import YAMLError
    from ruamel.yaml.comments import CommentedMap

    yaml = _round_trip()
    try:
        target = yaml.load(params)
    except YAMLError as error:
        raise PipelineError(f"{PARAMS_FILE}: not valid YAML: {' '.join(str(error).split())}") from None
    try:
        values = yaml.load(profile)
    except YAMLError as error:
        raise PipelineError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, CommentedMap):
        raise PipelineError(f"{where}: expected a mapping of parameters, found {type(values).__name__}")
    _lay(target, values)
    stream = io.StringIO()
    yaml.dump(target, stream)
    parse_params(stream.getvalue(), where)
    return stream.getvalue()


def _round_trip() -> "YAML":
    """Return a YAML with the settings of DVC, whose `-S` rewrites params.yaml: both have to leave the same form."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.default_flow_style = False
    return yaml


def _lay(target: "CommentedMap", values: "CommentedMap") -> None:
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    for key, value in values.items():
        old = target.get(key)
        if isinstance(old, CommentedMap) and isinstance(value, CommentedMap):
            _lay(old, value)
        elif key in target and old == value and type(old) is type(value):
            continue
        elif isinstance(old, CommentedSeq) and isinstance(value, CommentedSeq):
            _replace_items(old, value)
        else:
            target[key] = _in_blocks(value)


def _replace_items(old: "CommentedSeq", new: "CommentedSeq") -> None:
    """Put other items in place, so that the style of the list stays, and what stands below it."""
    below = old.ca.items.get(len(old) - 1)
    old[:] = list(new)
    old.ca.items.clear()
    if below and new:
        old.ca.items[len(new) - 1] = below


def _in_blocks(value: Any) -> Any:
    """Return a value as DVC writes it: an item a line, unless it is empty."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    if isinstance(value, CommentedMap | CommentedSeq):
        if value:
            value.fa.set_block_style()
        for inner in value.values() if isinstance(value, CommentedMap) else value:
            _in_blocks(inner)
    return value
