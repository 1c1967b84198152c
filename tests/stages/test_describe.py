import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mosaic_pipeline.commands.describe import as_table, describe, describe_segmentation, main
from mosaic_pipeline.config import resolve
from mosaic_pipeline.model.backbone import build_backbone
from mosaic_pipeline.model.mosaic import build_mosaic
from mosaic_pipeline.params import Params

ROOT = Path(__file__).parents[2]


def test_the_paper_profile_is_described_with_the_published_counts():
    command = [sys.executable, "-m", "mosaic_pipeline", "describe", "--profile", "paper", "--json"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    description = json.loads(printed)
    assert (description["trainable"], description["total"]) == (7_395_570, 93_194_226)
    assert description["components"] == {
        "specialists": {"A": 1_189_632, "B": 1_779_840, "C": 3_550_464},
        "gates": 0,
        "tokenizer_3d": 393_984,
        "positions_3d": 393_984,
        "heads": 87_666,
        "embedding_norms": 0,
        "backbone": 85_798_656,
    }
    assert description["inputs"]["image"]["tokens"] == 197
    assert description["inputs"]["volume"]["tokens"] == 513
    # Two forward passes of 32 images through ViT-B/16 alone are 32 * 2 * 35.1 GFLOP.
    assert 2.2e12 < description["inputs"]["image"]["flops_per_step"]["A"] < 4.5e12


def test_a_step_with_gates_costs_all_specialists_and_one_before_them_costs_its_own(params):
    steps = {
        variant: {kind: cost["flops_per_step"] for kind, cost in describe(params, variant)["inputs"].items()}
        for variant in ("mosaic", "gated")
    }
    for kind, gated in steps["gated"].items():
        together = gated.pop("all, gated")
        assert gated == steps["mosaic"][kind]
        assert together > max(gated.values())


def test_slices_cost_as_much_as_that_many_images(params):
    sliced = describe(params, "slices")
    assert sliced["components"]["tokenizer_3d"] == 192
    assert sliced["components"]["positions_3d"] == 8 * 192
    image, volume = sliced["inputs"]["image"], sliced["inputs"]["volume"]
    assert (image["slices"], volume["slices"]) == (None, 8)
    assert volume["tokens"] == 8 * image["tokens"] == 8 * 17
    # Nearly: C is wider than A.
    assert volume["flops_per_step"]["C"] == pytest.approx(8 * image["flops_per_step"]["A"], rel=0.15)
    assert "volume as 8 slices of 64x64: 136 tokens" in as_table(sliced)
    assert "volume 24x24x24: 28 tokens" in as_table(describe(params, "mosaic"))


def test_a_backbone_is_described_by_what_sets_it_apart_and_its_own_tokens_count(params):
    tree = params.model_dump()
    tree["model"] |= {"backbone": "vit_small_patch14_reg4_dinov2", "patch_size": 14, "image_size": 98}
    described = describe(Params.model_validate(tree), "mosaic")
    assert described["family"] == "layer scale, 4 registers, no class position"
    assert described["inputs"]["image"]["tokens"] == 7 * 7 + 5
    assert described["inputs"]["volume"]["tokens"] == 3**3 + 5
    said = (
        "layer scale, 4 registers, no class position; 12 blocks of width 384 with 6 heads; 5 tokens before the patches"
    )
    assert said in as_table(described)
    assert "plain ViT; 12 blocks of width 192 with 3 heads; 1 token before" in as_table(describe(params, "mosaic"))


def test_arguments_of_the_backbone_are_followed(params):
    tree = params.model_dump()
    tree["model"]["backbone_args"] = {"depth": 3, "mlp_layer": "SwiGLUPacked", "act_layer": "silu", "qk_norm": True}
    described = describe(Params.model_validate(tree), "mosaic")
    assert described["family"] == "normalised queries and keys, GluMlp with SiLU"
    assert described["blocks"] == 3


class Real(TorchDispatchMode):
    """Remember how many bytes of storage operations return that lie on a real device."""

    def __init__(self):
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):
        result = operation(*arguments, **(keywords or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.device.type != "meta":
                self.largest = max(self.largest, tensor.untyped_storage().nbytes())
        return result


@pytest.mark.parametrize("variant", ["gated_from_routing", "slices", "lora_joint_r8", "prompt_from_zero"])
def test_a_description_computes_nothing_and_stores_nothing(params, variant):
    tree = params.model_dump()
    tree["tokenizer_3d"]["init"], tree["compute"]["precision"] = "inflate", "bf16"
    with Real() as real:
        described = describe(Params.model_validate(tree), variant)
    assert described["total"] > 5e6
    assert real.largest < 100_000


def test_the_description_counts_what_is_trained(params):
    config = resolve(params, "mosaic")
    backbone = build_backbone(config.model.backbone, config.model.patch_size, config.model.image_size)
    model = build_mosaic(config, backbone, seed=0)
    counts = model.parameter_counts()
    described = describe(params, "mosaic")
    assert described["components"] | {key: described[key] for key in ("trainable", "total")} == counts


FULL_SIZE = {"dim": 96, "depths": (2, 2, 2, 2), "heads": (3, 6, 12, 24), "window": 7, "size": 224, "channels": 3}
THREE = ("flare22", "atlas23", "amos22_mr")


@pytest.mark.parametrize(
    ("sets", "variant", "total"),
    [
        (THREE, None, 58_486_830),
        (THREE, "released", 60_432_132),
        (("flare22",), "m4oe", 27_169_380),
    ],
)
def test_segmentation_at_full_size_is_described_with_the_published_counts(params, sets, variant, total):
    tree = params.model_dump()
    tree["segmentation"]["data"]["datasets"] = sets
    tree["segmentation"]["model"] |= FULL_SIZE
    description, table = describe_segmentation(Params.model_validate(tree), variant)
    assert (description["variant"], description["total"]) == (variant or "m4oe", total)
    assert table.startswith(f"{variant or 'm4oe'}, {len(sets)} dataset{'s' * (len(sets) > 1)}: flare22 (14 classes)")
    assert f"{total:,}  100.00%" in table


def test_a_task_is_asked_for_by_name(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["describe", "--task", "segmentation", "--variant", "hard", "--json"])
    main()
    assert json.loads(capsys.readouterr().out)["macs_per_slice"].keys() == {"experts"}
