"""SwinUNet (arXiv:2105.05537) from timm's Swin blocks: encoder, decoder, and skips from each stage's input."""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from mosaic_pipeline.model.vit import PatchEmbed, PatchMerging, SwinTransformerBlock
from mosaic_pipeline.segmentation.model.drop_path import DropPath

# From a block's place ("encoder" or "decoder") and token dimension to what computes in its MLP's place, None for the
# block's own.
MakeMlp = Callable[[str, int], nn.Module | None]


def grid_of(size: int, patch: int, stages: int) -> list[int]:
    """Return how many tokens a side has in each stage; ValueError if the patches do not halve that often."""
    if size % (patch * 2 ** (stages - 1)):
        raise ValueError(f"{size} pixels are no multiple of {patch * 2 ** (stages - 1)}, patch x 2^(stages - 1)")
    return [size // patch // 2**stage for stage in range(stages)]


class Expand(nn.Module):
    """Makes `factor` x `factor` tokens of each: a linear layer whose outputs are dealt out to places, and a norm."""

    def __init__(self, dim: int, out: int, factor: int) -> None:
        """Take the dimension of tokens before and after."""
        super().__init__()
        self.factor = factor
        self.linear = nn.Linear(dim, factor * factor * out, bias=False)
        self.norm = nn.LayerNorm(out)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, H, W, D] to [N, fH, fW, out]."""
        count, height, width, _ = x.shape
        y = self.linear(x).view(count, height, width, self.factor, self.factor, -1).transpose(2, 3)
        return self.norm(y.reshape(count, height * self.factor, width * self.factor, -1))


class Stage(nn.Module):
    """Blocks of one size: every second one with its windows shifted by half."""

    def __init__(
        self,
        dim: int,
        side: int,
        depth: int,
        heads: int,
        window: int,
        *,
        dropped: bool,
        mlp: Callable[[], nn.Module | None],
    ) -> None:
        """Take the dimension and side of the grid of tokens, and what makes an MLP for each block."""
        super().__init__()
        self.blocks = nn.Sequential()
        for index in range(depth):
            shift = window // 2 if index % 2 else 0
            block = SwinTransformerBlock(dim, (side, side), heads, window_size=window, shift_size=shift)
            if (own := mlp()) is not None:
                block.mlp = own  # type: ignore[assignment]  # called as whatever it is
            if dropped:
                block.drop_path1 = DropPath()  # type: ignore[assignment]  # called as timm's is
                block.drop_path2 = DropPath()  # type: ignore[assignment]  # the same
            self.blocks.append(block)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, H, W, D] to the same shape."""
        return self.blocks(x)


class SwinUnet(nn.Module):
    """From images to one feature for each pixel; what is made of features is a head's.

    Stage i has tokens of dim * 2^i channels, of which timm pads those that fill no window. The decoder has the
    encoder's depths and heads. With `drop_path` the rate of loss grows from 0 to that along the encoder, and the
    decoder's stages have those of the encoder's.
    """

    def __init__(
        self,
        *,
        size: int,
        channels: int,
        patch: int,
        dim: int,
        depths: Sequence[int],
        heads: Sequence[int],
        window: int,
        drop_path: float = 0.0,
        mlp: MakeMlp = lambda place, dim: None,
    ) -> None:
        """Build for images of `size` pixels a side; ValueError if the stages do not fit into it."""
        super().__init__()
        stages = range(len(depths))
        sides, dims = grid_of(size, patch, len(depths)), [dim * 2**stage for stage in stages]
        self.dim, self.patch = dim, patch

        def stage_of(place: str, index: int) -> Stage:
            shape = (dims[index], sides[index], depths[index], heads[index], window)
            return Stage(*shape, dropped=drop_path > 0, mlp=lambda: mlp(place, dims[index]))

        self.patch_embed = PatchEmbed(size, patch, channels, dim, norm_layer=nn.LayerNorm, output_fmt="NHWC")
        self.encoder = nn.ModuleList(stage_of("encoder", index) for index in stages)
        self.merge = nn.ModuleList(PatchMerging(dims[index]) for index in stages[:-1])
        self.norm = nn.LayerNorm(dims[-1])
        # From here on in the order of computing: the coarsest stage but one first.
        upwards = stages[:-1][::-1]
        self.expand = nn.ModuleList(Expand(dims[index + 1], dims[index], 2) for index in upwards)
        self.join = nn.ModuleList(nn.Linear(2 * dims[index], dims[index]) for index in upwards)
        self.decoder = nn.ModuleList(stage_of("decoder", index) for index in upwards)
        self.norm_up = nn.LayerNorm(dim)
        self.to_pixels = Expand(dim, dim, patch)

        ends = list(accumulate(depths))
        rates = [drop_path * index / max(ends[-1] - 1, 1) for index in range(ends[-1])]
        of_stages = [rates[end - depth : end] for depth, end in zip(depths, ends, strict=True)]
        ordered = [*of_stages, *(of_stages[index] for index in upwards)]
        # Two branches a block, in the order of `paths`.
        self.drop_rates = [rate for stage in ordered for rate in stage for _ in range(2)] if drop_path else []

    def embed(self, images: Tensor) -> Tensor:
        """Map images [N, channels, S, S] to the tokens of their patches, [N, G, G, D]."""
        return self.patch_embed(images)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens of patches [N, G, G, D] to features of pixels [N, S, S, D]."""
        skips = []
        for stage, merge in zip(self.encoder, (*self.merge, self.norm), strict=True):
            skips.append(x)
            x = merge(stage(x))
        for expand, join, stage, skip in zip(self.expand, self.join, self.decoder, skips[-2::-1], strict=True):
            x = stage(join(torch.cat([expand(x), skip], dim=-1)))
        return self.to_pixels(self.norm_up(x))

    def blocks(self) -> Iterator[tuple[str, SwinTransformerBlock]]:
        """Yield the blocks in the order of computing, each after its place, stage and number, such as `decoder.0.1`."""
        for place in ("encoder", "decoder"):
            for index, stage in enumerate(getattr(self, place)):
                for number, block in enumerate(stage.blocks):
                    yield f"{place}.{index}.{number}", block

    def paths(self) -> list[DropPath]:
        """Return the residual branches that can be left out, two a block."""
        return [module for module in self.modules() if isinstance(module, DropPath)]
