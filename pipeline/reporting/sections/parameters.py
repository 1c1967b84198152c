"""Section: where the parameters are."""

from typing import Any

from pipeline.datasets import SPECIALISTS
from pipeline.reporting.results import Results
from pipeline.reporting.table import NONE, Cell, Table
from pipeline.reporting.wording import count


def build(results: Results) -> dict[str, Any]:
    """Content of the section: the table, and each variant's components as (name, number, index of its colour)."""
    names = component_names(results)
    bars = [
        (variant, [(name, number, names.index(name) + 1) for name, number in components(results, variant).items()])
        for variant in results.variants
    ]
    largest = max(sum(number for _, number, _ in parts) for _, parts in bars)
    return {"table": parameters_table(results), "bars": bars, "largest": largest, "names": names}


def components(results: Results, variant: str) -> dict[str, int]:
    """Trainable parameters of a variant by component, those that it does not have left out."""
    parameters = results.runs[variant, results.seeds[0]].training.parameters
    table = {_specialist_title(name): number for name, number in parameters.specialists.items()}
    table |= {"3D tokenizer": parameters.tokenizer_3d, "3D positions": parameters.positions_3d}
    return {name: number for name, number in (table | {"heads": parameters.heads}).items() if number}


def _specialist_title(name: str) -> str:
    return f"specialist {name}" if name in SPECIALISTS else f"{name} specialist"


def component_names(results: Results) -> list[str]:
    """Components that any variant has, specialists first."""
    names = dict.fromkeys(name for variant in results.variants for name in components(results, variant))
    return sorted(names, key=lambda name: "specialist" not in name)


def parameters_table(results: Results) -> Table:
    """Rows: variants; columns: parameters by component, trainable share, total."""
    names = component_names(results)
    rows = []
    for variant in results.variants:
        parameters, parts = results.runs[variant, results.seeds[0]].training.parameters, components(results, variant)
        numbers = [parts.get(name) for name in names] + [parameters.trainable, parameters.backbone, parameters.total]
        cells = [NONE if number is None else count(number) for number in numbers]
        rows.append([Cell(text) for text in [variant, *cells, f"{100 * parameters.trainable / parameters.total:.2f}"]])
    return Table(
        name="parameters",
        caption=f"Parameters by component ({NONE}: the variant has none). Share: what is trainable of the total, in "
        "percent.",
        header=["Variant", *(name[0].upper() + name[1:] for name in names), "Trainable", "Backbone", "Total", "Share"],
        rows=rows,
    )
