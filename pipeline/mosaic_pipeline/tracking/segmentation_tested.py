"""What the test of a training of segmentation comes to: the means of the report, in its training run."""

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.segmentation.evaluation.metrics import METRICS
from mosaic_pipeline.segmentation.reporting.means import mean_over, of_dataset
from mosaic_pipeline.segmentation.reporting.results import Results, load_results
from mosaic_pipeline.tracking.notes import means
from mosaic_pipeline.tracking.run import Run


def log_test_means(run: Run, variant: str, seed: int, model_md5: str) -> None:
    """Give the training runs of a model its test means over sets and of each, if its evaluation is in."""
    results = results_of(variant, seed, model_md5)
    if results is None:
        return
    found = {f"test/mean_{metric}": mean_over(results, variant, metric).value for metric in METRICS}
    for name in results.datasets:
        found |= {f"test/{name}/mean_{metric}": of_dataset(results, variant, name, metric) for metric in METRICS}
    line = f"{means(found, results.datasets, METRICS)} (HD95 in mm)"
    run.tell_trainings(model_md5, found, line)


def results_of(variant: str, seed: int, model_md5: str) -> Results | None:
    """Return the results of one training as the report reads them; None while its evaluation is not in.

    That is so too where it cannot be read, which the report tells, or is of another model.
    """
    try:
        results = load_results([variant], [seed])
    except PipelineError:
        return None
    return results if results.main_run.evaluation.md5.get("model") == model_md5 else None
