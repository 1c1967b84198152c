"""What stands in a variant's configuration decides what retrains, so these tests compare the written bytes."""

import copy
from pathlib import Path

import pytest
import yaml

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.params import parse_params
from mosaic_pipeline.segmentation.config import draw_experts, dump_config, load_config, parse_config, resolve
from mosaic_pipeline.segmentation.datasets import NAMED, phantom_set

TREE = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
VARIANTS = tuple(TREE["segmentation"]["ablation"]["variants"])
GATED = {
    *("m4oe", "encoder_only", "decoder_only", "gate_image", "gate_own", "gate_frozen", "soft_only", "released"),
    *("pretrained", "union_head", "no_class_weight"),
}
# Another number of experts that join, in the one variant that has any, and in one that has not.
ADDING = {
    "new_modality": {"why": "x", "experts.mix": "hard", "experts.added": 2},
    "hard": {"why": "x", "experts.mix": "hard", "experts.added": 1},
}


def params(**changes):
    """The committed parameters with other values of the section; a double underscore stands for a dot."""
    tree = copy.deepcopy(TREE)
    for key, value in changes.items():
        *groups, leaf = key.split("__")
        section = tree["segmentation"]
        for group in groups:
            section = section[group]
        section[leaf] = value
    return parse_params(yaml.safe_dump(tree, sort_keys=False), "params.yaml")


def dumps(**changes):
    changed = params(**changes)
    sets = {name: phantom_set(name) for name in changed.segmentation.data.datasets}
    return {variant: dump_config(resolve(changed, variant, sets)) for variant in VARIANTS}


@pytest.mark.parametrize(
    ("changes", "variants"),
    [
        ({"experts__gate": "image"}, GATED - {"gate_image", "released"}),
        ({"experts__gate_start": "own"}, GATED - {"gate_own", "released"}),
        ({"experts__gate_trains": "gates_heads_norms"}, GATED - {"gate_frozen"}),
        ({"train__pretrain_rounds": 2}, set(VARIANTS) - {"pretrained"}),
        ({"train__mask_ratio": 0.5}, {"pretrained"}),
        ({"train__tau": 0.7}, set()),
        ({"train__order": "balanced", "train__tau": 0.7}, set(VARIANTS)),
        ({"train__dice": 0.0}, set(VARIANTS) - {"released"}),
        ({"ablation__variants": TREE["segmentation"]["ablation"]["variants"] | ADDING}, {"new_modality", "hard"}),
        ({"train__lr": 7e-3}, set(VARIANTS)),
        # The gate has no warm-up, and soft_only no phase before it.
        ({"train__warmup_rounds": 1}, set(VARIANTS) - {"soft_only"}),
        ({"model__size": 96}, set(VARIANTS)),
        ({"data__datasets": ["flare22", "atlas23"]}, set(VARIANTS)),
        # What decides how scans are measured or shown trains nothing.
        ({"evaluate__nsd_mm": 1.0}, set()),
        ({"evaluate__largest_component": True}, set()),
        ({"ablation__analyse": []}, set()),
        ({"intensity__ct_window": [-100.0, 300.0]}, set()),
    ],
)
def test_a_parameter_changes_the_variants_that_it_influences(changes, variants):
    before, after = dumps(), dumps(**changes)
    assert {variant for variant in VARIANTS if before[variant] != after[variant]} == variants


def test_a_schedule_without_warm_up_has_none_in_its_configuration():
    assert dumps(train__schedule="poly", train__warmup_rounds=1) == dumps(train__schedule="poly")


def test_without_a_gate_its_rounds_are_rounds_of_the_experts():
    changed = params(train__expert_rounds=4, train__gate_rounds=3)
    sets = {name: phantom_set(name) for name in changed.segmentation.data.datasets}
    rounds = {}
    for variant in VARIANTS:
        recipe = resolve(changed, variant, sets).train
        rounds[variant] = (recipe.expert_rounds, recipe.gate_rounds)
    assert rounds["m4oe"] == (4, 3)
    assert rounds["hard"] == rounds["dense"] == rounds["single"] == (7, 0)
    # soft_only has rounds of its own
    assert {sum(pair) for variant, pair in rounds.items() if variant != "soft_only"} == {7}


def test_the_released_variant_differs_in_gate_loss_and_augmentation_alone():
    sets = {name: phantom_set(name) for name in params().segmentation.data.datasets}
    main, released = (resolve(params(), variant, sets).model_dump() for variant in ("m4oe", "released"))
    assert released["train"]["augment"] == {"rotate": 20, "scale": 0, "intensity": 0, "flip": True}
    assert {key for key in main["train"] if main["train"][key] != released["train"][key]} == {
        *("augment", "dice", "dice_form", "class_weight"),
    }
    differing = {key for key in main["experts"] if main["experts"][key] != released["experts"][key]}
    assert differing == {"gate", "gate_start"}
    assert main["model"] == released["model"]


def of_folders(variant, *names):
    tree = copy.deepcopy(TREE)
    tree["segmentation"]["data"] |= {"source": "folder", "root": "scans", "datasets": list(names)}
    changed = parse_params(yaml.safe_dump(tree, sort_keys=False), "params.yaml")
    return resolve(changed, variant, {name: NAMED[name] for name in names})


def test_sets_of_one_modality_share_an_expert():
    experts = of_folders("m4oe", "amos22_ct", "flare22", "amos22_mr").experts
    assert experts.of == {"amos22_ct": "ct", "flare22": "ct", "amos22_mr": "mri"}
    assert experts.names == ("ct", "mri")


def test_with_an_expert_its_sets_join_for_as_many_rounds_as_the_others_had():
    config = of_folders("new_modality", "flare22", "amos22_mr", "chaos_mr", "amos22_ct")
    recipe = config.train
    assert config.rounds == {"experts": recipe.expert_rounds, "adapt": recipe.expert_rounds}
    assert config.datasets_in("experts") == ("flare22", "amos22_ct")
    assert config.datasets_in("adapt") == ("amos22_mr", "chaos_mr")
    config = of_folders("pretrained", "flare22", "amos22_mr")
    recipe = config.train
    assert config.rounds == {"pretrain": 2, "experts": recipe.expert_rounds, "gate": recipe.gate_rounds}
    assert all(config.datasets_in(phase) == ("flare22", "amos22_mr") for phase in config.rounds)
    assert config.datasets_in("adapt") == ()


def test_a_variant_without_experts_that_join_has_no_key_for_them():
    assert {variant for variant, text in dumps().items() if "added" in text} == {"new_modality"}


@pytest.mark.parametrize("changes", [{"added": 3}, {"head": "union"}, {"mix": "gated", "gate": "tokens"}])
def test_a_configuration_in_which_none_can_join_is_refused(changes):
    sets = {name: phantom_set(name) for name in TREE["segmentation"]["data"]["datasets"]}
    tree = yaml.safe_load(dump_config(resolve(params(), "new_modality", sets)))
    parse_config(tree)
    tree["experts"] |= changes
    with pytest.raises(ValueError, match="added: takes hard experts"):
        parse_config(tree)


def test_a_gate_needs_two_experts():
    changed = params(data__datasets=["flare22"])
    config = resolve(changed, "m4oe", {"flare22": phantom_set("flare22")})
    assert (config.experts.mix, config.experts.gate, config.train.gate_rounds) == ("hard", None, 0)


def test_a_configuration_comes_back_from_its_file(tmp_path):
    for variant, text in dumps().items():
        file = tmp_path / f"{variant}.yaml"
        file.write_text(text)
        assert dump_config(load_config(file)) == text


@pytest.mark.parametrize("spoil", ["", "[1]", "model: {}", "a: [", "datasets: {}\nmodel: {}\nexperts: {}\ntrain: {}\n"])
def test_a_file_that_is_no_configuration_is_one_line(tmp_path, spoil):
    file = tmp_path / "m4oe.yaml"
    file.write_text(spoil)
    with pytest.raises(PipelineError, match=r"m4oe\.yaml") as error:
        load_config(file)
    assert "\n" not in str(error.value)


def sharing(of):
    return {frozenset(name for name in of if of[name] == expert) for expert in of.values()}


@pytest.mark.parametrize(
    ("names", "experts"),
    [
        (("flare22", "amos22_mr", "atlas23"), 2),  # two of three share one, as nobody does by modality
        (("flare22", "amos22_ct", "amos22_mr", "atlas23"), 3),
        (("flare22", "amos22_ct", "amos22_mr", "chaos_mr"), 2),
        (("flare22", "amos22_ct", "btcv", "amos22_mr", "atlas23"), 3),
    ],
)
def test_random_experts_are_as_many_as_those_of_modalities_and_shared_otherwise(names, experts):
    config, by_modality = of_folders("random_experts", *names), of_folders("m4oe", *names).experts.of
    drawn = [config.for_seed(seed).experts for seed in range(60)]
    assert [config.for_seed(seed).experts for seed in range(60)] == drawn
    for each in drawn:
        assert len(each.names) == len(set(each.of.values())) == experts
        assert sharing(each.of) != sharing(by_modality)
        assert all(each.of[name] == name for name in each.names)
    assert len({frozenset(sharing(each.of)) for each in drawn}) > 1


def test_experts_are_not_dealt_out_where_there_is_one_way_alone():
    for own in ({"a": "ct", "b": "ct", "c": "ct"}, {"a": "ct", "b": "mri"}):
        assert draw_experts(own, 1) == own


def test_a_training_of_random_experts_has_those_of_its_seed():
    changed = params()
    sets = {name: phantom_set(name) for name in changed.segmentation.data.datasets}
    config = resolve(changed, "random_experts", sets)
    assert {tuple(config.for_seed(seed).experts.of.values()) for seed in range(9)} != {
        tuple(config.experts.of.values())
    }
    assert resolve(changed, "hard", sets).for_seed(5) == resolve(changed, "hard", sets)
