"""Stage `report`: evaluations, histories and analyses -> reports/.

index.html, specialists/<specialist>.html, ablation.md, ablation.tex, results.csv and summary.json; where the variants
do not fit on a page also specialists/variants-<n>.html.
"""

from mosaic_pipeline.arguments import read_arguments
from mosaic_pipeline.command import run_command
from mosaic_pipeline.params import load_params


def main() -> None:
    """Render the report of the variants and seeds in params.yaml."""
    read_arguments("report", __doc__)
    params = load_params()

    # Heavy imports wait until the parameters are known to be good.
    import json

    from mosaic_pipeline.atomic import write_texts
    from mosaic_pipeline.layout import REPORTS, from_root
    from mosaic_pipeline.reporting.ablation import render_markdown
    from mosaic_pipeline.reporting.latex import render_latex
    from mosaic_pipeline.reporting.means import summary
    from mosaic_pipeline.reporting.page import render_further, render_page, render_specialists
    from mosaic_pipeline.reporting.results import load_results
    from mosaic_pipeline.reporting.results_csv import results_csv
    from mosaic_pipeline.reporting.sections.published import shown_sentence
    from mosaic_pipeline.reporting.sentences import lead
    from mosaic_pipeline.reporting.tracing import main_models
    from mosaic_pipeline.reporting.wording import listing, plural
    from mosaic_pipeline.tracking import git_revision, tracked_run

    published = from_root(params.report.published) if params.report.published else None
    results = load_results(
        params.ablation.run,
        params.seeds,
        params.specialists,
        published,
        reasons=params.ablation.reasons(),
        analysed=params.ablation.analyse,
        margin=params.report.margin,
        corruptions=params.data.corruptions,
        external=params.data.external,
        recognised=True,
    )
    means, revision = summary(results), git_revision()
    models = {place: each.md5.get("model") for place, each in results.runs.items()}
    origin = main_models(revision, {seed: models[results.main, seed] for seed in results.seeds})

    what = {"ablation.run": results.variants, "seeds": results.seeds}
    note = f"**Report** of {listing(list(results.variants))}. {' '.join(lead(results))}"
    tags = {"variant": results.main}
    with tracked_run("report", "report", params.tracking, params=what, tags=tags, note=note) as run:
        texts = {
            "index.html": render_page(results, revision, segmentation=bool(params.segmentation.ablation.run)),
            "ablation.md": render_markdown(results, revision),
            "ablation.tex": render_latex(results),
            "results.csv": results_csv(results, revision),
            "summary.json": json.dumps(means | origin, indent=2) + "\n",
        }
        pages = {f"specialists/{name}.html": page for name, page in render_specialists(results, revision).items()}
        pages |= {f"specialists/{name}": page for name, page in render_further(results, revision)}
        # DVC leaves the last report where it is (`persist`), so that a failure costs nothing: all files or none.
        write_texts(REPORTS, texts | pages)
        for path in REPORTS.glob("specialists/*.html"):
            if path.relative_to(REPORTS).as_posix() not in pages:  # of what is there no more
                path.unlink()
        for name in texts:
            run.log_artifact(REPORTS / name)
        for name in pages:
            run.log_artifact(REPORTS / name, "specialists")
        run.log_trainings(models)
        run.log_metrics({name: value for name, value in means.items() if value is not None})
        run.point_from_experiment("Report", "index.html")
    print(f"{REPORTS / 'index.html'}: {', '.join(results.variants)} on {plural(len(results.datasets), 'dataset')}")
    if results.published:
        print(f"{params.report.published}: {shown_sentence(results)}")


if __name__ == "__main__":
    run_command(main)
