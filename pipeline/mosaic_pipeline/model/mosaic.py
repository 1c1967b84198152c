"""MOSAIC: a frozen ViT, hard-routed specialists beside its MLPs, a 3D tokenizer and one head per dataset."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, TypedDict, cast

import torch
from torch import Tensor, nn

from mosaic_pipeline.compute import store_matrices_in_bf16
from mosaic_pipeline.data.augment import HALF, STATISTICS, Statistics
from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.model.attention import self_attention
from mosaic_pipeline.model.gate import Gate, Mixture
from mosaic_pipeline.model.linear import use_pointwise
from mosaic_pipeline.model.named import Named
from mosaic_pipeline.model.slices import SliceAttention
from mosaic_pipeline.model.specialist import NONE, Adapter, Specialist
from mosaic_pipeline.model.state import load_exactly
from mosaic_pipeline.model.tokenizer import VolumeTokenizer, inflate
from mosaic_pipeline.model.vit import Block, VisionTransformer
from mosaic_pipeline.present import present
from mosaic_pipeline.streams import stream

if TYPE_CHECKING:
    from mosaic_pipeline.config import Architecture, Config
    from mosaic_pipeline.model.routing import Routing


def run_block(block: Block, adapter: Adapter, last: bool, x: Tensor) -> Tensor:
    """Run one block of the ViT on tokens [N, T, D] with an adapter.

    The `last` block returns the class token alone, [N, 1, D]: no other token is read after it.
    """
    u = block.norm1(x)
    adapter = adapter.at(u)
    prompts = adapter.prompts()
    normed = None if prompts is None else block.norm1(prompts[0])
    x = (x[:, :1] if last else x) + block.ls1(self_attention(block.attn, u, last, adapter, normed))
    h = block.norm2(x)
    y = x + block.ls2(block.mlp(h))
    added = adapter.beside_mlp(h)
    return y if added is None else y + added


# What batches of every dataset use of the ViT.
_BEYOND_PATCHES = ("cls_token", "dist_token", "reg_token", "norm_pre.", "blocks.", "norm.")


def prefix_tokens(backbone: VisionTransformer) -> list[Tensor]:
    """Return the learned tokens that stand before the patches, [1, P, D] each: class, distillation, registers."""
    tokens = (backbone.cls_token, getattr(backbone, "dist_token", None), backbone.reg_token)
    return [token for token in tokens if token is not None]


class ParameterCounts(TypedDict):
    """Number of parameters by component, trainable and in total."""

    specialists: dict[str, int]
    gates: int
    tokenizer_3d: int
    positions_3d: int
    heads: int
    embedding_norms: int
    backbone: int
    trainable: int
    total: int


class Mosaic(nn.Module):
    """One model for all datasets; exactly one specialist computes per batch, unless a gate mixes them.

    The backbone stays in evaluation mode, and is frozen unless the configuration trains it. Block l with the specialist
    s of the dataset at hand, here a bottleneck:

        x' = x + LS1(MHSA(LN1(x)));  h = LN2(x');  y = x' + LS2(MLP(h)) + scale * Up_s(ReLU(Down_s(h)))

    and the class token after the final LN goes to the dataset's own linear head (paper, section 2). LS is the layer
    scale of ViTs that have one; it leaves the specialist alone.
    """

    def __init__(
        self,
        backbone: VisionTransformer,
        datasets: Mapping[str, Dataset],
        routing: "Routing",
        shape: "Architecture",
        seed: int,
    ) -> None:
        """Build specialists, tokenizers and heads around `backbone`, each initialised from its own stream of `seed`."""
        super().__init__()
        dim, depth = backbone.embed_dim, len(backbone.blocks)
        self.datasets = datasets
        self.routing = routing
        self.run_block = run_block
        self.backbone = backbone
        self.statistics = _statistics(backbone, shape)
        self.specialists = Named(
            {
                name: Specialist(depth, _adapter(dim, routing.kind, size, shape, stream(seed, "specialist", name)))
                for name, size in routing.sizes.items()
            }
        )
        self.gates = nn.ModuleList(
            Gate(dim, len(self.specialists), present(routing.gate)) for _ in range(depth if routing.gate else 0)
        )
        # Whether the gates mix the specialists; training with gates begins without.
        self.gated = routing.gate is not None
        self.tokenizers_3d: Named[VolumeTokenizer | SliceAttention] = Named()
        for name in dict.fromkeys(routing.tokenizers.values()):
            self.tokenizers_3d[name] = _tokenizer(backbone, shape, self.statistics, stream(seed, "tokenizer_3d", name))
        norms = [f"{dataset.dimension}D" for dataset in datasets.values()] if shape.embedding_norm else []
        self.embedding_norms = Named({name: nn.LayerNorm(dim) for name in sorted(set(norms))})
        self.heads = Named({name: nn.Linear(dim, dataset.num_classes) for name, dataset in datasets.items()})
        for name, head in self.heads.items():
            nn.init.trunc_normal_(head.weight, std=0.02, generator=stream(seed, "head", name))
            nn.init.zeros_(head.bias)
        self._frozen: tuple[str, ...] = ("embedding_norms.",)
        self._frozen += ("backbone.",) if shape.frozen else ()
        self._frozen += ("tokenizers_3d.",) if shape.tokenizer_trained is False else ()
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(self.is_trainable(name))
        self.train()

    def is_trainable(self, name: str) -> bool:
        """Whether the parameter of that name is trained, averaged by the teacher and saved."""
        return not name.startswith(self._frozen)

    def train(self, mode: bool = True) -> "Mosaic":
        """Set the mode of all but the backbone, which always evaluates."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, images: Tensor, dataset: str) -> tuple[Tensor, Tensor]:
        """Return the CLS feature [N, D] and the logits [N, C] of a batch of one dataset.

        `images` are normalised: [N, 3, H, W] of a 2D dataset, [N, 1, S, S, S] of a 3D one. Slices of volumes go through
        the ViT as images of their own, and their CLS features are pooled.
        """
        x = self.embed(images, dataset)
        for block, adapter in zip(self.backbone.blocks, self.adapters(dataset), strict=True):
            x = self.run_block(block, adapter, block is self.backbone.blocks[-1], x)
        feature = self.backbone.norm(x[:, 0])
        if isinstance(tokenizer := self.tokenizer(dataset), SliceAttention):
            feature = tokenizer(feature)
        return feature, self.heads[dataset](feature)

    def embed(self, images: Tensor, dataset: str) -> Tensor:
        """Embed a batch, class token and other prefix tokens in front: [N, P + T, D]; of each slice of cut volumes."""
        vit, tokenizer = self.backbone, self.tokenizer(dataset)
        if isinstance(tokenizer, VolumeTokenizer):
            patches, positions = tokenizer(images), tokenizer.positions
        else:
            images = tokenizer.cut(images) if tokenizer else images
            patches, positions = vit.patch_embed(images), vit.pos_embed
        if self.embedding_norms:
            patches = self.embedding_norms[f"{self.datasets[dataset].dimension}D"](patches)
        prefix = [token.expand(patches.shape[0], -1, -1) for token in prefix_tokens(vit)]
        if positions.shape[1] == patches.shape[1]:
            x = torch.cat([*prefix, patches + positions], dim=1)
        else:
            x = torch.cat([*prefix, patches], dim=1) + positions
        return vit.norm_pre(x)

    def tokenizer(self, dataset: str) -> VolumeTokenizer | SliceAttention | None:
        """Return what makes tokens of a 3D dataset's volumes, or images of them; None of a 2D one."""
        name = self.routing.tokenizers.get(dataset)
        return self.tokenizers_3d[name] if name else None

    def adapters(self, dataset: str) -> list[Adapter]:
        """Return what acts in each block on a batch of the dataset: its specialist, or the mixture of all."""
        specialist = self.routing.datasets[dataset]
        if self.gated:
            own = list(self.specialists).index(present(specialist)) if self.routing.gate_start == "routing" else None
            by_block = zip(*self.specialists.values(), strict=True)
            gates = cast("Iterable[Gate]", self.gates)
            return [Mixture(adapters, gate, own) for adapters, gate in zip(by_block, gates, strict=True)]
        return list(self.specialists[specialist]) if specialist else [NONE] * len(self.backbone.blocks)

    def compile_blocks(self, batch_sizes: Collection[int]) -> None:
        """Compile the block for batches of these sizes: one graph for each specialist's size and input shape.

        All blocks share the graphs. Other batches, the last ones of a pass, run as they are: compiling a graph for each
        dataset's remainder takes longer than it saves.
        """
        # The default limit of 8 graphs would end with two kinds of input, training and validation, and four widths.
        torch._dynamo.config.recompile_limit = 64
        compiled = torch.compile(run_block, dynamic=False)

        # Slices of volumes are that many images more.
        slices = [len(each.positions) for each in self.tokenizers_3d.values() if isinstance(each, SliceAttention)]
        sizes = {size * images for size in batch_sizes for images in (1, *slices)}

        def run(block: Block, adapter: Adapter, last: bool, x: Tensor) -> Tensor:
            return (compiled if len(x) in sizes else run_block)(block, adapter, last, x)

        self.run_block = run

    def active_parameters(self, dataset: str) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield what a batch of `dataset` trains: its specialist and head, in 3D its tokenizer and positions.

        With gates in use that is all specialists and the gates, with a trained backbone what it uses of the backbone.
        """
        prefixes = [f"heads.{dataset}.", *(f"backbone.{part}" for part in _BEYOND_PATCHES)]
        if not isinstance(self.tokenizer(dataset), VolumeTokenizer):
            prefixes += ["backbone.patch_embed.", "backbone.pos_embed"]
        if self.gated:
            prefixes += ["specialists.", "gates."]
        elif specialist := self.routing.datasets[dataset]:
            prefixes.append(f"specialists.{specialist}.")
        if tokenizer := self.routing.tokenizers.get(dataset):
            prefixes.append(f"tokenizers_3d.{tokenizer}.")
        for name, parameter in self.named_parameters():
            if name.startswith(tuple(prefixes)) and self.is_trainable(name):
                yield name, parameter

    def trainable_state(self) -> dict[str, Tensor]:
        """Return the trainable tensors by name: all that a checkpoint or a model file holds."""
        return {name: parameter.detach() for name, parameter in self.named_parameters() if self.is_trainable(name)}

    def load_trainable_state(self, state: dict[str, Tensor]) -> None:
        """Copy tensors into the model: exactly the trainable ones by name, shape and dtype (ValueError otherwise)."""
        load_exactly(self.trainable_state(), state)

    def parameter_counts(self) -> ParameterCounts:
        """Return the number of parameters by component, trainable and in total."""

        def count(module: nn.Module) -> int:
            return sum(parameter.numel() for parameter in module.parameters())

        positions = sum(tokenizer.positions.numel() for tokenizer in self.tokenizers_3d.values())
        return {
            "specialists": {name: count(specialist) for name, specialist in self.specialists.items()},
            "gates": count(self.gates),
            "tokenizer_3d": count(self.tokenizers_3d) - positions,
            "positions_3d": positions,
            "heads": count(self.heads),
            "embedding_norms": count(self.embedding_norms),
            "backbone": count(self.backbone),
            "trainable": sum(p.numel() for name, p in self.named_parameters() if self.is_trainable(name)),
            "total": count(self),
        }


def _adapter(
    dim: int, kind: str, size: int, shape: "Architecture", generator: torch.Generator
) -> Callable[[], nn.Module]:
    """Return what makes one adapter of a kind and size; each call draws on from `generator`."""
    # No table of the classes: the one of kinds is read before torch is imported, and where this runs may lack pydantic.
    build = import_module(f"mosaic_pipeline.model.{kind}").build
    return lambda: build(dim, size, shape, generator)


def _statistics(backbone: VisionTransformer, shape: "Architecture") -> Statistics:
    """Return mean and std of what the ViT sees: those of a name, or with `auto` those that its weights came with."""
    if shape.normalisation == "auto":
        return getattr(backbone, "statistics", HALF)
    return STATISTICS[shape.normalisation or "half"]


def _tokenizer(
    backbone: VisionTransformer, shape: "Architecture", statistics: Statistics, generator: torch.Generator
) -> VolumeTokenizer | SliceAttention:
    """Return what a 3D dataset goes through; slices start at zero and draw nothing from `generator`."""
    if shape.slices:
        return SliceAttention(backbone.embed_dim, shape.slices, shape.image_size, statistics)
    sizes = (present(shape.volume_size), present(shape.volume_patch_size), backbone.num_prefix_tokens)
    tokenizer = VolumeTokenizer(backbone.embed_dim, *sizes, generator)
    if shape.tokenizer_init == "inflate":
        inflate(tokenizer, backbone, statistics)
    return tokenizer


def build_mosaic(config: "Config", backbone: VisionTransformer, seed: int) -> Mosaic:
    """Build the model of a resolved configuration around a backbone, which it keeps, and freezes unless told not to."""
    # The tokenizers may start from the backbone's weights, so these are stored in bf16 after that.
    model = Mosaic(backbone, config.datasets, config.routing, config.model, seed)
    if config.precision == "bf16" and config.model.frozen:
        store_matrices_in_bf16(backbone)
    use_pointwise(backbone)
    return model
