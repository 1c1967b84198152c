"""Section: where the parameters are."""

from collections.abc import Callable, Iterable
from typing import Any

from mosaic_pipeline.reporting.table import NONE, Cell, Table
from mosaic_pipeline.reporting.wording import count, short
from mosaic_pipeline.segmentation.reporting.records import Parameters
from mosaic_pipeline.segmentation.reporting.results import Results


def build(results: Results) -> dict[str, Any]:
    """Content of the section: the table, and each variant's components as (name, number, index of its colour)."""
    parts = {variant: components(_of(results, variant)) for variant in results.beside_main}
    names = list(dict.fromkeys(name for each in parts.values() for name in each))
    bars = [(v, [(name, number, names.index(name) + 1) for name, number in each.items()]) for v, each in parts.items()]
    largest = max(sum(each.values()) for each in parts.values())
    return {"table": parameters_table(results), "bars": bars, "largest": largest, "names": names}


def components(parameters: Parameters) -> dict[str, int]:
    """Parameters by component, without those that are not there."""
    table = {
        "trunk": parameters.trunk,
        "experts": sum(parameters.experts.values()),
        "gates": parameters.gates,
        "heads": parameters.heads,
        "reconstruction": parameters.reconstruction,
    }
    return {name: number for name, number in table.items() if number}


def _of(results: Results, variant: str) -> Parameters:
    return results.runs[variant, results.seeds[0]].training.parameters


def parameters_table(results: Results) -> Table:
    """Rows: variants; columns: parameters by component, in total, and what one slice takes."""
    found = {variant: _of(results, variant) for variant in results.beside_main}
    names = list(dict.fromkeys(name for each in found.values() for name in components(each)))
    rows = []
    for variant, each in found.items():
        parts = components(each)
        cells = [Cell(NONE if name not in parts else count(parts[name]), order=parts.get(name)) for name in names]
        if "experts" in parts and len(each.experts) > 1:
            own = ", ".join(f"{name} {short(number)}" for name, number in each.experts.items())
            cells[names.index("experts")] = Cell(count(parts["experts"]), below=own, order=parts["experts"])
        total = Cell(count(each.total), order=each.total)
        rows.append(
            [
                Cell(variant),
                *cells,
                total,
                _of_a_slice(each.active.values(), short),
                _of_a_slice(each.macs.values(), millions),
            ]
        )
    return Table(
        name="parameters",
        caption=f"Parameters by component ({NONE}: the variant has none). With one MLP for all, that MLP is the only "
        "expert. Active: those that a slice of the first set goes through; MAC: its multiplications, each with an "
        "addition, in products and convolutions alone; both as deployed.",
        header=["Variant", *(name[0].upper() + name[1:] for name in names), "Total", "Active", "MAC"],
        rows=rows,
        sortable=True,
    )


def millions(number: int) -> str:
    """12610359296 -> '12,610.4 M'."""
    return f"{number / 1e6:,.1f}\u00a0M"


def _of_a_slice(costs: Iterable[int], written: Callable[[int], str]) -> Cell:
    """What a slice takes as deployed, and below it what it takes with one expert, where that is another."""
    *before, deployed = costs
    return Cell(written(deployed), below=f"one expert {written(before[0])}" if before else "", order=deployed)
