"""Section: on which datasets the variants differ from the main one."""

from statistics import fmean
from typing import Any

from mosaic_pipeline.present import all_present
from mosaic_pipeline.reporting.comparisons import ALPHA, compare_all, on_every_dataset
from mosaic_pipeline.reporting.heat import HeatCell, HeatMap, breaks, full_scale, tint
from mosaic_pipeline.reporting.results import METRICS, Results
from mosaic_pipeline.reporting.sentences import TITLES
from mosaic_pipeline.reporting.table import NONE
from mosaic_pipeline.reporting.wording import UNDEFINED, percent, signed


def build(results: Results) -> dict[str, Any] | None:
    """Content of the section; None without another variant."""
    maps = [difference_map(results, metric) for metric in METRICS] if results.others else []
    return {"maps": maps} if maps else None


def difference_map(results: Results, metric: str) -> HeatMap:
    """Rows: datasets and their mean; columns: the main variant's value, then each variant's difference in points."""
    names = results.datasets
    found = on_every_dataset(results, metric)
    table = {name: [found[other, name] for other in results.others_on_page] for name in names}
    scale = full_scale([difference.value for difference in found.values()])
    rows = []
    for name, differences in table.items():
        cells = [HeatCell(_main_value(results, metric, name))]
        cells += [HeatCell(_points(each.value), tint(each.value, scale), mark=each.p < ALPHA) for each in differences]
        rows.append((results.title(name), cells))
    rows.append(("Mean", _mean_cells(results, metric, scale)))
    groups = [results.specialist(name) for name in names]
    return HeatMap(
        name=f"difference-{metric}",
        caption=f"{TITLES[metric]}: variant minus {results.main} in points; {results.main} itself in percent. Blue: "
        f"the variant is higher, orange: {results.main} is; full colour at {100 * scale:.1f} points. "
        + (
            "Star: called; on a single dataset by its p, adjusted by Holm over all cells of the map, for the mean as "
            "in the table of variants."
            if len(results.seeds) > 1
            else "One training each: nothing is called."
        ),
        corner="Dataset",
        header=[results.main, *results.others_on_page],
        rows=rows,
        rules=(*breaks(groups), len(names)),
        column_rules=(1,),
    )


def _main_value(results: Results, metric: str, name: str) -> str:
    values = results.values(results.main, name, metric)
    return NONE if any(value is None for value in values) else percent(fmean(all_present(values)))


def _points(value: float | None) -> str:
    text = signed(value)
    return NONE if text == UNDEFINED else text


def _mean_cells(results: Results, metric: str, scale: float) -> list[HeatCell]:
    compared = compare_all(results, metric)
    if not compared:
        return [HeatCell(NONE)] * (1 + len(results.others_on_page))
    first = next(iter(compared.values()))
    cells = [HeatCell(percent(first.main_mean.value))]
    for other in results.others_on_page:
        each = compared[other]
        cells.append(HeatCell(signed(each.difference), tint(each.difference, scale), mark=each.called))
    return cells
