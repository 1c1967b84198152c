"""Section: organs that were missed or invented, and the worst of all."""

from typing import Any

from mosaic_pipeline.reporting.table import Cell, Table
from mosaic_pipeline.reporting.wording import count, listing, with_unit
from mosaic_pipeline.segmentation.evaluation.cases import STATUSES
from mosaic_pipeline.segmentation.reporting.means import pooled
from mosaic_pipeline.segmentation.reporting.results import Results


def build(results: Results) -> dict[str, Any]:
    """Content of the section."""
    return {"sentences": worst(results), "table": failures_table(results)}


def failures_table(results: Results) -> Table:
    """Rows: variants on each set; columns: organs of cases by what became of them, and volume that was invented."""
    rows = []
    for name in results.datasets:
        for variant in results.beside_main:
            counts = pooled(results, variant, name)["counts"]
            invented = sum(
                each.volume_pred_ml
                for seed in results.seeds
                for case in results.result(name, variant, seed).cases
                for each in case.organs
                if each.status == "invented"
            )
            cells = [Cell(count(counts[status]), order=counts[status]) for status in STATUSES]
            rows.append([Cell(results.title(name)), Cell(variant), *cells, Cell(f"{invented:,.1f}", order=invented)])
    of = "of all seeds" if len(results.seeds) > 1 else "one for each organ of each case"
    return Table(
        name="failures",
        caption=f"What became of organs ({of}): predicted, wherever it is; missed, with nothing of it predicted; "
        "invented "
        "where there is none, with its volume; absent, where there is none and none was found, which is in no mean. "
        "Organs that a set does not annotate are not evaluated.",
        header=["Set", "Variant", "Predicted", "Missed", "Invented", "Absent", "Invented, ml"],
        rows=rows,
        text_columns=(1,),
        sortable=True,
    )


def worst(results: Results) -> list[str]:
    """Name the main variant's worst organ and case of each set, and what it missed and invented."""
    sentences = []
    for name in results.datasets:
        found = pooled(results, results.main, name)
        if not found["worst_organ"]:
            sentences.append(f"{results.title(name)}: no test case has an organ.")
            continue
        organ, case = found["worst_organ"], found["worst_case"]
        failed = [
            f"{status} {listing(names)}"
            for status in ("missed", "invented")
            if (
                names := [
                    _times(organ_name, each["counts"][status])
                    for organ_name, each in found["organs"].items()
                    if each["counts"][status]
                ]
            )
        ]
        tail = f" It {'; it '.join(failed)}." if failed else " It missed and invented nothing."
        sentences.append(
            f"{results.title(name)}: the worst organ of {results.main} is {organ['name']} (DSC "
            f"{with_unit(organ['dsc'])}), "
            f"the worst case {case['name']} ({with_unit(case['dsc'])}).{tail}"
        )
    return sentences


def _times(organ: str, number: int) -> str:
    return organ if number == 1 else f"{organ} ({number} times)"
