import difflib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.params import parse_params
from mosaic_pipeline.profile import overlay

ROOT = Path(__file__).parents[2]
PARAMS = (ROOT / "params.yaml").read_text()


def lay(profile, params=PARAMS):
    return overlay(params, profile, "profiles/mine.yaml")


def changes(after, before=PARAMS):
    """The removed and the added lines."""
    diff = list(difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm=""))[2:]
    return [line[1:] for line in diff if line[0] == "-"], [line[1:] for line in diff if line[0] == "+"]


def comment(line):
    return line.partition("#")[2]


@pytest.fixture
def profile(tmp_path):
    """Run the command in a copy of params.yaml and the profiles."""
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    shutil.copy(ROOT / "params.yaml", tmp_path)

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "mosaic_pipeline", "profile", *arguments],
            cwd=tmp_path,
            env={"PYTHONPATH": f"{ROOT}:{ROOT / 'pipeline'}"},
            capture_output=True,
            text=True,
        )

    return run


def test_an_empty_overlay_leaves_every_byte():
    assert lay("{}") == PARAMS


def test_a_value_that_is_there_already_leaves_every_byte():
    assert lay(yaml.safe_dump(yaml.safe_load(PARAMS))) == PARAMS


def test_only_the_lines_of_changed_values_differ_and_their_comments_stay_in_their_column():
    removed, added = changes(lay("train:\n  lr: 1.0e-4\n  batch_size: 64\nmodel:\n  weights: vit.npz\nseeds: [1]\n"))
    assert [line.partition("#")[0].split() for line in added] == [
        ["weights:", "vit.npz"],
        ["batch_size:", "64"],
        ["lr:", "1.0e-4"],
        ["-", "1"],
    ]
    assert [comment(line) for line in added] == [comment(line) for line in removed]
    assert [line.find("#") for line in added] == [line.find("#") for line in removed]


def test_a_list_is_replaced_and_what_stands_below_it_stays():
    after = lay("data: {datasets: [retinamnist, vesselmnist3d]}")
    kept = ["  - retinamnist", "  - vesselmnist3d"]
    removed, added = changes(after)
    assert added == []
    assert removed == [f"  - {name}" for name in MEDMNIST if f"  - {name}" not in kept]
    longer = lay(yaml.safe_dump({"data": {"datasets": list(MEDMNIST)}}), after)
    assert longer == PARAMS


def test_a_list_of_ones_own_keeps_its_style_and_the_comment_below_it():
    for mine in ("seeds: [42]\n# mine\n", "seeds:\n- 42\n# mine\n"):
        text = PARAMS.replace("seeds:\n- 42\n", mine)
        assert lay("seeds: [7]", text) == text.replace(mine, mine.replace("42", "7"))


def test_a_new_variant_adds_lines_and_touches_none():
    after = lay("ablation:\n  variants:\n    wide:\n      why: wider\n      adapter.scale: 1.0  # all\n")
    assert changes(after) == ([], ["    wide:", "      why: wider", "      adapter.scale: 1.0  # all"])
    assert parse_params(after, "").variant("wide").adapter.scale == 1.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("modle: {}", "modle: unknown key; did you mean model?"),
        ("train:\n  learning_rate: 1", "train.learning_rate: unknown key"),
        ("train: {lr: -1}", "train.lr = -1: should be greater than 0"),
        ("train: fast", "train = 'fast': should be a mapping"),
        ("train: {warmup_rounds: 99}", "train.warmup_rounds: 99 must be at most num_rounds"),
        ("ablation: {variants: {mine: {why: mine, data.source: zenodo}}}", "ablation.variants.mine: data.source"),
        ("- 1", "expected a mapping of parameters"),
        ("", "expected a mapping of parameters"),
        ("train: [", "not valid YAML"),
        ("train: {}\ntrain: {}", "not valid YAML"),
    ],
)
def test_a_profile_that_is_not_legal_is_one_line_that_names_it(text, said):
    with pytest.raises(PipelineError) as error:
        lay(text)
    assert str(error.value).startswith(f"profiles/mine.yaml: {said}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [path.stem for path in (ROOT / "profiles").glob("*.yaml")])
def test_every_profile_is_legal_and_starts_with_a_line_that_says_what_it_is(name):
    text = (ROOT / "profiles" / f"{name}.yaml").read_text()
    assert lay(text) != PARAMS
    assert text.startswith("# ")


def test_the_paper_profile_is_the_paper():
    params = parse_params(lay((ROOT / "profiles/paper.yaml").read_text()), "params.yaml")
    assert (params.data.source, params.data.size_2d, params.data.size_3d) == ("zenodo", 224, 64)
    assert params.data.datasets == tuple(MEDMNIST)
    assert (params.data.train_limit, params.data.eval_limit) == (None, None)
    assert (params.model.backbone, params.model.image_size, params.model.volume_size) == (
        "vit_base_patch16_224",
        224,
        64,
    )
    assert params.model.weights.endswith("imagenet21k/ViT-B_16.npz")
    widths = params.adapter.bottleneck_a, params.adapter.bottleneck_b, params.adapter.bottleneck_c
    assert (params.adapter.routing, *widths) == ("specialists", 64, 96, 192)
    assert (params.train.num_rounds, params.train.batch_size, params.train.lr) == (100, 32, 1e-4)
    assert (params.train.early_stopping_patience, params.train.consist_weight) == (5, 0.1)
    assert (params.ema.momentum, params.ema.momentum_3d) == (0.9, 0.95)
    assert params.seeds == (42, 123, 456)
    assert params.compute.precision == "bf16"


def test_the_paper_profile_undoes_whatever_an_experiment_changed():
    other = lay("data: {datasets: [retinamnist], train_limit: 5}\nadapter: {bottleneck_c: 7}\ntrain: {grad_clip: 9.0}")
    paper = (ROOT / "profiles/paper.yaml").read_text()
    assert yaml.safe_load(lay(paper, other)) == yaml.safe_load(lay(paper))


def test_the_command_writes_params_in_place_and_prints_the_diff(profile, tmp_path):
    result = profile("paper")
    assert result.returncode == 0, result.stderr
    after = (tmp_path / "params.yaml").read_text()
    assert after == lay((ROOT / "profiles/paper.yaml").read_text())
    removed, added = changes(after)
    lines = result.stdout.splitlines()
    assert [line[1:] for line in lines if line[0] == "-"][1:] == removed
    assert [line[1:] for line in lines if line[0] == "+"][1:] == added
    again = profile("paper")
    assert again.stdout == "params.yaml has the values of profiles/paper.yaml already\n"


def test_without_a_name_the_command_lists_the_profiles_and_changes_nothing(profile, tmp_path):
    result = profile()
    assert result.returncode == 0, result.stderr
    known = ["hippocampus", "m4oe_paper", "paper", "pretrained", "real"]
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == known
    assert (tmp_path / "params.yaml").read_text() == PARAMS


KNOWN = "the profiles are broken, hippocampus, m4oe_paper, paper, pretrained, real"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("papre", f"error: papre: no such profile; {KNOWN}\n"),
        ("../params", f"error: ../params: no such profile; {KNOWN}\n"),
        ("broken", "error: profiles/broken.yaml: train.lr = 0: should be greater than 0\n"),
    ],
)
def test_what_cannot_be_laid_over_params_leaves_them_as_they_are(profile, tmp_path, name, said):
    (tmp_path / "profiles/broken.yaml").write_text("train: {lr: 0}")
    result = profile(name)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", said)
    assert (tmp_path / "params.yaml").read_text() == PARAMS
