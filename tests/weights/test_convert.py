"""The tensor-by-tensor comparison with timm, on models small enough to be made in milliseconds."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.weights.convert import save_backbone
from mosaic_pipeline.weights.fill import fill_from_npz
from mosaic_pipeline.weights.google_npz import layout_of, random_npz
from mosaic_pipeline.weights.load import read_provenance

POSITIONS = "Transformer/posembed_input/pos_embedding"


def small_vit(image_size=8, **sizes):
    sizes = {"patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 0} | sizes
    return VisionTransformer(img_size=image_size, **sizes)


def spoil(model):
    """Set every tensor to a value that no file holds."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(777.0)


def same_tensors(a, b):
    a, b = a.state_dict(), b.state_dict()
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)


def test_every_tensor_is_what_timm_loads_from_the_same_file(tmp_path):
    model, reference = small_vit(), small_vit()
    random_npz(tmp_path / "vit.npz", layout_of(model), seed=3)
    spoil(model)
    spoil(reference)
    fill_from_npz(model, tmp_path / "vit.npz", "vit")
    reference.load_pretrained(str(tmp_path / "vit.npz"))
    assert same_tensors(model, reference)
    assert all(777.0 not in tensor for tensor in model.state_dict().values())


def test_a_nested_checkpoint_gives_the_tensors_of_the_plain_one(tmp_path):
    model, nested = small_vit(), small_vit()
    random_npz(tmp_path / "plain.npz", layout_of(model), seed=3)
    with np.load(tmp_path / "plain.npz") as npz:
        np.savez(tmp_path / "nested.npz", **{f"opt/target/{name}": array for name, array in npz.items()})
    spoil(nested)
    fill_from_npz(model, tmp_path / "plain.npz", "vit")
    fill_from_npz(nested, tmp_path / "nested.npz", "vit")
    assert same_tensors(model, nested)


def test_each_array_reaches_its_own_tensor(tmp_path):
    """Independent of timm's reader: kernels are transposed, query, key and value stacked."""
    model = small_vit()
    random_npz(tmp_path / "vit.npz", layout_of(model), seed=3)
    with np.load(tmp_path / "vit.npz") as npz:
        # The random file's scales and biases are all alike; here each array is told from the others.
        arrays = {name: array + 0.01 * i for i, (name, array) in enumerate(npz.items())}
    np.savez(tmp_path / "vit.npz", **arrays)
    fill_from_npz(model, tmp_path / "vit.npz", "vit")
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    block = "Transformer/encoderblock_1"
    attention = f"{block}/MultiHeadDotProductAttention_1"
    qkv = [arrays[f"{attention}/{name}/kernel"].reshape(16, 16).T for name in ("query", "key", "value")]
    np.testing.assert_array_equal(state["blocks.1.attn.qkv.weight"], np.concatenate(qkv))
    np.testing.assert_array_equal(
        state["blocks.1.attn.proj.weight"], arrays[f"{attention}/out/kernel"].reshape(16, 16).T
    )
    np.testing.assert_array_equal(state["blocks.1.mlp.fc2.weight"], arrays[f"{block}/MlpBlock_3/Dense_1/kernel"].T)
    np.testing.assert_array_equal(state["blocks.1.norm2.bias"], arrays[f"{block}/LayerNorm_2/bias"])
    np.testing.assert_array_equal(state["patch_embed.proj.weight"], arrays["embedding/kernel"].transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(state["cls_token"], arrays["cls"])
    np.testing.assert_array_equal(state["pos_embed"], arrays[POSITIONS])


def test_positions_are_resized_to_the_model_and_the_class_position_is_kept(tmp_path):
    source, model = small_vit(image_size=16), small_vit(image_size=8)
    random_npz(tmp_path / "vit.npz", layout_of(source), seed=3)
    contents = fill_from_npz(model, tmp_path / "vit.npz", "vit")
    with np.load(tmp_path / "vit.npz") as npz:
        positions = torch.from_numpy(npz[POSITIONS])
    assert contents.tokens == 17
    assert torch.equal(model.pos_embed[:, 0], positions[:, 0])
    # Halving a 4x4 grid bilinearly is the mean of each 2x2.
    grid = positions[:, 1:].reshape(2, 2, 2, 2, 16).mean(dim=(1, 3)).reshape(1, 4, 16)
    torch.testing.assert_close(model.pos_embed[:, 1:], grid)


def test_patches_of_another_size_are_refused_where_timm_would_resample_them(tmp_path):
    random_npz(tmp_path / "vit.npz", layout_of(small_vit(patch_size=2)), seed=3)
    with pytest.raises(PipelineError, match="patch size 2, not the 4"):
        fill_from_npz(small_vit(), tmp_path / "vit.npz", "vit")


def test_a_deeper_file_is_refused_where_timm_would_drop_its_blocks(tmp_path):
    random_npz(tmp_path / "vit.npz", layout_of(small_vit(depth=3)), seed=3)
    with pytest.raises(PipelineError, match="depth 3, not the 2"):
        fill_from_npz(small_vit(), tmp_path / "vit.npz", "vit")


def test_the_safetensors_file_holds_the_state_dict_in_fp32_and_where_it_comes_from(tmp_path):
    model = small_vit()
    save_backbone(model, tmp_path / "backbone.safetensors", {"backbone": "vit", "source": "a.npz"})
    tensors = load_file(tmp_path / "backbone.safetensors")
    assert tensors.keys() == model.state_dict().keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in model.state_dict().items())
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert read_provenance(tmp_path / "backbone.safetensors") == {"backbone": "vit", "source": "a.npz"}
    # As readable to others as any file: safetensors' own writer would make it private.
    (tmp_path / "ordinary").touch()
    assert (tmp_path / "backbone.safetensors").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_the_same_weights_and_provenance_are_always_the_same_bytes(tmp_path):
    model = small_vit()
    # With several metadata entries, safetensors would pick one of 8! orders each time.
    for name in ("a", "b"):
        save_backbone(model, tmp_path / name, {key: key for key in "abcdefgh"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
