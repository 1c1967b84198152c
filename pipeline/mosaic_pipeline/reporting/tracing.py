"""What leads from a number back to what made it: the code's revision and the model's md5, both the same in every run.

No MLflow run stands here. Its id is drawn at random by each training, so that a file with one would be another in a
second run of the same inputs; the run is found by the md5, with which it is tagged.
"""

from collections.abc import Mapping

COLUMNS = ("revision", "md5_model")


def main_models(revision: str, models: Mapping[int, str | None]) -> dict[str, str | None]:
    """Return what summary.json says of its own origin: `models` are the md5s of the main variant, by seed."""
    return {"revision": revision} | {f"md5_model_{seed}": md5 for seed, md5 in models.items()}


def how_to_trace(revision: str) -> str:
    """Say in Markdown how to get from a number to what made it."""
    return (
        f"Rendered by code of the revision `{revision}`. `mosaic trace <md5 of a model>` leads from a model to its "
        "configuration, weights, data and MLflow runs; in MLflow, the search `tags.\"md5.model\" = '<md5>'` finds its "
        "training. Each row of `results.csv` has both keys, `mosaic trace results.csv:<line>` follows them."
    )
