"""The recipes of CONTRIBUTING.md, applied as they stand: each is a change that works, in three files at most."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from pages import blocks, overrides, read, shell_blocks
from PIL import Image
from small import ROOT, copied

PAGE = "CONTRIBUTING.md"
# Languages of what a recipe changes, and of the file that it adds.
CHANGE, FILE = "diff", "python"
RECIPES = ("A variant", "A kind of adapter", "A dataset")
SHELL = [block for block in shell_blocks() if block.page == PAGE]
COMMANDS = [words for block in SHELL for words in block.commands()]


def section(title: str) -> str:
    return read(PAGE).split(f"\n### {title}\n")[1].split("\n## ")[0].split("\n### ")[0]


def apply(title: str, folder: Path) -> set[str]:
    """Make the change of a recipe in a checkout; returns the files of it."""
    text, files = section(title), set()
    for block in blocks(PAGE, text):
        if block.language == CHANGE:
            files |= set(re.findall(r"^\+\+\+ b/(.+)$", block.text, re.MULTILINE))
            git = ["git", "apply", "--whitespace=error", "-"]
            subprocess.run(git, cwd=folder, input=block.text, text=True, check=True)
        elif block.language == FILE:
            name = re.findall("`([^`]+)`", "\n".join(text.splitlines()[: block.line - 1]))[-1]
            assert not (folder / name).exists()
            (folder / name).write_text(block.text)
            files.add(name)
    return files


def write_with(values: list[str], run: Callable[..., str]) -> None:
    """Write params.yaml as `dvc exp run -S` does."""
    run("python", "-c", f"from dvc.utils.hydra import apply_overrides; apply_overrides('params.yaml', {values})")


@pytest.fixture(scope="module")
def changed(tmp_path_factory) -> tuple[Path, Callable[..., str], dict[str, set[str]]]:
    """A checkout with all recipes in it, what runs a command there, and the files that each changes."""
    folder, home = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("home")
    repository = copied(folder)
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    repository.environment |= {"HOME": str(home), "PYTHONPATH": str(folder / "pipeline")}
    files = {title: apply(title, folder) for title in RECIPES}
    for index in range(20):
        name = home / "data/thyroid" / ("benign", "malignant")[index % 2] / f"{index}.png"
        name.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 128, (28, 28)) + 100 * (index % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(name)
    return folder, repository.run, files


def test_each_recipe_changes_three_files_at_most_and_the_page_has_no_other(changed):
    assert re.findall(r"^### (.+)$", read(PAGE), re.MULTILINE) == list(RECIPES)
    assert all(1 <= len(files) <= 3 for files in changed[2].values()), changed[2]


def test_what_the_recipes_say_is_legal_and_in_the_form_in_which_dvc_writes_it(changed):
    folder, run, _ = changed
    before = (folder / "params.yaml").read_bytes()
    for values in ([], *(overrides(words) for words in COMMANDS if "-S" in words)):
        write_with(values, run)
        assert values or (folder / "params.yaml").read_bytes() == before
        run("python", "-m", "stages.check")
        (folder / "params.yaml").write_bytes(before)
    run("ruff", "check", ".")
    run("ruff", "format", "--check", ".")


def test_the_commands_of_the_recipes_run(changed):
    run = changed[1]
    printed = [run("bash", "-euc", block.text) for block in SHELL if not block.mark]
    assert len(printed) == 2
    # The new kind does what every kind has to, under every routing and gate.
    assert int(re.search(r"(\d+) passed", printed[1])[1]) >= 20


def test_the_variants_are_configured_with_what_they_change(changed):
    folder, run, _ = changed
    for variant in ("twice_as_wide", "linear"):
        run("python", "-m", "stages.configure", variant)
    wide, linear = (
        yaml.safe_load((folder / f"candidates/{variant}.yaml").read_text())["tried"][0]["config"]
        for variant in ("twice_as_wide", "linear")
    )
    assert wide["routing"]["sizes"] == {"A": 128, "B": 192, "C": 384}
    assert linear["routing"]["sizes"] == {"A": 64, "B": 64, "C": 64}
    assert linear["routing"]["kind"] == "lora_mlp"


def test_a_change_of_the_kind_trains_again(changed):
    listed = changed[1]("python", "-c", "from mosaic_pipeline.code import list_code; print(list_code('train'))")
    assert "pipeline/mosaic_pipeline/model/lora_mlp.py" in listed


def test_the_dataset_is_read_and_cached_and_has_stages_of_its_own(changed):
    folder, run, _ = changed
    write_with(overrides(COMMANDS[-1]), run)
    run("python", "-m", "stages.declare")
    for stage in ("download", "cache"):
        run("python", "-m", f"stages.{stage}", "thyroid")
    labels = [np.load(path) for path in sorted((folder / "data/cached").rglob("thyroid/*_labels.npy"))]
    assert sum(map(len, labels)) == 20
    assert "cache@thyroid" in run("dvc", "stage", "list", "--name-only").splitlines()
