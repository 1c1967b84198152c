"""results.csv: every number of the tests, for other programs."""

import csv
import io

from mosaic_pipeline.reporting.means import case_interval
from mosaic_pipeline.reporting.results import METRICS, Results
from mosaic_pipeline.reporting.tracing import COLUMNS as KEYS

# Fields of a dataset's result, in the order of the columns.
VALUES = (
    *("acc", "auc", "loss", "balanced_acc", "macro_f1", "ece", "brier"),
    *("temperature", "loss_scaled", "ece_scaled", "brier_scaled"),
    *("quadratic_kappa", "mae", "acc_within_one", "map"),
)
BOUNDS = tuple(f"{metric}_{bound}" for metric in METRICS for bound in ("low", "high"))
COLUMNS = ("variant", "seed", "dataset", "specialist", "source", "official", "n", *VALUES, *BOUNDS, *KEYS)


def results_csv(results: Results, revision: str) -> str:
    """Return one row per variant, seed and dataset at full precision; an undefined value is empty.

    `source` and `official` say whose images they are, for the file may travel without the report. `acc_low` to
    `auc_high` are the 95 % interval of that training over test cases. `revision` and `md5_model` lead back
    to what made the number.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for (variant, seed), run in results.runs.items():
        for name in results.datasets:
            result = run.results[name]
            bounds: list[float | None] = []
            for metric in METRICS:
                found = case_interval(results, variant, seed, name, metric)
                # Fewer digits than those in which ways of summing differ.
                bounds += [round(bound, 9) for bound in found] if found else [None, None]
            values = [getattr(result, key) for key in VALUES]
            origin = (result.data.source, "yes" if result.data.official else "no")
            keys = (revision, run.md5.get("model"))
            writer.writerow([variant, seed, name, results.specialist(name), *origin, result.n, *values, *bounds, *keys])
    return file.getvalue()
