"""Stage `report`: evaluations, histories and analyses -> reports/.

index.html, specialists/<specialist>.html, ablation.md, ablation.tex, results.csv and summary.json.
"""

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
    from pipeline.reporting.latex import render_latex
    from pipeline.reporting.means import summary
    from pipeline.reporting.page import render_page, render_specialists
    from pipeline.reporting.results import load_results
    from pipeline.reporting.results_csv import results_csv
    from pipeline.tracking import git_revision, tracked_run

    published = root() / params.report.published if params.report.published else None
    results = load_results(
        params.ablation.run,
        params.seeds,
        published,
        reasons=params.reasons(),
        analysed=params.ablation.analyse,
        margin=params.report.margin,
    )
    means, revision = summary(results), git_revision()

    what = {"variants": ", ".join(results.variants), "seeds": ", ".join(map(str, results.seeds))}
    with tracked_run("report", "report", params.tracking, params=what, tags={"variant": results.main}) as run:
        texts = {
            "index.html": render_page(results, revision),
            "ablation.md": render_markdown(results, revision),
            "ablation.tex": render_latex(results),
            "results.csv": results_csv(results),
            "summary.json": json.dumps(means, indent=2) + "\n",
        }
        pages = render_specialists(results, revision)
        for name, text in texts.items():
            write_text(REPORTS / name, text)
            run.log_artifact(REPORTS / name)
        folder = REPORTS / "specialists"
        for specialist, text in pages.items():
            write_text(folder / f"{specialist}.html", text)
            run.log_artifact(folder / f"{specialist}.html", "specialists")
        for path in folder.glob("*.html"):
            if path.stem not in pages:  # of a specialist that has no dataset any more
                path.unlink()
        run.log_metrics({name: value for name, value in means.items() if value is not None})
    print(f"{REPORTS / 'index.html'}: {', '.join(results.variants)} on {len(results.datasets)} datasets")


if __name__ == "__main__":
    run_command(main)
