"""What stands in a variant's configuration decides what retrains, so these tests compare the written bytes."""

import copy
from pathlib import Path

import pytest
import yaml

from mosaic_pipeline.config import config_tree, dump_config, load_config, parse_config, resolve
from mosaic_pipeline.datasets import MEDMNIST, MOSAIC_ROUTING
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.params import Params, parse_params

TREE = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text())
TREE["model"] |= {"patch_size": 16, "image_size": 64, "volume_patch_size": 8, "volume_size": 24}
TREE["train"] |= {"num_rounds": 6, "warmup_rounds": 1, "min_delta": 0.001, "monitor": "acc_auc"}
VARIANTS = (
    *("mosaic", "shared", "modality", "random_routing", "gated", "linear_probe"),
    *("balanced", "per_dataset", "lora_per_dataset_r8", "prompt_joint", "prompt_from_zero"),
)
# Groups A and B, or all three, at their own widths.
GROUPED = {"mosaic", "random_routing", "gated", "balanced"}
BOTTLENECKS = GROUPED | {"shared", "modality", "per_dataset"}


def params(**changes):
    """The committed parameters with other values; a double underscore stands for a dot."""
    tree = copy.deepcopy(TREE)
    for key, value in changes.items():
        section, _, leaf = key.rpartition("__")
        (tree[section] if section else tree)[leaf] = value
    return parse_params(yaml.safe_dump(tree, sort_keys=False), "params.yaml")


def dumps(**changes):
    changed = params(**changes)
    return {variant: dump_config(resolve(changed, variant)) for variant in VARIANTS}


def influenced(base=None, **changes):
    """Names of the variants whose bytes differ when parameters change."""
    before, after = dumps(**base or {}), dumps(**(base or {}) | changes)
    return {variant for variant in VARIANTS if before[variant] != after[variant]}


TWO_D = {"data__datasets": ["retinamnist", "breastmnist"]}
THREE_D = {"data__datasets": ["vesselmnist3d"]}
SLICES = {"tokenizer_3d__kind": "slices"}


@pytest.mark.parametrize(
    ("changes", "variants"),
    [
        ({"adapter__bottleneck_a": 65}, GROUPED | {"per_dataset"}),
        ({"adapter__bottleneck_b": 97}, GROUPED | {"per_dataset"}),
        ({"adapter__bottleneck_c": 256}, GROUPED | {"per_dataset"}),
        ({"adapter__bottleneck_shared": 353}, {"shared"}),
        ({"adapter__bottleneck_2d": 353}, {"modality"}),
        ({"adapter__bottleneck_per_dataset": 19}, {"per_dataset"}),
        ({"adapter__scale": 0.2}, BOTTLENECKS),
        ({"adapter__layer_norm": True}, BOTTLENECKS),
        ({"adapter__lora_rank": 9}, {"lora_per_dataset_r8"}),
        ({"adapter__prompt_tokens": 9}, {"prompt_joint", "prompt_from_zero"}),
        ({"adapter__prompt_strength": 0.5}, {"prompt_joint"}),
        ({"adapter__prompt_strength_lr": 9}, {"prompt_from_zero"}),
        ({"adapter__random_seed": 1}, {"random_routing"}),
        ({"adapter__gate": "image"}, {"gated"}),
        ({"adapter__gate_start": "routing"}, {"gated"}),
        ({"adapter__gate_rounds": 2}, {"gated"}),
        ({"train__tau": 0.25}, {"balanced"}),
        ({"train__conflict_cases": 8}, {"shared", "prompt_joint", "prompt_from_zero"}),
        ({"backbone__frozen": False}, set(VARIANTS)),
        ({"tokenizer_3d__init": "inflate"}, set(VARIANTS)),
        ({"tokenizer_3d__kind": "slices"}, set(VARIANTS)),
        ({"model__embedding_norm": True}, set(VARIANTS)),
        ({"ema__update": "visit"}, set(VARIANTS)),
        ({"train__lr": 0.5}, set(VARIANTS)),
        ({"ema__momentum": 0.5}, set(VARIANTS)),
        ({"ema__momentum_3d": 0.5}, set(VARIANTS)),
        ({"model__volume_size": 32}, set(VARIANTS)),
        ({"model__backbone": "vit_small_patch16_224"}, set(VARIANTS)),
        ({"compute__precision": "bf16"}, set(VARIANTS)),
        ({"data__datasets": TREE["data"]["datasets"][::-1]}, set(VARIANTS)),
    ],
)
def test_a_parameter_changes_the_configuration_of_just_the_variants_that_it_influences(changes, variants):
    assert influenced(**changes) == variants


OTHER = {
    "monitor": "auc",
    "consist_weight": 0.2,
    "consist_form": "add",
    "order": "interleaved",
    "schedule": "round",
    "class_weights": "balanced",
    "flip_sided": True,
    "validate_visits": False,
}


@pytest.mark.parametrize("key", [key for key in TREE["train"] if key not in ("tau", "deploy", "conflict_cases")])
def test_every_training_parameter_stands_in_the_configuration(key):
    other = OTHER[key] if key in OTHER else TREE["train"][key] + 1
    overriding = {"order": {"balanced"}, "schedule": {"per_dataset", "lora_per_dataset_r8"}}.get(key, set())
    assert influenced(**{f"train__{key}": other}) == set(VARIANTS) - overriding


def test_whose_best_round_is_deployed_stands_only_where_datasets_share_nothing_trained():
    assert {name for name, text in dumps().items() if "deploy: joint" in text} == {"per_dataset", "lora_per_dataset_r8"}
    assert not [name for name, text in dumps(backbone__frozen=False).items() if "deploy" in text]
    assert resolve(params(), "per_dataset_own_round").train.deploy == "dataset"


def test_an_untrained_backbone_is_another_configuration_only_where_there_are_weights():
    assert resolve(params(), "random_backbone").model == resolve(params(), "mosaic").model
    given = params(model__weights="vit.npz")
    assert resolve(given, "random_backbone").model.pretrained is False
    assert resolve(given, "mosaic").model.pretrained is None


@pytest.mark.parametrize(
    "changes",
    [
        {"compute__device": "cpu"},
        {"compute__compile": True},
        {"compute__device_cache_gb": 1.0},
        {"compute__eval_batch_size": 8},
        {"compute__threads": 1},
        {"tracking__experiment": "other"},
        {"tracking__system_metrics": False},
        {"report__published": "results.csv"},
        {"seeds": [1, 2]},
        {"ablation__run": ["shared"]},
        {"ablation__analyse": ["shared"]},
        {"ablation__analyse_cases": 7},
        # These reach training through the data and weights that it depends on.
        {"data__train_limit": 5},
        {"data__size_2d": 64},
        {"phantom__train": 5},
        {"model__weights": "vit.npz"},
    ],
)
def test_what_does_not_decide_a_training_is_no_part_of_its_configuration(changes):
    assert influenced(**changes) == set()


@pytest.mark.parametrize(
    ("base", "changes"),
    [
        (TWO_D, {"model__volume_size": 32}),
        (TWO_D, {"model__volume_patch_size": 4}),
        (TWO_D, {"ema__momentum_3d": 0.5}),
        (TWO_D, {"adapter__bottleneck_c": 256}),
        (TWO_D, {"tokenizer_3d__init": "inflate"}),
        (TWO_D, {"tokenizer_3d__trained": False}),
        (THREE_D, {"ema__momentum": 0.5}),
        (THREE_D, {"adapter__bottleneck_a": 65}),
        (THREE_D, {"model__normalisation": "imagenet"}),
        ({}, {"model__backbone_args": {}}),
        (TWO_D, {"train__flip_sided": True}),
        (THREE_D, {"train__grade_tolerance": 1}),
        (THREE_D, {"train__conflict_cases": 8}),  # nothing to compare one dataset with
        ({"train__consist_weight": 0}, {"train__consist_form": "add"}),
        ({}, {"tokenizer_3d__slices": 4}),
        (TWO_D, {"tokenizer_3d__kind": "slices"}),
        (SLICES, {"model__volume_size": 32}),
        (SLICES, {"model__volume_patch_size": 4}),
        (SLICES, {"tokenizer_3d__init": "inflate"}),
        (SLICES, {"tokenizer_3d__trained": False}),
    ],
)
def test_parameters_of_what_is_not_trained_have_no_influence(base, changes):
    assert influenced(base, **changes) == set()


@pytest.mark.parametrize("base", [SLICES, {"tokenizer_3d__init": "inflate"}])
def test_mean_and_std_decide_what_is_made_of_volumes_where_the_vits_own_patches_are_used(base):
    assert influenced(THREE_D | base, model__normalisation="imagenet")


def test_arguments_of_the_backbone_are_part_of_every_configuration_and_come_back_as_they_were(tmp_path):
    texts = dumps(model__backbone_args={"init_values": "1e-05", "reg_tokens": 4})
    assert all("backbone_args" in text for text in texts.values())
    (tmp_path / "mosaic.yaml").write_text(texts["mosaic"])
    arguments = load_config(tmp_path / "mosaic.yaml").model.backbone_args
    assert arguments.given() == {"init_values": 1e-05, "reg_tokens": 4}
    assert "backbone_args" not in dumps()["mosaic"]


def test_a_configuration_lists_no_key_without_influence():
    assert "volume" not in dumps(**TWO_D)["mosaic"]
    assert "d3" not in dumps(**TWO_D)["mosaic"]
    assert "d2" not in dumps(**THREE_D)["mosaic"]
    for variant in ("linear_probe", "lora_per_dataset_r8", "prompt_joint"):
        assert "adapter_" not in dumps()[variant]
    assert "prompt_strength" not in dumps()["mosaic"]
    assert "prompt_strength_lr" not in dumps()["prompt_joint"]
    assert "tau" not in dumps()["mosaic"]
    assert "conflict_cases" not in dumps()["mosaic"]
    assert "class_weights" not in dumps()["mosaic"]  # nothing weighs another


def test_the_file_of_random_groups_is_the_same_for_all_seeds_and_each_draws_its_own(tmp_path):
    path = tmp_path / "random_routing.yaml"
    path.write_text(dumps()["random_routing"])
    assert dumps(seeds=[1, 2])["random_routing"] == path.read_text()
    assert {f"{name}: random" in path.read_text() for name in ("pathmnist", "octmnist")} == {True}
    config = load_config(path)
    first, second = config.for_seed(1), config.for_seed(2)
    assert first.datasets == second.datasets == config.datasets
    assert first.routing.sizes == second.routing.sizes == config.routing.sizes
    assert first.routing.datasets != second.routing.datasets
    assert load_config(path).for_seed(1) == first


def test_an_override_in_a_variant_equals_the_same_value_in_params():
    tree = copy.deepcopy(TREE)
    tree["ablation"]["variants"]["wide"] = {"why": "wider", "adapter.bottleneck_c": 256, "train.lr": "1e-05"}
    overridden = resolve(parse_params(yaml.safe_dump(tree), "params.yaml"), "wide")
    assert dump_config(overridden) == dumps(adapter__bottleneck_c=256, train__lr=1e-05)["mosaic"]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("base", [{}, TWO_D, THREE_D, {"train__lr": 1e-05}], ids=["all", "2D", "3D", "1e-05"])
def test_what_is_loaded_equals_what_was_written(tmp_path, variant, base):
    config = resolve(params(**base), variant)
    (tmp_path / "config.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "config.yaml") == config
    assert load_config(tmp_path / "config.yaml").datasets == {
        name: MEDMNIST[name] for name in params(**base).data.datasets
    }
    assert tuple(load_config(tmp_path / "config.yaml").datasets) == params(**base).data.datasets  # in this order


def test_the_written_bytes_are_these():
    """Any change here retrains every model of everyone: it should be meant."""
    changes = {"data__datasets": ["vesselmnist3d", "breastmnist"], "train__lr": "1e-05"}
    assert dumps(**changes)["mosaic"] == BYTES


BYTES = """\
datasets:
  vesselmnist3d:
    dimension: 3
    channels: 1
    num_classes: 2
    task: binary-class
    sided: false
  breastmnist:
    dimension: 2
    channels: 1
    num_classes: 2
    task: binary-class
    sided: false
model:
  backbone: vit_tiny_patch16_224
  patch_size: 16
  image_size: 64
  volume_patch_size: 8
  volume_size: 24
  normalisation: half
  embedding_norm: false
  frozen: true
  tokenizer_init: random
  tokenizer_trained: true
  adapter_scale: 0.1
  adapter_layer_norm: false
routing:
  name: specialists
  kind: bottleneck
  sizes:
    B: 96
    C: 192
  datasets:
    vesselmnist3d: C
    breastmnist: B
  tokenizers:
    vesselmnist3d: shared
train:
  num_rounds: 6
  batch_size: 32
  order: registry
  lr: 1.0e-05
  schedule: step
  weight_decay: 0.01
  grad_clip: 1.0
  warmup_rounds: 1.0
  consist_weight: 0.1
  consist_form: mix
  early_stopping_patience: 5
  min_delta: 0.001
  monitor: acc_auc
  validate_visits: true
momentum:
  d2: 0.9
  d3: 0.95
  update: step
precision: fp32
"""


def test_momentum_and_image_size_follow_the_dimension_of_the_dataset():
    config = resolve(params(), "mosaic")
    assert (config.momentum.of(2), config.momentum.of(3)) == (0.9, 0.95)
    assert (config.model.size(2), config.model.size(3)) == (64, 24)


@pytest.mark.parametrize(
    "text", ["", "- 1", "model: [", "model: {}", "model: 1\nmomentum: 2", "model: {}\nmomentum: {}", b"\xff\xfe"]
)
def test_a_file_that_is_no_configuration_names_the_stage_that_writes_it(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    path = Path("configs/any.yaml")
    path.parent.mkdir()
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(PipelineError, match=r"^configs/any\.yaml: [^\n]+; `dvc repro tune` mends that$"):
        load_config(path)


def test_a_missing_configuration_names_the_stage_that_writes_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError, match=r"^configs/none\.yaml: no such file; `dvc repro tune` makes it$"):
        load_config(Path("configs/none.yaml"))


@pytest.mark.parametrize(
    ("key", "variant"),
    [
        ("model.volume_size", "mosaic"),
        ("model.normalisation", "mosaic"),
        ("model.adapter_scale", "mosaic"),
        ("model.prompt_strength", "prompt_joint"),
        ("train.lr", "mosaic"),
        ("train.consist_form", "mosaic"),
        ("train.tau", "balanced"),
        ("train.conflict_cases", "shared"),
        ("train.deploy", "per_dataset"),
        ("momentum.d3", "mosaic"),
    ],
)
def test_a_configuration_without_a_key_that_its_kind_needs_is_none(key, variant):
    section, name = key.split(".")
    tree = config_tree(resolve(params(), variant))
    assert parse_config(tree) == resolve(params(), variant)
    del tree[section][name]
    with pytest.raises(ValueError, match=rf"\b{name}\b"):
        parse_config(tree)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("model", "patch_size", 0),
        ("model", "image_size", 33),
        ("model", "volume_size", -8),
        ("model", "frozen", "true"),
        ("routing", "sizes", {"A": 4, "B": 4, "C": -1}),
        ("datasets", "breastmnist", {}),
        ("datasets", "breastmnist", MEDMNIST["breastmnist"].form() | {"num_classes": 1}),
        ("datasets", "breastmnist", MEDMNIST["breastmnist"].form() | {"task": "regression"}),
        ("datasets", "nosuchmnist", MEDMNIST["breastmnist"].form()),
        ("routing", "datasets", dict(reversed(MOSAIC_ROUTING.items()))),
        ("routing", "tokenizers", {"breastmnist": "shared"}),
        ("routing", "datasets", {}),
        ("train", "num_rounds", True),
        ("train", "num_rounds", "2"),
        ("train", "lr", float("nan")),
        ("momentum", "d2", 1.5),
    ],
)
def test_a_configuration_with_a_value_that_cannot_be_is_none(section, key, value):
    tree = config_tree(resolve(params(), "mosaic"))
    with pytest.raises(ValueError, match=key if key != "nosuchmnist" else section):
        parse_config(tree | {section: tree[section] | {key: value}})


def test_a_recipe_that_cannot_run_is_not_read(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(dumps()["mosaic"].replace("warmup_rounds: 1", "warmup_rounds: 99"))
    with pytest.raises(PipelineError, match=r"config\.yaml: train\.warmup_rounds: 99 must be at most num_rounds \d+; "):
        load_config(path)


def test_an_unknown_key_in_a_configuration_is_named(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(dumps()["mosaic"].replace("adapter_scale", "scale"))
    with pytest.raises(PipelineError, match=r"model\.scale"):
        load_config(path)


THYROID = {"title": "Thyroid", "dimension": 2, "channels": 1, "task": "binary-class", "classes": ["no", "yes"]}
THYROID |= {"specialist": "D", "licence": "CC0", "path": "thyroid.npz", "kind": "npz"}
FOUR = {"specialists": ["A", "B", "C", "D"], "adapter__bottleneck_d": 24}


def test_a_specialist_without_a_dataset_changes_no_configuration():
    assert influenced(**FOUR) == set()
    assert influenced(**FOUR, data__own={"thyroid": THYROID}) == set()  # declared, and not trained on


def test_the_width_of_a_specialist_of_ones_own_concerns_the_variants_that_have_one():
    names = ["thyroid", "breastmnist", "vesselmnist3d"]
    base = FOUR | {"data__own": {"thyroid": THYROID}, "data__datasets": names}
    assert influenced(base, adapter__bottleneck_d=25) == GROUPED | {"per_dataset"}
    config = resolve(params(**base), "mosaic")
    assert config.routing.sizes == {"B": 96, "C": 192, "D": 24}
    assert parse_config(yaml.safe_load(dump_config(config))) == config
    assert resolve(params(**base), "per_dataset").routing.sizes == {
        "breastmnist": 96,
        "thyroid": 24,
        "vesselmnist3d": 192,
    }
    assert resolve(params(**base), "random_routing").for_seed(1).routing.datasets == {
        "thyroid": "B",
        "breastmnist": "D",
        "vesselmnist3d": "C",
    }


@pytest.mark.parametrize(
    ("change", "variants"),
    [
        ({"title": "Neck"}, set()),
        ({"licence": "CC BY 4.0"}, set()),
        ({"path": "elsewhere.npz"}, set()),
        ({"classes": ["good", "bad"]}, set()),
        ({"specialist": "B"}, GROUPED | {"per_dataset"}),
        ({"sided": True}, set(VARIANTS)),
        ({"classes": ["good", "bad", "worse"], "task": "multi-class"}, set(VARIANTS)),
    ],
)
def test_what_is_declared_stands_in_the_configurations_that_it_decides(change, variants):
    base = FOUR | {"data__own": {"thyroid": THYROID}, "data__datasets": ["thyroid", "breastmnist", "retinamnist"]}
    assert influenced(base, data__own={"thyroid": THYROID | change}) == variants


def test_groups_are_dealt_out_alike_whatever_the_order_in_which_datasets_are_declared_and_trained():
    groups = zip(("us", "ct", "xray"), "DAB", strict=True)
    own = {name: THYROID | {"title": name, "specialist": group} for name, group in groups}
    names, drawn = [*own, "breastmnist", "pathmnist", "octmnist"], []
    for order in (1, -1):
        base = FOUR | {"data__own": dict([*own.items()][::order]), "data__datasets": names[::order]}
        drawn.append(resolve(params(**base), "random_routing").for_seed(1).routing.datasets)
        assert list(drawn[-1]) == names[::order]
    assert drawn[0] == drawn[1]


def test_one_shared_specialist_may_be_as_wide_as_those_of_the_groups_in_use_together(params):
    def width(names, **own):
        tree = params.model_dump()
        tree["adapter"] |= {"bottleneck_shared": None, "bottleneck_d": 24}
        tree["data"] |= {"datasets": names, "own": own}
        tree["specialists"] = ["A", "B", "C", "D"]
        return resolve(Params.model_validate(tree), "shared").routing.sizes

    assert width(params.data.datasets) == resolve(params, "shared").routing.sizes == {"shared": 352}
    assert width(["breastmnist", "pneumoniamnist"]) == {"shared": 96}
    thyroid = {"title": "T", "dimension": 2, "channels": 1, "task": "binary-class", "classes": ["a", "b"]}
    thyroid |= {"specialist": "D", "licence": "CC0", "path": "t.npz", "kind": "npz"}
    assert width(["breastmnist", "thyroid"], thyroid=thyroid) == {"shared": 120}
