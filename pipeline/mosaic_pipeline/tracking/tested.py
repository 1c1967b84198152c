"""What the tests of a training come to, once all of them are in: the means of the report, in its training run.

Files say which tests are in, not runs: what DVC took from its cache made none.
"""

from pathlib import Path

from mosaic_pipeline.config import Config
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.layout import evaluation_file
from mosaic_pipeline.lineage import read_origin
from mosaic_pipeline.reporting.files import METRICS, read_evaluation
from mosaic_pipeline.reporting.means import groups, mean_over
from mosaic_pipeline.reporting.records import DataOrigin
from mosaic_pipeline.reporting.results import Results, load_run
from mosaic_pipeline.tracking.notes import means
from mosaic_pipeline.tracking.run import Run


def log_test_means(run: Run, variant: str, seed: int, config: Config, model_md5: str) -> None:
    """Give the training runs of a model its test means, if all its evaluations are in; else whoever is last does it."""
    results = results_of(variant, seed, config, model_md5)
    if results is None:
        return
    found: dict[str, float | None] = {}
    by_group = groups(results)
    for group, names in by_group.items():
        prefix = "test/mean_" if group == "mean" else f"test/{group}/mean_"
        found |= {f"{prefix}{metric}": mean_over(results, variant, metric, names).value for metric in METRICS}
    line = means(found, [group for group in by_group if group != "mean"], METRICS)
    run.tell_trainings(model_md5, found, line)


def results_of(variant: str, seed: int, config: Config, model_md5: str) -> Results | None:
    """Return the results of one training as the report reads them.

    None while an evaluation is missing, cannot be read (which the report tells), or is of another model or other data
    than there are now, because its stage is still to run.
    """
    try:
        origins = {name: DataOrigin.model_validate(read_origin(name)) for name in config.datasets}
        specialists = sorted({origin.specialist for origin in origins.values()})
        for specialist in specialists:
            path = evaluation_file(variant, seed, specialist, "json")
            evaluation = read_evaluation(path, variant, seed, specialist, config.datasets)
            current = all(result.data == origins[name] for name, result in evaluation.datasets.items())
            if evaluation.md5.get("model") != model_md5 or not current:
                return None
        run = load_run(Path(), variant, seed, specialists, config.datasets)
    except (PipelineError, ValueError):
        return None
    return Results(
        variants=(variant,),
        seeds=(seed,),
        configs={variant: config},
        runs={(variant, seed): run},
        samples={},
        hardest={},
        roc={},
    )
