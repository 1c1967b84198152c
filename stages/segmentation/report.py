"""Stage `seg_report`: segmentation/results/ -> reports/segmentation/.

index.html, <dataset>.html, ablation.md, ablation.tex, results.csv and summary.json; where the variants do not fit on a
page also variants-<n>.html. Without any variant, index.html says that there is none.
"""

from mosaic_pipeline.arguments import read_arguments
from mosaic_pipeline.command import run_command
from mosaic_pipeline.params import load_params


def main() -> None:
    """Render segmentation's report of the variants and seeds in params.yaml."""
    read_arguments("segmentation.report", __doc__)
    params = load_params()
    section = params.segmentation

    # Heavy imports wait until the parameters are known to be good.
    import json

    from mosaic_pipeline.layout import SEG_REPORTS
    from mosaic_pipeline.reporting.tracing import main_models
    from mosaic_pipeline.reporting.wording import listing, plural
    from mosaic_pipeline.segmentation.reporting.ablation import render_markdown
    from mosaic_pipeline.segmentation.reporting.latex import render_latex
    from mosaic_pipeline.segmentation.reporting.means import flat
    from mosaic_pipeline.segmentation.reporting.page import render_datasets, render_further, render_nothing, render_page
    from mosaic_pipeline.segmentation.reporting.results import load_results
    from mosaic_pipeline.segmentation.reporting.results_csv import results_csv
    from mosaic_pipeline.tracking import git_revision, tracked_run

    revision = git_revision()
    if not section.ablation.run:
        _write({"index.html": render_nothing(revision), "summary.json": "{}\n"})
        print(f"{SEG_REPORTS / 'index.html'}: no variant of segmentation runs")
        return
    results = load_results(
        section.ablation.run, params.seeds, reasons=section.ablation.reasons(), analysed=section.ablation.analyse
    )
    means = flat(results)
    models = {place: each.training.md5.get("model") for place, each in results.runs.items()}
    origin = main_models(revision, {seed: models[results.main, seed] for seed in results.seeds})
    what = {"segmentation.ablation.run": results.variants, "seeds": results.seeds}
    note = f"**Report of segmentation**: {listing(list(results.variants))} on {plural(len(results.datasets), 'set')}"
    tags = {"variant": results.main}
    with tracked_run("seg_report", "seg_report", params.tracking, params=what, tags=tags, note=note) as run:
        texts = {
            "index.html": render_page(results, revision),
            **{f"{name}.html": page for name, page in render_datasets(results, revision).items()},
            **dict(render_further(results, revision)),
            "ablation.md": render_markdown(results, revision),
            "ablation.tex": render_latex(results),
            "results.csv": results_csv(results, revision),
            "summary.json": json.dumps(means | origin, indent=2) + "\n",
        }
        _write(texts)
        for name in texts:
            run.log_artifact(SEG_REPORTS / name)
        run.log_trainings(models)
        run.log_metrics({name: value for name, value in means.items() if value is not None})
        run.point_from_experiment("Report of segmentation", "index.html")
    print(f"{SEG_REPORTS / 'index.html'}: {', '.join(results.variants)} on {plural(len(results.datasets), 'set')}")


def _write(texts: dict[str, str]) -> None:
    """Write all files of the report or none, and take away those of sets that are there no more."""
    from mosaic_pipeline.atomic import write_texts
    from mosaic_pipeline.layout import SEG_REPORTS

    # DVC leaves the last report where it is (`persist`), so that a failure costs nothing.
    write_texts(SEG_REPORTS, texts)
    for path in SEG_REPORTS.iterdir():
        if path.is_file() and path.name not in texts:
            path.unlink()


if __name__ == "__main__":
    run_command(main)
