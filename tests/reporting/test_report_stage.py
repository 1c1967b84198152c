import csv
import json
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

import pipeline.tracking
from pipeline.errors import PipelineError
from stages.report import main

PARAMS = Path(__file__).parents[2] / "params.yaml"
FILES = ("ablation.md", "ablation.tex", "index.html", "results.csv", "summary.json")
PAGES = ("A.html", "B.html", "C.html")


class Run:
    def __init__(self):
        self.artifacts, self.metrics = [], {}

    def log_artifact(self, path, folder=None):
        assert path.is_file()
        self.artifacts.append(path.name)

    def log_metrics(self, metrics):
        self.metrics |= metrics


@pytest.fixture
def run(monkeypatch):
    """A run that stands for MLflow's, and the stage's command line."""
    run = Run()

    @contextmanager
    def tracked_run(stage, name, tracking, *, params, tags):
        assert stage == "report"
        yield run

    monkeypatch.setattr(pipeline.tracking, "tracked_run", tracked_run)
    monkeypatch.setattr(pipeline.tracking, "git_revision", lambda: "abc123")
    monkeypatch.setattr(sys, "argv", ["report"])
    return run


@pytest.fixture
def workspace(inputs, monkeypatch):
    """Inputs of one variant and seed beside a params.yaml that asks for them."""
    inputs.variants = ("mosaic",)
    inputs.analyses = {"mosaic": {"branch_ratio": {name: [0.1, 0.2] for name in inputs.datasets}}}
    tree = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    tree["data"]["datasets"] = list(inputs.datasets)
    tree["ablation"] |= {"run": ["mosaic"], "analyse": ["mosaic"], "variants": {"mosaic": {"why": "the method"}}}
    tree["seeds"] = [42]
    folder = inputs.write()
    (folder / "params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    monkeypatch.chdir(folder)
    return folder


def test_the_stage_writes_files_that_agree_and_logs_them(workspace, run):
    main()
    assert sorted(path.name for path in (workspace / "reports").iterdir()) == sorted([*FILES, "specialists"])
    assert sorted(path.name for path in (workspace / "reports/specialists").iterdir()) == list(PAGES)
    assert sorted(run.artifacts) == sorted(FILES + PAGES)
    means = json.loads((workspace / "reports/summary.json").read_text(encoding="utf-8"))
    assert means == run.metrics
    with open(workspace / "reports/results.csv", encoding="utf-8") as file:
        accuracies = [float(row["acc"]) for row in csv.DictReader(file)]
    assert means["mean_acc"] == pytest.approx(sum(accuracies) / 3)
    page = (workspace / "reports/index.html").read_text(encoding="utf-8")
    assert "the method" in page
    assert "How much do specialists add?" in page
    assert all(f'<a href="{name}">' in page for name in {*FILES} - {"index.html"})
    shown = f"{100 * means['mean_acc']:.1f}\u00a0%"
    assert shown in page
    assert shown in (workspace / "reports/ablation.md").read_text(encoding="utf-8")


def test_without_an_evaluation_the_last_report_stays(workspace, run):
    main()
    files = [*FILES, *(f"specialists/{name}" for name in PAGES)]
    before = {name: (workspace / "reports" / name).read_bytes() for name in files}
    shutil.rmtree(workspace / "evaluation/mosaic/42")
    with pytest.raises(PipelineError, match=r"evaluation/mosaic/42/A\.json: no such file; `dvc repro` makes it"):
        main()
    assert {name: (workspace / "reports" / name).read_bytes() for name in files} == before


def test_the_page_of_a_specialist_without_datasets_goes_and_other_files_stay(workspace, run):
    folder = workspace / "reports/specialists"
    folder.mkdir(parents=True)
    for name in ("D.html", "notes.txt"):
        (folder / name).write_text("left over", encoding="utf-8")
    main()
    assert sorted(path.name for path in folder.iterdir()) == [*PAGES, "notes.txt"]
