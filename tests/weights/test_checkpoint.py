"""Safetensors and torch files by everybody's names: every tensor reaches its place, or is named."""

import argparse
import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from timm import create_model
from timm.models.vision_transformer import checkpoint_filter_fn

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.weights.files import kind_of
from mosaic_pipeline.weights.fill import fill

SMALL = {"embed_dim": 12, "depth": 2, "num_heads": 2, "img_size": 32, "num_classes": 0, "patch_size": 8}
PLAIN, DINOV2, REGISTERS = "vit_small_patch16_224", "vit_small_patch14_dinov2", "vit_small_patch14_reg4_dinov2"
DEIT, GIANT, CLIP = "deit_small_distilled_patch16_224", "vit_giant_patch14_dinov2", "vit_base_patch16_clip_224"


def vit(name, **options):
    model = create_model(name, **SMALL | options)
    generator = torch.Generator().manual_seed(len(name))
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return model.eval()


def spoilt(name, **options):
    """A model whose every value is one that no file holds."""
    model = vit(name, **options)
    for parameter in model.parameters():
        parameter.data.fill_(777.0)
    return model


def same(model, state):
    found = model.state_dict()
    return found.keys() == state.keys() and all(torch.equal(found[name], state[name]) for name in state)


def renamed(state, rules):
    """Rename tensors by the first rule that matches; a rule with three targets is for queries, keys and values."""
    theirs = {}
    for name, tensor in state.items():
        pattern, new = next((rule for rule in rules if re.match(rule[0], name)), ("$", ""))
        if isinstance(new, tuple):
            for each, third in zip(new, tensor.chunk(3), strict=True):
                theirs[re.sub(pattern, each, name)] = third.clone()
        else:
            theirs[re.sub(pattern, new, name)] = tensor
    return theirs


OUTSIDE = [
    ("^cls_token", "embeddings.cls_token"),
    ("^mask_token", "embeddings.mask_token"),
    ("^dist_token", "embeddings.distillation_token"),
    ("^reg_token", "embeddings.register_tokens"),
    ("^pos_embed", "embeddings.position_embeddings"),
    (r"^patch_embed\.proj", "embeddings.patch_embeddings.projection"),
    (r"^norm\.", "layernorm."),
]
LAYER = r"^blocks\.(\d+)\."
ATTENTION = [
    (
        LAYER + r"attn\.qkv",
        tuple(rf"encoder.layer.\1.attention.attention.{part}" for part in ("query", "key", "value")),
    ),
    (LAYER + r"attn\.proj", r"encoder.layer.\1.attention.output.dense"),
]
HF_VIT = [
    *OUTSIDE,
    *ATTENTION,
    (LAYER + "norm1", r"encoder.layer.\1.layernorm_before"),
    (LAYER + "norm2", r"encoder.layer.\1.layernorm_after"),
    (LAYER + r"mlp\.fc1", r"encoder.layer.\1.intermediate.dense"),
    (LAYER + r"mlp\.fc2", r"encoder.layer.\1.output.dense"),
]
HF_DINOV2 = [
    *OUTSIDE,
    *ATTENTION,
    (LAYER + r"ls(\d)\.gamma", r"encoder.layer.\1.layer_scale\2.lambda1"),
    (LAYER, r"encoder.layer.\1."),
]
HF_SWIGLU = [
    (LAYER + r"mlp\.fc1", r"encoder.layer.\1.mlp.weights_in"),
    (LAYER + r"mlp\.fc2", r"encoder.layer.\1.mlp.weights_out"),
    *HF_DINOV2,
]
HF_CLIP = [
    ("^cls_token", "embeddings.class_embedding"),
    ("^pos_embed", "embeddings.position_embedding.weight"),
    (r"^patch_embed\.proj", "embeddings.patch_embedding"),
    ("^norm_pre", "pre_layrnorm"),
    (LAYER + r"attn\.qkv", tuple(rf"encoder.layers.\1.self_attn.{part}_proj" for part in "qkv")),
    (LAYER + r"attn\.proj", r"encoder.layers.\1.self_attn.out_proj"),
    (LAYER + r"norm(\d)", r"encoder.layers.\1.layer_norm\2"),
    (LAYER, r"encoder.layers.\1."),
    (r"^norm\.", "post_layernorm."),
]
OPENAI = [
    ("^cls_token", "class_embedding"),
    ("^pos_embed", "positional_embedding"),
    (r"^patch_embed\.proj", "conv1"),
    ("^norm_pre", "ln_pre"),
    (LAYER + r"attn\.qkv\.", r"transformer.resblocks.\1.attn.in_proj_"),
    (LAYER + r"attn\.proj", r"transformer.resblocks.\1.attn.out_proj"),
    (LAYER + r"norm(\d)", r"transformer.resblocks.\1.ln_\2"),
    (LAYER + r"mlp\.fc1", r"transformer.resblocks.\1.mlp.c_fc"),
    (LAYER + r"mlp\.fc2", r"transformer.resblocks.\1.mlp.c_proj"),
    (r"^norm\.", "ln_post."),
]


def below(prefix, state):
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    ("name", "rules", "prefix", "beside"),
    [
        (PLAIN, HF_VIT, "vit.", ("classifier.bias", "classifier.weight")),
        (PLAIN, HF_VIT, "", ("embeddings.mask_token", "pooler.dense.weight")),
        (DEIT, HF_VIT, "deit.", ("cls_classifier.weight", "distillation_classifier.weight")),
        (DINOV2, HF_DINOV2, "dinov2.", ("classifier.weight", "dinov2.embeddings.mask_token")),
        (GIANT, HF_SWIGLU, "", ("embeddings.mask_token",)),
    ],
    ids=["ViT", "ViT without head", "DeiT", "DINOv2", "DINOv2 with SwiGLU"],
)
def test_hugging_faces_names_are_understood_and_what_is_beside_the_vit_is_named(tmp_path, name, rules, prefix, beside):
    state = vit(name).state_dict()
    theirs = below(prefix, renamed(state, rules))
    assert theirs.keys().isdisjoint(state)
    save_file(theirs | {each: torch.ones(2) for each in beside}, tmp_path / "model.safetensors")
    model = spoilt(name)
    contents = fill(model, tmp_path / "model.safetensors", name)
    assert same(model, state)
    assert (contents.family, contents.prefix, contents.left_out) == ("Hugging Face", prefix, beside)
    assert set(contents.used) == set(theirs)


def test_dinov2_with_registers_has_its_class_position_added_to_the_class_token_as_timm_does(tmp_path):
    """In its own names and in Hugging Face's the class token has a position, in timm's model none."""
    own, position = vit(REGISTERS).state_dict(), torch.randn(1, 1, 12)
    own |= {"pos_embed": torch.cat([position, own["pos_embed"]], 1), "mask_token": torch.zeros(1, 12)}
    theirs = renamed(own, [("^reg_token", "register_tokens"), ("$", "")])
    expected = checkpoint_filter_fn(dict(theirs), spoilt(REGISTERS))
    torch.save(theirs, tmp_path / "dinov2.pth")
    save_file(renamed(own, HF_DINOV2), tmp_path / "hf.safetensors")
    for file, beside in (("dinov2.pth", "mask_token"), ("hf.safetensors", "embeddings.mask_token")):
        model = spoilt(REGISTERS)
        assert fill(model, tmp_path / file, REGISTERS).left_out == (beside,)
        assert same(model, expected)
    torch.testing.assert_close(model.cls_token, own["cls_token"] + position)


def test_clips_own_names_are_understood_as_timm_understands_them(tmp_path):
    own = vit(CLIP).state_dict()
    theirs = below("visual.", renamed(own, OPENAI))
    theirs["visual.class_embedding"] = theirs["visual.class_embedding"].flatten().clone()
    theirs["visual.positional_embedding"] = theirs["visual.positional_embedding"][0].clone()
    beside = {"visual.proj": torch.ones(12, 4), "logit_scale": torch.ones(1), "ln_final.weight": torch.ones(3)}
    expected = checkpoint_filter_fn(theirs | beside, spoilt(CLIP))
    save_file(theirs | beside, tmp_path / "clip.safetensors")
    model = spoilt(CLIP)
    assert fill(model, tmp_path / "clip.safetensors", CLIP).left_out == tuple(sorted(beside))
    assert same(model, {name: expected[name] for name in own})
    assert same(model, own)


def test_hugging_faces_clip_is_understood(tmp_path):
    own = vit(CLIP).state_dict()
    theirs = below("vision_model.", renamed(own, HF_CLIP))
    for name in ("vision_model.embeddings.class_embedding", "vision_model.embeddings.position_embedding.weight"):
        theirs[name] = theirs[name].squeeze().clone()
    beside = {"vision_model.embeddings.position_ids": torch.arange(17)}
    save_file(theirs | beside, tmp_path / "clip.safetensors")
    model = spoilt(CLIP)
    contents = fill(model, tmp_path / "clip.safetensors", CLIP)
    assert same(model, own)
    assert (contents.family, contents.left_out) == ("Hugging Face's CLIP", tuple(beside))


NESTED = {
    "module.": lambda state: below("module.", state),
    "state_dict.": lambda state: {"state_dict": state, "epoch": 3, "args": argparse.Namespace(lr=0.1)},
    "model.": lambda state: {"model": state, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}},
    "teacher.module.backbone.": lambda state: {
        "student": below("module.backbone.", {name: tensor + 1 for name, tensor in state.items()}),
        "teacher": below("module.backbone.", state) | {"module.head.mlp.0.weight": torch.ones(3)},
    },
    "state_dict_ema.": lambda state: {
        "state_dict": {name: tensor + 1 for name, tensor in state.items()},
        "state_dict_ema": state,
    },
    "visual.trunk.": lambda state: below("visual.trunk.", state) | {"text.token.weight": torch.ones(3)},
}


@pytest.mark.parametrize("prefix", NESTED)
def test_a_vit_inside_of_something_is_found_and_the_prefix_told(tmp_path, prefix):
    state = vit(PLAIN).state_dict()
    torch.save(NESTED[prefix](state), tmp_path / "checkpoint.pth")
    model = spoilt(PLAIN)
    contents = fill(model, tmp_path / "checkpoint.pth", PLAIN)
    assert same(model, state)
    assert contents.prefix == prefix
    assert set(contents.used) == set(below(prefix, state))
    assert not any(name.startswith(prefix + "blocks") for name in contents.left_out)


def test_a_word_within_another_is_no_average_and_a_segmentation_branch_not_taken_for_one(tmp_path):
    state = vit(PLAIN).state_dict()
    other = {name: tensor + 1 for name, tensor in state.items()}
    torch.save(below("semantic.", other) | below("state_dict_ema.", state), tmp_path / "two.pth")
    model = spoilt(PLAIN)
    assert fill(model, tmp_path / "two.pth", PLAIN).prefix == "state_dict_ema."
    assert same(model, state)


def test_of_several_vits_that_are_equally_good_none_is_taken(tmp_path):
    state = vit(PLAIN).state_dict()
    several = below("semantic.", state) | below("instance.", state) | below("student.instance.", state) | state
    torch.save(several, tmp_path / "many.pth")
    with pytest.raises(PipelineError) as error:
        fill(spoilt(PLAIN), tmp_path / "many.pth", PLAIN)
    assert str(error.value) == (
        f"{tmp_path / 'many.pth'}: several ViTs, below instance, semantic, the names without a prefix; save the one "
        "that is meant alone"
    )
    torch.save(several | below("teacher.", state), tmp_path / "many.pth")
    assert fill(spoilt(PLAIN), tmp_path / "many.pth", PLAIN).prefix == "teacher."


def test_two_names_for_one_parameter_are_both_named(tmp_path):
    state = vit(REGISTERS).state_dict()
    torch.save(state | {"register_tokens": state["reg_token"] + 1}, tmp_path / "vit.pth")
    with pytest.raises(
        PipelineError, match=r"pth: reg_token and register_tokens are two names for one parameter, reg_"
    ):
        fill(spoilt(REGISTERS), tmp_path / "vit.pth", REGISTERS)
    theirs = renamed(vit(PLAIN).state_dict(), HF_VIT)
    beside = {"embeddings.mask_token": torch.ones(2), "mask_token": torch.ones(2)}
    save_file(theirs | beside, tmp_path / "vit.safetensors")
    assert fill(spoilt(PLAIN), tmp_path / "vit.safetensors", PLAIN).left_out == tuple(beside)


def test_names_of_deit_3_and_of_dinov2_in_chunks_are_understood(tmp_path):
    state = vit(DINOV2).state_dict()
    for rules in ([(r"(.*)ls(\d)\.gamma", r"\1gamma_\2"), ("$", "")], [(r"^blocks\.(\d)", r"blocks.\1.\1"), ("$", "")]):
        save_file(renamed(state, rules), tmp_path / "vit.safetensors")
        model = spoilt(DINOV2)
        fill(model, tmp_path / "vit.safetensors", DINOV2)
        assert same(model, state)


def test_the_decoder_of_a_masked_autoencoder_is_left_out_and_a_norm_after_pooling_is_the_final_one(tmp_path):
    state = vit(PLAIN).state_dict()
    beside = {name: torch.ones(1) for name in ("decoder_blocks.0.norm1.weight", "decoder_pos_embed", "mask_token")}
    save_file(renamed(state, [(r"^norm\.", "fc_norm."), ("$", "")]) | beside, tmp_path / "mae.safetensors")
    model = spoilt(PLAIN)
    contents = fill(model, tmp_path / "mae.safetensors", PLAIN)
    assert contents.left_out == tuple(beside)
    assert same(model, state)
    (note,) = contents.notes
    assert "so its class token was not trained to be read" in note


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("file", ["vit.safetensors", "vit.pt"])
def test_other_precisions_are_read_and_positions_are_resized_as_by_timm(tmp_path, dtype, file):
    state = {name: tensor.to(dtype) for name, tensor in vit(PLAIN, img_size=64).state_dict().items()}
    (save_file if file.endswith("safetensors") else torch.save)(state, tmp_path / file)
    model, reference = spoilt(PLAIN), spoilt(PLAIN)
    contents = fill(model, tmp_path / file, PLAIN)
    reference.load_state_dict(checkpoint_filter_fn(dict(state), reference))
    assert same(model, reference.state_dict())
    assert contents.tokens == 65
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_a_torch_file_from_before_zip_files_is_read(tmp_path):
    state = vit(PLAIN).state_dict()
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    model = spoilt(PLAIN)
    fill(model, tmp_path / "old.pth", PLAIN)
    assert same(model, state)


REFUSED = {
    "a tensor missing": ({"norm.bias": None}, "no tensor norm.bias of vit_small"),
    "a tensor too many": ({"blocks.0.adapter.bias": torch.ones(2)}, "unknown tensor blocks.0.adapter.bias of vit"),
    "layer scale": (
        {"blocks.0.ls1.gamma": torch.ones(12)},
        "unknown tensor blocks.0.ls1.gamma (the file has layer scale: init_values in model.backbone_args) of vit_small",
    ),
    "registers": ({"reg_token": torch.ones(1, 4, 12)}, "unknown tensor reg_token (the file has registers: reg_tokens"),
    "another depth": ({"blocks.2.norm1.weight": torch.ones(12)}, "depth 3, not the 2 of vit_small"),
    "another patch": ({"patch_embed.proj.weight": torch.ones(12, 3, 4, 4)}, "patch size 4, not the 8 of vit_small"),
    "another width": ({"patch_embed.proj.weight": torch.ones(24, 3, 8, 8)}, "width 24, not the 12 of vit_small"),
    "gray images": (
        {"patch_embed.proj.weight": torch.ones(12, 1, 8, 8)},
        "patch_embed.proj.weight is [12, 1, 8, 8], expected [12, 3, 8, 8]",
    ),
    "another shape": ({"blocks.1.mlp.fc1.bias": torch.ones(7)}, "blocks.1.mlp.fc1.bias is [7], expected [48]"),
    "positions of no grid": ({"pos_embed": torch.ones(1, 16, 12)}, "pos_embed is [1, 16, 12], expected [1, 10, 12]"),
    "no positions": ({"pos_embed": torch.ones(1, 1, 12)}, "pos_embed is [1, 1, 12], expected [1, 2, 12]"),
    "whole numbers": ({"norm.bias": torch.ones(12, dtype=torch.int8)}, "norm.bias holds torch.int8, expected dense"),
    "not a number": ({"norm.bias": torch.full((12,), torch.nan)}, "norm.bias holds values that are not finite"),
    "infinite": ({"norm.bias": torch.full((12,), torch.inf).half()}, "norm.bias holds values that are not finite"),
    "beyond float32": (
        {"norm.bias": torch.full((12,), 1e300, dtype=torch.float64)},
        "norm.bias holds values beyond float32",
    ),
    "no class token": ({"cls_token": None}, "no class token and patches by any known names"),
}


@pytest.mark.parametrize("file", ["vit.safetensors", "vit.bin"])
@pytest.mark.parametrize(("change", "said"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_one_line_with_file_tensor_and_way_out(tmp_path, file, change, said):
    state = {name: tensor for name, tensor in (vit(PLAIN).state_dict() | change).items() if tensor is not None}
    (save_file if file.endswith("safetensors") else torch.save)(state, tmp_path / file)
    with pytest.raises(PipelineError) as error:
        fill(spoilt(PLAIN), tmp_path / file, PLAIN)
    message = str(error.value)
    assert message.startswith(f"{tmp_path / file}: {said}")
    assert "; model." in message
    assert "\n" not in message


def test_a_gated_mlp_in_a_file_whose_configuration_does_not_say_so_is_said(tmp_path):
    """Virchow's and UNI2-h's config.json has the ratio alone."""
    save_file(vit(GIANT).state_dict(), tmp_path / "vit.safetensors")
    model = spoilt(DINOV2, mlp_ratio=2.66667 * 2)
    with pytest.raises(PipelineError, match=r"fc2\.weight is \[12, 32\], expected \[12, 64\] \(.*: SwiGLUPacked in "):
        fill(model, tmp_path / "vit.safetensors", DINOV2)


def test_sparse_tensors_are_refused(tmp_path):
    torch.save(vit(PLAIN).state_dict() | {"norm.bias": torch.ones(12).to_sparse()}, tmp_path / "vit.pt")
    with pytest.raises(PipelineError, match=r"norm\.bias holds torch\.float32, expected dense floats"):
        fill(spoilt(PLAIN), tmp_path / "vit.pt", PLAIN)


@pytest.mark.parametrize("place", ["embeddings.cls_token", "encoder.layer.1.attention.attention.value.weight"])
@pytest.mark.parametrize("spoil", [lambda t: t.to_sparse(), lambda t: t.to("meta")], ids=["sparse", "meta"])
def test_tensors_without_all_values_are_refused_also_where_they_are_added_or_joined(tmp_path, place, spoil):
    state = vit(REGISTERS).state_dict()
    state |= {"pos_embed": torch.cat([torch.randn(1, 1, 12), state["pos_embed"]], 1)}
    theirs = renamed(state, HF_DINOV2)
    torch.save(theirs | {place: spoil(theirs[place])}, tmp_path / "vit.pt")
    with pytest.raises(PipelineError, match=r"^[^\n]*(no values|dense floats|is \[12, 12\])[^\n]*$"):
        fill(spoilt(REGISTERS), tmp_path / "vit.pt", REGISTERS)


def test_tensors_of_the_meta_device_are_refused(tmp_path):
    torch.save({name: tensor.to("meta") for name, tensor in vit(PLAIN).state_dict().items()}, tmp_path / "vit.pt")
    with pytest.raises(PipelineError, match=r"vit\.pt: \S+ has a shape but no values [^\n]*; model"):
        fill(spoilt(PLAIN), tmp_path / "vit.pt", PLAIN)


def test_dictionaries_that_hold_themselves_are_one_line(tmp_path):
    state = vit(PLAIN).state_dict()
    tree = {"model": dict(state)}
    tree["model"]["self"] = [tree]
    torch.save(tree, tmp_path / "vit.pt")
    with pytest.raises(PipelineError, match=r"vit\.pt: dictionaries within each other, deeper than 16; save the"):
        fill(spoilt(PLAIN), tmp_path / "vit.pt", PLAIN)
    for _ in range(15):
        state = {"a": state}
    torch.save(state, tmp_path / "vit.pt")
    assert fill(spoilt(PLAIN), tmp_path / "vit.pt", PLAIN).prefix == "a." * 15


def test_a_bit_of_a_torch_file_that_is_not_what_it_was_is_noticed(tmp_path):
    state, path = vit(PLAIN).state_dict(), tmp_path / "vit.pt"
    torch.save(state, path)
    content = bytearray(path.read_bytes())
    content[content.index(state["norm.bias"].numpy().tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(PipelineError, match=r"^[^\n]*vit\.pt: not an intact torch file \(\S+ is damaged\); model"):
        fill(spoilt(PLAIN), path, PLAIN)


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return exec, ("raise SystemExit('code of a checkpoint ran')",)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_is_never_run(tmp_path, zipped):
    torch.save({"model": Evil()}, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(PipelineError, match=r"evil\.pth: not only tensors, but Python objects[^\n]*never loaded; save"):
        fill(spoilt(PLAIN), tmp_path / "evil.pth", PLAIN)


STRANGERS = {
    b"": "the file is empty",
    b"<!doctype html>": "a page",
    b"version https://git-lfs.github.com/spec/v1": "a Git LFS pointer, in whose place `git lfs pull` puts the file",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file, as Keras writes",
    b"\x93NUMPY\x01\x00": "a single array",
    b"just text": "no npz, safetensors or torch file",
    b"\xff" * 99: "no npz, safetensors or torch file",
}


@pytest.mark.parametrize(("content", "said"), STRANGERS.items())
def test_a_file_of_no_known_kind_is_said_to_be_what_it_is(tmp_path, content, said):
    (tmp_path / "vit.npz").write_bytes(content)
    with pytest.raises(PipelineError, match=rf"vit\.npz: {re.escape(said)}; model\.weights must name an intact npz, "):
        kind_of(tmp_path / "vit.npz")


def test_an_npz_does_not_fill_what_googles_layout_cannot_hold(tmp_path):
    np.savez(tmp_path / "vit.npz", cls=np.zeros((1, 1, 12)))
    with pytest.raises(PipelineError, match=f"holds a plain ViT, and {DINOV2} is none"):
        fill(spoilt(DINOV2), tmp_path / "vit.npz", DINOV2)
