import csv
import errno
import json
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

import mosaic_pipeline.tracking
from mosaic_pipeline.errors import PipelineError
from stages.report import main

PARAMS = Path(__file__).parents[2] / "params.yaml"
FILES = ("ablation.md", "ablation.tex", "index.html", "results.csv", "summary.json")
MODEL = "e" * 32  # what the evaluations say that they tested
ORIGIN = {"revision": "abc123", "md5_model_42": MODEL}
PAGES = ("A.html", "B.html", "C.html")


class Run:
    def __init__(self):
        self.artifacts, self.metrics, self.models = [], {}, {}

    def log_artifact(self, path, folder=None):
        assert path.is_file()
        self.artifacts.append(path.name)

    def log_metrics(self, metrics):
        self.metrics |= metrics

    def log_trainings(self, models):
        self.models |= models

    def point_from_experiment(self, what, file):
        self.pointed = what, file


@pytest.fixture
def run(monkeypatch):
    """A run that stands for MLflow's, and the stage's command line."""
    run = Run()

    @contextmanager
    def tracked_run(stage, name, tracking, *, params, tags, note):
        assert stage == "report"
        yield run

    monkeypatch.setattr(mosaic_pipeline.tracking, "tracked_run", tracked_run)
    monkeypatch.setattr(mosaic_pipeline.tracking, "git_revision", lambda: "abc123")
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
    assert {name: means.pop(name) for name in ("revision", "md5_model_42")} == ORIGIN
    assert run.models == {("mosaic", 42): MODEL}
    assert run.pointed == ("Report", "index.html")
    assert means == run.metrics
    with open(workspace / "reports/results.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    accuracies = [float(row["acc"]) for row in rows]
    assert {(row["revision"], row["md5_model"]) for row in rows} == {tuple(ORIGIN.values())}
    assert means["mean_acc"] == pytest.approx(sum(accuracies) / 3)
    page = (workspace / "reports/index.html").read_text(encoding="utf-8")
    assert "the method" in page
    assert "How much do specialists add?" in page
    assert all(f'<a href="{name}">' in page for name in {*FILES} - {"index.html"})
    shown = f"{100 * means['mean_acc']:.1f}\u00a0%"
    assert shown in page
    short = (workspace / "reports/ablation.md").read_text(encoding="utf-8")
    assert all(value in short for value in (shown, "`abc123`", MODEL))


@pytest.mark.parametrize("variants", [["m4oe"], []])
def test_the_first_page_leads_to_the_report_of_segmentation_where_there_is_one(workspace, run, variants):
    tree = yaml.safe_load((workspace / "params.yaml").read_text(encoding="utf-8"))
    tree["segmentation"]["ablation"] |= {"run": variants, "analyse": variants}
    (workspace / "params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    main()
    page = (workspace / "reports/index.html").read_text(encoding="utf-8")
    links = page.count('href="segmentation/index.html"')
    assert links == (2 if variants else 0)  # among the pages, and in a sentence


def test_without_an_evaluation_the_last_report_stays(workspace, run):
    main()
    files = [*FILES, *(f"specialists/{name}" for name in PAGES)]
    before = {name: (workspace / "reports" / name).read_bytes() for name in files}
    shutil.rmtree(workspace / "evaluation/mosaic/42")
    with pytest.raises(
        PipelineError, match=r"evaluation/mosaic/42/A\.json: no such file; `dvc repro evaluate` makes it"
    ):
        main()
    assert {name: (workspace / "reports" / name).read_bytes() for name in files} == before


@pytest.mark.parametrize("part", ["latex.render_latex", "page.render_specialists", "results_csv.results_csv"])
def test_a_report_that_fails_while_it_is_made_leaves_the_last_one_whole(workspace, run, monkeypatch, part):
    main()
    before = contents(workspace / "reports")
    module, name = part.split(".")

    def fails(*arguments):
        raise PipelineError("no")

    monkeypatch.setattr(f"mosaic_pipeline.reporting.{module}.{name}", fails)
    (workspace / "evaluation/mosaic/42/A.roc.csv").write_text("dataset,fpr,tpr\nretinamnist,0,0\nretinamnist,1,1\n")
    with pytest.raises(PipelineError, match="no"):
        main()
    assert contents(workspace / "reports") == before


def test_a_full_disk_leaves_the_last_report_whole(workspace, run, monkeypatch):
    main()
    before = contents(workspace / "reports")
    write = Path.write_text

    def full(path, text, *arguments, **keywords):
        if "specialists" in path.parts:
            raise OSError(errno.ENOSPC, "no space", str(path))
        return write(path, text, *arguments, **keywords)

    monkeypatch.setattr(mosaic_pipeline.tracking, "git_revision", lambda: "def456")
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="no space"):
        main()
    assert contents(workspace / "reports") == before


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_dvc_removes_no_part_of_the_last_report_before_the_next_is_made():
    stage = yaml.safe_load((PARAMS.parent / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["report"]
    outs = {name: options for out in (*stage["outs"], *stage["metrics"]) for name, options in out.items()}
    assert set(outs) == {f"reports/{name}" for name in (*FILES, "specialists")}
    assert all(options == {"cache": False, "persist": True} for options in outs.values())


def test_the_stage_says_how_many_published_results_it_shows(workspace, run, capsys):
    tree = yaml.safe_load((workspace / "params.yaml").read_text(encoding="utf-8"))
    tree["report"]["published"] = "published.csv"
    (workspace / "params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    header = "dataset,method,input_size,auc,acc,citation\n"
    (workspace / "published.csv").write_text(f"{header}PathMNIST,Net,28,0.9,0.8,Paper\n", encoding="utf-8")
    main()
    assert "published.csv: None of 1 published result is shown: those of a dataset" in capsys.readouterr().out
    assert "None of 1 published result is shown" in (workspace / "reports/index.html").read_text(encoding="utf-8")


def test_the_page_of_a_specialist_without_datasets_goes_and_other_files_stay(workspace, run):
    folder = workspace / "reports/specialists"
    folder.mkdir(parents=True)
    for name in ("D.html", "notes.txt"):
        (folder / name).write_text("left over", encoding="utf-8")
    main()
    assert sorted(path.name for path in folder.iterdir()) == [*PAGES, "notes.txt"]
