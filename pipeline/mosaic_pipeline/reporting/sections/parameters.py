"""Section: where the parameters are."""

from typing import Any

from mosaic_pipeline.reporting.results import Results
from mosaic_pipeline.reporting.table import NONE, Cell, Table
from mosaic_pipeline.reporting.wording import count, short

LISTED = 4  # specialists that are named one by one


def build(results: Results) -> dict[str, Any]:
    """Content of the section: the table, and each variant's components as (name, number, index of its colour)."""
    names = component_names(results)
    bars = [
        (variant, [(name, number, names.index(name) + 1) for name, number in components(results, variant).items()])
        for variant in results.beside_main
    ]
    largest = max(sum(number for _, number, _ in parts) for _, parts in bars)
    return {"table": parameters_table(results), "bars": bars, "largest": largest, "names": names}


def components(results: Results, variant: str) -> dict[str, int]:
    """Trainable parameters of a variant by component, those that it does not have or does not train left out."""
    parameters = results.runs[variant, results.seeds[0]].training.parameters
    model = results.configs[variant].model
    table = {
        "specialists": sum(parameters.specialists.values()),
        "gates": parameters.gates,
        "3D tokenizer": 0 if model.tokenizer_trained is False else parameters.tokenizer_3d,
        "3D positions": 0 if model.tokenizer_trained is False else parameters.positions_3d,
        "heads": parameters.heads,
        "trained ViT": 0 if model.frozen else parameters.backbone,
    }
    return {name: number for name, number in table.items() if number}


def component_names(results: Results) -> list[str]:
    """Components that any variant has."""
    return list(dict.fromkeys(name for variant in results.variants for name in components(results, variant)))


def _by_specialist(results: Results, variant: str) -> str:
    """Parameters of each specialist in short; of many, how many there are."""
    numbers = results.runs[variant, results.seeds[0]].training.parameters.specialists
    if len(numbers) > LISTED:
        return f"{len(numbers)} specialists"
    return ", ".join(f"{name} {short(number)}" for name, number in numbers.items())


def parameters_table(results: Results) -> Table:
    """Rows: variants; columns: parameters by component, trainable share, total."""
    names = component_names(results)
    rows = []
    for variant in results.beside_main:
        parameters, parts = results.runs[variant, results.seeds[0]].training.parameters, components(results, variant)
        numbers = [parts.get(name) for name in names] + [parameters.trainable, parameters.backbone, parameters.total]
        cells = [Cell(NONE if number is None else count(number), order=number) for number in numbers]
        if "specialists" in parts:
            cells[names.index("specialists")] = Cell(
                count(parts["specialists"]), below=_by_specialist(results, variant), order=parts["specialists"]
            )
        rows.append([Cell(variant), *cells, Cell(f"{100 * parameters.trainable / parameters.total:.2f}")])
    return Table(
        name="parameters",
        caption=f"Trainable parameters by component ({NONE}: the variant has none, or does not train them). Share: "
        "what is trainable of the total, in percent.",
        header=["Variant", *(name[0].upper() + name[1:] for name in names), "Trainable", "Backbone", "Total", "Share"],
        rows=rows,
        sortable=True,
    )
