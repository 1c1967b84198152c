"""The stage `seg_report`: all of its files or none, from nothing but what DVC knows that it reads."""

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
from mosaic_pipeline.layout import SEG_REPORTS, segmentation_evaluation
from stages.segmentation.report import main

ROOT = Path(__file__).parents[3]
STAGE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["seg_report"]
FILES = ("index.html", "ablation.md", "ablation.tex", "results.csv", "summary.json")
VARIANTS = {"m4oe": {"why": "the method"}, "dense": {"why": "one MLP for all", "experts.routing": "shared"}}


class Logged:
    """In the place of MLflow's runs; `begun` says how many there are."""

    def __init__(self):
        self.begun, self.artifacts, self.metrics, self.models = 0, [], {}, {}

    def log_artifact(self, path):
        assert path.is_file()
        self.artifacts.append(path.name)

    def log_metrics(self, metrics):
        self.metrics |= metrics

    def log_trainings(self, models):
        self.models |= models

    def point_from_experiment(self, what, file):
        self.pointed = what, file


@pytest.fixture
def logged(monkeypatch):
    """What MLflow gets; the stage is called without arguments."""
    logged = Logged()

    @contextmanager
    def tracked_run(stage, name, tracking, *, params, tags, note):
        assert stage == "seg_report"
        logged.begun += 1
        yield logged

    monkeypatch.setattr(mosaic_pipeline.tracking, "tracked_run", tracked_run)
    monkeypatch.setattr(mosaic_pipeline.tracking, "git_revision", lambda: "abc123")
    monkeypatch.setattr(sys, "argv", ["report"])
    return logged


@pytest.fixture
def made(make_inputs, tmp_path):
    """What stages before this one leave of one variant on set one, which was not looked into."""
    inputs = make_inputs(tmp_path / "made", variants=("m4oe",), analysed=(), pictures=False, cases=1)
    inputs.sets.pop("two")
    return inputs.write()


@pytest.fixture
def workspace(made, tmp_path, monkeypatch, logged):
    """A folder that has params.yaml and what DVC knows that the stage reads, and nothing else."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    monkeypatch.chdir(folder)
    bring(made)
    write_params(run=["m4oe"], analyse=[], variants=VARIANTS)
    return folder


@pytest.fixture
def last(workspace):
    """A report that is there from before, when there was set two."""
    for name in (*FILES, "one.html", "two.html"):
        (SEG_REPORTS / name).parent.mkdir(parents=True, exist_ok=True)
        (SEG_REPORTS / name).write_text(f"the last {name}", encoding="utf-8")
    return contents()


def bring(made):
    """Copy what dvc.yaml says that the stage depends on, code aside, from where it was made."""
    for name in STAGE["deps"]:
        if not name.startswith("code/"):
            shutil.rmtree(name, ignore_errors=True)
            shutil.copytree(made / name, name)


def write_params(**ablation):
    tree = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    tree["segmentation"]["ablation"] |= ablation
    Path("params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")


def contents():
    return {path.relative_to(SEG_REPORTS).as_posix(): path.read_bytes() for path in SEG_REPORTS.rglob("*")}


def test_the_stage_writes_files_that_agree_and_logs_them_from_what_dvc_knows_that_it_reads(
    workspace, make_inputs, tmp_path, logged
):
    made = make_inputs(tmp_path / "more", variants=("m4oe", "dense"), cases=1)
    bring(made.write())
    write_params(run=["m4oe", "dense"], analyse=["m4oe"], variants=VARIANTS)
    main()
    assert set(contents()) == {*FILES, "one.html", "two.html"}
    assert sorted(logged.artifacts) == sorted(contents())
    means = json.loads((SEG_REPORTS / "summary.json").read_text(encoding="utf-8"))
    assert (means.pop("revision"), means.pop("md5_model_42")) == ("abc123", "md5 of m4oe 42")
    assert logged.models == {(variant, 42): f"md5 of {variant} 42" for variant in ("m4oe", "dense")}
    assert logged.pointed == ("Report of segmentation", "index.html")
    assert {name: value for name, value in means.items() if value is not None} == logged.metrics
    with open(SEG_REPORTS / "results.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    of = {(row["variant"], row["revision"], row["md5_model"]) for row in rows}
    assert of == {(variant, "abc123", f"md5 of {variant} 42") for variant in ("m4oe", "dense")}
    short = (SEG_REPORTS / "ablation.md").read_text(encoding="utf-8")
    assert all(f"md5 of {variant} 42" in short for variant in ("m4oe", "dense"))
    assert "`abc123`" in short
    page = (SEG_REPORTS / "index.html").read_text(encoding="utf-8")
    assert all(part in page for part in ("the method", "one MLP for all", '<section id="experts">', "image/png"))


def test_without_an_evaluation_the_last_report_stays(last):
    path = segmentation_evaluation("m4oe", 42)
    path.unlink()
    with pytest.raises(PipelineError, match=rf"^{path}: no such file; `dvc repro seg_evaluate` makes it$"):
        main()
    assert contents() == last


@pytest.mark.parametrize("part", ["page.render_datasets", "results_csv.results_csv"])
def test_a_report_that_fails_while_it_is_made_leaves_the_last_one_whole(last, monkeypatch, part):
    def fails(*arguments):
        raise PipelineError("no")

    monkeypatch.setattr(f"mosaic_pipeline.segmentation.reporting.{part}", fails)
    with pytest.raises(PipelineError, match="no"):
        main()
    assert contents() == last


@pytest.mark.parametrize("before", [True, False])
def test_a_full_disk_leaves_the_last_report_whole_or_none(before, workspace, request, monkeypatch):
    last = request.getfixturevalue("last") if before else {}
    write = Path.write_text

    def full(path, text, *arguments, **keywords):
        if "summary.json" in path.name:  # the last of all files
            raise OSError(errno.ENOSPC, "no space", str(path))
        return write(path, text, *arguments, **keywords)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="no space"):
        main()
    assert contents() == last


def test_the_page_of_a_set_that_left_goes_with_it_and_every_other_file_is_new(last):
    main()
    assert set(contents()) == {*FILES, "one.html"} == set(last) - {"two.html"}
    assert not set(contents().values()) & set(last.values())


def test_without_any_variant_the_first_page_says_so_and_all_else_is_gone(last, logged):
    write_params(run=[], analyse=[])
    shutil.rmtree("segmentation")
    main()
    assert set(contents()) == {"index.html", "summary.json"}
    assert b"No variant is in <code>segmentation.ablation.run</code>" in contents()["index.html"]
    assert json.loads(contents()["summary.json"]) == {}
    assert not logged.begun


def test_dvc_removes_no_part_of_the_last_report_before_the_next_is_made():
    assert STAGE["outs"] == [{SEG_REPORTS.as_posix(): {"cache": False, "persist": True}}]
