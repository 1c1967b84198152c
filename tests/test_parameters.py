"""A parameter is in MLflow, under its name in params.yaml, if and only if another value makes another training."""

import copy
from pathlib import Path

import pytest
import yaml

from mosaic_pipeline.config import dump_config, resolve
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.params import SHARED_KEYS, Params
from mosaic_pipeline.segmentation import config as seg_config
from mosaic_pipeline.segmentation.datasets import phantom_set
from mosaic_pipeline.tracking import segmentation_parameters
from mosaic_pipeline.tracking.parameters import parameters, value_at
from mosaic_pipeline.tracking.run import flatten

TREE = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text())
VARIANTS = tuple(TREE["ablation"]["variants"])
SEG_VARIANTS = tuple(TREE["segmentation"]["ablation"]["variants"])
SECTIONS = ("model", "backbone", "tokenizer_3d", "adapter", "train", "ema")
SEG_SECTIONS = ("model", "experts", "train")

# Other legal values of each key; what no variant has an own configuration for is held in tests of its own.
OTHERS = {
    "model.backbone": ["vit_small_patch16_224"],
    "model.backbone_args": [{"reg_tokens": 4}],
    "model.patch_size": [32],
    "model.image_size": [96],
    "model.volume_patch_size": [12],
    "model.volume_size": [32],
    "model.normalisation": ["imagenet", "half"],
    "model.embedding_norm": [True, False],
    "backbone.pretrained": [True, False],
    "backbone.frozen": [True, False],
    "tokenizer_3d.kind": ["volume", "slices"],
    "tokenizer_3d.slices": [4],
    "tokenizer_3d.init": ["random", "inflate"],
    "tokenizer_3d.trained": [True, False],
    "adapter.kind": ["bottleneck", "lora", "prompt", "none"],
    "adapter.routing": ["specialists", "modality", "shared", "per_dataset", "random", "gated"],
    "adapter.bottleneck_a": [7],
    "adapter.bottleneck_b": [7],
    "adapter.bottleneck_c": [7],
    "adapter.bottleneck_2d": [7],
    "adapter.bottleneck_3d": [7],
    "adapter.bottleneck_shared": [7],
    "adapter.bottleneck_per_dataset": [7],
    "adapter.scale": [0.7],
    "adapter.layer_norm": [True, False],
    "adapter.lora_rank": [7],
    "adapter.prompt_tokens": [7],
    "adapter.prompt_strength": [0.7],
    "adapter.prompt_strength_lr": [7.0],
    "adapter.random_seed": [7],
    "adapter.gate": ["tokens", "image"],
    "adapter.gate_start": ["uniform", "routing"],
    "adapter.gate_rounds": [2],
    "train.num_rounds": [7],
    "train.batch_size": [7],
    "train.order": ["registry", "interleaved"],
    "train.tau": [0.7],
    "train.lr": [0.7],
    "train.schedule": ["step", "round"],
    "train.weight_decay": [0.7],
    "train.grad_clip": [0.7],
    "train.warmup_rounds": [0.5],
    "train.consist_weight": [0.7],
    "train.consist_form": ["mix", "add"],
    "train.class_weights": ["none", "balanced"],
    "train.flip_sided": [True, False],
    "train.early_stopping_patience": [7],
    "train.min_delta": [0.7],
    "train.monitor": ["acc", "auc"],
    "train.deploy": ["joint", "dataset"],
    "train.grade_tolerance": [2],
    "train.validate_visits": [True, False],
    "train.conflict_cases": [7],
    "ema.momentum": [0.7],
    "ema.momentum_3d": [0.7],
    "ema.update": ["step", "visit"],
    "compute.precision": ["fp32", "bf16"],
}
SEG_OTHERS = {
    "model.dim": [64],
    "model.depths": [[2, 2, 4]],
    "model.heads": [[2, 2, 4]],
    "model.window": [4],
    "model.patch": [2],
    "model.size": [96],
    "model.channels": [3],
    "model.drop_path": [0.7],
    "experts.routing": ["modality", "dataset", "shared", "random", "single"],
    "experts.where": ["both", "encoder", "decoder"],
    "experts.mix": ["hard", "gated"],
    "experts.gate": ["tokens", "image"],
    "experts.gate_start": ["uniform", "own"],
    "experts.gate_trains": ["all", "gates_heads_norms"],
    "experts.head": ["dataset", "union"],
    "experts.width": [7],
    "experts.added": [0, 1],
    "train.pretrain_rounds": [1, 2],
    "train.mask_ratio": [0.7],
    "train.expert_rounds": [7],
    "train.gate_rounds": [7],
    "train.batch_size": [7],
    "train.order": ["registry", "interleaved"],
    "train.tau": [0.7],
    "train.optimiser": ["adamw", "sgd"],
    "train.lr": [0.7],
    "train.schedule": ["cosine", "poly"],
    "train.warmup_rounds": [0.5],
    "train.ce": [0.7],
    "train.dice": [0.75],
    "train.dice_form": ["foreground", "released"],
    "train.class_weight": [0.7],
    "train.augment.rotate": [7.0],
    "train.augment.scale": [0.7],
    "train.augment.intensity": [0.7],
    "train.augment.flip": [True, False],
    "train.grad_clip": [0.7],
    "train.weight_decay": [0.7],
    "train.early_stopping_patience": [7],
    "train.min_delta": [0.7],
}
# Which one file of weights is taken is no value of a variant.
WEIGHTS = {"model.weights", "model.weights_sha256"}
OWN = {
    "title": "Thyroid",
    "dimension": 2,
    "channels": 1,
    "task": "binary-class",
    "classes": ["benign", "malignant"],
    "specialist": "D",
    "licence": "none",
    "path": "~/secret/thyroid",
    "kind": "csv",
}


def leaves(tree, prefix=""):
    """Dotted keys of a section; a mapping of arguments is one value."""
    for key, value in tree.items():
        if isinstance(value, dict) and key != "backbone_args":
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def changed(changes, tree=TREE):
    """The committed parameters with other values at dotted keys, in whatever order they go together."""
    tree = copy.deepcopy(tree)
    for key, value in changes.items():
        sections, _, leaf = key.rpartition(".")
        (value_at(tree, sections) if sections else tree)[leaf] = value
    tree["ablation"]["run"], tree["segmentation"]["ablation"]["run"] = ["mosaic"], []
    tree["ablation"]["analyse"] = tree["segmentation"]["ablation"]["analyse"] = []
    return tree


def logged(params, variant, values=None):
    return parameters(params, variant, resolve(params, variant, values), 42)


def influential(others, tree, own, text_with):
    """Keys of which another value makes another configuration, by trying; and those that cannot have another value.

    Values now are those in `tree`, or the variant's own. `text_with` returns the configuration with a value at a key,
    and as it is without any.
    """
    before, found, clashing = text_with(), set(), set()
    for key, values in others.items():
        now, texts = own[key] if key in own else value_at(tree, key), set()
        for value in values:
            if value == now:
                continue
            try:
                texts.add(text_with(key, value))
            except PipelineError:
                clashing.add(key)
        if texts - {before}:
            found.add(key)
    return found, clashing - found


def test_every_key_of_a_variant_is_tried():
    keys = {f"{section}.{key}" for section in SECTIONS for key in leaves(TREE[section])}
    assert keys - WEIGHTS == OTHERS.keys() - {"compute.precision"}
    keys = {f"{section}.{key}" for section in SEG_SECTIONS for key in leaves(TREE["segmentation"][section])}
    assert keys - WEIGHTS == SEG_OTHERS.keys()


CONTEXTS = {
    "all": {},
    "2D": {"data.datasets": ["breastmnist", "pathmnist"]},
    "3D": {"data.datasets": ["vesselmnist3d"], "adapter.bottleneck_shared": None},
}
# One of each kind, to which the datasets matter.
IN_CONTEXTS = ("mosaic", "shared", "random_routing", "linear_probe", "full_finetune", "slices", "prompt_joint")


@pytest.mark.parametrize(
    ("context", "variant"),
    [
        *(("all", variant) for variant in VARIANTS),
        *((context, variant) for context in ("2D", "3D") for variant in IN_CONTEXTS),
    ],
)
def test_logged_are_the_keys_with_influence_and_the_variants_own_values(context, variant):
    tree = changed(CONTEXTS[context])
    params, own = Params.model_validate(tree), tree["ablation"]["variants"][variant]

    def text_with(key=None, value=None):
        if key in SHARED_KEYS:
            return dump_config(resolve(Params.model_validate(changed({key: value}, tree)), variant))
        return dump_config(resolve(params, variant, {key: value} if key else None))

    found = logged(params, variant)
    decisive, clashing = influential(OTHERS, tree, own, text_with)
    assert found.keys() & OTHERS.keys() - clashing == decisive
    assert ("train.deploy" in found) == (own.get("adapter.routing") == "per_dataset")
    for key in OTHERS.keys() & found.keys():
        assert found[key] == own.get(key, value_at(tree, key)), key


@pytest.mark.parametrize(
    ("names", "variant"),
    [
        *((["flare22", "amos22_mr", "atlas23"], variant) for variant in SEG_VARIANTS),
        *((["flare22", "atlas23"], variant) for variant in ("m4oe", "hard", "dense")),
    ],
)
def test_logged_of_segmentation_are_the_keys_with_influence(names, variant):
    tree, sets = changed({"segmentation.data.datasets": names}), {name: phantom_set(name) for name in names}

    def config(tree):
        return seg_config.resolve(Params.model_validate(tree), variant, sets)

    def text_with(key=None, value=None):
        other = copy.deepcopy(tree)
        if key == "model.size":  # common to all variants
            other["segmentation"]["model"]["size"] = value
        elif key:
            other["segmentation"]["ablation"]["variants"][variant][key] = value
        return seg_config.dump_config(config(other))

    found = segmentation_parameters.parameters(Params.model_validate(tree), variant, config(tree), 42)
    own = tree["segmentation"]["ablation"]["variants"][variant]
    decisive, clashing = influential(SEG_OTHERS, tree["segmentation"], own, text_with)
    named = {key.removeprefix("segmentation."): value for key, value in found.items()}
    assert named.keys() & SEG_OTHERS.keys() - clashing == decisive
    for key in SEG_OTHERS.keys() & named.keys():
        assert named[key] == own.get(key, value_at(tree["segmentation"], key)), key
    assert named["data.datasets"] == names
    assert ("intensity.ct_window" in named, "intensity.percentiles" in named) == (True, True)
    assert found["compute.precision"] == "fp32"


def test_a_run_is_found_by_what_was_changed_for_it():
    params = Params.model_validate(changed({"adapter.bottleneck_c": 256, "train.lr": 1e-5}))
    for variant in ("mosaic", "per_dataset", "gated"):
        flat = flatten(logged(params, variant))
        assert (flat["adapter.bottleneck_c"], flat["train.lr"], flat["seed"]) == ("256", "1e-05", "42")
    assert "adapter.bottleneck_c" not in logged(params, "shared")
    assert logged(params, "full_finetune")["train.lr"] == 1e-4


def test_what_tuning_chose_is_what_is_logged(capsys):
    grid = {"train.lr": [0.3, 0.4], "adapter.bottleneck_per_dataset": [9]}
    tree = changed({"ablation.tune.variants": ["per_dataset"], "ablation.tune.grid": grid})
    params = Params.model_validate(tree | {"ablation": tree["ablation"] | {"run": ["per_dataset"]}})
    found = logged(params, "per_dataset", {"train.lr": 0.4, "adapter.bottleneck_per_dataset": 9})
    assert (found["train.lr"], found["adapter.bottleneck_per_dataset"]) == (0.4, 9)
    assert "adapter.bottleneck_a" not in found
    assert capsys.readouterr().err == ""


def test_a_configuration_that_params_yaml_does_not_say_any_more_gives_no_parameters_and_a_warning(capsys):
    before = resolve(Params.model_validate(changed({})), "mosaic")
    assert parameters(Params.model_validate(changed({"train.lr": 0.5})), "mosaic", before, 42) == {"seed": 42}
    assert capsys.readouterr().err == (
        "warning: MLflow: configs/mosaic.yaml is not what params.yaml says now, so the run gets no parameters; "
        "`dvc repro tune` makes it anew\n"
    )
    sets = {"amos22_mr": phantom_set("amos22_mr")}
    before = seg_config.resolve(Params.model_validate(changed({})), "hard", sets)
    params = Params.model_validate(changed({"segmentation.train.lr": 0.5}))
    assert segmentation_parameters.parameters(params, "hard", before, 42) == {"seed": 42}
    assert "`dvc repro seg_configure`" in capsys.readouterr().err


def test_data_are_told_by_what_decides_them_and_not_by_where_they_lie():
    official = {"data.datasets": ["breastmnist"], "data.train_limit": 50}
    found = logged(Params.model_validate(changed(official)), "mosaic")
    assert {key: value for key, value in found.items() if key.startswith(("data", "phantom"))} == {
        "data.datasets": ["breastmnist"],
        "data.train_limit": 50,
        "data.eval_limit": None,
        "data.source": "phantom",
        "data.size_2d": 28,
        "phantom.train": 96,
        "phantom.val": 32,
    }
    mirror = {"data.source": "mirror", "data.mirror": "https://ada:secret@example.org"}
    found = flatten(logged(Params.model_validate(changed(official | mirror)), "mosaic"))
    assert found["data.source"] == "mirror"
    assert "secret" not in str(found)
    assert not any(key.startswith("phantom") for key in found)


def test_weights_are_told_without_a_password_where_they_are_used():
    params = Params.model_validate(changed({"model.weights": "https://ada:secret@example.org/vit.npz"}))
    found = logged(params, "mosaic")
    assert (found["model.weights"], found["backbone.pretrained"]) == ("https://example.org/vit.npz", True)
    found = logged(params, "random_backbone")
    assert "model.weights" not in found
    assert found["backbone.pretrained"] is False


def test_a_dataset_of_ones_own_is_told_as_it_is_declared():
    own = {"data.own": {"thyroid": OWN}, "data.datasets": ["thyroid"], "specialists": ["A", "B", "C", "D"]}
    params = Params.model_validate(changed(own | {"adapter.bottleneck_d": 5}))
    found = flatten(logged(params, "mosaic"))
    assert found["adapter.bottleneck_d"] == "5"
    assert (found["data.own.thyroid.fit"], found["data.own.thyroid.specialist"]) == ("pad", "D")
    assert found["data.own.thyroid.split.seed"] == "0"
    assert not any("secret" in value for value in found.values())
    assert "data.source" not in found
    assert "data.own.thyroid.specialist" not in logged(params, "shared")
    assert "data.size_2d" in found
    sized = Params.model_validate(
        changed(own | {"adapter.bottleneck_d": 5, "data.own": {"thyroid": OWN | {"size": 32}}})
    )
    assert "data.size_2d" not in logged(sized, "mosaic")
