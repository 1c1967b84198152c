"""The command lines of all stages, in this process."""

import ast
import importlib
import sys
from pathlib import Path

import pytest
import yaml

from mosaic_pipeline.arguments import DATASET, SEED, SPECIALIST, VARIANT, read_arguments
from mosaic_pipeline.errors import PipelineError

ROOT = Path(__file__).parents[1]
COMMANDS = sorted(
    ".".join(path.relative_to(ROOT / "stages").with_suffix("").parts) for path in (ROOT / "stages").rglob("[a-z]*.py")
)
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


@pytest.fixture(autouse=True)
def no_dvc(monkeypatch):
    monkeypatch.delenv("DVC_STAGE", raising=False)


def given(monkeypatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["stage", *arguments])


def refused(*names) -> str:
    with pytest.raises(PipelineError) as error:
        read_arguments("train", "Train.", *names)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_stage_is_a_command():
    assert {stage.replace("seg_", "segmentation.") for stage in STAGES} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_a_stage_does_and_where_it_writes(monkeypatch, capsys, tmp_path, command):
    module = importlib.import_module(f"stages.{command}")
    given(monkeypatch, "--help")
    monkeypatch.chdir(tmp_path)  # help needs no params.yaml
    with pytest.raises(SystemExit) as ended:
        module.main()
    printed = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0
    assert printed.startswith(f"usage: python -m stages.{command} [-h]")
    assert " ".join(module.__doc__.split()) in printed
    if command in STAGES:
        assert "->" in module.__doc__


@pytest.mark.parametrize("command", COMMANDS)
def test_help_waits_for_no_heavy_import(command):
    heavy = {"torch", "torchvision", "timm", "mlflow", "pandas", "scipy", "safetensors", "matplotlib", "requests"}
    todo, seen = [ROOT / "stages" / f"{command.replace('.', '/')}.py"], set()
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:  # what an import of the module runs
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [node.module] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
                for name in names:
                    assert name.partition(".")[0] not in heavy, f"{path}: {name}"
                    home = ROOT / "pipeline" if name.startswith("mosaic_pipeline") else ROOT
                    file = home / Path(*name.split(".")).with_suffix(".py")
                    todo += [file] if file.is_file() else []


def test_arguments_are_read_as_given(monkeypatch):
    given(monkeypatch, "mosaic", "42", "B")
    monkeypatch.setenv("DVC_STAGE", "train@shared-7-A")
    assert read_arguments("train", "Train.", VARIANT, SEED, SPECIALIST) == ["mosaic", 42, "B"]


@pytest.mark.parametrize(
    ("stage", "names", "values"),
    [
        ("train@per_dataset-42", (VARIANT, SEED), ["per_dataset", 42]),
        ("train@mosaic-0-C", (VARIANT, SEED, SPECIALIST), ["mosaic", 0, "C"]),
        ("train@retinamnist", (DATASET,), ["retinamnist"]),
        ("../dvc.yaml:train@retinamnist", (DATASET,), ["retinamnist"]),
    ],
)
def test_without_arguments_they_are_those_of_dvcs_stage(monkeypatch, stage, names, values):
    given(monkeypatch)
    monkeypatch.setenv("DVC_STAGE", stage)
    assert read_arguments("train", "Train.", *names) == values


@pytest.mark.parametrize("stage", ["", "train", "train@", "tune@mosaic-42", "train@mosaic", "train@mosaic-42-A", "@"])
def test_another_stage_of_dvcs_says_nothing(monkeypatch, stage):
    given(monkeypatch)
    monkeypatch.setenv("DVC_STAGE", stage)
    assert "usage: python -m stages.train [-h] variant seed" in refused(VARIANT, SEED)


HOSTILE = [
    "a;b",
    "$(touch x)",
    "`x`",
    "a'b",
    'a"b',
    "a b",
    "a\nb",
    "--help",
    "-h",
    "../a",
    "a/b",
    "",
    "Mosaic",
    "ä",
    "a\0",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_is_none_is_refused_however_it_comes(monkeypatch, name):
    monkeypatch.setattr("os.environ", {"DVC_STAGE": f"train@{name}"})
    given(monkeypatch)
    for kind in (VARIANT, DATASET):
        refused(kind)
        if not name.startswith("-"):
            given(monkeypatch, name)
            assert repr(name)[:2] in refused(kind)
            given(monkeypatch)


@pytest.mark.parametrize("seed", ["-5", "1.0", "1e3", "abc", "", " 42", "4_2", "042", "٤٢", "99999999999", "0x1", "+1"])
def test_a_seed_is_a_plain_whole_number(monkeypatch, seed):
    given(monkeypatch, "mosaic", seed)
    assert refused(VARIANT, SEED).startswith(f"argument seed: {seed!r} is no seed")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("mosaic",), "required: seed"),
        (("mosaic", "42", "43"), "unrecognized arguments: 43"),
        (("mosaic", "42", "--seed=1"), "unrecognized arguments: --seed=1"),
    ],
)
def test_a_wrong_number_of_arguments_is_one_line_with_the_usage(monkeypatch, arguments, said):
    given(monkeypatch, *arguments)
    line = refused(VARIANT, SEED)
    assert said in line
    assert line.endswith("; usage: python -m stages.train [-h] variant seed (--help says more)")


def test_no_command_of_dvc_yaml_holds_a_name_out_of_params_yaml():
    for stage, definition in STAGES.items():
        assert definition["cmd"] == f"python -m stages.{stage.replace('seg_', 'segmentation.')}"


def test_the_check_comes_before_whatever_works_on_a_name():
    assert ".cache/checked" in STAGES["code"]["deps"]
    for stage, definition in STAGES.items():
        assert "matrix" not in definition or f"code/{stage}.txt" in definition["deps"]
