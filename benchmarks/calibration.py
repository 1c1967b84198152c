"""How often the report calls a difference where none is, and how often it finds one that is there.

Trainings are simulated with set spreads between cases, methods and trainings, and go through the functions that the
report itself calls differences by. A family is all that a section could call; a false claim is any call in it.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations, product
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from scipy import stats

from benchmarks.result import Result
from mosaic_pipeline.datasets import MEDMNIST, MOSAIC_ROUTING
from mosaic_pipeline.evaluation.contributions import contributions
from mosaic_pipeline.evaluation.inference import wilson
from mosaic_pipeline.present import present
from mosaic_pipeline.reporting.comparisons import ALPHA, compare_all, on_every_dataset
from mosaic_pipeline.reporting.means import estimate
from mosaic_pipeline.reporting.results import METRICS, Results, Run, load_results
from mosaic_pipeline.reporting.sections import counterfactual, forgetting, gradients
from mosaic_pipeline.reporting.sections.gain import ALONE, multi_task_gains

if TYPE_CHECKING:
    from mosaic_pipeline.config import Config
    from mosaic_pipeline.reporting.records import DatasetResult, Training

# Binary, so that right answers and curves are of one score; eighteen names are all that is taken of the table.
DATASET = MEDMNIST["breastmnist"]
MARGIN = 0.01


@dataclass(frozen=True)
class Spread:
    """Standard deviations of a case's distance to the threshold, which is normal with a variance of 1 in all.

    `case`: how hard it is for all; `method`: how hard for one method alone; `training`: a training's shift on one
    dataset; `together`: its shift on all of them. The rest is each answer's own. A shift of 0.1 is about three points
    of accuracy.
    """

    case: float = 0.7
    method: float = 0.0
    training: float = 0.08
    together: float = 0.03

    @property
    def answer(self) -> float:
        """What is left for each answer."""
        parts = (self.case, self.method, self.training, self.together)
        return math.sqrt(1 - sum(part**2 for part in parts))


# One method twice, and two that are level on average and suit different cases.
NULLS = {"one method": Spread(), "two methods, level": Spread(case=0.6, method=0.35)}


def run(repeats: int, root: Path | None = None) -> Result:
    """Simulate families without a difference; with `root`, also set its trainings of one variant against each other."""
    rows = []
    for seeds, datasets, cases in product((1, 2, 3, 5), (3, 18), (50, 500, 5000)):
        for null, spread in NULLS.items():
            generator = np.random.default_rng([seeds, datasets, cases, len(null)])
            found = [
                claims(simulate(generator, spread, seeds, datasets, cases, (0.0, 0.0, 0.0)))
                | inside_claims(generator, seeds, datasets)
                for _ in range(max(50, repeats // 4) if cases == 5000 else repeats)
            ]
            setting = {"seeds": seeds, "datasets": datasets, "test cases": cases, "null": null}
            rows.append(setting | {key: share([each[key] for each in found]) for key in found[0]})
            print(rows[-1], flush=True)
    return Result(
        "calibration",
        rows + (of_trainings(root) if root else []),
        ["Share of families, in percent with its 95 % interval, in which anything is called though nothing differs."],
    )


def run_power(repeats: int) -> Result:
    """Simulate a planned comparison with a variant that is better by 1, 2 and 4 points, beside two that are level."""
    rows = []
    for seeds, datasets, cases in product((3, 5, 10), (8, 18), (100, 1000)):
        row: dict[str, Any] = {"seeds": seeds, "datasets": datasets, "test cases": cases}
        for metric, gain in product(METRICS, (0.01, 0.02, 0.04)):
            generator = np.random.default_rng([seeds, datasets, cases, round(1000 * gain)])
            spread = NULLS["two methods, level"]
            made = (simulate(generator, spread, seeds, datasets, cases, (gain, 0, 0), metric) for _ in range(repeats))
            called = [compare_all(each, metric)["shared"].verdict == "higher" for each in made]
            row[f"{metric.upper()} +{100 * gain:.0f}"] = share(called)
        rows.append(row)
        print(row, flush=True)
    return Result(
        "power",
        rows,
        ["Share, in percent with its 95 % interval, in which the planned comparison of means is called rightly."],
    )


def run_rules(repeats: int) -> Result:
    """Call a difference of two methods' means that is none by other rules than the report's, on the same families."""
    rows = []
    for seeds, cases in product((2, 3, 5), (50, 500, 5000)):
        for null, spread in NULLS.items():
            generator = np.random.default_rng([seeds, cases, len(null)])
            found: dict[str, list[bool]] = {}
            for _ in range(max(50, repeats // 4) if cases == 5000 else repeats):
                results = simulate(generator, spread, seeds, 18, cases, (0.0,))
                for rule, p in rules(results, "acc").items():
                    found.setdefault(rule, []).append(p < ALPHA)
            rows.append({"seeds": seeds, "test cases": cases, "null": null} | {k: share(v) for k, v in found.items()})
            print(rows[-1], flush=True)
    return Result("rules", rows, ["Share, in percent, in which the mean ACC of two methods is called, 18 datasets."])


def rules(results: Results, metric: str) -> dict[str, float]:
    """Two-sided p of the difference of the first two variants' means, by rule."""
    names, pair = results.datasets, results.variants[:2]
    found = estimate(results, pair, metric, names, (-1.0, 1.0))
    covariance = cast("np.ndarray", sum(results.covariance(pair, name, metric) for name in names)) / len(names) ** 2
    # Redrawing the cases of all trainings at once: what a bootstrap of paired means sees.
    means = covariance[:2, :, :2].mean(axis=(1, 3))
    resampled = math.sqrt(means[0, 0] + means[1, 1] - 2 * means[0, 1])
    trainings = present(found.trainings)
    both = math.hypot(trainings, found.cases)
    satterthwaite = found.freedom * both**4 / trainings**4
    size = abs(found.value)
    return {
        "cases alone": 2 * stats.norm.sf(size / resampled),
        "trainings alone": 2 * stats.t.sf(size / trainings, found.freedom),
        "sum, Satterthwaite": 2 * stats.t.sf(size / both, satterthwaite),
        "sum, trainings' t": 2 * stats.t.sf(size / both, found.freedom),
        "Howe": found.p,
    }


def run_margin(repeats: int) -> Result:
    """Simulate a main variant that is worse than another by just the margin: how often is it said to be no worse?"""
    rows = []
    for seeds, datasets, cases in product((3, 5), (3, 18), (50, 500)):
        row: dict[str, Any] = {"seeds": seeds, "datasets": datasets, "test cases": cases}
        for metric in METRICS:
            generator = np.random.default_rng([seeds, datasets, cases])
            spread = NULLS["two methods, level"]
            made = (simulate(generator, spread, seeds, datasets, cases, (MARGIN,) * 3, metric) for _ in range(repeats))
            row[metric.upper()] = share([any(c.no_worse for c in compare_all(each, metric).values()) for each in made])
        rows.append(row)
        print(row, flush=True)
    return Result("margin", rows, ["Share of families, in percent, in which the main variant is falsely no worse."])


def simulate(
    generator: np.random.Generator,
    spread: Spread,
    seeds: int,
    datasets: int,
    cases: int,
    gains: tuple[float, ...],
    metric: str = "acc",
) -> Results:
    """Make results of a main variant and of one more for each of `gains`, by which its metric is higher on average."""
    variants = ("mosaic", "shared", ALONE, "another")[: 1 + len(gains)]
    scale = 1.0 if metric == "acc" else math.sqrt(2)  # AUC is the chance that a difference of two scores is positive
    names = list(MEDMNIST)[:datasets]
    together = spread.together * generator.standard_normal((len(variants), seeds))
    # Stand-ins, here and below, have what the compared functions look at, and no more.
    untrained = cast("Training", None)
    runs = {
        (variant, seed): Run(variant, seed, untrained, {}, {}, {}, {}) for variant in variants for seed in range(seeds)
    }
    for name in names:
        base = generator.uniform(0.6, 0.9)
        truth = np.arange(cases) % 2
        common = spread.case * generator.standard_normal(cases)
        for place, (variant, gain) in enumerate(zip(variants, (0.0, *gains), strict=True)):
            level = stats.norm.ppf(base + gain) / scale
            own = common + spread.method * generator.standard_normal(cases)
            for seed in range(seeds):
                shift = level + spread.training * generator.standard_normal() + together[place, seed]
                distance = own + shift + spread.answer * generator.standard_normal(cases)
                positive = stats.norm.cdf(np.where(truth == 1, distance, -distance))
                scores = np.stack([1 - positive, positive], axis=1)
                found = contributions(DATASET, truth[:, None], scores)
                acc, auc = found.mean(axis=0).tolist()
                cast("dict[str, np.ndarray]", runs[variant, seed].contributions)[name] = found
                data = SimpleNamespace(title=name, specialist=MOSAIC_ROUTING[name])
                tested = SimpleNamespace(acc=acc, auc=auc, data=data)
                runs[variant, seed].results[name] = cast("DatasetResult", tested)
    return _results(names, variants, tuple(range(seeds)), runs)


def _results(
    names: Iterable[str], variants: tuple[str, ...], seeds: tuple[int, ...], runs: Mapping[tuple[str, int], Run]
) -> Results:
    routings = {variants[0]: "specialists", "shared": "shared"}
    configs = {
        variant: cast(
            "Config",
            SimpleNamespace(
                datasets={name: MEDMNIST[name] for name in names},
                routing=SimpleNamespace(name=routings.get(variant, variant), kind="bottleneck"),
            ),
        )
        for variant in variants
    }
    return Results(variants, seeds, configs, dict(runs), {}, {}, {}, margin=MARGIN)


def claims(results: Results) -> dict[str, bool]:
    """Whether anything is called in each section of the report that calls anything."""
    found, gains = {}, multi_task_gains(results)
    for metric in METRICS:
        title = metric.upper()
        found[f"means {title}"] = any(each.called for each in compare_all(results, metric).values())
        found[f"datasets {title}"] = any(each.p < ALPHA for each in on_every_dataset(results, metric).values())
        found[f"gain {title}"] = any(each.verdict in ("helped", "hurt") for each in gains.get(metric, []))
    return found


def inside_claims(generator: np.random.Generator, seeds: int, datasets: int) -> dict[str, bool]:
    """Whether anything is called in the sections on the inside, where specialists, groups and variants are alike."""
    names = list(MEDMNIST)[:datasets]
    leads = []
    for _ in names:
        level = 0.7 + 0.7 * generator.standard_normal(32)
        shifts = 0.15 * generator.standard_normal((seeds, 3, 1))
        distance = level + shifts + 0.7 * generator.standard_normal((seeds, 3, 32))
        leads.append(counterfactual.lead((distance > 0).astype(int), 0))
    # Losses that are 0 on average, of three variants; cosines of which a part is the same in every training.
    losses = {name: list(0.005 * generator.standard_normal(seeds)) for name in ("main", "one", "other")}
    common = generator.standard_normal((datasets, datasets))
    cosines = 0.05 * (common + common.T + generator.standard_normal((seeds, datasets, datasets)))
    cosines = (cosines + cosines.transpose(0, 2, 1)) / 2
    groups, dimensions = [MOSAIC_ROUTING[name] for name in names], [MEDMNIST[name].dimension for name in names]
    found = gradients.directions(list(gradients.partitions(groups, dimensions, list(cosines)).values()))
    lost = forgetting.findings(losses, "main").values()
    return {
        "own specialist": any(counterfactual.directions(leads)),
        "gradients": any(direction for direction, _ in found),
        "forgetting": any(each.loses or each.differs for each in lost),
    }


def share(flags: list[bool]) -> str:
    """Percent of flags that are set, with Wilson's interval."""
    rate = float(np.mean(flags))
    low, high = wilson(rate, len(flags))
    return f"{100 * rate:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def of_trainings(root: Path) -> list[dict[str, Any]]:
    """Compare trainings of one variant that differ in the seed alone, set against each other as two variants.

    The variant is the one of evaluation/ below `root` that has most seeds.
    """
    folder = max((root / "evaluation").iterdir(), key=lambda path: len(list(path.iterdir())))
    seeds = sorted(int(path.name) for path in folder.iterdir())
    specialists = sorted(path.stem for path in (folder / str(seeds[0])).glob("[A-Z].json"))
    results = load_results([folder.name], seeds, specialists, root=root)
    losses = forgetting.forgetting(results, folder.name)
    lost = dict(zip(seeds, np.mean(list(losses.values()), axis=0), strict=True))
    rows = []
    for size in (1, 3):
        sides = list(combinations(seeds, size))
        pairs = [(one, other) for one, other in combinations(sides, 2) if not set(one) & set(other)]
        found = {}
        for one, other in pairs:
            sets = {"main": [lost[seed] for seed in one], "other": [lost[seed] for seed in other]}
            differs = bool(forgetting.findings(sets, "main")["other"].differs)
            found[one, other] = claims(_against(results, one, other, "shared"))
            found[one, other] |= {
                section: called
                for section, called in claims(_against(results, one, other, ALONE)).items()
                if section.startswith("gain")
            }
            found[one, other]["forgetting"] = differs
        setting = {"seeds": size, "datasets": len(results.datasets), "test cases": "real"}
        setting |= {"null": f"{len(seeds)} trainings of {folder.name}, {len(pairs)} pairs"}
        sections = next(iter(found.values()))
        rows.append(
            setting | {key: _jackknifed({pair: each[key] for pair, each in found.items()}, seeds) for key in sections}
        )
    return rows


def _against(results: Results, one: tuple[int, ...], other: tuple[int, ...], name: str) -> Results:
    """Two sets of trainings of the main variant, as the main variant and as another one of this name."""
    names, seeds = ("mosaic", name), tuple(range(len(one)))
    runs = {
        (name, place): replace(results.runs[results.main, seed], variant=name, seed=place)
        for name, side in zip(names, (one, other), strict=True)
        for place, seed in enumerate(side)
    }
    return _results(results.datasets, names, seeds, runs)


def _jackknifed(flags: Mapping[tuple[tuple[int, ...], tuple[int, ...]], bool], seeds: list[int]) -> str:
    """Percent of pairs that are called, with two standard errors over trainings left out: pairs share trainings."""
    rate = float(np.mean(list(flags.values())))
    without = [np.mean([flag for pair, flag in flags.items() if seed not in pair[0] + pair[1]]) for seed in seeds]
    error = math.sqrt((len(seeds) - 1) * np.var(without))
    called = f"{sum(flags.values())} of {len(flags)}"
    if not rate:  # of which the trainings left out show nothing
        return called
    return f"{called}: {100 * rate:.1f} ({max(0, 100 * (rate - 2 * error)):.1f} to {100 * (rate + 2 * error):.1f})"
