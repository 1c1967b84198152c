"""Inputs of the report as the stages before it would write them, small and made up."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mosaic_pipeline.config import dump_config, resolve
from mosaic_pipeline.declared import about
from mosaic_pipeline.params import Data, Params

PARAMS = Path(__file__).parents[2] / "params.yaml"
ROUTINGS = ("specialists", "shared", "none")


@dataclass
class Inputs:
    """What to write; `metrics` maps (variant, seed, dataset) to values that replace the made-up ones.

    `contributions` maps the same to arrays [N, 2]; without an entry they scatter around the metrics, the same way for
    all trainings, so that differences do not vary with the cases. `analyses` maps variants to what
    analysis/<variant>/<seed>.json holds, or a function of the seed that says it, `conflicts` (variant, seed) to what
    stands under that key in conflicts.json. `after_visits` gives the variants whose history has the validation after
    each visit, and how much of ACC is lost until the end of the round. `tuning` maps variants to (values, score) of
    each candidate and the index of the chosen one, `findings` and `notes` datasets to
    those of their meta.json; `sources` those whose source is another one. `own` declares datasets beside the 18. What
    test cases are proposed to be of is all right, and all none where the own dataset is left out, but for the counts in
    `proposed` and `held_out`; what these leave of the cases is none.
    """

    root: Path
    variants: tuple[str, ...] = ("mosaic", "shared", "linear_probe")
    seeds: tuple[int, ...] = (42,)
    specialists: tuple[str, ...] = ("A", "B", "C")
    datasets: tuple[str, ...] = ("retinamnist", "breastmnist", "adrenalmnist3d")
    source: str = "phantom"
    official: bool = False
    sizes: dict[int, int] = field(default_factory=lambda: {2: 28, 3: 28})
    test: int = 24
    whole_test: int | None = None
    rounds: int = 3
    class_name: Callable[[str, int], str] = lambda dataset, index: f"class {index}"
    metrics: dict[tuple[str, int, str], dict[str, float | None]] = field(default_factory=dict)
    contributions: dict[tuple[str, int, str], np.ndarray] = field(default_factory=dict)
    analyses: dict[str, dict[str, Any] | Callable[[int], dict[str, Any]]] = field(default_factory=dict)
    conflicts: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    after_visits: dict[str, float | Callable[[int], float]] = field(default_factory=dict)
    trainable: dict[str, int] = field(default_factory=dict)
    tuning: dict[str, tuple[list[tuple[dict[str, Any], float | None]], int]] = field(default_factory=dict)
    findings: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    weights: str = "random"
    own: dict[str, dict[str, Any]] = field(default_factory=dict)
    proposed: dict[str, dict[str, int]] = field(default_factory=dict)
    held_out: dict[str, dict[str, int]] = field(default_factory=dict)

    def write(self) -> Path:
        for index, variant in enumerate(self.variants):
            self._write_config(variant, ROUTINGS[index % len(ROUTINGS)])
            self._write_tuning(variant)
            for seed in self.seeds:
                generator = np.random.default_rng([index, seed])
                self._write_run(variant, seed, index, generator)
                for specialist in self.specialists:
                    self._write_evaluation(variant, seed, specialist, generator)
        self._write_recognition()
        for variant, parts in self.analyses.items():
            for seed in self.seeds:
                path = self.root / "analysis" / variant / f"{seed}.json"
                path.parent.mkdir(parents=True, exist_ok=True)
                head = {"variant": variant, "seed": seed, "cases": 16}
                missing = dict.fromkeys(("counterfactual", "similarity", "branch_ratio", "gate"))
                found = parts(seed) if callable(parts) else parts
                path.write_text(json.dumps(head | missing | found), encoding="utf-8")
        return self.root

    def _write_recognition(self) -> None:
        def tally(proposed: dict[str, int]) -> dict[str, Any]:
            return {"proposed": proposed, "none": self.test - sum(proposed.values())}

        dimensions = {name: self._data.form(name).dimension for name in self.datasets}
        records = {
            name: {"n": self.test}
            | tally(self.proposed.get(name, {name: self.test}))
            | {"held_out": tally(self.held_out.get(name, {})) if list(dimensions.values()).count(of) > 1 else None}
            for name, of in dimensions.items()
        }
        path = self.root / "recognition" / "test.json"
        path.parent.mkdir()
        path.write_text(json.dumps({"weights": "d" * 32, "accepted": 0.95, "datasets": records}), encoding="utf-8")

    def _tree(self) -> dict[str, Any]:
        tree = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
        tree["data"] |= {"datasets": list(self.datasets), "own": self.own}
        tree["specialists"] = list(self.specialists)
        tree["adapter"] |= {f"bottleneck_{letter.lower()}": 8 for letter in self.specialists if letter not in "ABC"}
        return tree

    @cached_property
    def _data(self) -> Data:
        return Params.model_validate(self._tree()).data

    def _write_config(self, variant: str, routing: str) -> None:
        tree = self._tree()
        tree["adapter"] |= {"kind": "none"} if routing == "none" else {"routing": routing}
        tree["train"] |= {"num_rounds": self.rounds, "warmup_rounds": 0}
        tree["ablation"] |= {"run": ["any"], "analyse": [], "variants": {"any": {"why": "any"}}}
        path = self.root / "configs" / f"{variant}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dump_config(resolve(Params.model_validate(tree), "any")), encoding="utf-8")

    def _write_tuning(self, variant: str) -> None:
        tried, chosen = self.tuning.get(variant, ([], None))
        candidates = [
            {"values": values}
            | dict.fromkeys(("score", "acc", "auc", "best_round"))
            | ({"score": score, "acc": score - 0.1, "auc": score + 0.1, "best_round": 2} if score is not None else {})
            for values, score in tried
        ]
        record = {"variant": variant, "seed": 7 if tried else None, "chosen": chosen, "candidates": candidates}
        path = self.root / "tuning" / f"{variant}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(record), encoding="utf-8")

    def _write_run(self, variant: str, seed: int, index: int, generator: np.random.Generator) -> None:
        folder = self.root / "runs" / variant / str(seed)
        folder.mkdir(parents=True)
        columns = ["round", "lr", "train_loss", "student_score", "teacher_score"]
        columns += [f"{model}_{metric}" for model in ("student", "teacher") for metric in ("acc", "auc")]
        for name in self.datasets:
            columns.append(f"{name}/train_loss")
            columns += [f"{name}/{model}_{metric}" for model in ("student", "teacher") for metric in ("acc", "auc")]
        visits = [f"{name}/visit_{metric}" for name in self.datasets for metric in ("acc", "auc")]
        lost = self.after_visits.get(variant)
        lost = lost(seed) if callable(lost) else lost
        with open(folder / "history.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns if lost is None else columns + visits)
            for number in range(1, self.rounds + 1):
                values = 0.5 + 0.3 * (1 - 0.7**number) + 0.02 * generator.standard_normal(len(columns))
                values[2] = 2 - values[2]
                row = [number, *(f"{value:.6f}" for value in values[1:])]
                if lost is not None:
                    ends = [float(row[columns.index(visit.replace("visit", "student"))]) for visit in visits]
                    row += [f"{end + lost:.6f}" for end in ends]
                writer.writerow(row)
        adapters = [{"A": 124_000, "B": 185_000, "C": 370_000}, {"shared": 678_000}, {}][index % 3]
        if variant in self.trainable:
            adapters = {"shared": self.trainable[variant]} if self.trainable[variant] else {}
        parts = {"specialists": adapters, "tokenizer_3d": 98_496, "positions_3d": 5_376, "heads": 22_002}
        trainable = sum(adapters.values()) + 98_496 + 5_376 + 22_002
        training = {
            "variant": variant,
            "seed": seed,
            "deployed": ("student", "teacher")[index % 2],
            "best_round": self.rounds,
            "rounds": self.rounds,
            "stopped": "complete",
            "score": 0.71,
            "parameters": {
                **parts,
                "backbone": 5_400_000,
                "trainable": trainable,
                "total": 5_400_000 + trainable,
            },
            "weights": {"source": self.weights, "sha256": "e" * 64},
            "steps": 432,
            "precision": "fp32",
            "md5": {"config": "c" * 32, "weights": "d" * 32},
        }
        conflicts = {"variant": variant, "seed": seed, "conflicts": self.conflicts.get((variant, seed))}
        (folder / "conflicts.json").write_text(json.dumps(conflicts), encoding="utf-8")
        (folder / "train.json").write_text(json.dumps(training), encoding="utf-8")

    def _write_evaluation(self, variant: str, seed: int, specialist: str, generator: np.random.Generator) -> None:
        arrays: dict[str, np.ndarray] = {}
        results = {}
        for name in self.datasets:
            if self._data.specialist(name) == specialist:
                results[name], made = self._result(name, generator)
                results[name] |= self.metrics.get((variant, seed, name), {})
                made["contributions"] = self._contributions(variant, seed, name, results[name]).astype(np.float32)
                arrays |= {f"{name}/{key}": array for key, array in made.items()}
        evaluation = {
            "variant": variant,
            "seed": seed,
            "specialist": specialist,
            "deployed": "student",
            "md5": {"config": "c" * 32, "weights": "d" * 32, "model": "e" * 32},
            "datasets": results,
        }
        folder = self.root / "evaluation" / variant / str(seed)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{specialist}.json").write_text(json.dumps(evaluation), encoding="utf-8")
        np.savez(folder / f"{specialist}.npz", **arrays)
        with open(folder / f"{specialist}.roc.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["dataset", "fpr", "tpr"])
            for name in results:
                writer.writerows([name, x / 20, (x / 20) ** 0.4] for x in range(21))

    def _contributions(self, variant: str, seed: int, name: str, result: dict[str, Any]) -> np.ndarray:
        if (variant, seed, name) in self.contributions:
            return self.contributions[variant, seed, name]
        scatter = 0.4 * np.random.default_rng(len(name)).standard_normal((self.test, 2))
        centre = [np.nan if result[metric] is None else result[metric] for metric in ("acc", "auc")]
        return np.array(centre) + scatter - scatter.mean(axis=0)

    def _result(self, name: str, generator: np.random.Generator) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        dataset, n = self._data.form(name), self.test
        classes = dataset.num_classes
        if dataset.multi_label:
            labels = (generator.random((n, classes)) < 0.2).astype(np.int64)
            labels[0], labels[1] = 0, 1
            scores = np.clip(0.5 * labels + 0.5 * generator.random((n, classes)), 0, 1).astype(np.float32)
            right = (scores > 0.5) == (labels > 0)
            confusion = [np.histogram2d(labels[:, i], scores[:, i] > 0.5, bins=2)[0] for i in range(classes)]
        else:
            labels = (np.arange(n) % classes)[:, None]
            logits = 2 * np.eye(classes)[labels[:, 0]] + generator.standard_normal((n, classes))
            scores = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32)
            right = scores.argmax(1) == labels[:, 0]
            confusion = np.zeros((classes, classes))
            np.add.at(confusion, (labels[:, 0], scores.argmax(1)), 1)
        size = self.sizes[dataset.dimension]
        shape = {2: (size, size), 3: (size, 3 * size)}[dataset.dimension]
        shape += (3,) if dataset.channels == 3 else ()
        split = {"n": n, "of": self.whole_test or n}
        result = {
            "n": n,
            "acc": float(right.mean()),
            "auc": float(np.clip(right.mean() + 0.1, 0, 1)),
            "loss": 0.9,
            "confusion": np.asarray(confusion).astype(int).tolist(),
            **dict.fromkeys(("quadratic_kappa", "mae", "acc_within_one", "map")),
            **self._further(name, float(right.mean())),
            "data": {
                "form": dataset.form(),
                **about(self._data, name).record(),
                "source": self.sources.get(name, self.source),
                "official": self.official,
                "size": size,
                "class_names": [self.class_name(name, index) for index in range(classes)],
                "raw_md5": "f" * 32,
                "splits": {"train": {"n": 64, "of": 64}, "val": {"n": 16, "of": 16}, "test": split},
                "findings": self.findings.get(name, []),
                **({"notes": self.notes[name]} if name in self.notes else {}),
            },
        }
        arrays = {
            "scores": scores,
            "labels": labels,
            "sample_images": generator.integers(0, 256, (4, *shape), dtype=np.uint8),
            "sample_index": np.arange(4, dtype=np.int64),
            "hardest_images": generator.integers(0, 256, (3, *shape), dtype=np.uint8),
            "hardest_index": np.arange(4, 7, dtype=np.int64),
        }
        return result, arrays

    def _further(self, name: str, acc: float) -> dict[str, Any]:
        bins = [[0, None, None]] * 8 + [[self.test // 7, 0.57 + place / 15, 0.5 + place / 15] for place in range(7)]
        further = {"balanced_acc": acc - 0.02, "macro_f1": acc - 0.03, "ece": 0.071, "reliability": bins}
        further |= {"brier": 0.4, "temperature": 1.31, "loss_scaled": 0.8, "ece_scaled": 0.034, "brier_scaled": 0.38}
        if self._data.form(name).task == "ordinal-regression":
            further |= {"quadratic_kappa": 0.41, "mae": 0.83, "acc_within_one": min(1.0, acc + 0.2)}
        if self._data.form(name).multi_label:
            further["map"] = 0.234
        return further


@pytest.fixture(scope="session")
def make_inputs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Inputs]:
    """Make inputs below a temporary folder of their own."""
    return lambda: Inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture
def inputs(make_inputs: Callable[[], Inputs]) -> Inputs:
    """Inputs below a temporary folder; change its fields, then `write()` them."""
    return make_inputs()
