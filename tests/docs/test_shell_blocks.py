"""Every command of the manual is run, or is marked `<!-- not run: why -->` in front and read all the same."""

import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps
from pages import AFTER_A_RUN, PAGES, ROOT, Block, blocks, overrides, prose, read, shell_blocks
from small import Repository, copied, merged

from mosaic_pipeline.cli import COMMANDS
from mosaic_pipeline.params import parse_params

PARAMS = (ROOT / "params.yaml").read_text()
STAGES = set(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
# What comes with a system, with git or with Python, or as a requirement.
OTHERS = {"cd", "mkdir", "ln", "printf", "export", "git", "source", "curl", "unzip", "tar", "createdb"}
OTHERS |= {"pip", "ruff", "mlflow"}
DVC = {"pull", "push", "status", "remote", "queue", "commit", "gc", "config", "plots"}
# Its commands want what it changes, so test_contributing.py runs them.
RECIPES = "CONTRIBUTING.md"
MARKS = re.compile(f"not run: [a-z].+|{re.escape(AFTER_A_RUN)}")

BLOCKS = shell_blocks()
each_block = pytest.mark.parametrize("block", BLOCKS, ids=[f"{block.page}:{block.line}" for block in BLOCKS])


@cache
def help_of(command: str) -> str:
    """What `mosaic <command> --help` prints."""
    code = "import sys; from mosaic_pipeline.cli import main; sys.argv[0] = 'mosaic'; main()"
    helped = subprocess.run([sys.executable, "-c", code, command, "--help"], capture_output=True, text=True)
    assert helped.returncode == 0, helped.stderr
    return helped.stdout


def check_overrides(page: str, values: list[str], folder: Path) -> None:
    """See that DVC writes the values and that what it writes is legal, with what the page declares of datasets."""
    declared = [yaml.safe_load(block.text) for block in blocks(page) if block.language == "yaml"]
    tree = yaml.safe_load(PARAMS)
    for each in declared:
        tree = merged(tree, {key: value for key, value in each.items() if key in ("data", "ablation")})
    for sweep in get_hydra_sweeps({"params.yaml": values}):
        file = folder / "params.yaml"
        file.write_text(yaml.safe_dump(tree, sort_keys=False))
        apply_overrides(file, sweep["params.yaml"])
        parse_params(file.read_text(), "params.yaml")


def check_command(words: list[str]) -> None:
    """See that the program, and what it is to do, exist."""
    while re.match("[A-Z_]+=", words[0]):
        words = words[1:]
    program, *rest = words
    named = [word for word in rest if not word.startswith("-")]
    if program == "make":
        assert {word for word in named if "=" not in word} <= TARGETS, words
    elif program == "mosaic":
        assert named[0] in COMMANDS, words
        for option in (word.partition("=")[0] for word in rest if word.startswith("-")):
            assert re.search(rf"(^|[\s\[,]){option}\b", help_of(named[0])), words
    elif program in ("python", "torchrun"):
        module = rest[rest.index("-m") + 1] if "-m" in rest else "sys"
        assert importlib.util.find_spec(module), words
    elif program == "dvc" and named[0] in ("repro", "exp"):
        stages = [word for word, before in zip(rest, ["", *rest], strict=False) if before != "-S" and word in named]
        stages = stages[2:] if stages[0] == "exp" and stages[1] == "run" else stages[1:] if stages[0] == "repro" else []
        assert {stage.partition("@")[0] for stage in stages} <= STAGES, words
    elif program == "dvc":
        assert named[0] in DVC, words
    else:
        assert program in OTHERS, words


def test_there_are_blocks_on_the_pages():
    assert len(BLOCKS) > 30
    assert {"README.md", "CONTRIBUTING.md", "docs/segmentation.md"} <= {block.page for block in BLOCKS}


@each_block
def test_a_block_has_no_mark_or_one_that_says_why_and_commands_that_exist(block: Block, tmp_path):
    assert not block.mark or MARKS.fullmatch(block.mark), block.mark
    for words in block.commands():
        check_command(words)
        if (values := overrides(words)) and block.page != RECIPES:
            check_overrides(block.page, values, tmp_path)


def spans() -> Iterator[tuple[str, list[str]]]:
    """Yield what `-S` says between backticks in the text of the pages."""
    for page in PAGES:
        for paragraph in prose(page).split("\n\n"):
            for span in re.findall("`([^`]*)`", paragraph):
                if values := overrides(shlex.split(span) if "-S" in span else []):
                    yield page, values


SPANS = [(page, values) for page, values in spans() if not any("..." in value for value in values)]


@pytest.mark.parametrize(("page", "values"), SPANS, ids=[f"{page}: {' '.join(values)}" for page, values in SPANS])
def test_values_in_the_text_are_legal_too(page, values, tmp_path):
    check_overrides(page, [re.sub("<[a-z]+>", "some", value) for value in values], tmp_path)


DECLARED = [block for page in PAGES for block in blocks(page) if block.language == "yaml"]


@pytest.mark.parametrize("block", DECLARED, ids=[f"{block.page}:{block.line}" for block in DECLARED])
def test_parameters_that_a_page_shows_are_legal(block: Block):
    tree = merged(yaml.safe_load(PARAMS), yaml.safe_load(block.text))
    parse_params(yaml.safe_dump(tree, sort_keys=False), "params.yaml")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Repository:
    """A checkout as it is cloned, with the committed parameters and nothing run."""
    repository = copied(tmp_path_factory.mktemp("checkout"))
    (repository.folder / "params.yaml").write_text(PARAMS)
    repository.commit("parameters")
    return repository


RUN = [block for block in BLOCKS if not block.mark and block.page != RECIPES]


@pytest.mark.parametrize("block", RUN, ids=[f"{block.page}:{block.line}" for block in RUN])
def test_a_block_without_a_mark_runs(block: Block, checkout):
    checkout.run("bash", "-euc", block.text)
    checkout.run("git", "checkout", "-q", ".")


def test_marks_stand_in_front_of_blocks_alone():
    for page in PAGES:
        found = [mark for mark in re.findall("^<!-- (.*) -->$", read(page), re.MULTILINE) if MARKS.fullmatch(mark)]
        assert found == [block.mark for block in blocks(page) if block.mark], page
