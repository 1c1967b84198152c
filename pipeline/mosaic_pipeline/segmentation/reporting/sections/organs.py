"""Section: organ by organ, where the variants differ from the main one, beside what comes back from the grid."""

from typing import Any

from mosaic_pipeline.reporting.heat import HeatCell, HeatMap, full_scale, tint
from mosaic_pipeline.reporting.table import NONE
from mosaic_pipeline.reporting.wording import percent, signed
from mosaic_pipeline.segmentation.reporting.means import ceilings, of_dataset, of_organs
from mosaic_pipeline.segmentation.reporting.results import TESTED, TITLES, Results


def build(results: Results) -> dict[str, Any]:
    """Content of the section: (title, maps) of each set."""
    return {
        "parts": [
            (results.title(name), [organ_map(results, name, metric) for metric in TESTED]) for name in results.datasets
        ],
        "sentence": lost_by_grid(results),
    }


def organ_map(results: Results, dataset: str, metric: str) -> HeatMap:
    """Rows: organs and their mean; columns: ceiling (of DSC), the main variant, then the others' differences."""
    result = results.result(dataset)
    own = [*of_organs(results, results.main, dataset, metric), of_dataset(results, results.main, dataset, metric)]
    columns = []
    others = results.beside_main[1:]
    for other in others:
        values = [*of_organs(results, other, dataset, metric), of_dataset(results, other, dataset, metric)]
        columns.append([None if a is None or b is None else a - b for a, b in zip(values, own, strict=True)])
    scale = full_scale([value for column in columns for value in column])
    known = ceilings(results, dataset)
    defined = [value for value in known if value is not None]
    tops = [*known, sum(defined) / len(defined) if defined else None]
    rows = []
    for place, organ in enumerate([*result.organs, "Mean"]):
        cells = [HeatCell(_percent(tops[place]))] if metric == "dsc" else []
        cells.append(HeatCell(_percent(own[place])))
        cells += [HeatCell(_points(column[place]), tint(column[place], scale)) for column in columns]
        tolerance = f" ({result.nsd_mm[organ]:g} mm)" if metric == "nsd" and organ in result.nsd_mm else ""
        rows.append((f"{organ}{tolerance}", cells))
    tolerances = " (tolerance in brackets)" if metric == "nsd" else ""
    ceiling = (
        " Ceiling: DSC of the reference with itself after exact shares of every pixel came back from the network's "
        f"grid of {result.size} px."
        if metric == "dsc"
        else ""
    )
    differences = (
        f"; variants: minus {results.main}, in points. Blue: the variant is higher, orange: {results.main} is; full "
        f"colour at {100 * scale:.1f} points. Single organs are not tested"
        if results.others
        else ""
    )
    return HeatMap(
        name=f"organs-{dataset}-{metric}",
        caption=f"{TITLES[metric]}{tolerances}: {results.main} in percent{differences}.{ceiling}",
        corner="Organ",
        header=[*(["ceiling"] if metric == "dsc" else []), results.main, *others],
        rows=rows,
        rules=(len(rows) - 1,),
        column_rules=(1 + (metric == "dsc"),),
    )


def lost_by_grid(results: Results) -> str:
    """On how many organs exact shares of every pixel lose more than a tenth on the way back."""
    known = [top for name in results.datasets for top in ceilings(results, name) if top is not None]
    if not known:
        return ""
    low = sum(top < 0.9 for top in known)
    sizes = ", ".join(dict.fromkeys(f"{results.result(name).size} px" for name in results.datasets))
    return (
        f"The ceiling is what exact shares of every pixel come back as at {sizes} a side; a network can do a little "
        f"better. It is below 90\u00a0% for {low} of {len(known)} organs."
    )


def _percent(value: float | None) -> str:
    return NONE if value is None else percent(value)


def _points(value: float | None) -> str:
    return NONE if value is None else signed(value)
