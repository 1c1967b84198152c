"""The files of the evaluate stage."""

from typing import Any

import pandas as pd

from mosaic_pipeline.atomic import write_text
from mosaic_pipeline.evaluation.summary import write_summary
from mosaic_pipeline.evaluation.test_set import Tested
from mosaic_pipeline.layout import evaluation_file

SUFFIXES = ("roc.csv", "predictions.csv", "npz", "json")
ROC_COLUMNS = ["dataset", "fpr", "tpr"]
PREDICTION_COLUMNS = ["dataset", "actual", "predicted"]


def write_outputs(head: dict[str, Any], records: dict[str, Any], tested: list[Tested]) -> None:
    """Write `<specialist>.json`, `.npz`, `.roc.csv` and `.predictions.csv` of one variant and seed.

    `head` names variant, seed, specialist and the md5s; `records` holds one entry per dataset. The npz goes last but
    one and the JSON last, so that a JSON never stands without the scores that it sums up.
    """
    place = (head["variant"], head["seed"], head["specialist"])
    tables = {
        "roc.csv": _table([result.roc() for result in tested], ROC_COLUMNS),
        "predictions.csv": _table([result.predictions() for result in tested], PREDICTION_COLUMNS),
    }
    for suffix, table in tables.items():
        write_text(evaluation_file(*place, suffix), table.to_csv(index=False, lineterminator="\n"))
    arrays = {name: array for result in tested for name, array in result.arrays().items()}
    write_summary(evaluation_file(*place, "json"), head | {"datasets": records}, arrays)


def _table(parts: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    filled = [part for part in parts if len(part)]
    return pd.concat(filled)[columns] if filled else pd.DataFrame(columns=columns)
