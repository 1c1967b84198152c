"""Inputs of segmentation's report as the stages before it would write them, small and made up."""

import csv
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mosaic_pipeline.layout import segmentation_analysis, segmentation_evaluation, segmentation_run
from mosaic_pipeline.npz import write_npz
from mosaic_pipeline.params import Params
from mosaic_pipeline.segmentation.config import Config, resolve
from mosaic_pipeline.segmentation.datasets import LabelledSet
from mosaic_pipeline.segmentation.evaluation.metrics import diagonal

PARAMS = Path(__file__).parents[3] / "params.yaml"
SETS = {
    "one": LabelledSet("one", "Set one", "ct", {1: "liver", 2: "right kidney", 3: "spleen"}),
    "two": LabelledSet("two", "Set two", "mri", {1: "liver", 2: "gallbladder"}),
}
# What a variant has of an organ in a case: (variant, seed, set, case, organ) -> DSC.
Dsc = Callable[[str, int, str, int, int], float]


def scattered(variant: str, seed: int, dataset: str, case: int, organ: int) -> float:
    """A DSC that depends on the case most, and on the training a little; the variants are one method."""
    generator = np.random.default_rng([len(variant), seed, len(dataset), case, organ, sum(map(ord, variant + dataset))])
    hard = np.random.default_rng([case, organ, sum(map(ord, dataset))]).normal(0, 0.1)
    return float(np.clip(0.6 + hard + generator.normal(0, 0.05), 0.01, 0.99))


@dataclass
class Inputs:
    """What to write. `status` maps (variant, set, case, organ), from 0, to what became of it if that is no hit."""

    root: Path
    variants: tuple[str, ...] = ("m4oe", "hard", "dense")
    seeds: tuple[int, ...] = (42,)
    sets: dict[str, LabelledSet] = field(default_factory=lambda: dict(SETS))
    cases: int = 8
    shape: tuple[int, int, int] = (20, 24, 6)
    spacing: tuple[float, float, float] = (2.0, 1.5, 5.0)
    source: str = "phantom"
    dsc: Dsc = scattered
    status: dict[tuple[str, str, int, int], str] = field(default_factory=dict)
    case_name: Callable[[str, int], str] = "{0}_{1:03d}".format
    patient: Callable[[str, int], str] = "{0}-{1}".format
    titles: dict[str, str] = field(default_factory=dict)
    findings: dict[str, list[str]] = field(default_factory=dict)
    blocks: dict[str, tuple[int, int]] = field(default_factory=dict)
    analysed: tuple[str, ...] = ("m4oe",)
    pictures: bool = True

    def write(self) -> Path:
        for variant in self.variants:
            for seed in self.seeds:
                config = self.config(variant).for_seed(seed)
                self._write_run(variant, seed, config)
                self._write_evaluation(variant, seed)
                if variant in self.analysed:
                    self._json(segmentation_analysis(variant, seed), self.analysis(variant, seed, config))
        return self.root

    def config(self, variant: str) -> Config:
        tree = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
        tree["segmentation"]["train"] |= {"expert_rounds": 4, "gate_rounds": 1}
        return resolve(Params.model_validate(tree), variant, self.sets)

    def evaluation(self, variant: str, seed: int) -> dict[str, Any]:
        return {
            "variant": variant,
            "seed": seed,
            "main": variant == self.variants[0],
            "md5": {"model": f"md5 of {variant} {seed}"},
            "datasets": {name: self._dataset(variant, seed, name) for name in self.sets},
        }

    def _dataset(self, variant: str, seed: int, name: str) -> dict[str, Any]:
        each = self.sets[name]
        cases = [self._case(variant, seed, name, case) for case in range(self.cases)]
        return {
            "title": self.titles.get(name, each.title),
            "modality": each.modality,
            "organs": list(each.organs),
            "licence": "Made by this project",
            "citation": "",
            "source": self.source,
            "size": 16,
            "nsd_mm": dict.fromkeys(each.organs, 2.0),
            "cases": cases,
            "train": {"cases": 6, "slices": 90},
            "findings": self.findings.get(name, []),
            "overlays": self._overlays(cases) if self._pictured(variant, seed) else [],
        }

    def _pictured(self, variant: str, seed: int) -> bool:
        return self.pictures and (variant, seed) == (self.variants[0], self.seeds[0])

    def _case(self, variant: str, seed: int, name: str, case: int) -> dict[str, Any]:
        organs = self.sets[name].organs
        return {
            "case": self.case_name(name, case),
            "patient": self.patient(name, case),
            "shape": list(self.shape),
            "spacing": list(self.spacing),
            **({"block": list(self.blocks[name])} if name in self.blocks else {}),
            "ceiling": {organ: 0.9 - 0.05 * place for place, organ in enumerate(organs)},
            "organs": [self._organ(variant, seed, name, case, place) for place in range(len(organs))],
        }

    def _organ(self, variant: str, seed: int, name: str, case: int, place: int) -> dict[str, Any]:
        status = self.status.get((variant, name, case, place), "hit")
        dsc = self.dsc(variant, seed, name, case, place)
        true = 100.0 / (1 + place) if status in ("hit", "missed") else 0.0
        found = 100.0 / (1 + place) * (1.2 - 0.3 * dsc) if status in ("hit", "invented") else 0.0
        values = {
            "hit": (dsc, min(1.0, dsc + 0.05), 12 * (1 - dsc)),
            "absent": (None, None, None),
        }.get(status, (0.0, 0.0, diagonal(self.shape, self.spacing)))
        return {
            "organ": self.sets[name].organs[place],
            "status": status,
            **dict(zip(("dsc", "nsd", "hd95"), values, strict=True)),
            "nsd_mm": 2.0,
            "volume_ref_ml": true,
            "volume_pred_ml": found,
            "volume_error_ml": found - true,
            "volume_error_percent": 100 * (found - true) / true if true else None,
        }

    def _overlays(self, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
        kinds = ("best", "median", "worst", "hardest")
        organ = cases[0]["organs"][0]["organ"]
        return [
            {
                "kind": kind,
                "case": cases[place % len(cases)]["case"],
                "organ": organ if kind == "hardest" else None,
                "slices": [2, 3, 4],
                "dsc": 0.5,
            }
            for place, kind in enumerate(kinds)
        ]

    def _write_evaluation(self, variant: str, seed: int) -> None:
        path = segmentation_evaluation(variant, seed)
        tree = self.evaluation(variant, seed)
        self._json(path, tree)
        if not self._pictured(variant, seed):
            return
        arrays = {}
        for name, result in tree["datasets"].items():
            for overlay in result["overlays"]:
                for part, array in self.picture().items():
                    arrays[f"{name}/{overlay['kind']}/{part}"] = array
        write_npz(self.root / path.with_suffix(".npz"), arrays)

    def picture(self) -> dict[str, np.ndarray]:
        """Three slices: class 1 on the patient's right (high x) in front (high y), predicted a little off."""
        x, y, _ = self.shape
        reference = np.zeros((3, x, y), np.uint8)
        reference[:, x // 2 + 2 : -3, y // 2 : -4] = 1
        reference[:, 3 : x // 2 - 3, 4 : y // 2] = 2
        prediction = np.roll(reference, 1, axis=1)
        grey = np.add.outer(np.arange(x) * 5, np.arange(y) * 4)
        image = np.clip(np.broadcast_to(grey, (3, x, y)), 0, 255).astype(np.uint8)
        return {"image": np.ascontiguousarray(image), "reference": reference, "prediction": prediction}

    def _write_run(self, variant: str, seed: int, config: Config) -> None:
        folder, recipe = segmentation_run(variant, seed), config.train
        rounds, ends = sum(config.rounds.values()), list(accumulate(config.rounds.values()))
        phases = dict(zip(config.rounds, (0, *ends), strict=False))
        experts = dict.fromkeys(config.experts.names, 300_000)
        parts = {"trunk": 500_000, "experts": experts, "gates": 3_000 if recipe.gate_rounds else 0, "heads": 9_000}
        total = 509_000 + sum(experts.values()) + parts["gates"]
        active = {"experts": 809_000} | ({"gate": total} if recipe.gate_rounds else {})
        costs = {"active": active, "macs": {phase: 30 * count for phase, count in active.items()}}
        self._json(
            folder / "train.json",
            {
                "variant": variant,
                "seed": seed,
                "best_round": rounds,
                "rounds": rounds,
                "phases": phases,
                "stopped": "complete",
                "score": 0.55,
                "steps": 375,
                "config": config.model_dump(mode="json", exclude_none=True),
                "parameters": parts | {"reconstruction": 0, "trainable": total, "total": total} | costs,
                "precision": "fp32",
                "weights": {"source": "random"},
                "md5": {"config": f"md5 of {variant}", "model": f"md5 of {variant} {seed}"},
            },
        )
        columns = ["round", "lr", "train_loss", "phase", "score", *(f"{name}/train_loss" for name in self.sets)]
        path = self.root / folder / "history.csv"
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            for number in range(1, rounds + 1):
                phase = 1 + sum(number > end for end in ends)
                score = 0.55 * (1 - math.exp(-number / 2)) if number < rounds else 0.55
                writer.writerow([number, 1e-3, 1 / number, phase, score, *(1 / number for _ in self.sets)])

    def analysis(self, variant: str, seed: int, config: Config) -> dict[str, Any]:
        experts, datasets = list(config.experts.names), list(self.sets)
        of = config.experts.of
        layers = ["encoder.0.0", "encoder.1.0", "decoder.0.0"]
        share = [[0.2 + 0.6 * (of[name] == expert) for expert in experts] for name in datasets]
        gates = {
            "experts": experts,
            "layers": layers,
            "datasets": {
                name: {"weights": [row] * len(layers), "entropy": [0.9, 0.8, 0.7]}
                for name, row in zip(datasets, share, strict=True)
            },
        }
        ramp = np.linspace(0, 1, 12).reshape(3, 4)
        return {
            "variant": variant,
            "seed": seed,
            "cases": 16,
            "counterfactual": {
                "datasets": datasets,
                "experts": experts,
                "dsc": [[0.6 if of[name] == expert else 0.1 for expert in experts] for name in datasets],
            },
            "gates": gates if config.experts.mix == "gated" else None,
            "maps": [
                {
                    "dataset": datasets[0],
                    "layer": layers[0],
                    "experts": experts,
                    "weights": [ramp.tolist(), (1 - ramp).tolist()],
                    "image": (np.arange(64).reshape(8, 8) * 4).tolist(),
                }
            ]
            if config.experts.mix == "gated"
            else None,
            "similarity": {"experts": experts, "layers": layers, "cka": [[[1.0, 0.3], [0.3, 1.0]]] * 3},
            "conflicts": {"datasets": datasets, "cosine": [[1.0, -0.2], [-0.2, 1.0]]},
        }

    def _json(self, path: Path, tree: Any) -> None:
        self._text(path, json.dumps(tree))

    def _text(self, path: Path, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text, encoding="utf-8")


@pytest.fixture
def inputs(tmp_path):
    return Inputs(tmp_path)


@pytest.fixture(scope="session")
def make_inputs():
    return Inputs
