"""Section: every metric by set and variant, beside what another convention would make of it."""

from typing import Any

from mosaic_pipeline.reporting.table import NONE, Cell, Table
from mosaic_pipeline.reporting.wording import percent
from mosaic_pipeline.segmentation.evaluation.metrics import DEFINITIONS
from mosaic_pipeline.segmentation.reporting.means import of_dataset, of_organs, pooled
from mosaic_pipeline.segmentation.reporting.results import TITLES, Results

HEADER = ("ours", "MONAI", "ours", "ours", "MONAI", "hits", "Failed")
SPANS = [("DSC, %", 2), ("NSD, %", 1), ("HD95, mm", 3), ("", 1)]


def build(results: Results) -> dict[str, Any]:
    """Content of the section."""
    return {"table": conventions_table(results), "definitions": definitions()}


def definitions() -> list[tuple[str, str]]:
    """Names of the metrics, and what stands behind each number."""
    said = [(TITLES[metric], f"{text}.") for metric, text in DEFINITIONS.items()]
    return [
        *said,
        (
            "Missed or invented",
            "an organ that is missed, or invented where there is none, has DSC 0, NSD 0 and the diagonal of the scan "
            "as "
            "HD95. Where there is none and none is found, nothing is defined, and the case is in no mean of it.",
        ),
        (
            "MONAI",
            "what MONAI 1.6.1 makes of the same masks by default: an invented organ is left out of DSC and HD95, a "
            "missed one out of HD95. In DSC it never looks worse than ours; in HD95 it can where scans differ in size, "
            "as the diagonal of a small one is less than the distance of a hit in a large one.",
        ),
        (
            "Means",
            "over cases within an organ, over organs within a set, over sets; background is in none. All is measured "
            "in "
            "3D on the scan's own grid, in mm.",
        ),
    ]


def conventions_table(results: Results) -> Table:
    """Rows: variants on each set."""
    rows = []
    for name in results.datasets:
        for variant in results.beside_main:
            found = pooled(results, variant, name)
            monai, counts = found["monai"], found["counts"]
            hits = [
                each["hd95_median_of_hits"]
                for each in found["organs"].values()
                if each["hd95_median_of_hits"] is not None
            ]
            rows.append(
                [
                    Cell(results.title(name)),
                    Cell(variant),
                    _share(of_dataset(results, variant, name, "dsc")),
                    _share(monai["dsc"]),
                    _share(of_dataset(results, variant, name, "nsd")),
                    _mm(of_dataset(results, variant, name, "hd95")),
                    _mm(monai["hd95"]),
                    _mm(sum(hits) / len(hits) if hits else None),
                    Cell(str(counts["missed"] + counts["invented"])),
                ]
            )
    return Table(
        name="conventions",
        caption="Every metric by set, as it is counted here and by MONAI's convention. Hits: the median HD95 of each "
        "organ over the cases in which it is and was predicted, wherever, mean over organs; with the number of those "
        "that failed (were missed or invented) beside it, nobody has to trust what a miss counts for.",
        header=["Set", "Variant", *HEADER],
        spans=[("", 2), *SPANS],
        rows=rows,
        text_columns=(1,),
        sortable=True,
    )


def organ_table(results: Results, dataset: str) -> Table:
    """Rows: organs of a set, by the main variant; columns as above, and what it does to volumes."""
    result, found = results.result(dataset), pooled(results, results.main, dataset)["organs"]
    ours = {metric: of_organs(results, results.main, dataset, metric) for metric in ("dsc", "nsd", "hd95")}
    ceilings = [[case.ceiling.get(organ) for case in result.cases] for organ in result.organs]
    rows = []
    for place, organ in enumerate(result.organs):
        each, tops = found[organ], [value for value in ceilings[place] if value is not None]
        counts = each["counts"]
        rows.append(
            [
                Cell(organ, below=f"{result.nsd_mm[organ]:g} mm" if organ in result.nsd_mm else ""),
                _share(sum(tops) / len(tops) if tops else None),
                _share(ours["dsc"][place]),
                _share(each["monai"]["dsc"]),
                _share(ours["nsd"][place]),
                _mm(ours["hd95"][place]),
                _mm(each["monai"]["hd95"]),
                _mm(each["hd95_median_of_hits"]),
                Cell(str(counts["missed"] + counts["invented"])),
                Cell("/".join(str(counts[status]) for status in ("hit", "missed", "invented", "absent"))),
                _mm(each["volume_error_ml"], sign=True),
                _mm(each["volume_error_percent"], sign=True),
            ]
        )
    return Table(
        name=f"organs-{dataset}",
        caption=f"Organs of {result.title} by {results.main}, with the tolerance of the NSD. Ceiling: DSC of the "
        "reference with itself after exact shares of every pixel came back from the network's grid. "
        "Hits: median HD95 of the cases in which it is and was predicted, wherever; "
        "failed: missed or invented. Counts: predicted/missed/invented/absent. Volumes: mean error "
        "over "
        "cases, in ml and in percent of the reference.",
        header=["Organ", "Ceiling", *HEADER, "Counts", "ml", "%"],
        spans=[("", 2), *SPANS, ("", 1), ("Volume error", 2)],
        rows=rows,
        sortable=True,
    )


def _share(value: float | None) -> Cell:
    return Cell(NONE if value is None else percent(value), order=value)


def _mm(value: float | None, *, sign: bool = False) -> Cell:
    return Cell(
        NONE if value is None else f"{value:{'+' if sign else ''}.1f}".replace("-", "\N{MINUS SIGN}"), order=value
    )
