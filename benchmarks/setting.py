"""What is measured: models, sizes and batches, as configurations that need neither params.yaml nor pydantic."""

from dataclasses import dataclass, field, replace
from typing import Any

from mosaic_pipeline.datasets import MEDMNIST, MOSAIC_ROUTING, Dataset

WIDTHS = {"A": 64, "B": 96, "C": 192}


@dataclass(frozen=True)
class Architecture:
    """As `mosaic_pipeline.config.Architecture`."""

    backbone: str
    image_size: int
    volume_size: int
    patch_size: int = 16
    backbone_args: None = None
    pretrained: bool | None = None
    volume_patch_size: int = 8
    normalisation: str = "half"
    embedding_norm: bool = False
    frozen: bool = True
    tokenizer_init: str = "random"
    tokenizer_trained: bool = True
    slices: int | None = None
    adapter_scale: float = 0.1
    adapter_layer_norm: bool = False
    prompt_strength: float | None = None

    def size(self, dimension: int) -> int:
        """Pixels or voxels a side."""
        return self.image_size if dimension == 2 else self.volume_size


@dataclass(frozen=True)
class Routing:
    """As `mosaic_pipeline.model.routing.Routing`."""

    sizes: dict[str, int]
    datasets: dict[str, str | None]
    tokenizers: dict[str, str]
    kind: str = "bottleneck"
    gate: str | None = None
    gate_start: str | None = None
    gate_rounds: int | None = None


@dataclass(frozen=True)
class Train:
    """The paper's recipe, as `mosaic_pipeline.config.Recipe`."""

    batch_size: int
    num_rounds: int = 100
    order: str = "registry"
    tau: float | None = None
    lr: float = 1e-4
    schedule: str = "step"
    weight_decay: float = 0.01
    grad_clip: float = 1.0
    warmup_rounds: float = 1
    consist_weight: float = 0.1
    consist_form: str = "mix"
    class_weights: str | None = None
    flip_sided: bool = False
    early_stopping_patience: int = 5
    min_delta: float = 0.0
    monitor: str = "acc"
    deploy: str | None = None
    grade_tolerance: int = 0
    prompt_strength_lr: float | None = None
    validate_visits: bool = False
    conflict_cases: int | None = None


@dataclass(frozen=True)
class Momentum:
    """As `mosaic_pipeline.config.Momentum`."""

    d2: float = 0.9
    d3: float = 0.95
    update: str = "step"

    def of(self, dimension: int) -> float:
        """Momentum for 2D or 3D."""
        return self.d2 if dimension == 2 else self.d3


@dataclass(frozen=True)
class Setting:
    """One point of measurement; it is also the configuration that the engine gets.

    `stored` is the side of the images in the files; `steps` is how many steps are timed, after `skipped` others.
    """

    name: str
    model: Architecture
    train: Train
    stored: dict[int, int]
    datasets: dict[str, Dataset]
    steps: int
    precision: str = "bf16"
    routing_table: dict[str, str] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=lambda: dict(WIDTHS))
    momentum: Momentum = Momentum()
    skipped: int = 2

    @property
    def first(self) -> str:
        """Name of the first dataset."""
        return next(iter(self.datasets))

    @property
    def routing(self) -> Routing:
        """The paper's groups, unless `routing_table` says otherwise."""
        table = self.routing_table or {name: MOSAIC_ROUTING[name] for name in self.datasets}
        sizes = {name: self.widths[name] for name in sorted(set(table.values()))}
        tokenizers = {name: "shared" for name, dataset in self.datasets.items() if dataset.dimension == 3}
        return Routing(sizes, {**table}, tokenizers)

    def but(self, **changes: Any) -> "Setting":
        """Return a copy; `batch_size`, `image_size` and `volume_size` may be named as if they were fields."""
        train = {key: changes.pop(key) for key in ("batch_size",) if key in changes}
        model = {key: changes.pop(key) for key in ("image_size", "volume_size") if key in changes}
        return replace(
            self,
            train=replace(self.train, **train),
            model=replace(self.model, **model),
            **changes,
        )


def of(*names: str) -> dict[str, Dataset]:
    """Return datasets of the 18 by name, for a setting."""
    return {name: MEDMNIST[name] for name in names}


IMAGES, VOLUMES = "pathmnist", "organmnist3d"  # an RGB set of specialist A, a set of specialist C


def settings(device: str, precision: str) -> dict[str, Setting]:
    """Return the measured settings by name; smaller batches and fewer steps on the CPU."""
    gpu = device == "cuda"
    base = Architecture("vit_base_patch16_224", image_size=224, volume_size=64)
    tiny = Architecture("vit_tiny_patch16_224", image_size=64, volume_size=32)
    made = {}
    for name, model, dataset, stored, batch, steps in (
        ("vit_base_2d", base, IMAGES, 224, 32 if gpu else 8, 60 if gpu else 4),
        ("vit_base_3d", base, VOLUMES, 64, 32 if gpu else 8, 30 if gpu else 2),
        ("vit_tiny_2d", tiny, IMAGES, 28, 32, 100 if gpu else 30),
        ("vit_tiny_3d", tiny, VOLUMES, 28, 32, 100 if gpu else 15),
    ):
        made[name] = Setting(
            name, model, Train(batch), {2: stored, 3: stored}, of(dataset), steps, precision, skipped=20 if gpu else 2
        )
    return made
