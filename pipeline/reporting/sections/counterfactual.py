"""Section: what a dataset's accuracy becomes when another specialist answers for it."""

from statistics import fmean
from typing import Any

from pipeline.datasets import DATASETS
from pipeline.reporting.heat import HeatCell, HeatMap, breaks, full_scale, tint
from pipeline.reporting.means import TIE
from pipeline.reporting.records import Counterfactual
from pipeline.reporting.results import Results
from pipeline.reporting.sentences import analysed, one_case
from pipeline.reporting.table import NONE
from pipeline.reporting.wording import percent, plural, points, signed


def build(results: Results) -> dict[str, Any] | None:
    """Content of the section: (variant, sentence, map) for each variant that has specialists to swap."""
    parts = []
    for index, (variant, analysis) in enumerate(results.analyses.items()):
        found = analysis.counterfactual
        if found and len(found.specialists) > 1:
            parts.append((variant, _sentence(results, variant), routing_map(results, variant, found, index)))
    return {"parts": parts} if parts else None


def _by_specialist(found: Counterfactual, name: str) -> dict[str, float | None]:
    return dict(zip(found.specialists, found.acc[name], strict=True))


def _own_and_best_other(found: Counterfactual, name: str) -> tuple[float, float] | None:
    """Accuracy of a dataset under its own specialist and under the best other one; None if either is missing."""
    own, values = found.own.get(name), _by_specialist(found, name)
    others = [value for specialist, value in values.items() if specialist != own and value is not None]
    if values.get(own) is None or not others:
        return None
    return values[own], max(others)


def _sentence(results: Results, variant: str) -> str:
    """The finding, and how little one case is."""
    analysis = results.analyses[variant]
    sizes = [min(analysis.cases, results.origin(name).splits["val"].n) for name in analysis.counterfactual.acc]
    return f"{routing_sentence(analysis.counterfactual)} In accuracy, {one_case(sizes)}."


def routing_sentence(found: Counterfactual) -> str:
    """On how many datasets the own specialist is the best or another is, and what the best other one costs."""
    pairs = {name: pair for name in found.acc if (pair := _own_and_best_other(found, name))}
    if not pairs:
        return "No dataset has a specialist of its own."
    leads = {name: own - other for name, (own, other) in pairs.items()}
    ahead, level = sum(lead > TIE for lead in leads.values()), sum(abs(lead) <= TIE for lead in leads.values())
    ties = f", level with the best other one on {level}" if level else ""
    largest = min(leads, key=leads.__getitem__)
    better = len(leads) - ahead - level
    other = f" (largest: {DATASETS[largest].title}, {signed(-leads[largest])} points)" if better else ""
    loss = fmean(leads.values())
    change = "loses" if loss >= 0 else "gains"
    return (
        f"The own specialist is the best on {ahead} of {plural(len(pairs), 'dataset')}{ties}; another one is better on "
        f"{better or 'none'}{other}. Routed to the best other one, accuracy {change} {points(loss)} on average."
    )


def routing_map(results: Results, variant: str, found: Counterfactual, index: int) -> HeatMap:
    """Rows: datasets; columns: specialists; accuracy in percent, tinted by its difference to the own specialist's."""
    names = [name for name in results.datasets if name in found.acc]
    table = {name: _by_specialist(found, name) for name in names}
    own = {name: values.get(found.own.get(name)) for name, values in table.items()}
    scale = full_scale([_minus(value, own[name]) for name in names for value in table[name].values()])
    rows = []
    for name, values in table.items():
        cells = [
            HeatCell(
                NONE if value is None else percent(value),
                tint(_minus(value, own[name]), scale),
                own=specialist == found.own.get(name),
            )
            for specialist, value in values.items()
        ]
        rows.append((DATASETS[name].title, cells))
    analysis = results.analyses[variant]
    return HeatMap(
        name=f"counterfactual-{index}",
        caption=f"{variant}, {analysed(analysis)}: accuracy in percent with every specialist in turn under "
        "its own head. Framed: the own specialist. Orange: lower than with the own one, blue: higher; full colour at "
        f"{100 * scale:.1f} points. The head was trained with the own specialist, which is a part of the loss.",
        corner="Dataset",
        header=[f"Specialist {name}" if len(name) == 1 else name for name in found.specialists],
        rows=rows,
        rules=breaks([found.own.get(name) for name in names]),
    )


def _minus(value: float | None, reference: float | None) -> float | None:
    return None if value is None or reference is None else value - reference
