"""Backbones and weights of other kinds than Google's: models that cannot be taken, files that do not fill them."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from case import Case
from damage import both, truncated, written
from safetensors.torch import load_file, save
from torch import Tensor

BACKBONE = "weights/backbone.safetensors"  # of the finished project: a ViT in timm's names
FILE = "vit.safetensors"
WAY_OUT = "model.weights must name an intact npz, safetensors or torch file"
AGREE = "must agree"
Tensors = dict[str, Tensor]
OFFLINE = {"HF_ENDPOINT": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}  # where nobody listens


def vit(change: Callable[[Tensors], Any], name: str = FILE) -> Callable[[Path], None]:
    """Write the finished project's ViT, changed, as a safetensors file or else as torch does."""

    def write(project: Path) -> None:
        changed = change(load_file(project / BACKBONE))
        if name.endswith(".safetensors"):
            (project / name).write_bytes(save(changed))
        else:
            buffer = io.BytesIO()
            torch.save(changed, buffer)
            (project / name).write_bytes(buffer.getvalue())

    return write


def with_tensor(name: str, tensor: Tensor | None) -> Callable[[Tensors], Tensors]:
    """Replace a tensor, or take it out."""
    return lambda tensors: {key: value for key, value in (tensors | {name: tensor}).items() if value is not None}


def weights(name: str, damage: Callable[[Path], None], *says: str, file: str = FILE) -> Case:
    return Case(f"weights: {name}", "weights", damage, (file, *says), params={"model.weights": file})


def hub(name: str, weights: str, *says: str, **environment: str) -> Case:
    return Case(
        f"weights: {name}",
        "weights",
        says=(f"model.weights: {weights}", *says),
        params={"model.weights": weights},
        environment=OFFLINE | environment,
    )


def backbone(name: str, value: str, *says: str, **params: Any) -> Case:
    changed = {"model.backbone": value} | {key.replace("__", "."): each for key, each in params.items()}
    return Case(f"backbone: {name}", "weights", says=("model.backbone", *says), params=changed)


CASES = [
    weights("half a safetensors file", both(vit(dict), truncated(FILE)), "not an intact safetensors file", WAY_OUT),
    weights("half a torch file", both(vit(dict, "vit.pt"), truncated("vit.pt")), "torch file", WAY_OUT, file="vit.pt"),
    weights("an LFS pointer", written(FILE, "version https://git-lfs.github.com/spec/v1\n"), "git lfs pull", WAY_OUT),
    weights(
        "an HDF5 file", written("vit.h5", b"\x89HDF\r\n\x1a\n" + bytes(99)), "an HDF5 file", WAY_OUT, file="vit.h5"
    ),
    weights("a gzip archive", written(FILE, b"\x1f\x8b" + bytes(99)), "a gzip archive, to be unpacked", WAY_OUT),
    weights(
        "a whole model", vit(lambda _: torch.nn.Linear(2, 2), "vit.pth"), "never loaded", "state_dict()", file="vit.pth"
    ),
    weights("no ViT by any names", vit(lambda _: {"conv1.weight": torch.ones(1)}), "no class token", WAY_OUT),
    weights("a tensor missing", vit(with_tensor("norm.bias", None)), "no tensor norm.bias of test_vit", AGREE),
    weights("a tensor too many", vit(with_tensor("gate", torch.ones(1))), "unknown tensor gate of test_vit", AGREE),
    weights(
        "layer scale that the model lacks",
        vit(with_tensor("blocks.0.ls1.gamma", torch.ones(64))),
        "unknown tensor blocks.0.ls1.gamma",
        "init_values in model.backbone_args",
        AGREE,
    ),
    weights("one block more", vit(with_tensor("blocks.6.norm1.bias", torch.ones(64))), "depth 7, not the 6", AGREE),
    weights("a tensor of another shape", vit(with_tensor("norm.bias", torch.ones(63))), "norm.bias is [63]", AGREE),
    weights("positions of no grid", vit(with_tensor("pos_embed", torch.ones(1, 7, 64))), "pos_embed is [1, 7, 64]"),
    weights("NaN in half precision", vit(with_tensor("norm.bias", torch.full((64,), torch.nan).half())), "not finite"),
    weights(
        "a double beyond float32",
        vit(with_tensor("norm.bias", torch.full((64,), 1e99, dtype=torch.float64))),
        "norm.bias holds values beyond float32",
        AGREE,
    ),
    weights("bytes", vit(with_tensor("norm.bias", torch.ones(64).byte())), "norm.bias holds torch.uint8", AGREE),
    Case(
        "weights: auto, and nobody says by which mean and std",
        "weights",
        vit(dict),
        ("model.normalisation: auto, but vit.safetensors does not say", "half, imagenet, clip"),
        params={"model.weights": FILE, "model.normalisation": "auto"},
    ),
    hub("a hub out of reach", "hub:lab/vit", "the hub cannot be reached (", "give its path", "HF_ENDPOINT"),
    hub("a hub that one may not ask", "hub:lab/vit@main", "the hub cannot be reached (", HF_HUB_OFFLINE="1"),
    hub("a tag that timm does not know", "hub:test_vit.nosuch", "timm knows no such weights", "test_vit.r160_in1k"),
    hub("a tag of another model", "hub:vit_tiny_patch16_224", "weights of vit_tiny_patch16_224", AGREE),
    hub("no repository", "hub:a b/c", "the hub knows no such repository"),
    backbone("misspelt", "vit_tny_patch16_224", "did you mean vit_tiny_patch16_224"),
    backbone("of another class", "swin_tiny_patch4_window7_224", "timm's swin_transformer, not its VisionTransformer"),
    backbone("with rotary positions", "vit_small_patch16_dinov3", "timm's eva, not its VisionTransformer"),
    backbone("without a class token", "vit_base_patch16_siglip_224", "has no class token", "use a VisionTransformer"),
    backbone("of parallel blocks", "vit_small_patch16_18x2_224", "is made of ParallelThingsBlocks", "use a Vision"),
    backbone(
        "with a stem of convolutions", "vit_base_r50_s16_224", "makes its tokens by a HybridEmbed", "use a Vision"
    ),
    backbone("with a tag", "vit_tiny_patch16_224.augreg_in21k", "use vit_tiny_patch16_224", "model.weights"),
    Case(
        "backbone: with other patches",
        "weights",
        says=("model.patch_size: vit_small_patch14_dinov2 has patches of 14 pixels", "expected 16"),
        params={"model.backbone": "vit_small_patch14_dinov2"},
    ),
    backbone("with arguments misspelt", "test_vit", "did you mean init_values", model__backbone_args={"init_value": 1}),
    backbone("that timm cannot build", "test_vit", "timm cannot build", model__backbone_args={"num_heads": 7}),
    Case(
        "backbone: images that no patches fill",
        "weights",
        says=("model.image_size: 32", "patch_size 14"),
        params={"model.patch_size": 14},
    ),
]
