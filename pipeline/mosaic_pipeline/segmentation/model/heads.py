"""From features of pixels to logits of a dataset's classes: one head for each dataset, or one for all organs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mosaic_pipeline.model.named import Named

if TYPE_CHECKING:
    from mosaic_pipeline.segmentation.datasets import LabelledSet

BACKGROUND = "background"


class DatasetHeads(Named):
    """A linear map for each dataset, without bias as published."""

    def __init__(self, dim: int, datasets: "Mapping[str, LabelledSet]") -> None:
        """Take the features' dimension D and the datasets, whose classes are background and their organs."""
        super().__init__({name: nn.Linear(dim, each.num_classes, bias=False) for name, each in datasets.items()})

    def forward(self, features: Tensor, dataset: str) -> Tensor:
        """Map features [N, H, W, D] to logits [N, C, H, W] in float32."""
        return self[dataset](features).float().movedim(-1, 1)


class UnionHead(nn.Module):
    """One linear map to background and every organ that any dataset annotates.

    A dataset says nothing of the organs that it does not annotate: they are background in its masks, wherever they
    are. Its background is therefore the sum of theirs and of the background, and its logits are those of the
    probabilities so summed. Any loss of these is the marginal loss (arXiv:2007.03868), without a form of its own.
    """

    def __init__(self, dim: int, datasets: "Mapping[str, LabelledSet]") -> None:
        """Take the features' dimension D and the datasets."""
        super().__init__()
        organs = dict.fromkeys(organ for each in datasets.values() for organ in each.organs)
        self.classes = (BACKGROUND, *organs)
        self.union = nn.Linear(dim, len(self.classes), bias=False)
        self._number = {name: number for number, name in enumerate(datasets)}
        for number, each in enumerate(datasets.values()):
            own = [self.classes.index(organ) for organ in each.organs]
            rest = [index for index in range(len(self.classes)) if index not in own]
            self.register_buffer(f"own_{number}", torch.tensor(own, dtype=torch.long), persistent=False)
            self.register_buffer(f"rest_{number}", torch.tensor(rest, dtype=torch.long), persistent=False)

    def forward(self, features: Tensor, dataset: str) -> Tensor:
        """Map features [N, H, W, D] to logits [N, C, H, W] of the dataset's classes, in float32."""
        number = self._number[dataset]
        return marginal(
            self.union(features).float(), self.get_buffer(f"own_{number}"), self.get_buffer(f"rest_{number}")
        ).movedim(-1, 1)


def marginal(logits: Tensor, own: Tensor, rest: Tensor) -> Tensor:
    """Return logits [..., 1 + len(own)] whose softmax is that of `logits` [..., U], the classes of `rest` summed up."""
    background = logits[..., rest].logsumexp(dim=-1, keepdim=True)
    return torch.cat([background, logits[..., own]], dim=-1)
