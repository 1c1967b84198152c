"""Results of many trainings as the stages before the report write them, made up and quick to make.

A few evaluations, histories and gradient files are made once; a cell, which is a variant and a seed, has one of them
under its own names. Files that hold no names are hard links.
"""

import csv
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mosaic_pipeline.config import Config, dump_config, resolve
from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.declared import about
from mosaic_pipeline.layout import (
    RECOGNITION_TEST,
    analysis_file,
    config_file,
    evaluation_file,
    run_folder,
    tuning_file,
)
from mosaic_pipeline.params import Params

PARAMS = Path(__file__).parents[1] / "params.yaml"
KINDS = ("mosaic", "shared", "per_dataset", "linear_probe")  # what the variants are, in turn
BANK = 12  # different trainings; a variant's seeds have different ones
LAYERS, SAMPLES, HARDEST, BINS = 12, 4, 3, 15
MD5 = {"weights": "d" * 32}
UNDEFINED = ("quadratic_kappa", "mae", "acc_within_one", "map")


@dataclass(frozen=True)
class Scale:
    """How much there is: variants, seeds, rounds, analysed variants, and test cases of each of the 18 datasets."""

    variants: int
    seeds: int
    rounds: int
    analysed: int
    cases: int = 96

    @property
    def cells(self) -> int:
        """A variant and a seed each."""
        return self.variants * self.seeds

    @property
    def names(self) -> list[str]:
        """Of the variants; the first three are what sections of the report look for by name."""
        return [*KINDS, *(f"variant_{number:03d}" for number in range(len(KINDS), self.variants))][: self.variants]


def write_finished(folder: Path, scale: Scale) -> None:
    """Write params.yaml and all that the report reads below an empty folder."""
    params = _params(folder, scale)
    configs = {kind: resolve(params, kind) for kind in KINDS}
    bank = [_Trained(folder / "bank" / str(number), configs["mosaic"], params, scale, number) for number in range(BANK)]
    for place, variant in enumerate(scale.names):
        kind = KINDS[place % len(KINDS)]
        _write(folder / config_file(variant), dump_config(configs[kind]))
        _json(folder / tuning_file(variant), {"variant": variant, "seed": None, "chosen": None, "candidates": []})
        for seed in range(scale.seeds):
            bank[(place * scale.seeds + seed) % BANK].write(folder, variant, seed, kind, place < scale.analysed)
    records = {
        name: {"n": scale.cases, "proposed": {name: scale.cases}, "none": 0}
        | {"held_out": {"proposed": {}, "none": scale.cases}}
        for name in configs["mosaic"].datasets
    }
    _json(folder / RECOGNITION_TEST, MD5 | {"accepted": 0.95, "datasets": records})


def _params(folder: Path, scale: Scale) -> Params:
    tree = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    described = tree["ablation"]["variants"]
    further = {name: {"why": f"what does setting {name[-3:]} bring?"} for name in scale.names[len(KINDS) :]}
    tree["train"]["num_rounds"] = scale.rounds
    tree["seeds"] = list(range(scale.seeds))
    tree["ablation"] |= {
        "run": scale.names,
        "analyse": scale.names[: scale.analysed],
        "variants": {name: described[name] for name in KINDS} | further,
    }
    tree["segmentation"]["ablation"]["run"] = []
    _write(folder / "params.yaml", yaml.safe_dump(tree, sort_keys=False))
    return Params.model_validate(tree)


class _Trained:
    """One made-up training and its tests, to be had under any names."""

    def __init__(self, folder: Path, config: Config, params: Params, scale: Scale, number: int) -> None:
        self.folder, self.config, self.scale = folder, config, scale
        self.generator = np.random.default_rng(number)
        folder.mkdir(parents=True)
        self.specialist = {name: about(params.data, name).specialist for name in config.datasets}
        self.evaluations = {}
        for letter in params.specialists:
            arrays: dict[str, np.ndarray] = {}
            results = {}
            for name in config.datasets:
                if self.specialist[name] == letter:
                    results[name], made = self._test(config.datasets[name], params)
                    arrays |= {f"{name}/{key}": array for key, array in made.items()}
            np.savez(folder / f"{letter}.npz", **arrays)  # type: ignore[arg-type]  # of its own keyword
            points = [f"{name},{x / 20},{(x / 20) ** 0.4}\n" for name in results for x in range(21)]
            _write(folder / f"{letter}.roc.csv", "".join(["dataset,fpr,tpr\n", *points]))
            self.evaluations[letter] = json.dumps(results)
        _write(folder / "history.csv", self._history())
        self.conflicts = json.dumps(self._conflicts())
        self.analysis = self._analysis()

    def write(self, folder: Path, variant: str, seed: int, kind: str, analysed: bool) -> None:
        """Write the files of a variant and a seed."""
        names = {"variant": variant, "seed": seed}
        head = json.dumps(names)[:-1]
        md5 = json.dumps({"config": "c" * 32, **MD5, "model": f"{variant} {seed}".encode().hex()[:32].ljust(32, "0")})
        for letter, results in self.evaluations.items():
            text = f'{head}, "specialist": "{letter}", "md5": {md5}, "datasets": {results}}}'
            _write(folder / evaluation_file(variant, seed, letter, "json"), text)
            for suffix in ("npz", "roc.csv"):
                _link(self.folder / f"{letter}.{suffix}", folder / evaluation_file(variant, seed, letter, suffix))
        run = folder / run_folder(variant, seed)
        _json(run / "train.json", names | self._training(kind))
        _write(run / "conflicts.json", f'{head}, "conflicts": {self.conflicts if kind == "shared" else "null"}}}')
        _link(self.folder / "history.csv", run / "history.csv")
        if analysed:
            _json(folder / analysis_file(variant, seed), names | self.analysis[kind])

    def _test(self, dataset: Dataset, params: Params) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        n, classes, name = self.scale.cases, dataset.num_classes, dataset.name
        # Which cases are hard is the same in every training.
        hard = np.random.default_rng(sum(map(ord, name))).random((n, dataset.label_columns))
        right = hard + 0.3 * self.generator.standard_normal(hard.shape) < 0.7
        labels = (np.arange(n)[:, None] + np.arange(dataset.label_columns)) % (2 if dataset.multi_label else classes)
        scores = 0.5 * self.generator.random((n, classes)).astype(np.float32)
        confusion: Any
        if dataset.multi_label:
            scores += 0.5 * (right == (labels > 0)).astype(np.float32)
            confusion = np.zeros((classes, 2, 2), int)
            for column in range(classes):
                np.add.at(confusion[column], (labels[:, column], (right == (labels > 0))[:, column].astype(int)), 1)
        else:
            answer = np.where(right[:, 0], labels[:, 0], (labels[:, 0] + 1) % classes)
            scores[np.arange(n), answer] += 0.5
            confusion = np.zeros((classes, classes), int)
            np.add.at(confusion, (labels[:, 0], answer), 1)
        acc = right.mean(axis=1)
        auc = np.clip(0.8 + 0.2 * (acc - acc.mean()) + 0.01 * self.generator.standard_normal(n), 0, 1)
        contributions = np.stack([acc, auc], axis=1).astype(np.float32)
        further = dict.fromkeys(UNDEFINED)
        if dataset.task == "ordinal-regression":
            further |= {"quadratic_kappa": 0.4, "mae": 0.8, "acc_within_one": 0.9}
        if dataset.multi_label:
            further["map"] = 0.3
        bins = [
            [n if place == BINS - 1 else 0, *((0.9, 0.8) if place == BINS - 1 else (None, None))]
            for place in range(BINS)
        ]
        split = {"n": n, "of": n}
        size = params.data.size(dataset.dimension)
        result = {
            "n": n,
            "acc": float(acc.mean()),
            "auc": float(contributions[:, 1].mean(dtype=np.float64)),
            "loss": 0.9,
            "confusion": confusion.tolist(),
            **{"balanced_acc": 0.6, "macro_f1": 0.6, "ece": 0.1, "brier": 0.4, "reliability": bins},
            **{"temperature": 1.3, "loss_scaled": 0.8, "ece_scaled": 0.05, "brier_scaled": 0.38},
            **further,
            "data": {
                "form": dataset.form(),
                **about(params.data, name).record(),
                **{"source": "phantom", "official": False, "size": size, "raw_md5": "f" * 32},
                "class_names": [f"class {index}" for index in range(classes)],
                "splits": {"train": {"n": 96, "of": 96}, "val": {"n": 32, "of": 32}, "test": split},
                "findings": [],
            },
        }
        shape = ((size, size) if dataset.dimension == 2 else (size, 3 * size)) + ((3,) if dataset.channels == 3 else ())
        arrays = {"scores": scores, "labels": labels.astype(np.int64), "contributions": contributions}
        for kind, count in (("sample", SAMPLES), ("hardest", HARDEST)):
            arrays[f"{kind}_images"] = self.generator.integers(0, 256, (count, *shape), dtype=np.uint8)
            arrays[f"{kind}_index"] = np.arange(count, dtype=np.int64)
        return result, arrays

    def _history(self) -> str:
        both, metrics = ("student", "teacher"), ("acc", "auc")
        columns = ["round", "lr", "train_loss", *(f"{model}_{what}" for model in both for what in ("score", *metrics))]
        for name in self.config.datasets:
            columns += [f"{name}/train_loss", *(f"{name}/{which}_{what}" for which in both for what in metrics)]
            columns += [f"{name}/visit_{what}" for what in metrics]
        rise = 0.5 + 0.3 * (1 - 0.97 ** np.arange(1, self.scale.rounds + 1))[:, None]
        values = rise + 0.02 * self.generator.standard_normal((self.scale.rounds, len(columns)))
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for number, row in enumerate(np.clip(values, 0, 1).tolist(), 1):
            writer.writerow([number, *row[1:]])
        return file.getvalue()

    def _conflicts(self) -> dict[str, Any]:
        size, rounds = len(self.config.datasets), self.scale.rounds
        drawn = 0.1 * self.generator.standard_normal((rounds, size, size))
        cosines = np.clip((drawn + drawn.transpose(0, 2, 1)) / 2, -1, 1)
        cosines[:, range(size), range(size)] = 1
        found = [{"cosine": cosine.tolist(), "halves": [0.3] * size} for cosine in cosines]
        return {"specialist": "shared", "datasets": list(self.config.datasets), "cases": 32, "rounds": found}

    def _analysis(self) -> dict[str, dict[str, Any]]:
        """What an analysis of each kind of variant holds."""
        names, letters = list(self.config.datasets), ["A", "B", "C"]
        right = {name: (self.generator.random((3, 32)) < 0.7).astype(int) for name in names}
        alike = np.eye(3) + (1 - np.eye(3)) * 0.4
        ratio = {name: (0.1 + 0.1 * self.generator.random(LAYERS)).tolist() for name in names}
        nothing: dict[str, Any] = {"cases": 32, "counterfactual": None, "similarity": None, "branch_ratio": None}
        specialists = {
            "counterfactual": {
                "specialists": letters,
                "own": self.specialist,
                "acc": {name: found.mean(axis=1).tolist() for name, found in right.items()},
                "right": {name: found.tolist() for name, found in right.items()},
            },
            "similarity": {"specialists": letters, "layers": [alike.tolist()] * LAYERS},
            "branch_ratio": ratio,
        }
        return {
            "mosaic": nothing | specialists,
            "shared": nothing | {"branch_ratio": ratio},
            "per_dataset": nothing | {"branch_ratio": ratio},
            "linear_probe": nothing,
        }

    def _training(self, kind: str) -> dict[str, Any]:
        adapters = {
            "mosaic": {"A": 124_000, "B": 185_000, "C": 370_000},
            "shared": {"shared": 678_000},
            "per_dataset": dict.fromkeys(self.config.datasets, 124_000),
            "linear_probe": {},
        }[kind]
        heads = {"tokenizer_3d": 98_496, "positions_3d": 5_376, "heads": 22_002}
        trainable = sum(adapters.values()) + sum(heads.values())
        total = {"backbone": 5_400_000, "trainable": trainable, "total": 5_400_000 + trainable}
        return {
            **{"deployed": "teacher", "best_round": self.scale.rounds, "rounds": self.scale.rounds},
            **{"stopped": "complete", "score": 0.7, "steps": 54 * self.scale.rounds, "precision": "fp32"},
            "parameters": {"specialists": adapters, **heads, **total},
            "weights": {"source": "random", "sha256": "e" * 64},
        }


def _json(path: Path, tree: Any) -> None:
    _write(path, json.dumps(tree))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _link(source: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.link(source, path)
