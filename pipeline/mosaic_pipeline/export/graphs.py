"""What of a model becomes one graph: a specialist, with the heads of all datasets that come to their feature alike."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from mosaic_pipeline.data.augment import normalise, to_float
from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.model.linear import use_plain
from mosaic_pipeline.model.mosaic import Mosaic

# What stands for the specialist where all of them are mixed alike for every dataset, and where there is none.
MIXTURE, NONE = "mixture", "none"


@dataclass(frozen=True)
class Group:
    """Datasets that differ in their heads alone. `size` is pixels or voxels a side of the images as they are stored."""

    name: str
    specialist: str
    datasets: tuple[Dataset, ...]
    size: int

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one image: [S,S,3] if any dataset is in colour, else [S,S]; [S,S,S] of volumes."""
        widest = max(self.datasets, key=lambda dataset: dataset.channels)
        return widest.image_shape(self.size)


def group_datasets(model: Mosaic, sizes: Mapping[str, int]) -> list[Group]:
    """Return the groups of a model's datasets, whose images are stored in these sizes.

    A group has one specialist (or the mixture that begins at it), one kind of input, one tokenizer and one size. It is
    called by the first two, and by its first dataset too where that is not enough.
    """
    members: dict[tuple[str, int, str | None, int], list[Dataset]] = {}
    for name, dataset in model.datasets.items():
        key = (_specialist(model, name), dataset.dimension, model.routing.tokenizers.get(name), sizes[name])
        members.setdefault(key, []).append(dataset)
    names = [f"{specialist}-{'images' if dimension == 2 else 'volumes'}" for specialist, dimension, *_ in members]
    return [
        Group(
            name if names.count(name) == 1 else f"{name}-{datasets[0].name}",
            specialist=key[0],
            datasets=tuple(datasets),
            size=key[-1],
        )
        for name, (key, datasets) in zip(names, members.items(), strict=True)
    ]


def _specialist(model: Mosaic, dataset: str) -> str:
    if model.gated and model.routing.gate_start != "routing":
        return MIXTURE
    return model.routing.datasets[dataset] or NONE


def plain_copy(model: Mosaic) -> Mosaic:
    """Return a copy to export: in fp32, on the CPU, evaluating, without what is there for torch's sake alone."""
    copied = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
    use_plain(copied)
    return copied


class Graph(nn.Module):
    """From stored images of a group to the probabilities of all its datasets, in fp32.

    uint8 [N,S,S], [N,S,S,3] (grey images have three equal channels there) or [N,S,S,S] -> float32 [N, C] by dataset.
    """

    def __init__(self, model: Mosaic, group: Group, seen: int | None) -> None:
        """Take what `plain_copy` gives, and pixels or voxels a side of what it sees, None for volumes that it cuts."""
        super().__init__()
        self.model = model
        self.group = group
        self.seen = seen

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the probabilities in the order of the group's datasets."""
        first, *_ = self.group.datasets
        x = normalise(to_float(images, first.dimension, self.seen), self.model.statistics)
        feature, _ = self.model(x, first.name)
        return tuple(self._answer(feature, dataset) for dataset in self.group.datasets)

    def _answer(self, feature: Tensor, dataset: Dataset) -> Tensor:
        logits = self.model.heads[dataset.name](feature)
        return logits.sigmoid() if dataset.multi_label else logits.softmax(dim=1)
