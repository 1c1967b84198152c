"""The configurations from which that of a variant is chosen: one, or those of ablation.tune.grid."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mosaic_pipeline.config import Config, config_tree, dump_config, parse_config, resolve
from mosaic_pipeline.params import Params
from mosaic_pipeline.reading import read_yaml, reading


@dataclass(frozen=True)
class Candidate:
    """A configuration, and by dotted key the values of the grid that it has."""

    values: dict[str, Any]
    config: Config


@dataclass(frozen=True)
class Candidates:
    """What is tried for a variant with one seed, each configuration once; without a seed there is nothing to choose."""

    seed: int | None
    tried: tuple[Candidate, ...]


def resolve_candidates(params: Params, variant: str) -> Candidates:
    """Return what is tried for a variant, in the order of the grid; its own configuration alone if it is not tuned."""
    tune = params.ablation.tune
    if variant not in tune.variants:
        return Candidates(None, (Candidate({}, resolve(params, variant)),))
    alike: dict[str, list[Candidate]] = {}
    for values in params.combinations(variant):
        config = resolve(params, variant, values)
        alike.setdefault(dump_config(config), []).append(Candidate(values, config))
    # Where candidates are the same configuration, the values in which they differ have no influence.
    tried = tuple(Candidate(_common(same), same[0].config) for same in alike.values())
    return Candidates(tune.seed if any(candidate.values for candidate in tried) else None, tried)


def _common(candidates: list[Candidate]) -> dict[str, Any]:
    first = candidates[0].values
    return {key: value for key, value in first.items() if all(each.values[key] == value for each in candidates)}


def dump_candidates(candidates: Candidates) -> str:
    """Return the candidates as YAML, the same bytes for the same values."""
    tried = [{"values": each.values, "config": config_tree(each.config)} for each in candidates.tried]
    return yaml.safe_dump({"seed": candidates.seed, "tried": tried}, sort_keys=False)


def load_candidates(path: Path) -> Candidates:
    """Read what `dump_candidates` wrote. Raises PipelineError if the file is missing or not such a file."""
    tree = read_yaml(path)
    with reading(path):
        if not isinstance(tree, dict) or not isinstance(tree.get("tried"), list) or not tree["tried"]:
            raise ValueError("no candidates")
        seed, tried = tree.get("seed"), tuple(_parse_candidate(each) for each in tree["tried"])
        if not (seed is None and len(tried) == 1) and (type(seed) is not int or seed < 0):
            raise ValueError(f"seed = {seed!r}: no seed to try {len(tried)} candidates with")
        return Candidates(seed, tried)


def _parse_candidate(tree: Any) -> Candidate:
    if not isinstance(tree, dict) or not isinstance(tree.get("values"), dict):
        raise ValueError("a candidate without values")
    return Candidate(tree["values"], parse_config(tree.get("config")))
