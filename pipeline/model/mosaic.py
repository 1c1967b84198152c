"""MOSAIC: a frozen ViT, hard-routed specialists beside its MLPs, a 3D tokenizer and one head per dataset."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from pipeline.compute import store_matrices_in_bf16
from pipeline.datasets import DATASETS
from pipeline.model.attention import self_attention
from pipeline.model.linear import use_pointwise
from pipeline.model.specialist import Bottleneck, Specialist
from pipeline.model.tokenizer import VolumeTokenizer
from pipeline.streams import stream

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.model.routing import Routing


def is_trainable(name: str) -> bool:
    """Whether the parameter of that name is trained, averaged by the teacher and saved: all but the backbone's."""
    return not name.startswith("backbone.")


def run_block(block: Block, bottleneck: Bottleneck | None, scale: float | None, last: bool, x: Tensor) -> Tensor:
    """Run one block of the ViT on tokens [N, T, D], with a bottleneck beside its MLP or without.

    The `last` block returns the class token alone, [N, 1, D]: no other token is read after it.
    """
    attended = self_attention(block.attn, block.norm1(x), last)
    x = (x[:, :1] if last else x) + attended
    h = block.norm2(x)
    y = x + block.mlp(h)
    return y if bottleneck is None else y + scale * bottleneck(h)


class Mosaic(nn.Module):
    """One model for all datasets; exactly one specialist computes per batch.

    The backbone is frozen and stays in evaluation mode. Block l with the specialist s of the dataset at hand:

        x' = x + MHSA(LN1(x));  h = LN2(x');  y = x' + MLP(h) + scale * Up_s(ReLU(Down_s(h)))

    and the class token after the final LN goes to the dataset's own linear head (paper, section 2).
    """

    def __init__(
        self,
        backbone: VisionTransformer,
        routing: "Routing",
        *,
        seed: int,
        scale: float | None = None,
        volume_size: int | None = None,
        volume_patch_size: int | None = None,
    ) -> None:
        """Build specialists, tokenizer and heads around `backbone`, each initialised from its own stream of `seed`.

        `scale` may be None without specialists, the volume sizes without 3D datasets.
        """
        super().__init__()
        dim, depth = backbone.embed_dim, len(backbone.blocks)
        self.routing = routing
        self.scale = scale
        self.run_block = run_block
        self.backbone = backbone
        self.specialists = nn.ModuleDict(
            {
                name: Specialist(depth, dim, width, stream(seed, "specialist", name))
                for name, width in routing.bottlenecks.items()
            }
        )
        self.tokenizer_3d = (
            VolumeTokenizer(dim, volume_size, volume_patch_size, stream(seed, "tokenizer_3d"))
            if any(DATASETS[name].dimension == 3 for name in routing.datasets)
            else None
        )
        self.heads = nn.ModuleDict({name: nn.Linear(dim, DATASETS[name].num_classes) for name in routing.datasets})
        for name, head in self.heads.items():
            nn.init.trunc_normal_(head.weight, std=0.02, generator=stream(seed, "head", name))
            nn.init.zeros_(head.bias)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(is_trainable(name))
        self.train()

    def train(self, mode: bool = True) -> "Mosaic":
        """Set the mode of all but the backbone, which is frozen and always evaluates."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, images: Tensor, dataset: str) -> tuple[Tensor, Tensor]:
        """Return the CLS feature [N, D] and the logits [N, C] of a batch of one dataset.

        `images` are normalised: [N, 3, H, W] of a 2D dataset, [N, 1, S, S, S] of a 3D one.
        """
        x = self._tokens(images)
        specialist = self.routing.datasets[dataset]
        bottlenecks = self.specialists[specialist] if specialist else [None] * len(self.backbone.blocks)
        for block, bottleneck in zip(self.backbone.blocks, bottlenecks, strict=True):
            x = self.run_block(block, bottleneck, self.scale, block is self.backbone.blocks[-1], x)
        feature = self.backbone.norm(x[:, 0])
        return feature, self.heads[dataset](feature)

    def compile_blocks(self) -> None:
        """Compile the block: one graph for each specialist's width and input shape, shared by all blocks."""
        # The default limit of 8 graphs would end with two kinds of input, full and last batches, and four widths.
        torch._dynamo.config.recompile_limit = 64
        self.run_block = torch.compile(run_block, dynamic=False)

    def active_parameters(self, dataset: str) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield what a batch of `dataset` trains: its specialist, its head, and in 3D the tokenizer and positions."""
        prefixes = [f"heads.{dataset}."]
        if specialist := self.routing.datasets[dataset]:
            prefixes.append(f"specialists.{specialist}.")
        if DATASETS[dataset].dimension == 3:
            prefixes.append("tokenizer_3d.")
        for name, parameter in self.named_parameters():
            if name.startswith(tuple(prefixes)):
                yield name, parameter

    def trainable_state(self) -> dict[str, Tensor]:
        """Return the trainable tensors by name: all that a checkpoint or a model file holds."""
        return {name: parameter.detach() for name, parameter in self.named_parameters() if is_trainable(name)}

    def load_trainable_state(self, state: dict[str, Tensor]) -> None:
        """Copy tensors into the model; the names must be exactly the trainable ones (KeyError otherwise)."""
        own = self.trainable_state()
        if own.keys() != state.keys():
            raise KeyError(f"tensors {sorted(own.keys() ^ state.keys())[:3]} are in only one of model and file")
        for name, tensor in own.items():
            tensor.copy_(state[name])

    def parameter_counts(self) -> dict[str, int | dict[str, int]]:
        """Return the number of parameters by component, trainable and in total."""

        def count(module: nn.Module | None) -> int:
            return sum(parameter.numel() for parameter in module.parameters()) if module else 0

        positions = self.tokenizer_3d.positions.numel() if self.tokenizer_3d else 0
        return {
            "specialists": {name: count(specialist) for name, specialist in self.specialists.items()},
            "tokenizer_3d": count(self.tokenizer_3d) - positions,
            "positions_3d": positions,
            "heads": count(self.heads),
            "backbone": count(self.backbone),
            "trainable": sum(p.numel() for name, p in self.named_parameters() if is_trainable(name)),
            "total": count(self),
        }

    def _tokens(self, images: Tensor) -> Tensor:
        """Embed a batch and put the class token in front: [N, 1 + T, D]."""
        if images.dim() == 5:
            patches, positions = self.tokenizer_3d(images), self.tokenizer_3d.positions
        else:
            patches, positions = self.backbone.patch_embed(images), self.backbone.pos_embed
        cls = self.backbone.cls_token.expand(len(patches), -1, -1)
        return torch.cat([cls, patches], dim=1) + positions


def build_mosaic(config: "Config", backbone: VisionTransformer, seed: int) -> Mosaic:
    """Build the model of a resolved configuration around a backbone, which it keeps and freezes."""
    if config.precision == "bf16":
        store_matrices_in_bf16(backbone)
    use_pointwise(backbone)
    return Mosaic(
        backbone,
        config.routing,
        seed=seed,
        scale=config.model.adapter_scale,
        volume_size=config.model.volume_size,
        volume_patch_size=config.model.volume_patch_size,
    )
