"""What tuning tries for a variant; the bytes of the file decide what is tuned again."""

import copy
from pathlib import Path

import pytest
import yaml

from mosaic_pipeline.candidates import dump_candidates, load_candidates, resolve_candidates
from mosaic_pipeline.config import config_tree, dump_config, resolve
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.params import parse_params

TREE = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text())
TREE["adapter"] |= {"scale": 0.1, "lora_rank": 8}
TREE["train"] |= {"lr": 1e-3}
TUNED = ["mosaic", "linear_probe", "full_finetune"]
GRID = {"train.lr": [0.001, 0.01]}


def params(changes=None, **tune):
    """The committed parameters with `changes` by dotted key and, by default, three variants tuned over two rates."""
    tree = copy.deepcopy(TREE)
    for key, value in (changes or {}).items():
        group, _, leaf = key.rpartition(".")
        (tree[group] if group else tree)[leaf] = value
    tree["ablation"]["tune"] = {"variants": TUNED, "grid": GRID, "seed": 0} | tune
    return parse_params(yaml.safe_dump(tree, sort_keys=False), "params.yaml")


def values(variant, **tune):
    return [candidate.values for candidate in resolve_candidates(params(**tune), variant).tried]


def dumps(*arguments, **tune):
    changed = params(*arguments, **tune)
    return {name: dump_candidates(resolve_candidates(changed, name)) for name in (*TUNED, "shared")}


def changed(*arguments, **tune):
    """Names of the variants that are tuned again, or for the first time."""
    before, after = dumps(), dumps(*arguments, **tune)
    return {name for name in before if before[name] != after[name]}


def test_a_variant_that_is_not_tuned_has_its_own_configuration_alone():
    candidates = resolve_candidates(params(), "shared")
    assert (candidates.seed, [each.values for each in candidates.tried]) == (None, [{}])
    assert dump_config(candidates.tried[0].config) == dump_config(resolve(params(variants=[]), "shared"))


def test_all_combinations_of_the_grid_are_tried_in_its_order():
    grid = {"train.lr": [0.01, 0.001], "adapter.scale": [1.0, 0.1]}
    candidates = resolve_candidates(params(grid=grid), "mosaic")
    assert candidates.seed == 0
    assert [tuple(each.values.values()) for each in candidates.tried] == [
        (0.01, 1),
        (0.01, 0.1),
        (0.001, 1),
        (0.001, 0.1),
    ]
    assert [(each.config.train.lr, each.config.model.adapter_scale) for each in candidates.tried] == [
        tuple(each.values.values()) for each in candidates.tried
    ]
    as_override = params({"train.lr": 0.01, "adapter.scale": 1.0})
    assert dump_config(candidates.tried[0].config) == dump_config(resolve(as_override, "mosaic"))


def test_a_variants_own_value_is_tried_first_and_gives_way_to_the_grids():
    candidates = resolve_candidates(params(), "full_finetune")
    assert [each.config.train.lr for each in candidates.tried] == [1e-4, 0.001, 0.01]
    assert values("full_finetune", grid={"train.lr": [0.001, 1e-4]}) == [{"train.lr": 1e-4}, {"train.lr": 0.001}]


def test_candidates_that_are_the_same_configuration_are_one_without_the_values_that_have_no_influence():
    grid = GRID | {"adapter.scale": [0.1, 1.0]}
    assert values("linear_probe", grid=grid) == [{"train.lr": 0.001}, {"train.lr": 0.01}]
    assert len(values("mosaic", grid=grid)) == 4


def test_a_variant_that_no_value_of_the_grid_concerns_is_not_tuned():
    candidates = resolve_candidates(params(grid={"adapter.scale": [0.1, 1.0]}), "linear_probe")
    assert (candidates.seed, [each.values for each in candidates.tried]) == (None, [{}])


@pytest.mark.parametrize(
    ("changes", "tune", "again"),
    [
        ({}, {"seed": 1}, set(TUNED)),
        ({}, {"grid": {"train.lr": [0.001, 0.003]}}, set(TUNED)),
        ({}, {"variants": TUNED[:2]}, {"full_finetune"}),
        ({}, {"variants": [*TUNED, "shared"]}, {"shared"}),
        ({}, {"grid": {"train.lr": [0.001, "1e-2"]}}, set()),
        ({"adapter.bottleneck_c": 256}, {}, {"mosaic"}),
        ({"adapter.bottleneck_shared": 256}, {}, {"shared"}),
        ({"train.lr": 0.5}, {}, {"shared"}),
        ({"seeds": [1, 2, 3]}, {}, set()),
        ({"ablation.run": ["shared"]}, {}, set()),
        ({"compute.processes": 2}, {}, set()),
    ],
)
def test_a_parameter_tunes_again_just_the_variants_that_it_concerns(changes, tune, again):
    assert changed(changes, **tune) == again


@pytest.mark.parametrize("variant", [*TUNED, "shared"])
def test_what_is_loaded_equals_what_was_written(tmp_path, variant):
    candidates = resolve_candidates(params(grid={"train.lr": ["1e-05", 0.01]}), variant)
    (tmp_path / "candidates.yaml").write_text(dump_candidates(candidates))
    assert load_candidates(tmp_path / "candidates.yaml") == candidates


@pytest.mark.parametrize(
    "text", ["", "- 1", "tried: [", "seed: 0", "seed: 0\ntried: [1]", "seed: 0\ntried: [{values: {}, config: {}}]"]
)
def test_a_file_without_candidates_names_the_stage_that_writes_it(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    path = Path("candidates/any.yaml")
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(PipelineError, match=r"^candidates/any\.yaml: [^\n]+; `dvc repro configure` mends that$"):
        load_candidates(path)
    with pytest.raises(PipelineError, match=r"none\.yaml: no such file; `dvc repro configure` makes it"):
        load_candidates(Path("candidates/none.yaml"))


@pytest.mark.parametrize("seed", ["1", -1, True, None])
def test_candidates_to_choose_from_come_with_a_seed(tmp_path, seed):
    config = config_tree(resolve(params(), "mosaic"))
    tried = [{"values": {"train.lr": rate}, "config": config} for rate in (0.1, 0.2)]
    (tmp_path / "candidates.yaml").write_text(yaml.safe_dump({"seed": seed, "tried": tried}))
    with pytest.raises(PipelineError, match=r"seed"):
        load_candidates(tmp_path / "candidates.yaml")
