"""The code that a stage depends on: one that DVC does not run again after a change of it would show old results."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from mosaic_pipeline import layout
from mosaic_pipeline.code import list_code, own_digest
from mosaic_pipeline.layout import TEST_DATA, TRAINING_DATA
from mosaic_pipeline.training.checkpoint import checkpoint_folder
from stages.code import STAGES

ROOT = Path(__file__).parents[1]
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


# The stages that look at a trained model.
OF_A_MODEL = {"evaluate", "analyse", "corrupt", "transfer"}


@pytest.fixture
def copy(tmp_path) -> Path:
    """The project's code, to be changed."""
    for folder in ("pipeline", "stages"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def changed(copy: Path, file: str) -> set[str]:
    """The stages that run again after a change of a file."""
    before = {stage: list_code(stage, copy) for stage in STAGES}
    path = copy / file
    path.write_text(path.read_text() + "\n", encoding="utf-8")
    return {stage for stage in STAGES if list_code(stage, copy) != before[stage]}


def test_every_stage_depends_on_its_code_and_on_no_other():
    assert set(PIPELINE) == {"check", "code", *STAGES}
    assert PIPELINE["code"]["outs"] == [f"code/{stage}.txt" for stage in STAGES]
    assert PIPELINE["code"]["deps"] == [".cache/checked", "pipeline", "stages"]
    for stage in STAGES:
        assert PIPELINE[stage]["cmd"] == f"python -m stages.{stage.replace('seg_', 'segmentation.')}"
        of_code = [path for path in PIPELINE[stage]["deps"] if path.startswith(("code", "pipeline", "stages"))]
        assert of_code == [f"code/{stage}.txt"]


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("stages/train.py", {"train"}),
        ("pipeline/mosaic_pipeline/data/phantom.py", {"download", "download_external"}),  # imported inside a function
        # A better sentence trains nothing again.
        ("pipeline/mosaic_pipeline/data/findings.py", {"declare", "cache", "cache_external", "report"}),
        # What reads files of one's own is declared with them, and fetches none of the 18 again.
        ("pipeline/mosaic_pipeline/data/own/dicom.py", {"declare"}),
        ("pipeline/mosaic_pipeline/own.py", {"declare", "configure"}),
        ("pipeline/mosaic_pipeline/model/bottleneck.py", {"tune", "train", *OF_A_MODEL}),
        ("pipeline/mosaic_pipeline/training/schedule.py", {"tune", "train", "seg_train"}),
        (
            "pipeline/mosaic_pipeline/segmentation/model/m4oe.py",
            {"seg_weights", "seg_train", "seg_evaluate", "seg_analyse"},
        ),
        (
            "pipeline/mosaic_pipeline/segmentation/data/nifti.py",
            {"seg_index", "seg_cache", "seg_configure", "seg_evaluate"},
        ),
        ("pipeline/mosaic_pipeline/segmentation/params.py", set()),
        ("pipeline/mosaic_pipeline/evaluation/brier.py", {"evaluate"}),
        ("pipeline/mosaic_pipeline/evaluation/metrics.py", {"tune", "train", *OF_A_MODEL, "report"}),
        ("pipeline/mosaic_pipeline/evaluation/head.py", {"transfer"}),
        ("pipeline/mosaic_pipeline/recognition/means.py", {"recognise", "recognise_external"}),
        ("pipeline/mosaic_pipeline/evaluation/robustness.py", {"corrupt"}),
        ("pipeline/mosaic_pipeline/candidates.py", {"configure", "tune"}),
        ("pipeline/mosaic_pipeline/params.py", {"declare", "configure"}),  # what counts of it is in the configurations
        ("pipeline/mosaic_pipeline/lineage.py", OF_A_MODEL),
        ("pipeline/mosaic_pipeline/reporting/templates/style.css", {"report", "seg_report"}),
        ("pipeline/mosaic_pipeline/tracking/store.py", set()),
        ("pipeline/mosaic_pipeline/command.py", set()),
        ("pipeline/mosaic_pipeline/commands/describe.py", set()),
    ],
)
def test_a_change_of_code_runs_the_stages_that_it_may_change(copy, file, stages):
    assert changed(copy, file) == stages


@pytest.mark.parametrize(
    ("file", "another"),
    [
        ("pipeline/mosaic_pipeline/data/own/build.py", True),
        ("pipeline/mosaic_pipeline/data/own/dicom.py", True),  # imported inside a function
        ("pipeline/mosaic_pipeline/data/findings.py", True),
        ("pipeline/mosaic_pipeline/own.py", True),
        ("pipeline/mosaic_pipeline/data/phantom.py", False),
        ("pipeline/mosaic_pipeline/params.py", False),
        ("pipeline/mosaic_pipeline/layout.py", False),
    ],
)
def test_the_digest_of_what_reads_own_files_is_of_all_that_decides_what_they_become(copy, file, another):
    before = own_digest(copy)
    path = copy / file
    path.write_text(path.read_text() + "\n", encoding="utf-8")
    assert (own_digest(copy) != before) == another


def test_no_task_depends_on_the_code_of_the_other():
    own = (
        "pipeline/mosaic_pipeline/model/mosaic.py",
        "pipeline/mosaic_pipeline/training/trainer.py",
        "pipeline/mosaic_pipeline/reporting/page.py",
    )
    for stage in STAGES:
        listed = list_code(stage)
        if stage.startswith("seg_"):
            assert not [file for file in own if file in listed], stage
        else:
            assert "pipeline/mosaic_pipeline/segmentation" not in listed, stage


def test_what_only_types_need_decides_nothing(copy):
    module = copy / "pipeline/mosaic_pipeline/evaluation/brier.py"
    before = list_code("download", copy)
    phantom = copy / "pipeline/mosaic_pipeline/data/phantom.py"
    phantom.write_text(
        phantom.read_text() + "\nif TYPE_CHECKING:\n    from mosaic_pipeline.evaluation.brier import brier\n"
    )
    assert module.is_file()
    assert "brier" not in list_code("download", copy)
    phantom.write_text(phantom.read_text() + "\nfrom mosaic_pipeline.evaluation import brier\n")
    assert "pipeline/mosaic_pipeline/evaluation/brier.py" in list_code("download", copy)
    assert list_code("download", copy) != before


def test_a_checkpoint_is_named_by_the_code_that_trains(monkeypatch):
    before = checkpoint_folder({"seed": 1})
    monkeypatch.setattr("mosaic_pipeline.training.checkpoint.code_digest", lambda stage: f"another {stage}")
    other = checkpoint_folder({"seed": 1})
    monkeypatch.setattr("mosaic_pipeline.training.checkpoint.code_digest", lambda stage: "of no stage")
    assert len({before, other, checkpoint_folder({"seed": 1})}) == 3


def test_nothing_but_the_tests_of_a_model_depends_on_the_test_split():
    training, test = map(str, (TRAINING_DATA, TEST_DATA))
    read = {stage: {path for path in PIPELINE[stage]["deps"] if path.startswith("data/cached")} for stage in PIPELINE}
    expected = {stage: {training} for stage in ("tune", "train", "analyse", "cache_external", "transfer")}
    expected |= {stage: {training, test} for stage in ("evaluate", "corrupt", "recognise")}
    assert {stage: paths for stage, paths in read.items() if paths} == expected


def test_a_training_depends_on_no_reader_of_anybodys_weights():
    """A mended reader runs the weights stage, and what it writes decides whether anything trains again."""
    readers = ("checkpoint", "claims", "files", "fill", "hub", "naming", "source")
    listed = list_code("train")
    assert not [reader for reader in readers if f"pipeline/mosaic_pipeline/weights/{reader}.py" in listed]
    assert all(f"pipeline/mosaic_pipeline/weights/{reader}.py" in list_code("weights") for reader in readers)


@pytest.mark.parametrize(
    "file",
    [
        *sorted((ROOT / "stages/segmentation").glob("*.py")),
        ROOT / "pipeline/mosaic_pipeline/segmentation/reporting/records.py",
    ],
)
def test_folders_that_a_text_of_segmentation_names_are_those_of_the_layout(file):
    places = [place for place in vars(layout).values() if isinstance(place, Path)]
    known = {each.as_posix() for place in places for each in (place, place.parent)}
    assert set(re.findall(r"(?:->|of) (segmentation/\w+)/", file.read_text())) <= known
