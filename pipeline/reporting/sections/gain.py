"""Section: what sharing specialists gives or costs each dataset, against a specialist for each alone."""

import math
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pipeline.datasets import DATASETS
from pipeline.evaluation.significance import holm
from pipeline.reporting.comparisons import ALPHA, bootstrap_p, excludes_zero, on_dataset, paired_rows
from pipeline.reporting.means import defined
from pipeline.reporting.results import Results
from pipeline.reporting.table import Cell, Table
from pipeline.reporting.wording import MINUS, UNDEFINED, bounds, listing, p_value, percent, plural, signed

ALONE = "per_dataset"  # the variant with a specialist for every dataset


@dataclass(frozen=True)
class Gain:
    """Accuracy of the main variant on one dataset, and alone; `p` is that of the paired bootstrap after Holm."""

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
        """Gain as a share of the accuracy alone."""
        return self.points / self.alone if self.alone else None

    @property
    def clear(self) -> bool:
        """Whether the gain's interval excludes 0, and its p after Holm is below ALPHA."""
        return excludes_zero(self.interval) and self.p < ALPHA


def build(results: Results) -> dict[str, Any] | None:
    """Content of the section; None if the variant with a specialist for every dataset did not run."""
    gains = multi_task_gains(results)
    return {"sentences": gain_sentences(results, gains), "table": gain_table(results, gains)} if gains else None


def multi_task_gains(results: Results) -> list[Gain]:
    """Gain of every dataset with an accuracy; empty without the variant to compare with."""
    if ALONE not in results.others:
        return []
    names = defined(results, "acc", results.datasets)
    rows = [paired_rows(results, results.main, ALONE, "acc", name) for name in names]
    adjusted = holm([bootstrap_p(row) for row in rows])
    return [
        Gain(
            dataset=name,
            together=fmean(results.values(results.main, name, "acc")),
            alone=fmean(results.values(ALONE, name, "acc")),
            interval=on_dataset(results, results.main, ALONE, "acc", name).interval,
            p=p,
        )
        for name, p in zip(names, adjusted, strict=True)
    ]


def gain_sentences(results: Results, gains: list[Gain]) -> list[str]:
    """Mean gain, how many datasets are hurt and helped beyond chance, and the worst one."""
    hurt = [gain for gain in gains if gain.clear and gain.points < 0]
    helped = [gain for gain in gains if gain.clear and gain.points > 0]
    worst = min(gains, key=lambda gain: gain.points)
    mean = fmean(gain.points for gain in gains)
    relative = [gain.relative for gain in gains if gain.relative is not None]
    share = f" ({_relative(fmean(relative))} relative)" if relative else ""
    sentences = [
        f"Against a specialist for every dataset ({ALONE}), {results.main} changes accuracy by {signed(mean)} points "
        f"on average{share}, over {plural(len(gains), 'dataset')}.",
        f"Sharing hurts {_named(hurt)} and helps {_named(helped)} beyond chance (paired interval without 0, and "
        f"bootstrap p below {ALPHA} after Holm over datasets).",
    ]
    if worst.points < 0:
        sentences.append(
            f"The worst is {DATASETS[worst.dataset].title}: {signed(worst.points)} points "
            f"({bounds(worst.interval)}), p {p_value(worst.p)}."
        )
    else:
        sentences.append("No dataset loses.")
    return sentences


def _named(gains: list[Gain]) -> str:
    titles = [DATASETS[gain.dataset].title for gain in gains]
    return f"{plural(len(titles), 'dataset')} ({listing(titles)})" if titles else "no dataset"


def _relative(share: float | None) -> str:
    if share is None or math.isnan(share):
        return UNDEFINED
    return f"{100 * share:+.1f}\u00a0%".replace("-", MINUS)


def gain_table(results: Results, gains: list[Gain]) -> Table:
    """Rows: datasets; columns: accuracy of both, gain in points and relative, adjusted p, and what it amounts to."""
    rows = [
        [
            Cell(DATASETS[gain.dataset].title),
            Cell(percent(gain.together)),
            Cell(percent(gain.alone)),
            Cell(signed(gain.points), gain.clear, order=gain.points),
            Cell(bounds(gain.interval)),
            Cell(_relative(gain.relative), order=gain.relative),
            Cell(p_value(gain.p).removeprefix("= "), order=gain.p),
            Cell(("▲ helped" if gain.points > 0 else "▼ hurt") if gain.clear else "within noise", gain.clear),
        ]
        for gain in gains
    ]
    return Table(
        name="gain",
        caption=f"Test accuracy in percent of {results.main} and of {ALONE}; gain in points with its paired 95\u00a0% "
        "interval, and relative to the accuracy alone. p: paired bootstrap, adjusted by Holm over datasets.",
        header=["Dataset", results.main, ALONE, "Gain", "Interval", "Relative", "p", "Sharing"],
        rows=rows,
        text_columns=(7,),
        sortable=True,
    )
