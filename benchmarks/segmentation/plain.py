"""M4oE's training as its public code has it, written from a description: the loop that the trainer is compared with.

All experts compute all tokens whatever the phase, batches are mixed of all sets and every slice goes to its own head
by itself, Dice is a loop over classes with `.item()` in each, and the loss has one in every step; SciPy turns and
resizes each slice in a DataLoader's worker, from the size that it was scanned at. fp32. The trunk is this project's
own, of timm's blocks, so that what differs is what is said here.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch
from scipy.ndimage import rotate, zoom
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from benchmarks.segmentation.setting import Phase
from mosaic_pipeline.model.vit import Mlp
from mosaic_pipeline.segmentation.config import Config
from mosaic_pipeline.segmentation.model.swin_unet import SwinUnet

PHASES: tuple[Phase, ...] = ("experts", "gate")
PARTS = ("data", "forward", "loss", "backward", "update")
EPSILON = 1e-5
WORKERS = 2


class PlainSlices(Dataset):
    """The slices of all sets in RAM; each item is an image, its mask and the number of its set."""

    def __init__(self, folder: Path, config: Config) -> None:
        """Load everything."""
        self.size, self.degrees = config.model.size, config.train.augment.rotate
        self.items = []
        for number, name in enumerate(config.datasets):
            images, masks = (np.load(folder / name / f"scanned_{kind}.npy") for kind in ("images", "labels"))
            self.items += [(image, labels, number) for image, labels in zip(images, masks, strict=True)]

    def __len__(self) -> int:
        """Return the number of slices."""
        return len(self.items)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor, int]:
        """Return an image [1, S, S], classes [S, S] and the set."""
        image, labels, number = self.items[row]
        angle = float(torch.rand(1) * 2 - 1) * self.degrees
        image, labels = (rotate(array, angle, order=0, reshape=False) for array in (image, labels))
        factor = self.size / len(image)
        image, labels = zoom(image, factor, order=3), zoom(labels, factor, order=0)
        return torch.from_numpy(image)[None], torch.from_numpy(labels).long(), number


class PlainRoute:
    """Whether gates mix the experts, and if not, a one for the own expert of each slice [N, E]."""

    gated = False
    own = torch.empty(0)


class PlainExperts(nn.Module):
    """Experts in a block's MLP's place, all of which compute, and their weighted sum."""

    def __init__(self, dim: int, hidden: int, count: int, route: PlainRoute) -> None:
        """Take the token dimension, the experts' width and number."""
        super().__init__()
        self.experts = nn.ModuleList(Mlp(dim, hidden) for _ in range(count))
        self.gate = nn.Linear(dim, count)
        self.route = route

    def forward(self, u: Tensor) -> Tensor:
        """Map tokens [N, T, D] to the same shape."""
        weights = self.gate(u).softmax(dim=-1) if self.route.gated else self.route.own[:, None]
        return sum(weights[..., index, None] * expert(u) for index, expert in enumerate(self.experts))


class PlainM4oE(nn.Module):
    """A trunk with experts, and a head for each set."""

    def __init__(self, config: Config) -> None:
        """Build for the sets of a configuration."""
        super().__init__()
        self.route, shape, count = PlainRoute(), config.model, len(config.experts.names)
        self.expert_of = [config.experts.names.index(config.experts.of[name]) for name in config.datasets]
        self.trunk = SwinUnet(
            **shape.model_dump(exclude={"weights", "drop_path"}),
            mlp=lambda place, dim: PlainExperts(dim, config.experts.width * dim, count, self.route),
        )
        self.heads = nn.ModuleList(nn.Linear(shape.dim, s.num_classes, bias=False) for s in config.datasets.values())
        self.channels, self.count = shape.channels, count

    def forward(self, images: Tensor, sets: Tensor) -> list[Tensor]:
        """Return the logits [1, C, S, S] of each of the images [N, 1, S, S] of sets [N]."""
        numbers = sets.tolist()
        self.route.own = torch.eye(self.count)[[self.expert_of[number] for number in numbers]]
        features = self.trunk(self.trunk.embed(images.repeat(1, self.channels, 1, 1)))
        return [self.heads[n](features[i : i + 1]).permute(0, 3, 1, 2) for i, n in enumerate(numbers)]


def plain_loss(logits: Tensor, labels: Tensor, config: Config) -> tuple[Tensor, list[float]]:
    """Return the loss of one slice, logits [1, C, S, S] and classes [1, S, S], and the Dice of each class."""
    probabilities, loss, dice = logits.softmax(dim=1), torch.zeros(()), []
    for number in range(logits.shape[1]):
        p, t = probabilities[:, number], (labels == number).float()
        one = 1 - (2 * (p * t).sum() + EPSILON) / ((p * p).sum() + (t * t).sum() + EPSILON)
        dice.append(1 - one.item())
        loss = loss + one
    recipe = config.train
    return recipe.ce * F.cross_entropy(logits, labels) + recipe.dice * loss / len(dice), dice


class PlainLoop:
    """Trains on mixed batches of all sets."""

    def __init__(self, config: Config, folder: Path) -> None:
        """Build model, optimiser and loader."""
        torch.manual_seed(0)
        self.config, recipe = config, config.train
        self.model = PlainM4oE(config)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay
        )
        self.loader = DataLoader(
            PlainSlices(folder, config), batch_size=recipe.batch_size, shuffle=True, num_workers=WORKERS
        )

    def step(
        self, images: Tensor, labels: Tensor, sets: Tensor, phase: Phase, mark: Callable[[], None] = lambda: None
    ) -> float:
        """Train on a batch and return its loss; `mark` is called at the end of each part."""
        self.model.route.gated = phase == "gate"
        logits = self.model(images, sets)
        mark()
        losses = [plain_loss(one, labels[i : i + 1], self.config)[0] for i, one in enumerate(logits)]
        loss = cast("Tensor", sum(losses) / len(losses))
        mark()
        self.optimizer.zero_grad()
        loss.backward()
        mark()
        self.optimizer.step()
        total = loss.item()
        mark()
        return total

    def run(self, skipped: int) -> dict[Phase, list[dict[str, float]]]:
        """Train one epoch, the phases in turn; return CPU seconds of each step's parts, but for the first `skipped`.

        What the loader's workers do for a step is timed by itself, in this process, and is part of its `data`.
        """
        laps: dict[Phase, list[dict[str, float]]] = {phase: [] for phase in PHASES}
        in_workers = self._seconds_per_slice() * self.config.train.batch_size
        batches = iter(self.loader)
        for number in range(len(self.loader)):
            times = [time.process_time()]
            batch, phase = next(batches), PHASES[number % len(PHASES)]
            times.append(time.process_time())
            images, labels, sets = batch

            def mark(times: list[float] = times) -> None:
                times.append(time.process_time())

            self.step(images, labels, sets, phase, mark)
            if number >= skipped:
                parts = dict(zip(PARTS, np.diff(times).tolist(), strict=True))
                laps[phase].append(parts | {"data": parts["data"] + in_workers})
        return laps

    def _seconds_per_slice(self) -> float:
        dataset = cast("PlainSlices", self.loader.dataset)
        started = time.process_time()
        for row in range(len(dataset)):
            dataset[row]
        return (time.process_time() - started) / len(dataset)
