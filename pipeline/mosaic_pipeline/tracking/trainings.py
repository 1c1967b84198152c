"""The training runs of a model: what its tests come to is theirs too, so that the table of runs sorts by it."""

from collections.abc import Mapping

from mosaic_pipeline.tracking.notes import LONGEST_NOTE, NOTE, amended
from mosaic_pipeline.tracking.store import Store


def tell_trainings(store: Store, md5: str, means: Mapping[str, float | None], line: str, milliseconds: int) -> None:
    """Give every training run of a model its test means, and the line on them in its description.

    `milliseconds` is the time of the means. What a run has already is not logged again, so whoever comes last, or
    again, changes nothing by that. A mean that is not defined is left out.
    """
    from mlflow.entities import Metric, RunTag

    for run_id in store.trainings(md5):
        data = store.client.get_run(run_id).data
        note = data.tags.get(NOTE, "")
        new = {key: value for key, value in means.items() if value is not None and data.metrics.get(key) != value}
        described = amended(note, "Test", line)[:LONGEST_NOTE]
        store.client.log_batch(
            run_id,
            metrics=[Metric(key, value, milliseconds, 0) for key, value in new.items()],
            tags=[RunTag(NOTE, described)] if described != note else [],
            synchronous=True,
        )
