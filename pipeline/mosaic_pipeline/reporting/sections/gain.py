"""Section: what sharing specialists gives or costs each dataset, against a specialist for each alone."""

import math
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from mosaic_pipeline.evaluation.significance import holm
from mosaic_pipeline.evaluation.verdict import ALPHA, excludes_zero
from mosaic_pipeline.present import all_present
from mosaic_pipeline.reporting.comparisons import on_dataset
from mosaic_pipeline.reporting.means import TIE, above_constant, defined
from mosaic_pipeline.reporting.results import METRICS, Results
from mosaic_pipeline.reporting.sentences import TITLES
from mosaic_pipeline.reporting.table import NONE, Cell, Table
from mosaic_pipeline.reporting.wording import (
    MINUS,
    UNDEFINED,
    bounds,
    listing,
    p_value,
    percent,
    plural,
    points,
    signed,
)

ALONE = "per_dataset"  # the variant with a specialist for every dataset
# A sign for what is shown, beside the word: colour alone would say nothing in print or to a screen reader.
SHARING = {"helped": "▲ helped", "hurt": "▼ hurt"}

Verdict = Literal["helped", "hurt", "unclear", "within noise", "no interval", "one training each"]


@dataclass(frozen=True)
class Gain:
    """ACC or AUC of the main variant on one dataset, and alone; `p` is adjusted by Holm over datasets.

    Without an interval, and with p nan, where there is one training each.
    """

    dataset: str
    together: float
    alone: float
    interval: tuple[float, float] | None
    p: float

    @property
    def points(self) -> float:
        """Main minus alone, as a fraction."""
        return self.together - self.alone

    @property
    def relative(self) -> float | None:
        """Gain as a share of the value alone."""
        return self.points / self.alone if self.alone else None

    @property
    def verdict(self) -> Verdict:
        """What sharing is shown to do: it takes an interval without 0, and a p below ALPHA after Holm."""
        if math.isnan(self.p):
            return "one training each"
        if self.interval is None:
            return "no interval"
        if not excludes_zero(self.interval):
            return "within noise"
        if self.p >= ALPHA:
            return "unclear"
        return "helped" if self.points > 0 else "hurt"


def build(results: Results) -> dict[str, Any] | None:
    """Content of the section; None if the variant with a specialist for every dataset did not run."""
    gains = multi_task_gains(results)
    if not gains:
        return None
    return {
        "sentences": gain_sentences(results, gains),
        "table": gain_table(results, gains),
        "alone": ALONE,
        "repeated": len(results.seeds) > 1,
    }


def multi_task_gains(results: Results) -> dict[str, list[Gain]]:
    """Gain of every dataset that has the metric, by metric; empty without the variant to compare with."""
    if ALONE not in results.others:
        return {}
    return {metric: gains for metric in METRICS if (gains := _gains(results, metric))}


def _gains(results: Results, metric: str) -> list[Gain]:
    names = defined(results, metric, results.datasets)
    found = [on_dataset(results, results.main, ALONE, metric, name) for name in names]
    adjusted = holm([each.p for each in found])
    return [
        Gain(
            dataset=name,
            together=fmean(all_present(results.values(results.main, name, metric))),
            alone=fmean(all_present(results.values(ALONE, name, metric))),
            interval=each.interval,
            p=p,
        )
        for name, each, p in zip(names, found, adjusted, strict=True)
    ]


def gain_sentences(results: Results, gains: dict[str, list[Gain]]) -> list[str]:
    """Mean gains, which datasets are shown to be helped and hurt, and where ACC and AUC disagree."""
    means = " and ".join(_mean(metric, of) for metric, of in gains.items())
    repeated = len(results.seeds) > 1
    return [
        f"{results.main} minus a specialist for every dataset ({ALONE}): {means}. Whether the means differ is in the "
        "table of variants.",
        *(_shown(results, metric, of) if repeated else _seen(results, metric, of) for metric, of in gains.items()),
        *_opposed(results, gains),
        *_below_constant(results, gains),
    ]


def _mean(metric: str, gains: list[Gain]) -> str:
    relative = [gain.relative for gain in gains if gain.relative is not None]
    ratio = f" (the mean of the datasets' ratios is {_relative(fmean(relative))})" if relative else ""
    mean = signed(fmean(gain.points for gain in gains))
    return f"{TITLES[metric]} {mean} points on average over {plural(len(gains), 'dataset')}{ratio}"


def _seen(results: Results, metric: str, gains: list[Gain]) -> str:
    """On how many datasets one training ended above the other, and where the two are furthest apart."""
    above, below = sum(gain.points > TIE for gain in gains), sum(gain.points < -TIE for gain in gains)
    least, most = (pick(gains, key=lambda gain: gain.points) for pick in (min, max))
    ends = [f"{signed(end.points)} points on {results.title(end.dataset)}" for end in (least, most)]
    return (
        f"In {TITLES[metric]}, of these two trainings that of {results.main} is higher on {above} and lower on {below} "
        f"of {plural(len(gains), 'dataset')} ({ends[0] if len(gains) == 1 else ' to '.join(ends)}): one training each, "
        "so no dataset is called helped or hurt."
    )


def _shown(results: Results, metric: str, gains: list[Gain]) -> str:
    """Which datasets are shown to be helped and hurt, and the one that loses most."""
    shown = []
    for verdict in ("helped", "hurt"):
        titles = [results.title(gain.dataset) for gain in gains if gain.verdict == verdict]
        number = (
            f"{plural(len(titles), 'dataset')} {'is' if len(titles) == 1 else 'are'}" if titles else "no dataset is"
        )
        shown.append(f"{number} shown to be {verdict}" + (f" ({listing(titles)})" if titles else ""))
    worst = min(gains, key=lambda gain: gain.points)
    if worst.points >= -TIE:
        most = "no dataset is lower"
    else:
        found = "no interval"
        if worst.interval:
            low, high = worst.interval
            found = f"95\u00a0% CI {bounds((-high, -low)).replace('+', '')}, p {p_value(worst.p)}"
        most = f"{results.title(worst.dataset)} loses most, {points(worst.points)} ({found})"
    return f"In {TITLES[metric]}, {' and '.join(shown)}; {most}."


def _opposed(results: Results, gains: dict[str, list[Gain]]) -> list[str]:
    """Where ACC and AUC differ in sign, with the numbers where either of them is shown."""
    if len(gains) < len(METRICS):
        return []
    by_dataset = {gain.dataset: gain for gain in gains["auc"]}
    pairs = [(gain, by_dataset[gain.dataset]) for gain in gains["acc"] if gain.dataset in by_dataset]
    opposed = [
        pair for pair in pairs if min(each.points for each in pair) < -TIE and max(each.points for each in pair) > TIE
    ]
    if not opposed:
        return []
    told = [
        f"{results.title(acc.dataset)} ({signed(acc.points)} and {signed(auc.points)} points)"
        for acc, auc in opposed
        if {acc.verdict, auc.verdict} & set(SHARING)
    ]
    among = "" if len(told) == len(opposed) else ", among them"
    named = f"{among or ':'} {listing(told)}" if told else ""
    return [f"ACC and AUC differ in sign on {len(opposed)} of {plural(len(pairs), 'dataset')}{named}."]


def _below_constant(results: Results, gains: dict[str, list[Gain]]) -> list[str]:
    """Where a dataset is shown to be helped and is yet no better than a constant answer."""
    sentences = []
    for metric, of in gains.items():
        helped = [gain.dataset for gain in of if gain.verdict == "helped"]
        below = [results.title(name) for name in helped if not above_constant(results, results.main, metric, (name,))]
        if below:
            sentences.append(
                f"On {listing(below)}, the {TITLES[metric]} that sharing helps is not above that of a constant answer."
            )
    return sentences


def _relative(share: float | None) -> str:
    if share is None or math.isnan(share):
        return UNDEFINED
    return f"{100 * share:+.1f}\u00a0%".replace("-", MINUS)


def gain_table(results: Results, gains: dict[str, list[Gain]]) -> Table:
    """Rows: datasets; columns, for ACC and AUC: both variants, gain in points and relative, and what it amounts to."""
    by_metric = [{gain.dataset: gain for gain in of} for of in gains.values()]
    repeated = len(results.seeds) > 1
    columns = 5 if repeated else 4
    how = (
        f" with its 95\u00a0% interval over trainings and test cases, and as a share of the value of {ALONE}. Helped "
        f"and hurt: the interval excludes 0, and p, adjusted by Holm over datasets, is below {ALPHA} (of ACC the "
        "larger one of the interval's and of the sign test's over cases); unclear: the interval alone excludes 0."
        if repeated
        else f", and as a share of the value of {ALONE}. One training each: nothing is called."
    )
    rows = []
    for name in results.datasets:
        row = [Cell(results.title(name))]
        for of in by_metric:
            row += (_cells(of[name]) if name in of else [Cell(NONE)] * 5)[:columns]
        rows.append(row)
    return Table(
        name="gain",
        caption=f"Test ACC and AUC in percent of {results.main} and of {ALONE}; gain: {results.main} minus {ALONE}, in "
        f"points{how}",
        header=["Dataset", *len(gains) * (results.main, ALONE, "Gain", "Relative", "Sharing")[:columns]],
        spans=[("", 1), *((TITLES[metric], columns) for metric in gains)],
        rows=rows,
        text_columns=tuple(5 * place for place in range(1, 1 + len(gains))) if repeated else (),
        sortable=True,
    )


def _cells(gain: Gain) -> list[Cell]:
    shown, p = gain.verdict in SHARING, f"p {p_value(gain.p)}"
    return [
        Cell(percent(gain.together)),
        Cell(percent(gain.alone)),
        Cell(signed(gain.points), shown, below=bounds(gain.interval) if gain.interval else "", order=gain.points),
        Cell(_relative(gain.relative), order=gain.relative),
        Cell(SHARING.get(gain.verdict, gain.verdict), shown, below=p if gain.interval else "", order=gain.p),
    ]
