"""What a dataset is, and the 18 of MedMNIST in one table.

Source: MedMNIST v2 (Yang et al., Scientific Data 2023, arXiv:2110.14795) and MedMNIST+; a test holds every field
against `medmnist.INFO`. Only what names datasets reads the table: params.yaml and the stages up to `configure`. All
after it get the datasets of a run as values, with the configuration and the files that they read.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Task = Literal["multi-class", "binary-class", "multi-label, binary-class", "ordinal-regression"]

SIZES = {2: (28, 64, 128, 224), 3: (28, 64)}
SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Dataset:
    """The form of a dataset, what a model, its training and its metrics have to know; no title and no specialist.

    `sided` says whether classes tell left from right (two kidneys, two lungs), so that a mirrored image has another
    label.
    """

    name: str
    dimension: Literal[2, 3]
    channels: Literal[1, 3]
    num_classes: int
    task: Task
    sided: bool = False

    @property
    def multi_label(self) -> bool:
        """Whether one image carries several yes/no labels (ChestMNIST)."""
        return self.task == "multi-label, binary-class"

    @property
    def label_columns(self) -> int:
        """Columns of the label array: one per yes/no label, else a single class index."""
        return self.num_classes if self.multi_label else 1

    @property
    def highest_label(self) -> int:
        """Largest value in the label array; the smallest is 0."""
        return 1 if self.multi_label else self.num_classes - 1

    def image_shape(self, size: int) -> tuple[int, ...]:
        """Shape of one stored image at `size` pixels: [S,S], [S,S,3] or [S,S,S]."""
        return (size,) * self.dimension + ((3,) if self.channels == 3 else ())

    def form(self) -> dict[str, Any]:
        """All but the name, as it stands in files that name the dataset otherwise."""
        return {key: value for key, value in asdict(self).items() if key != "name"}


@dataclass(frozen=True)
class About:
    """What people are told about a dataset, and the specialist that it is routed to; no model depends on it.

    `class_names` are in the order of the label values, of the label columns where there are several labels.
    """

    title: str
    specialist: str
    class_names: tuple[str, ...]
    licence: str

    def record(self) -> dict[str, Any]:
        """All of it, as JSON and YAML have it."""
        return asdict(self) | {"class_names": list(self.class_names)}


_CLASS: Task = "multi-class"
_BINARY: Task = "binary-class"
_LABELS: Task = "multi-label, binary-class"
_ORDINAL: Task = "ordinal-regression"

# The specialist is MOSAIC's routing: A colour and texture, B grayscale and shape, C volumes.
_TABLE = (
    ("A", Dataset("pathmnist", 2, 3, 9, _CLASS)),
    ("B", Dataset("chestmnist", 2, 1, 14, _LABELS)),
    ("A", Dataset("dermamnist", 2, 3, 7, _CLASS)),
    ("B", Dataset("octmnist", 2, 1, 4, _CLASS)),
    ("B", Dataset("pneumoniamnist", 2, 1, 2, _BINARY)),
    ("A", Dataset("retinamnist", 2, 3, 5, _ORDINAL)),
    ("B", Dataset("breastmnist", 2, 1, 2, _BINARY)),
    ("A", Dataset("bloodmnist", 2, 3, 8, _CLASS)),
    ("A", Dataset("tissuemnist", 2, 1, 8, _CLASS)),
    ("B", Dataset("organamnist", 2, 1, 11, _CLASS, sided=True)),
    ("B", Dataset("organcmnist", 2, 1, 11, _CLASS, sided=True)),
    ("B", Dataset("organsmnist", 2, 1, 11, _CLASS, sided=True)),
    ("C", Dataset("organmnist3d", 3, 1, 11, _CLASS, sided=True)),
    ("C", Dataset("nodulemnist3d", 3, 1, 2, _BINARY)),
    ("C", Dataset("adrenalmnist3d", 3, 1, 2, _BINARY)),
    ("C", Dataset("fracturemnist3d", 3, 1, 3, _CLASS)),
    ("C", Dataset("vesselmnist3d", 3, 1, 2, _BINARY)),
    ("C", Dataset("synapsemnist3d", 3, 1, 2, _BINARY)),
)

MEDMNIST: dict[str, Dataset] = {dataset.name: dataset for _, dataset in _TABLE}
MOSAIC_ROUTING: dict[str, str] = {dataset.name: specialist for specialist, dataset in _TABLE}
