"""Files of corrupted images and external datasets that are missing, damaged or of something else: one line each."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from beside import write_corrupted, write_transfer

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.reporting.results import load_results

BACKBONE, A = (None, None, False), ("A", None, False)
NOISE = Path("evaluation/mosaic/2/corrupted/noise.json")
EXTERNAL = Path("evaluation/mosaic/2/transfer/pneumoniamnist.json")


@pytest.fixture
def finished(inputs, monkeypatch):
    """Inputs of two seeds with one corruption and one external dataset; the working directory is theirs."""
    inputs.variants, inputs.seeds = ("mosaic", "shared"), (1, 2)
    inputs.write()
    write_corrupted(inputs, "noise", lambda *_: 0.5)
    ways = {"mosaic": [BACKBONE, A], "shared": [BACKBONE]}
    write_transfer(inputs, "pneumoniamnist", ways, lambda variant, seed, place: (0.5, 0.5 + 0.1 * place, 0.5))
    monkeypatch.chdir(inputs.root)
    return inputs


def load(inputs):
    more = {"corruptions": ("noise",), "external": ("pneumoniamnist",)}
    return load_results(inputs.variants, inputs.seeds, "ABC", **more)


def test_what_the_stages_write_is_read(finished):
    results = load(finished)
    assert results.corrupted["noise"]["shared", 2].results["breastmnist"].n == finished.test
    assert results.transfers["pneumoniamnist"]["mosaic", 1].file.heads[1].specialist == "A"
    assert results.transfers["pneumoniamnist"]["mosaic", 1].dataset.name == "pneumoniamnist"


def edited(change: Callable[[dict], None]) -> Callable[[Path], None]:
    """Change the tree of a JSON file."""

    def damage(path: Path) -> None:
        tree = json.loads(path.read_text(encoding="utf-8"))
        change(tree)
        path.write_text(json.dumps(tree), encoding="utf-8")

    return damage


def put(*place, value) -> Callable[[Path], None]:
    """Put a value at a place of a JSON file."""

    def change(tree) -> None:
        *above, last = place
        for key in above:
            tree = tree[key]
        tree[last] = value

    return edited(change)


def arrays(change: Callable[[dict], None]) -> Callable[[Path], None]:
    """Change the arrays of the npz beside a JSON file."""

    def damage(path: Path) -> None:
        with np.load(path.with_suffix(".npz")) as stored:
            made = {name: np.array(stored[name]) for name in stored.files}
        change(made)
        np.savez(path.with_suffix(".npz"), **made)

    return damage


def shifted(name: str) -> Callable[[Path], None]:
    return arrays(lambda made: made.update({name: made[name] + np.float32(0.1)}))


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("path", "damage", "says"),
    [
        (NOISE, Path.unlink, "no such file; `dvc repro corrupt` makes it"),
        (NOISE, cut_in_half, "not valid JSON"),
        (NOISE, lambda path: path.with_suffix(".npz").unlink(), "no such file; `dvc repro corrupt` makes it"),
        (NOISE, lambda path: cut_in_half(path.with_suffix(".npz")), "`dvc repro corrupt` mends that"),
        (NOISE, put("variant", value="shared"), "of variant shared, seed 2, corruption noise"),
        (NOISE, put("corruption", value="blur"), "of variant mosaic, seed 2, corruption blur"),
        (NOISE, put("md5", "model", value="a" * 32), "of another model than the evaluation"),
        (NOISE, edited(lambda tree: tree["md5"].clear()), "of another model than the evaluation"),
        (NOISE, edited(lambda tree: tree["datasets"].pop("breastmnist")), "not of the datasets that are configured"),
        (NOISE, put("datasets", "breastmnist", "n", value=23), "breastmnist: n is 23, but 24 clean images were tested"),
        (NOISE, put("datasets", "breastmnist", "acc", value=[0.5] * 4), "datasets.breastmnist.acc"),
        (NOISE, put("datasets", "breastmnist", "acc", 2, value=1.5), "datasets.breastmnist.acc.2 = 1.5"),
        (NOISE, put("datasets", "breastmnist", "auc", 2, value=0.123), "breastmnist/contributions: their mean is not"),
        (NOISE, shifted("breastmnist/contributions"), "breastmnist/contributions: their mean is not the ACC"),
        (NOISE, arrays(lambda made: made.pop("breastmnist/contributions")), "no array breastmnist/contributions"),
        (
            NOISE,
            arrays(lambda made: made.update({"breastmnist/contributions": made["breastmnist/contributions"][:4]})),
            "breastmnist/contributions: holds float32 [4,24,2], not float32 [5,24,2]",
        ),
        (EXTERNAL, Path.unlink, "no such file; `dvc repro transfer` makes it"),
        (EXTERNAL, lambda path: path.with_suffix(".npz").unlink(), "no such file; `dvc repro transfer` makes it"),
        (EXTERNAL, put("dataset", value="octmnist"), "of variant mosaic, seed 2, dataset octmnist"),
        (EXTERNAL, put("seed", value=1), "of variant mosaic, seed 1, dataset pneumoniamnist"),
        (EXTERNAL, put("md5", "model", value="a" * 32), "of another model than the evaluation"),
        (EXTERNAL, put("heads", 1, "specialist", value=None), "heads: one way is there twice"),
        (EXTERNAL, edited(lambda tree: tree["heads"].pop(0)), "heads: none of the backbone alone"),
        (EXTERNAL, put("heads", 1, "tokenizer", value="x"), "heads: none of the backbone alone behind the tokenizer x"),
        (EXTERNAL, edited(lambda tree: tree["heads"].pop(1)), "not of the same ways or data as that of seed 1"),
        (EXTERNAL, put("data", "splits", "test", "n", value=59), "not of the same ways or data as that of seed 1"),
        (EXTERNAL, put("data", "form", "dimension", value=4), "pneumoniamnist: dimension = 4"),
        (EXTERNAL, put("heads", 1, "auc", value=-0.1), "heads.1.auc = -0.1"),
        (EXTERNAL, put("heads", 1, "acc", value=0.9), "1/contributions: their mean is not the ACC"),
        (EXTERNAL, shifted("0/contributions"), "0/contributions: their mean is not the ACC"),
        (EXTERNAL, put("constant_acc", value=None), "constant_acc"),
    ],
)
def test_a_file_that_is_not_what_its_stage_writes_is_one_line(finished, path, damage, says):
    damage(path)
    with pytest.raises(PipelineError) as error:
        load(finished)
    line = str(error.value)
    assert line.startswith(str(path.with_suffix("")))
    assert says in line
    stage = "corrupt" if path == NOISE else "transfer"
    assert f"`dvc repro {stage}`" in line
    assert "\n" not in line
