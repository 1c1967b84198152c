"""Files of corrupted images and of external datasets beside made-up inputs of the report."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mosaic_pipeline.data import official
from mosaic_pipeline.data.corruptions import STRENGTHS
from mosaic_pipeline.datasets import MEDMNIST

METRICS = ("acc", "auc")
CASES = 60
# What is kept of a metric: by variant, seed, dataset and strength.
Share = Callable[[str, int, str, int], float]
# Validation score, ACC and AUC: by variant, seed and place of the way.
Values = Callable[[str, int, int], tuple[float, float, float | None]]


def evaluations(inputs) -> list[tuple[Path, dict[str, Any]]]:
    paths = sorted((inputs.root / "evaluation").glob("*/*/[A-Z].json"))
    return [(path, json.loads(path.read_text(encoding="utf-8"))) for path in paths]


def write_corrupted(inputs, kind: str, share: Share) -> None:
    """Write the files of one corruption for every training; each case loses the same part of what it adds."""
    made: dict[Path, tuple[dict[str, Any], dict[str, np.ndarray]]] = {}
    for path, clean in evaluations(inputs):
        head = {key: clean[key] for key in ("variant", "seed", "deployed", "md5")}
        place = path.parent / "corrupted" / f"{kind}.json"
        tree, arrays = made.setdefault(place, (head | {"corruption": kind, "datasets": {}}, {}))
        with np.load(path.with_suffix(".npz")) as stored:
            for name, result in clean["datasets"].items():
                kept = [share(clean["variant"], clean["seed"], name, place) for place in range(1, STRENGTHS + 1)]
                tree["datasets"][name] = {"n": result["n"]} | {
                    metric: [None if result[metric] is None else part * result[metric] for part in kept]
                    for metric in METRICS
                }
                cases = stored[f"{name}/contributions"]
                arrays[f"{name}/contributions"] = np.stack([part * cases for part in kept]).astype(np.float32)
    for path, (tree, arrays) in made.items():
        write(path, tree, arrays)


def write_transfer(
    inputs, name: str, ways: Mapping[str, list[tuple[str | None, str | None, bool]]], values: Values, **more: Any
) -> None:
    """Write the files of an external dataset for every training; `ways` are those of each variant.

    Cases scatter in a way of their own for each of the ways. `more` are other values of the JSON.
    """
    dataset = MEDMNIST[name]
    splits = {split: {"n": n, "of": n} for split, n in (("train", 64), ("val", 16), ("test", CASES))}
    data = {"form": dataset.form(), **official.about(dataset).record(), "source": "phantom", "official": False}
    data |= {"size": 28, "raw_md5": "f" * 32, "splits": splits, "findings": []}
    for variant in inputs.variants:
        for seed in inputs.seeds:
            heads, arrays = [], {}
            for place, (specialist, tokenizer, gate) in enumerate(ways[variant]):
                score, acc, auc = values(variant, seed, place)
                head = {"specialist": specialist, "tokenizer": tokenizer, "gate": gate, "penalty": 0.1}
                heads.append(head | {"val_score": score, "val_acc": score, "val_auc": score, "acc": acc, "auc": auc})
                scatter = 0.2 * np.random.default_rng(place).standard_normal((CASES, 2))
                centre = np.array([np.nan if value is None else value for value in (acc, auc)])
                arrays[f"{place}/contributions"] = (centre + scatter - scatter.mean(axis=0)).astype(np.float32)
            tree = {"variant": variant, "seed": seed, "dataset": name, "deployed": "student"}
            tree |= {"md5": {"model": "e" * 32}, "own": None, "constant_acc": 0.5, "data": data, "heads": heads}
            path = inputs.root / "evaluation" / variant / str(seed) / "transfer" / f"{name}.json"
            write(path, tree | more, arrays)


def write(path: Path, tree: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree), encoding="utf-8")
    np.savez(path.with_suffix(".npz"), **arrays)
