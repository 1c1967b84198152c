"""results.csv: every metric of every case and organ, for other programs."""

import csv
import io

from mosaic_pipeline.reporting.tracing import COLUMNS as KEYS
from mosaic_pipeline.segmentation.evaluation.metrics import METRICS, by_monai
from mosaic_pipeline.segmentation.reporting.results import Results

VALUES = (*METRICS, "nsd_mm", "volume_ref_ml", "volume_pred_ml")
COLUMNS = (
    *("variant", "seed", "dataset", "source", "case", "patient", "organ", "status"),
    *VALUES,
    *(f"{metric}_monai" for metric in METRICS),
    "dsc_ceiling",
    *KEYS,
)


def results_csv(results: Results, revision: str) -> str:
    """Return one row per variant, seed, set, case and organ at full precision; an undefined value is empty.

    Columns that end in `_monai` are empty where MONAI's means leave an organ out. `revision` and `md5_model` lead back
    to what made the number.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for (variant, seed), run in results.runs.items():
        keys = (revision, run.training.md5.get("model"))
        for name in results.datasets:
            result = results.result(name, variant, seed)
            for case in result.cases:
                source = f"{result.source}, by slices" if case.block else result.source
                place = (variant, seed, name, source, case.case, case.patient)
                for each in case.organs:
                    monai = by_monai(each.model_dump())
                    values = [getattr(each, key) for key in VALUES]
                    row = [*place, each.organ, each.status, *values, *(monai[metric] for metric in METRICS)]
                    writer.writerow([*row, case.ceiling.get(each.organ), *keys])
    return file.getvalue()
