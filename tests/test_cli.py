"""The console command `mosaic`, as a process and in this one."""

import ast
import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from mosaic_pipeline.cli import COMMANDS
from mosaic_pipeline.explain import USER_ERROR

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pipeline/mosaic_pipeline"
HEAVY = ("torch", "torchvision", "timm", "mlflow", "dvc", "pandas", "scipy", "matplotlib", "fastapi", "onnx")
# What neither the library's dependencies nor what these bring have.
BEYOND = (
    "ruamel",
    "filelock",
    "nibabel",
    "mlflow",
    "dvc",
    "pandas",
    "scipy",
    "sklearn",
    "matplotlib",
    "medmnist",
    "pooch",
    "rocrate",
    "fastapi",
    "uvicorn",
    "psutil",
    "jinja2",
    "onnx",
)
# Runs the command as the console script does, then names what it imported that takes long.
SCRIPT = f"""
import sys, atexit
atexit.register(lambda: print("IMPORTED", *[name for name in {HEAVY} if name in sys.modules]))
from mosaic_pipeline.cli import main
sys.argv = ["mosaic", *sys.argv[1:]]
main()
"""


def mosaic(*arguments: str, folder: Path = ROOT, code: str = SCRIPT) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_needs_no_checkout_and_imports_nothing_that_takes_long(tmp_path, command):
    helped = mosaic(*[command] if command else [], "--help", folder=tmp_path)
    assert helped.returncode == 0, helped.stderr
    *printed, imported = helped.stdout.splitlines()
    assert imported == "IMPORTED"
    assert printed[0].startswith(f"usage: mosaic {command or '<command>'} ")
    if command is None:
        listed = [line.split()[0] for line in printed if line.startswith("  ")]
        assert listed == list(COMMANDS)


def test_help_needs_no_more_than_what_is_installed_without_a_checkout(tmp_path):
    """All in one process, with a finder that knows nothing of what `pip install mosaic-pipeline` does not bring."""
    code = f"""
import contextlib, io, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BEYOND!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from mosaic_pipeline.cli import main
for command in sys.argv[1:]:
    sys.argv = ["mosaic", command, "--help"]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main()
    print(printed.getvalue().partition(" [")[0])
"""
    helped = mosaic(*COMMANDS, folder=tmp_path, code=code)
    assert helped.returncode == 0, helped.stderr
    assert [line.split()[:3] for line in helped.stdout.splitlines()] == [
        ["usage:", "mosaic", name] for name in COMMANDS
    ]


def test_the_extra_of_the_pipeline_is_what_requirements_have_beyond_the_dependencies():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    needed, extra = (
        {
            re.split("[>=<]", name)[0]
            for name in re.findall(r'"([^"]+)"', re.search(rf"^{key} = \[(.+?)\]", text, re.M | re.S)[1])
        }
        for key in ("dependencies", "pipeline")
    )
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = {re.split("[=; ]", line)[0] for line in lines if line and not line.startswith("#")}
    assert extra == pinned - needed
    assert needed <= pinned


def test_each_requirement_is_named_once_for_each_version_of_python():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    named = [line.partition("#")[0].strip() for line in lines if not line.startswith("#")]
    assert len(named) == len(set(named))


def test_every_command_is_listed_and_is_a_module_with_a_main():
    modules = {path.stem: path for path in (PACKAGE / "commands").glob("[a-z]*.py")}
    assert set(modules) == {name.replace("-", "_") for name in COMMANDS}
    for path in modules.values():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert "main" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, path


@pytest.mark.parametrize(("arguments", "said"), [((), "which command?"), (("nonsense",), "'nonsense' is no command")])
def test_what_is_no_command_is_one_line(arguments, said):
    refused = mosaic(*arguments)
    assert refused.returncode == USER_ERROR
    assert refused.stderr.startswith(f"error: {said}")
    assert len(refused.stderr.splitlines()) == 1


def test_the_console_command_is_installed():
    (script,) = entry_points(group="console_scripts", name="mosaic")
    assert script.value == "mosaic_pipeline.cli:main"


def test_neither_is_another_package_called_pipeline_hidden_nor_does_it_hide_ours(tmp_path):
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline/__init__.py").write_text("WHOSE = 'somebody else'\n")
    code = "import pipeline, mosaic_pipeline.digest; print(pipeline.WHOSE, mosaic_pipeline.digest.__file__)"
    printed = mosaic(folder=tmp_path, code=code).stdout.split()
    assert printed == ["somebody", "else", str(PACKAGE / "digest.py")]


def test_a_stage_runs_the_library_of_its_own_checkout(tmp_path):
    """A queued experiment is a copy with code of its own, run with the environment of the original."""
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/__init__.py").write_bytes((ROOT / "stages/__init__.py").read_bytes())
    (tmp_path / "pipeline/mosaic_pipeline").mkdir(parents=True)
    (tmp_path / "pipeline/mosaic_pipeline/__init__.py").write_text("WHOSE = 'of the copy'\n")
    code = "import stages, mosaic_pipeline; print(mosaic_pipeline.WHOSE)"
    environment = os.environ | {"PYTHONPATH": f"{PACKAGE.parent}{os.pathsep}{tmp_path}"}
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.stdout == "of the copy\n", run.stderr
