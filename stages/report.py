"""Stage `report`: evaluations and histories -> reports/{index.html,ablation.md,results.csv,summary.json}."""

import argparse

from pipeline.command import run_command
from pipeline.params import load_params


def main() -> None:
    """Render the report of the variants and seeds in params.yaml."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    params = load_params()

    # Heavy imports wait until the parameters are known to be good.
    import json

    from pipeline.atomic import write_text
    from pipeline.layout import REPORTS, root
    from pipeline.reporting.ablation import render_markdown
    from pipeline.reporting.means import summary
    from pipeline.reporting.page import render_page
    from pipeline.reporting.results import load_results
    from pipeline.reporting.sections.datasets import results_csv
    from pipeline.tracking import git_revision, tracked_run

    published = root() / params.report.published if params.report.published else None
    results = load_results(params.ablation.run, params.seeds, published)
    means, revision = summary(results), git_revision()

    what = {"variants": ", ".join(results.variants), "seeds": ", ".join(map(str, results.seeds))}
    with tracked_run("report", "report", params.tracking, params=what, tags={"variant": results.main}) as run:
        texts = {
            "index.html": render_page(results, revision),
            "ablation.md": render_markdown(results, revision),
            "results.csv": results_csv(results),
            "summary.json": json.dumps(means, indent=2) + "\n",
        }
        for name, text in texts.items():
            write_text(REPORTS / name, text)
            run.log_artifact(REPORTS / name)
        run.log_metrics({name: value for name, value in means.items() if value is not None})
    print(f"{REPORTS / 'index.html'}: {', '.join(results.variants)} on {len(results.datasets)} datasets")


if __name__ == "__main__":
    run_command(main)
