import copy
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mosaic_pipeline.data import official
from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.model.kinds import KINDS
from mosaic_pipeline.params import load_params, parse_params

ROOT = Path(__file__).parents[1]


@pytest.fixture
def tree():
    """The committed parameters, with the values that the messages below quote."""
    tree = yaml.safe_load((ROOT / "params.yaml").read_text())
    tree["model"] |= {"patch_size": 16, "image_size": 64, "volume_patch_size": 8, "volume_size": 24}
    tree["train"] |= {"num_rounds": 6, "warmup_rounds": 1}
    tree["ablation"]["variants"] = {
        "mosaic": {"why": "the method"},
        "shared": {"why": "one for all", "adapter.routing": "shared"},
        "linear_probe": {"why": "none", "adapter.kind": "none"},
    }
    tree["ablation"] |= {"run": ["mosaic", "shared", "linear_probe"], "analyse": ["mosaic"]}
    tree["ablation"]["tune"] = {"variants": ["mosaic"], "grid": {"train.lr": [0.001, 0.01]}, "seed": 0}
    return tree


def put(tree, key, value):
    *parents, leaf = key.split("/")
    for parent in parents:
        tree = tree[parent]
    tree[leaf] = value


def parse(tree):
    return parse_params(yaml.safe_dump(tree, sort_keys=False), "params.yaml")


def refusal(tree):
    with pytest.raises(PipelineError) as error:
        parse(tree)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith("params.yaml: ")
    return message.removeprefix("params.yaml: ")


def test_the_committed_params_and_all_their_variants_are_legal():
    params = load_params(ROOT / "params.yaml")
    assert params.data.datasets == tuple(MEDMNIST)
    assert {"mosaic", "shared", "per_dataset", "random_routing", "gated", "linear_probe"} <= set(params.ablation.run)
    assert params.ablation.run[0] == "mosaic"
    assert params.variant("mosaic").model_dump(exclude={"ablation"}) == params.model_dump(exclude={"ablation"})
    assert params.variant("shared").adapter.routing == "shared"
    assert params.variant("linear_probe").adapter.kind == "none"
    assert all(params.ablation.reasons().values())


AT_LEAST_1 = "should be greater than or equal to 1"
COUNTS = (
    *("data/train_limit", "data/eval_limit", "phantom/train", "phantom/val", "phantom/test"),
    *("model/patch_size", "model/image_size", "model/volume_patch_size", "model/volume_size"),
    *("adapter/bottleneck_a", "adapter/bottleneck_b", "adapter/bottleneck_c", "adapter/bottleneck_shared"),
    *("adapter/bottleneck_2d", "adapter/bottleneck_3d", "adapter/lora_rank", "adapter/prompt_tokens"),
    *("adapter/gate_rounds", "ablation/analyse_cases", "tokenizer_3d/slices"),
    *("train/num_rounds", "train/batch_size", "train/early_stopping_patience"),
    *("compute/processes", "compute/workers", "compute/eval_batch_size", "compute/threads"),
)
POSITIVE = ("adapter/scale", "train/lr", "train/grad_clip")
NOT_NEGATIVE = ("train/weight_decay", "train/warmup_rounds", "train/min_delta", "compute/device_cache_gb")
DEFAULT = yaml.safe_load((ROOT / "params.yaml").read_text())
DEFAULT_COMPUTE, TRAIN, ADAPTER = DEFAULT["compute"], DEFAULT["train"] | {"num_rounds": 6}, DEFAULT["adapter"]
FRACTIONS = ("train/consist_weight", "ema/momentum", "ema/momentum_3d")


@pytest.mark.parametrize(
    ("key", "value", "legal"),
    [
        *((key, 0, AT_LEAST_1) for key in COUNTS),
        *((key, 1.5, "should be a valid integer") for key in COUNTS),
        *((key, 0, "should be greater than 0") for key in POSITIVE),
        *((key, -1, "should be greater than or equal to 0") for key in (*NOT_NEGATIVE, *FRACTIONS)),
        *((key, 1, "should be less than 1") for key in FRACTIONS),
        *((key, float("nan"), "should be a finite number") for key in (*POSITIVE, *NOT_NEGATIVE, *FRACTIONS)),
        *((key, True, "should be a number, not true or false") for key in (*COUNTS, *POSITIVE, *NOT_NEGATIVE)),
        ("train/lr", "fast", "should be a valid number"),
        ("data/source", "kaggle", "should be 'phantom', 'mirror' or 'zenodo'"),
        ("data/size_2d", 32, "should be 28, 64, 128 or 224"),
        ("data/size_3d", 128, "should be 28 or 64"),
        ("data/verify", "perhaps", "should be a valid boolean"),
        ("data/datasets", [], "should have at least 1 item"),
        ("data/datasets", "pathmnist", "should be a list"),
        ("model/backbone", "", "should have at least 1 character"),
        ("model/weights_sha256", "ABC", "should be 64 hex digits"),
        (
            "adapter/routing",
            "foo",
            "should be 'specialists', 'modality', 'shared', 'per_dataset', 'random' or 'gated'",
        ),
        ("adapter/kind", "foo", f"should be {', '.join(map(repr, KINDS))} or 'none'"),
        ("tokenizer_3d/kind", "foo", "should be 'volume' or 'slices'"),
        ("adapter/prompt_strength", -1, "should be greater than or equal to 0"),
        ("adapter/prompt_strength_lr", 0, "should be greater than 0"),
        ("adapter/bottleneck_per_dataset", 0, "should be greater than or equal to 1"),
        ("adapter/gate_start", "own", "should be 'uniform' or 'routing'"),
        ("report/margin", 0, "should be greater than 0"),
        ("report/margin", 1, "should be less than 1"),
        ("train/order", "random", "should be 'registry', 'interleaved' or 'balanced'"),
        ("train/tau", 1.5, "should be less than or equal to 1"),
        ("train/grade_tolerance", -1, "should be greater than or equal to 0"),
        ("train/conflict_cases", -1, "should be greater than or equal to 0"),
        ("train/monitor", "loss", "should be 'acc', 'auc' or 'acc_auc'"),
        ("seeds", [], "should have at least 1 item"),
        ("seeds", 42, "should be a list"),
        ("ablation/run", [], "should have at least 1 item"),
        ("ablation/variants/mosaic", None, "should be a mapping"),
        ("compute/device", "gpu", "should be auto, cpu, cuda, cuda:N or mps"),
        ("compute/max_restarts", -1, "should be greater than or equal to 0"),
        ("compute/precision", "fp16", "should be 'fp32' or 'bf16'"),
        ("tracking/experiment", "", "should have at least 1 character"),
        ("data", None, "should be a mapping"),
    ],
)
def test_a_value_out_of_range_is_one_line_with_key_value_and_what_is_legal(tree, key, value, legal):
    put(tree, key, value)
    assert refusal(tree).startswith(f"{key.replace('/', '.')} = {value!r}: {legal}")


THYROID = {"title": "Thyroid", "dimension": 2, "channels": 1, "task": "binary-class", "classes": ["no", "yes"]}
THYROID |= {"specialist": "B", "licence": "CC0", "path": "thyroid.npz", "kind": "npz"}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "data/datasets",
            ["pathmnist", "pathmnst"],
            "data.datasets: pathmnst is neither one of MedMNIST's datasets nor in data.own; did you mean pathmnist?",
        ),
        ("data/datasets", ["pathmnist", "pathmnist"], "data.datasets: pathmnist stands there more than once"),
        ("data/source", "mirror", "data.mirror: source is mirror, so this must be a folder or an http(s) URL"),
        *(
            (
                "data",
                DEFAULT["data"] | {"mirror": "folder", "source": source},
                f"data.mirror: given, but source is {source}",
            )
            for source in ("phantom", "zenodo")
        ),
        ("model/image_size", 72, "model.image_size: 72 is not a multiple of patch_size 16"),
        ("model/volume_size", 28, "model.volume_size: 28 is not a multiple of volume_patch_size 8"),
        ("train/warmup_rounds", 6.5, "train.warmup_rounds: 6.5 must be at most num_rounds 6"),
        *(
            ("compute", DEFAULT_COMPUTE | {"device": device, "processes": 2}, f"compute.device: {device} is one device")
            for device in ("cuda:0", "mps")
        ),
        (
            "data/external",
            ["organmnist"],
            "data.external: organmnist is neither one of MedMNIST's datasets nor in data.own",
        ),
        ("data/external", ["pathmnist"], "data.external: pathmnist is one of data.datasets, on which the models are"),
        ("data/corruptions", ["fog"], "data.corruptions.0 = 'fog': should be 'noise', 'blur'"),
        ("data/corruptions", ["blur", "blur"], "data.corruptions: blur stands there more than once"),
        (
            "data/own",
            {"pathmnist": THYROID},
            "data.own: pathmnist is one of MedMNIST's datasets; one of your own needs",
        ),
        ("data/own", {"Thyroid": THYROID}, "data.own.Thyroid = 'Thyroid': should be lower case"),
        (
            "data/own",
            {"thyroid": THYROID | {"specialist": "D"}},
            "data.own.thyroid.specialist: D is not one of speciali",
        ),
        (
            "data/own",
            {"thyroid": THYROID | {"clases": 2}},
            "data.own.thyroid.clases: unknown key; did you mean classes?",
        ),
        (
            "data/own",
            {"thyroid": {**THYROID, "split": {"sed": 1}}},
            "data.own.thyroid.split.sed: unknown key; did you m",
        ),
        (
            "specialists",
            ["A", "B", "C", "D"],
            "adapter.bottleneck_d: missing, the width of specialist D; -S '+adapter.",
        ),
        ("specialists", ["A", "B", "A", "C"], "specialists: A stands there more than once"),
        ("specialists", ["A", "B", "C", "AB"], "specialists.3 = 'AB': should be a capital letter"),
        ("specialists", ["A", "B", "c"], "specialists.2 = 'c': should be a capital letter"),
        ("specialists", ["A", "B"], "specialists: A, B lack C, which organmnist3d is routed to"),
        ("specialists", [], "specialists = []: should have at least 1 item"),
        ("adapter/bottleneck_d", 64, "adapter.bottleneck_d: D is not one of specialists: A, B, C"),
        ("adapter/bottleneck_d", 0, "adapter.bottleneck_d = 0: should be greater than or equal to 1"),
        ("adapter/bottleneck_dd", 64, "adapter.bottleneck_dd: unknown key"),
        ("seeds", [42, 42], "seeds: 42 stands there more than once"),
        ("seeds", [-1], "seeds.0 = -1: should be greater than or equal to 0"),
        ("seeds", [2**32], "seeds.0 = 4294967296: should be less than 4294967296"),
        ("ablation/run", ["mosaic", "mosaic"], "ablation.run: mosaic stands there more than once"),
        (
            "ablation/run",
            ["best"],
            "ablation.run: 'best' is not one of ablation.variants: mosaic, shared, linear_probe",
        ),
        ("ablation/analyse", ["best"], "ablation.analyse: 'best' is not one of ablation.variants: mosaic"),
        ("ablation/variants/mosaic", {}, "ablation.variants: mosaic: why: say in one line what the variant is for"),
        ("ablation/variants/mosaic", {"why": " "}, "ablation.variants: mosaic: why: say in one line"),
        ("ablation/variants/mosaic", {"why": "a\nb"}, "ablation.variants: mosaic: why: say in one line"),
        ("train", TRAIN | {"order": "balanced", "tau": None}, "train.tau: order is balanced, so this must be a number"),
        (
            "adapter",
            ADAPTER | {"routing": "gated", "gate_rounds": 7},
            "adapter.gate_rounds: 7 must leave at least one of train.num_rounds 6",
        ),
        ("adapter", ADAPTER | {"routing": "gated", "gate_rounds": 6}, "adapter.gate_rounds: 6 must leave"),
        ("ablation/variants/Best", {}, "ablation.variants.Best = 'Best': should be lower case: a-z, 0-9, _"),
    ],
)
def test_a_rule_over_items_or_several_keys_names_its_key_and_the_reason(tree, key, value, message):
    put(tree, key, value)
    found = refusal(tree)
    assert found.startswith(message)
    assert "more)" not in found


def test_warm_up_ends_before_the_gate_comes_in(tree):
    tree["adapter"] |= {"routing": "gated", "gate_rounds": 2}
    tree["train"]["warmup_rounds"] = 4
    parse(tree)
    tree["train"]["warmup_rounds"] = 4.5
    assert "as many as train.warmup_rounds 4.5" in refusal(tree)
    tree["adapter"]["kind"] = "none"  # no specialists, no gate
    parse(tree)


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda"])
def test_several_processes_share_a_kind_of_device(tree, device):
    tree["compute"] |= {"device": device, "processes": 2}
    assert parse(tree).compute.processes == 2


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("adapter/bottlneck_c", "adapter.bottlneck_c: unknown key; did you mean bottleneck_c?"),
        ("trian", "trian: unknown key; did you mean train?"),
        ("ema/zzz", "ema.zzz: unknown key; known keys are momentum, momentum_3d, update"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(tree, key, message):
    put(tree, key, 1)
    assert refusal(tree) == message


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({}, True),
        ({"path": "./x/../thyroid.npz"}, True),
        ({"path": "other.npz"}, False),
        ({"path": "~/thyroid.npz"}, False),
    ],
)
def test_an_external_dataset_is_not_read_from_what_is_trained_on(tree, changes, refused):
    own = {"thyroid": THYROID, "again": THYROID | {"title": "Again"} | changes}
    tree["data"] |= {"own": own, "datasets": ["pathmnist", "thyroid"], "external": ["again"]}
    if refused:
        assert refusal(tree) == "data.external: again is read from the path of thyroid, on which the models are trained"
    else:
        parse(tree)
    tree["data"] |= {"datasets": ["thyroid", "again"], "external": []}
    parse(tree)


def test_two_lists_of_files_in_one_folder_are_two_datasets(tree):
    listed = THYROID | {"path": "thyroid", "kind": "csv"}
    own = {"thyroid": listed, "again": listed | {"title": "Again", "csv": "other.csv"}}
    tree["data"] |= {"own": own, "datasets": ["thyroid"], "external": ["again"]}
    parse(tree)
    own["again"] = listed | {"title": "Again", "csv": "./labels.csv"}
    assert refusal(tree).startswith("data.external: again is read from the path of thyroid")


def test_a_renamed_key_is_told_as_unknown_rather_than_as_missing(tree):
    tree["train"]["learning_rate"] = tree["train"].pop("lr")
    assert refusal(tree).startswith("train.learning_rate: unknown key")


def test_a_missing_key_is_named(tree):
    del tree["train"]["lr"]
    assert refusal(tree) == "train.lr: missing"


def test_a_number_that_dvc_wrote_as_a_string_is_read_as_a_number():
    text = (ROOT / "params.yaml").read_text()
    changed = re.sub(r"(?m)^  lr: \S+", "  lr: 1e-05", text)
    assert isinstance(yaml.safe_load(changed)["train"]["lr"], str)
    assert parse_params(changed, "params.yaml").train.lr == 1e-05


def test_params_cannot_be_changed_once_read(tree):
    params = parse(tree)
    with pytest.raises(ValueError, match="frozen"):
        params.train.lr = 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a mapping of parameters, found NoneType"),
        ("- 1", "expected a mapping of parameters, found list"),
        ("data: [", "not valid YAML: .* line 1, column 8"),
    ],
)
def test_a_text_that_is_no_params_file_is_one_line(text, message):
    with pytest.raises(PipelineError, match=f"^params.yaml: {message}[^\n]*$"):
        parse_params(text, "params.yaml")


def test_a_missing_and_a_binary_file_are_named(tmp_path):
    with pytest.raises(PipelineError, match=r"none\.yaml: no such file"):
        load_params(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(PipelineError, match=r"^[^\n]*binary\.yaml: not UTF-8[^\n]*$"):
        load_params(tmp_path / "binary.yaml")


def test_an_override_changes_its_variant_and_no_other(tree):
    tree["ablation"]["variants"]["wide"] = {
        "why": "wider",
        "adapter.bottleneck_a": 128,
        "train.lr": "1e-05",
        "compute.precision": "bf16",
    }
    params = parse(tree)
    wide, mosaic = params.variant("wide"), params.variant("mosaic")
    assert (wide.adapter.bottleneck_a, wide.train.lr, wide.compute.precision) == (128, 1e-05, "bf16")
    assert mosaic == params
    expected = copy.deepcopy(params.model_dump())
    expected["adapter"]["bottleneck_a"], expected["train"]["lr"], expected["compute"]["precision"] = 128, 1e-05, "bf16"
    assert wide.model_dump() == expected


GROUPS = "variants may differ in model, backbone, tokenizer_3d, adapter, train, ema, compute.precision only"
SHARED = "may not differ, all variants share weights/backbone.safetensors"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("data.source", "zenodo", f"data.source: {GROUPS}"),
        ("seeds", [1], f"seeds: {GROUPS}"),
        ("compute.device", "cpu", f"compute.device: {GROUPS}"),
        ("adapter", {"scale": 1}, f"adapter: {GROUPS}"),
        ("model.backbone", "vit_small_patch16_224", f"model.backbone: {SHARED}"),
        ("model.image_size", 32, f"model.image_size: {SHARED}"),
        ("model.weights", "vit.npz", f"model.weights: {SHARED}"),
        ("adapter.bottlneck_a", 1, "adapter.bottlneck_a: unknown key; did you mean bottleneck_a?"),
        ("adapter.scale.x", 1, "adapter.scale.x: unknown key; did you mean scale?"),
        ("compute.precision.x", 1, "compute.precision.x: unknown key; did you mean precision?"),
        ("adapter.scale", -1, "adapter.scale = -1: should be greater than 0"),
    ],
)
def test_an_override_that_is_not_legal_names_variant_and_key(tree, key, value, message):
    tree["ablation"]["variants"]["mine"] = {"why": "mine", key: value}
    assert refusal(tree).startswith(f"ablation.variants.mine: {message}")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("variants", ["best"], "tune.variants: 'best' is not one of ablation.variants: mosaic, shared, linear_probe"),
        ("variants", ["mosaic", "mosaic"], "tune.variants: mosaic stands there more than once"),
        ("grid", {}, "tune.grid: empty, but mosaic should be tuned"),
        ("grid", {"train.lr": []}, "tune.grid.train.lr = []: should have at least 1 item"),
        ("grid", {"train.lr": 0.001}, "tune.grid.train.lr = 0.001: should be a list"),
        ("grid", {"train.lr": [[0.001]]}, "tune.grid.train.lr.0 = [0.001]: should be a single value"),
        ("grid", {"train.lr": [1e-05, "1e-05"]}, "tune.grid: train.lr: 1e-05 stands there more than once"),
        ("grid", {"train.lr": [0.001, -1]}, "tune.grid: mosaic: train.lr = -1: should be greater than 0"),
        ("grid", {"train.rate": [1]}, "tune.grid: mosaic: train.rate: unknown key; known keys are num_rounds"),
        ("grid", {"data.source": ["zenodo"]}, f"tune.grid: mosaic: data.source: {GROUPS}"),
        ("grid", {"why": ["not"]}, f"tune.grid: mosaic: why: {GROUPS}"),
        ("grid", {"model.image_size": [32]}, f"tune.grid: mosaic: model.image_size: {SHARED}"),
        ("grid", {"train.monitor": ["acc", "auc"]}, "tune.grid: train.monitor: decides what the validation score is"),
        ("grid", {"train.grade_tolerance": [0, 1]}, "tune.grid: train.grade_tolerance: decides what the validation"),
        (
            "grid",
            {"train.num_rounds": [1, 2], "train.warmup_rounds": [0, 2]},
            "tune.grid: mosaic: train.warmup_rounds: 2 must be at most num_rounds 1",
        ),
        ("seed", -1, "tune.seed = -1: should be greater than or equal to 0"),
        ("variant", ["mosaic"], "tune.variant: unknown key; did you mean variants?"),
    ],
)
def test_a_grid_that_is_not_legal_is_one_line(tree, key, value, message):
    tree["ablation"]["tune"][key] = value
    assert refusal(tree).startswith(f"ablation.{message}")


def test_a_grid_that_no_variant_asks_for_is_checked_with_the_main_one(tree):
    tree["ablation"]["tune"] |= {"variants": [], "grid": {"train.lr": [-1]}}
    assert refusal(tree).startswith("ablation.tune.grid: mosaic: train.lr = -1: should be greater than 0")
    tree["ablation"]["tune"]["grid"] = {}
    parse(tree)


def test_a_combination_is_refused_for_the_variant_that_cannot_run_it(tree):
    tree["ablation"]["variants"]["gated"] = {"why": "gates", "adapter.routing": "gated", "adapter.gate_rounds": 4}
    tree["ablation"]["tune"]["grid"] = {"train.num_rounds": [4, 8]}
    tree["ablation"]["run"].append("gated")
    parse(tree)
    tree["ablation"]["tune"]["variants"] = ["mosaic", "gated"]
    assert refusal(tree).startswith("ablation.tune.grid: gated: adapter.gate_rounds: 4 must leave")
    tree["ablation"]["run"].remove("gated")  # nor is it tuned then
    parse(tree)


CLASHES = [
    ({"train.warmup_rounds": 7}, "train.warmup_rounds: 7 must be at most num_rounds 6"),
    ({"train.order": "balanced", "train.tau": None}, "train.tau: order is balanced, so this must be a number"),
    ({"model.volume_patch_size": 7}, "model.volume_size: 24 is not a multiple of volume_patch_size 7"),
    ({"adapter.routing": "gated", "adapter.gate_rounds": 6}, "adapter.gate_rounds: 6 must leave at least one"),
    (
        {"tokenizer_3d.kind": "slices", "tokenizer_3d.slices": 29},
        "tokenizer_3d.slices: 29 must be at most data.size_3d",
    ),
    ({"train.deploy": "dataset"}, "train.deploy: dataset needs datasets that share nothing trained"),
]


@pytest.mark.parametrize(("overrides", "message"), CLASHES)
def test_what_cannot_run_together_is_asked_of_the_variants_that_run(tree, overrides, message):
    tree["ablation"]["variants"]["mine"] = {"why": "mine"} | overrides
    params = parse(tree)
    with pytest.raises(PipelineError, match=f"^params.yaml: ablation.variants.mine: {message}"):
        params.variant("mine")
    tree["ablation"]["run"].append("mine")
    found = refusal(tree)
    assert found.startswith(f"ablation.variants.mine: {message}")
    assert found.endswith("; or leave mine out of ablation.run")


def test_what_cannot_run_together_in_any_variant_is_told_of_the_values_common_to_all(tree):
    tree["train"]["warmup_rounds"] = 7
    assert refusal(tree) == "train.warmup_rounds: 7 must be at most num_rounds 6"
    for overrides in tree["ablation"]["variants"].values():
        overrides["train.warmup_rounds"] = 0
    parse(tree)


def test_a_quick_try_of_one_variant_with_one_round_is_legal():
    tree = yaml.safe_load((ROOT / "params.yaml").read_text())
    tree["train"]["num_rounds"] = 1
    assert refusal(tree).startswith("ablation.variants.gated: adapter.gate_rounds: 1 must leave at least one")
    tree["ablation"]["run"] = ["mosaic"]
    parse(tree)


def test_the_form_of_a_variant_that_does_not_run_is_checked(tree):
    tree["ablation"]["variants"]["mine"] = {"why": "mine", "adapter.scale": 0, "train.warmup_rounds": 7}
    assert refusal(tree).startswith("ablation.variants.mine: adapter.scale = 0: should be greater than 0")


def test_a_variant_that_does_not_exist_is_refused_with_those_that_do(tree):
    with pytest.raises(PipelineError, match=r"variants\.best: no such variant; .* mosaic, shared, linear_probe"):
        parse(tree).variant("best")


TEXTS = ("data/mirror", "model/weights", "model/backbone", "report/published", "tracking/experiment")


@pytest.mark.parametrize("key", TEXTS)
@pytest.mark.parametrize("value", ["a\nb", "a\0b", "\x1b[31m", "a\u2028b", "\ud800", "", "x" * 1001])
def test_a_name_or_a_place_is_one_line_of_plain_text(tree, key, value):
    put(tree, key, value)
    line = refusal(tree)
    assert line.isprintable()
    assert line.startswith(key.replace("/", "."))


@pytest.mark.parametrize("key", TEXTS)
def test_a_name_or_a_place_may_have_spaces_and_letters_of_any_language(tree, key):
    if key == "data/mirror":
        tree["data"]["source"] = "mirror"
    put(tree, key, "~nosuchuser/Größe ü/数据 $(x);'")
    tree["data"]["source"] = "mirror" if tree["data"]["mirror"] else "phantom"
    parse(tree)


@pytest.mark.parametrize("key", ["compute/threads", "compute/processes", "compute/workers"])
def test_threads_and_processes_have_a_largest_number(tree, key):
    put(tree, key, 1024)
    parse(tree)
    put(tree, key, 10**6)
    assert refusal(tree) == f"{key.replace('/', '.')} = 1000000: should be less than or equal to 1024"


@pytest.mark.parametrize("name", ["../configs/mosaic", "a;b", "$(touch x)", "a b", "a\nb", "a'b", "A", "", "x" * 65])
def test_a_variant_has_a_plain_name(tree, name):
    tree["ablation"]["variants"][name] = {"why": "any"}
    tree["ablation"]["run"] = [name]
    assert refusal(tree).isprintable()
    assert refusal(tree).endswith("lower case: a-z, 0-9, _, at most 64 of them")


def test_a_seed_that_is_not_listed_is_refused_with_those_that_are(tree):
    tree["seeds"] = [1, 42]
    params = parse(tree)
    params.check_known("mosaic", 42)
    params.check_known("mosaic")
    with pytest.raises(PipelineError, match=r"^params\.yaml: seeds: 43 is not among 1, 42; add it"):
        params.check_known("mosaic", 43)
    with pytest.raises(PipelineError, match="no such variant"):
        params.check_known("msaic", 42)


def configure(folder, *arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'pipeline'}"},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("key", "value", "variant", "message"),
    [
        ("adapter/bottleneck_c", 0, "mosaic", f"params.yaml: adapter.bottleneck_c = 0: {AT_LEAST_1}"),
        ("adapter/scael", 1, "mosaic", "params.yaml: adapter.scael: unknown key; did you mean scale?"),
        ("seeds", [1], "best", "params.yaml: ablation.variants.best: no such variant"),
    ],
)
def test_a_stage_ends_with_one_line_on_stderr_and_exit_status_2(tree, tmp_path, key, value, variant, message):
    put(tree, key, value)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(tree))
    result = configure(tmp_path, "-m", "stages.configure", variant)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {message}")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "candidates").exists()


def test_reading_params_and_configuring_import_nothing_heavy(tree, tmp_path):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(tree))
    heavy = ("torch", "timm", "mlflow", "medmnist", "matplotlib", "sklearn", "pandas", "numpy")
    code = (
        "import sys; sys.argv = ['configure', 'mosaic']; import stages.configure; stages.configure.main();"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    result = configure(tmp_path, "-c", code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "[]"


def test_a_best_round_for_each_dataset_needs_datasets_that_share_nothing_trained(tree):
    variant = tree["ablation"]["variants"]["mosaic"] = {"why": "any", "train.deploy": "dataset"}
    assert refusal(tree) == (
        "ablation.variants.mosaic: train.deploy: dataset needs datasets that share nothing trained: adapter.routing: "
        "per_dataset and backbone.frozen: true, not specialists and true"
    )
    variant["adapter.routing"] = "per_dataset"
    parse(tree)
    variant["adapter.kind"] = "none"  # heads and 3D tokenizers, each dataset its own
    parse(tree)
    variant["backbone.frozen"] = False
    assert refusal(tree).endswith("not per_dataset and false")


def test_a_volume_has_no_more_slices_than_its_file_has_voxels(tree):
    tree["data"]["size_3d"] = 28
    tree["tokenizer_3d"] |= {"kind": "volume", "slices": 29}
    parse(tree)
    tree["tokenizer_3d"]["kind"] = "slices"
    assert refusal(tree) == "tokenizer_3d.slices: 29 must be at most data.size_3d 28"


def test_volumes_of_ones_own_are_cut_into_no_more_slices_than_they_keep(tree):
    tree["data"]["own"] = {"hip": THYROID | {"dimension": 3, "size": 12}}
    tree["tokenizer_3d"] |= {"kind": "slices", "slices": 13}
    parse(tree)  # nothing is done with it
    for key in ("datasets", "external"):
        listed = list(tree["data"][key])
        tree["data"][key] = [*listed, "hip"]
        assert refusal(tree) == "tokenizer_3d.slices: 13 must be at most data.own.hip.size 12"
        tree["data"][key] = listed
    tree["data"]["datasets"].append("hip")
    tree["tokenizer_3d"]["slices"] = 12
    parse(tree)


@pytest.mark.parametrize(("title", "other"), [(" breast  MNIST", "breastmnist"), ("THYROIDULTRASOUND", "thyroid")])
def test_two_datasets_of_one_title_are_refused(tree, title, other):
    tree["data"]["own"] = {"thyroid": THYROID | {"title": "Thyroid ultrasound"}, "neck": THYROID | {"title": title}}
    assert refusal(tree).startswith(f"data.own: neck: title: {title!r} is that of {other};")


def test_medmnists_titles_are_its_names():
    assert all(official.about(form).title.casefold() == name for name, form in MEDMNIST.items())


def test_a_dataset_of_ones_own_and_a_specialist_of_its_own_are_legal_together(tree):
    tree["data"] |= {"own": {"thyroid": THYROID | {"specialist": "D"}}, "datasets": ["thyroid", "breastmnist"]}
    tree["specialists"], tree["adapter"]["bottleneck_d"] = ["D", "A", "B", "C"], 24
    params = parse(tree)
    assert (params.data.form("thyroid").num_classes, params.data.stored_size("thyroid")) == (2, params.data.size_2d)
    assert params.data.groups() == {"breastmnist": "B", "thyroid": "D"}
    assert params.adapter.letters["D"] == 24
    tree["ablation"]["variants"]["mosaic"]["adapter.bottleneck_d"] = 0
    assert refusal(tree).startswith("ablation.variants.mosaic: adapter.bottleneck_d = 0: should be greater")
    tree["ablation"]["variants"]["mosaic"]["adapter.bottleneck_d"] = 7
    assert parse(tree).variant("mosaic").adapter.letters["D"] == 7
