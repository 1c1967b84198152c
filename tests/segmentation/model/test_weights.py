"""Swin Transformers of timm and torchvision, and the same by Microsoft's and Hugging Face's names."""

import re

import pytest
import torch
from nets import make_config
from safetensors.torch import load_file, save_file
from timm.models.swin_transformer import SwinTransformer

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.segmentation.model.build import build_m4oe
from mosaic_pipeline.segmentation.model.start import slots, start_from
from mosaic_pipeline.segmentation.model.weights import account_of, read_swin, save_swin

SHAPE = {"size": 32, "window": 4, "channels": 3, "depths": (2, 2, 1), "heads": (1, 2, 4)}


def make_swin(**changed) -> SwinTransformer:
    """A Swin Transformer of the shape above, with its values away from those that norms and biases start at."""
    shape = {"img_size": 32, "in_chans": 3, "embed_dim": 8, "depths": (2, 2, 1), "num_heads": (1, 2, 4)}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        swin = SwinTransformer(**shape | {"window_size": 4, "num_classes": 5} | changed).eval()
        for parameter in swin.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return swin


def write(tmp_path, state, kind: str = "safetensors"):
    path = tmp_path / f"swin.{kind}"
    if kind == "safetensors":
        save_file({name: tensor.clone() for name, tensor in state.items()}, path)
    else:
        torch.save(state, path)
    return path


def started(tmp_path, path, **model):
    """A gated model that started from a file, and the line about it."""
    config = make_config(experts={"mix": "gated"}, **SHAPE | model)
    state, contents = read_swin(path, config.model)
    save_swin(state, tmp_path / "converted.safetensors", {"source": "swin"})
    made = build_m4oe(config, seed=0)
    start_from(made, tmp_path / "converted.safetensors")
    return made, account_of("swin", "00", state, contents)


def encoded(trunk, images: torch.Tensor) -> torch.Tensor:
    """What comes out of the encoder."""
    seen = []
    hook = trunk.norm.register_forward_hook(lambda norm, inputs, features: seen.append(features))
    trunk(trunk.embed(images))
    hook.remove()
    return seen[0]


def as_microsoft(state):
    def renamed(name: str) -> str:
        name = re.sub(r"layers\.(\d+)\.downsample", lambda match: f"layers.{int(match[1]) - 1}.downsample", name)
        return name.replace("head.fc.", "head.")

    return {"model": {renamed(name): tensor for name, tensor in state.items()}}


def as_hugging_face(state):
    made = {}
    rules = (
        (r"patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
        (r"patch_embed\.norm\.", "embeddings.norm."),
        (r"layers\.(\d+)\.downsample", lambda match: f"encoder.layers.{int(match[1]) - 1}.downsample"),
        (r"^layers\.", "encoder.layers."),
        (r"\.norm1\.", ".layernorm_before."),
        (r"\.norm2\.", ".layernorm_after."),
        (r"^norm\.", "layernorm."),
        (r"attn\.proj", "attention.output.dense"),
        (r"attn\.relative", "attention.self.relative"),
        (r"mlp\.fc1", "intermediate.dense"),
        (r"mlp\.fc2", "output.dense"),
        (r"head\.fc", "classifier"),
    )
    for name, tensor in state.items():
        for pattern, other in rules:
            name = re.sub(pattern, other, name)
        parts = tensor.chunk(3) if ".attn.qkv." in name else [tensor]
        for part, called in zip(parts, ("query", "key", "value"), strict=False):
            own = name.replace("attn.qkv", f"attention.self.{called}")
            made[own if own.startswith("classifier") else f"swin.{own}"] = part.clone()
    return made


@pytest.mark.parametrize("names", ["timm", "microsoft", "hugging face"])
def test_an_encoder_started_from_a_file_computes_what_timms_swin_does_with_every_expert(tmp_path, names):
    swin, images = make_swin(), torch.randn(2, 3, 32, 32)
    state = swin.state_dict()
    named = {"timm": dict, "microsoft": as_microsoft, "hugging face": as_hugging_face}[names](state)
    made, line = started(tmp_path, write(tmp_path, named, "pth" if names == "microsoft" else "safetensors"))
    trunk = made.trunks["shared"]
    expected = swin.forward_features(images)
    for made.route.expert in range(3):
        made.route.gated = False
        torch.testing.assert_close(encoded(trunk, images), expected)
    # And therefore with any weights of a gate.
    made.route.gated = True
    torch.testing.assert_close(encoded(trunk, images), expected)
    parameters = sum(tensor.numel() for name, tensor in state.items() if not name.startswith("head."))
    assert f"{parameters:,} parameters from swin (sha256 00)" in line
    head = {"timm": "head.fc.", "microsoft": "model.head.", "hugging face": "classifier."}[names]
    assert f"left out: {head}bias, {head}weight" in line
    title = {"timm": "", "microsoft": ", found below model, by the names of Microsoft", "hugging face": "Hugging Face"}
    assert title[names] in line


def test_an_encoder_started_from_torchvisions_file_computes_what_torchvisions_swin_does(tmp_path):
    from torchvision.models.swin_transformer import SwinTransformer as Torchvisions

    # It pads where timm makes windows smaller, so these fit everywhere.
    swin = Torchvisions([4, 4], 8, [2, 2, 1], [1, 2, 4], [2, 2], num_classes=5).eval()
    made, line = started(tmp_path, write(tmp_path, swin.state_dict(), "pth"), window=2)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(encoded(made.trunks["shared"], images), swin.norm(swin.features(images)))
    assert "by the names of torchvision" in line
    assert "features (5 tensors), head (2 tensors)" in line


def test_every_expert_gets_the_mlp_and_the_decoder_the_encoders_blocks_of_its_size(tmp_path):
    made, _ = started(tmp_path, write(tmp_path, make_swin().state_dict()))
    state = load_file(tmp_path / "converted.safetensors")
    plain, fresh = made.trunks["shared"], build_m4oe(made.config, seed=0).trunks["shared"]
    filled = set()
    for name, parameters in slots(plain).items():
        origin = name
        if name.startswith("decoder."):
            # Two stages: the first is of the size of the encoder's second.
            origin = name.replace("decoder.0", "encoder.1").replace("decoder.1", "encoder.0")
        assert len(parameters) == (3 if ".mlp." in name else 1)
        if origin in state:
            assert all(torch.equal(parameter, state[origin]) for parameter in parameters), name
            filled.add(name)
    of_fresh = slots(fresh)
    rest = {name for name in of_fresh if name not in filled}
    assert {name.partition(".")[0] for name in rest} == {"expand", "join", "norm_up", "to_pixels"}
    assert all(torch.equal(slots(plain)[name][0], of_fresh[name][0]) for name in rest)
    assert all((gate.linear.weight == 0).all() for gate in made.gates.values())


def test_the_decoder_can_be_left_as_it_starts(tmp_path):
    made, _ = started(tmp_path, write(tmp_path, make_swin().state_dict()))
    fresh = build_m4oe(made.config, seed=0)
    start_from(fresh, tmp_path / "converted.safetensors", mirrored=False)
    untouched = build_m4oe(made.config, seed=0).trainable_state()
    for name, tensor in fresh.trainable_state().items():
        if ".decoder." in name:
            assert torch.equal(tensor, untouched[name])
        if ".encoder." in name and ".gate." not in name:
            assert torch.equal(tensor, made.trainable_state()[name])


def test_networks_of_their_own_all_start_from_the_file(tmp_path):
    config = make_config(experts={"routing": "single"}, **SHAPE)
    state, _ = read_swin(write(tmp_path, make_swin().state_dict()), config.model)
    save_swin(state, tmp_path / "converted.safetensors", {})
    made = build_m4oe(config, seed=0)
    start_from(made, tmp_path / "converted.safetensors")
    for trunk in made.trunks.values():
        assert torch.equal(trunk.patch_embed.proj.weight, state["patch_embed.proj.weight"])


def test_kernels_of_three_colours_serve_one_channel(tmp_path):
    path = write(tmp_path, make_swin().state_dict())
    one, line = started(tmp_path, path, channels=1)
    three, _ = started(tmp_path, path)
    images = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(
        one.trunks["shared"].embed(images), three.trunks["shared"].embed(images.expand(-1, 3, -1, -1))
    )
    assert "kernels of three colours summed" in line


def test_windows_of_another_size_and_blocks_beyond_the_models_are_said(tmp_path):
    swin = make_swin(img_size=64, depths=(2, 4, 1), window_size=4)
    made, line = started(tmp_path, write(tmp_path, swin.state_dict()), window=2)
    assert "relative positions cut from windows of 4" in line
    assert "blocks beyond the depths [2, 2, 1] left out" in line
    # Two tokens have the bias that they have in the larger window, wherever both are in the smaller one.
    theirs, ours = swin.layers[0].blocks[1].attn, made.trunks["shared"].encoder[0].blocks[1].attn
    tokens = torch.tensor([0, 1, 4, 5])
    assert torch.equal(ours._get_rel_pos_bias(), theirs._get_rel_pos_bias()[..., tokens[:, None], tokens])

    made, line = started(tmp_path, write(tmp_path, make_swin(window_size=2).state_dict()), window=3)
    assert "relative positions resized from windows of 2" in line
    assert made.trunks["shared"].encoder[0].blocks[0].attn.relative_position_bias_table.std() > 0.05


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(tmp_path, dtype):
    state = {name: tensor.to(dtype) for name, tensor in make_swin().state_dict().items()}
    config = make_config(**SHAPE)
    read, _ = read_swin(write(tmp_path, state), config.model)
    assert {tensor.dtype for tensor in read.values()} == {torch.float32}
    assert torch.equal(read["norm.weight"], state["norm.weight"].float())


def spoiled(**changes):
    def spoil(state):
        for name, change in changes.items():
            name = name.replace("__", ".")
            if change is None:
                del state[name]
            else:
                state[name] = change(state.get(name))
        return state

    return spoil


def with_nan(tensor):
    tensor = tensor.clone()
    tensor.view(-1)[3] = float("nan")
    return tensor


BAD = {
    "nan": (
        spoiled(layers__1__blocks__0__mlp__fc1__weight=with_nan),
        "layers.1.blocks.0.mlp.fc1.weight holds values that",
    ),
    "missing": (spoiled(layers__1__blocks__0__norm1__bias=None), "no tensor encoder.1.blocks.0.norm1.bias"),
    "unknown": (spoiled(extra=lambda _: torch.zeros(2)), "unknown tensor extra"),
    "shape": (spoiled(norm__weight=lambda _: torch.zeros(7)), "norm.weight is [7], expected [32]"),
    "integers": (spoiled(norm__weight=lambda _: torch.zeros(32, dtype=torch.long)), "norm.weight holds torch.int64"),
    "table": (
        spoiled(layers__0__blocks__0__attn__relative_position_bias_table=lambda _: torch.zeros(48, 1)),
        "relative_position_bias_table is [48, 1], expected [49, 1]",
    ),
    "no swin": (lambda state: {"conv.weight": torch.zeros(2, 2)}, "no patches and mergers by any known names"),
    "stages": (
        lambda state: make_swin(depths=(2, 2, 1, 1), num_heads=(1, 2, 4, 8)).state_dict(),
        "(it has 4 stages, the model 3)",
    ),
    "width": (lambda state: make_swin(embed_dim=16).state_dict(), "is [16, 3, 4, 4], expected [8, 3, 4, 4]"),
    "two": (
        lambda state: {f"{prefix}.{name}": tensor for prefix in "ab" for name, tensor in state.items()},
        "several networks, below a, b",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_does_not_fit_is_one_line_that_says_why(tmp_path, case):
    spoil, expected = BAD[case]
    path = write(tmp_path, spoil(make_swin().state_dict()))
    with pytest.raises(PipelineError) as caught:
        read_swin(path, make_config(**SHAPE).model)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert expected in line
    assert "segmentation.model" in line
    assert "\n" not in line


def test_code_in_a_file_is_never_run(tmp_path):
    torch.save({"model": make_swin()}, tmp_path / "swin.pth")
    with pytest.raises(PipelineError, match="not only tensors, but Python objects"):
        read_swin(tmp_path / "swin.pth", make_config(**SHAPE).model)
    (tmp_path / "swin.pth").write_bytes(b"<html>")
    with pytest.raises(PipelineError, match=r"a page; segmentation\.model\.weights must name .* of a Swin Transformer"):
        read_swin(tmp_path / "swin.pth", make_config(**SHAPE).model)


def test_a_converted_file_that_does_not_fit_the_model_names_the_stage_that_writes_it(tmp_path):
    made, _ = started(tmp_path, write(tmp_path, make_swin().state_dict()))
    path = tmp_path / "converted.safetensors"
    wide = build_m4oe(make_config(experts={"routing": "shared", "width": 12}, **SHAPE), seed=0)
    with pytest.raises(PipelineError, match=r"mlp.fc1.\w+ is \[.*\], but .* `dvc repro seg_weights`"):
        start_from(wide, path)
    with pytest.raises(PipelineError, match=r"no such file; `dvc repro seg_weights` writes it"):
        start_from(made, tmp_path / "none.safetensors")
    save_file(load_file(path) | {"norm.bias": torch.full((32,), float("inf"))}, path)
    with pytest.raises(PipelineError, match=r"norm.bias holds values that are not finite"):
        start_from(made, path)
    save_file({"norm.bias": torch.zeros(32)}, path)
    with pytest.raises(PipelineError, match=r"are in only one of model and file"):
        start_from(made, path)


def test_converting_the_same_file_twice_gives_the_same_bytes(tmp_path):
    path = write(tmp_path, make_swin().state_dict())
    for _ in range(2):
        started(tmp_path, path)
        (tmp_path / "converted.safetensors").rename(tmp_path / f"{_}.safetensors")
    assert (tmp_path / "0.safetensors").read_bytes() == (tmp_path / "1.safetensors").read_bytes()
