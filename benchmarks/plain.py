"""The same method as most repositories write it: the loop that the engine is compared with.

fp32 without compilation, attention written out, DataLoader workers with PIL and torchvision transforms on arrays in
RAM, a deep-copied teacher, the moving average tensor by tensor over the whole model, `.item()` at every step.
"""

import copy
import time
from pathlib import Path
from typing import cast

import numpy as np
import torch
from PIL import Image
from timm.layers import set_fused_attn
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.engine import synchronize
from benchmarks.setting import Setting
from mosaic_pipeline.model.backbone import build_backbone
from mosaic_pipeline.present import present

WORKERS = {"cpu": 2, "cuda": 8}


class PlainImages(Dataset):
    """Images in RAM; each item is the augmented view, the plain view and the label."""

    def __init__(self, folder: Path, size: int) -> None:
        """Load the whole training split."""
        self.images = np.load(folder / "train_images.npy")
        self.labels = np.load(folder / "train_labels.npy")
        convert = [transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
        self.plain = transforms.Compose([transforms.Resize((size, size)), *convert])
        self.augmented = transforms.Compose(
            [
                transforms.Resize((size, size)),
                transforms.RandomHorizontalFlip(),
                transforms.RandomRotation(15),
                *convert,
            ]
        )

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor, int]:
        """Return both views [3, S, S] and the class."""
        image = Image.fromarray(self.images[row]).convert("RGB")
        return self.augmented(image), self.plain(image), int(self.labels[row, 0])


class PlainVolumes(Dataset):
    """The same for volumes."""

    def __init__(self, folder: Path, size: int) -> None:
        """Load the whole training split."""
        self.images = np.load(folder / "train_images.npy")
        self.labels = np.load(folder / "train_labels.npy")
        self.size = size

    def __len__(self) -> int:
        """Return the number of volumes."""
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor, int]:
        """Return both views [1, S, S, S] and the class."""
        volume = torch.from_numpy(self.images[row]).float()[None] / 255
        if volume.shape[-1] != self.size:
            volume = F.interpolate(volume[None], size=(self.size,) * 3, mode="trilinear")[0]
        augmented = volume
        if torch.rand(1) < 0.5:
            augmented = augmented + (torch.rand(1) * 0.2 - 0.1)
        if torch.rand(1) < 0.5:
            augmented = (augmented - augmented.mean()) * (0.9 + torch.rand(1) * 0.2) + augmented.mean()
        return (augmented.clamp(0, 1) - 0.5) / 0.5, (volume - 0.5) / 0.5, int(self.labels[row, 0])


class PlainMosaic(nn.Module):
    """A frozen ViT with a bottleneck for each specialist beside every MLP."""

    def __init__(self, setting: Setting) -> None:
        """Build for the datasets of the setting."""
        super().__init__()
        model = setting.model
        set_fused_attn(False)
        self.vit = build_backbone(model.backbone, model.patch_size, model.image_size)
        self.vit.requires_grad_(False)
        dim = self.vit.embed_dim
        self.routes = setting.routing.datasets
        self.adapters = nn.ModuleDict(
            {
                name: nn.ModuleList(
                    nn.Sequential(nn.Linear(dim, width), nn.ReLU(), nn.Linear(width, dim)) for _ in self.vit.blocks
                )
                for name, width in setting.routing.sizes.items()
            }
        )
        self.conv3d = nn.Conv3d(1, dim, model.volume_patch_size, model.volume_patch_size)
        self.positions = nn.Parameter(torch.zeros(1, 1 + (model.volume_size // model.volume_patch_size) ** 3, dim))
        self.heads = nn.ModuleDict(
            {name: nn.Linear(dim, dataset.num_classes) for name, dataset in setting.datasets.items()}
        )

    def forward(self, x: Tensor, name: str) -> tuple[Tensor, Tensor]:
        """Return feature and logits."""
        if x.dim() == 5:
            x, positions = self.conv3d(x).flatten(2).transpose(1, 2), self.positions
        else:
            x, positions = self.vit.patch_embed(x), self.vit.pos_embed
        x = torch.cat([self.vit.cls_token.expand(len(x), -1, -1), x], dim=1) + positions
        adapters = cast("nn.ModuleList", self.adapters[present(self.routes[name])])
        for block, adapter in zip(self.vit.blocks, adapters, strict=True):
            x = x + block.attn(block.norm1(x))
            h = block.norm2(x)
            x = x + block.mlp(h) + 0.1 * adapter(h)
        feature = self.vit.norm(x)[:, 0]
        return feature, self.heads[name](feature)


class PlainLoop:
    """Trains one dataset."""

    def __init__(self, setting: Setting, folder: Path, device: torch.device) -> None:
        """Build student, teacher, optimiser and loader."""
        self.name = setting.first
        self.setting = setting
        self.device = device
        dataset = setting.datasets[self.name]
        torch.manual_seed(0)
        self.student = PlainMosaic(setting).to(device)
        self.teacher = copy.deepcopy(self.student)
        self.optimizer = torch.optim.AdamW(
            [p for p in self.student.parameters() if p.requires_grad], lr=1e-4, weight_decay=0.01
        )
        kind = PlainImages if dataset.dimension == 2 else PlainVolumes
        self.loader = DataLoader(
            kind(folder / self.name, setting.model.size(dataset.dimension)),
            batch_size=setting.train.batch_size,
            shuffle=True,
            num_workers=WORKERS[device.type],
            pin_memory=device.type == "cuda",
            persistent_workers=True,
        )
        self.momentum = setting.momentum.of(dataset.dimension)

    def seconds_per_step(self, skipped: int) -> float:
        """Train one epoch; return the mean time of a step after the first `skipped`."""
        started, steps, total = 0.0, 0, 0.0
        for augmented, plain, labels in self.loader:
            augmented, plain, labels = (t.to(self.device) for t in (augmented, plain, labels))
            feature, logits = self.student(augmented, self.name)
            with torch.no_grad():
                target, _ = self.teacher(plain, self.name)
            loss = 0.9 * F.cross_entropy(logits, labels) + 0.1 * F.mse_loss(feature, target)
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
            self.optimizer.step()
            with torch.no_grad():
                for mine, other in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
                    mine.mul_(self.momentum).add_(other, alpha=1 - self.momentum)
            total += loss.item()
            steps += 1
            if steps == skipped:
                synchronize(self.device)
                started = time.perf_counter()
        synchronize(self.device)
        return (time.perf_counter() - started) / (steps - skipped)
