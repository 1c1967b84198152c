"""The 18 MedMNIST datasets: what each one is, in one table.

Source: MedMNIST v2 (Yang et al., Scientific Data 2023, arXiv:2110.14795) and MedMNIST+; a test holds every field
against `medmnist.INFO`. The specialist column is MOSAIC's routing (A colour and texture, B grayscale and shape,
C volumes).
"""

from dataclasses import dataclass
from typing import Literal

Task = Literal["multi-class", "binary-class", "multi-label, binary-class", "ordinal-regression"]
Specialist = Literal["A", "B", "C"]

SPECIALISTS: tuple[Specialist, ...] = ("A", "B", "C")
SIZES = {2: (28, 64, 128, 224), 3: (28, 64)}
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Dataset:
    """One dataset: spatial dimension, image channels, size of its head, task and split sizes."""

    name: str
    title: str
    specialist: Specialist
    dimension: Literal[2, 3]
    channels: Literal[1, 3]
    num_classes: int
    task: Task
    num_train: int
    num_val: int
    num_test: int

    @property
    def sided(self) -> bool:
        """Whether classes tell left from right (two kidneys, two lungs), so that a mirrored image has another label."""
        return self.name.startswith("organ")

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

    def official_file(self, size: int) -> str:
        """Name of the published npz file; 28 px, the original size, has no suffix."""
        return f"{self.name}.npz" if size == 28 else f"{self.name}_{size}.npz"


_CLASS, _BINARY, _LABELS, _ORDINAL = (
    "multi-class",
    "binary-class",
    "multi-label, binary-class",
    "ordinal-regression",
)

_TABLE = (
    Dataset("pathmnist", "PathMNIST", "A", 2, 3, 9, _CLASS, 89996, 10004, 7180),
    Dataset("chestmnist", "ChestMNIST", "B", 2, 1, 14, _LABELS, 78468, 11219, 22433),
    Dataset("dermamnist", "DermaMNIST", "A", 2, 3, 7, _CLASS, 7007, 1003, 2005),
    Dataset("octmnist", "OCTMNIST", "B", 2, 1, 4, _CLASS, 97477, 10832, 1000),
    Dataset("pneumoniamnist", "PneumoniaMNIST", "B", 2, 1, 2, _BINARY, 4708, 524, 624),
    Dataset("retinamnist", "RetinaMNIST", "A", 2, 3, 5, _ORDINAL, 1080, 120, 400),
    Dataset("breastmnist", "BreastMNIST", "B", 2, 1, 2, _BINARY, 546, 78, 156),
    Dataset("bloodmnist", "BloodMNIST", "A", 2, 3, 8, _CLASS, 11959, 1712, 3421),
    Dataset("tissuemnist", "TissueMNIST", "A", 2, 1, 8, _CLASS, 165466, 23640, 47280),
    Dataset("organamnist", "OrganAMNIST", "B", 2, 1, 11, _CLASS, 34561, 6491, 17778),
    Dataset("organcmnist", "OrganCMNIST", "B", 2, 1, 11, _CLASS, 12975, 2392, 8216),
    Dataset("organsmnist", "OrganSMNIST", "B", 2, 1, 11, _CLASS, 13932, 2452, 8827),
    Dataset("organmnist3d", "OrganMNIST3D", "C", 3, 1, 11, _CLASS, 971, 161, 610),
    Dataset("nodulemnist3d", "NoduleMNIST3D", "C", 3, 1, 2, _BINARY, 1158, 165, 310),
    Dataset("adrenalmnist3d", "AdrenalMNIST3D", "C", 3, 1, 2, _BINARY, 1188, 98, 298),
    Dataset("fracturemnist3d", "FractureMNIST3D", "C", 3, 1, 3, _CLASS, 1027, 103, 240),
    Dataset("vesselmnist3d", "VesselMNIST3D", "C", 3, 1, 2, _BINARY, 1335, 191, 382),
    Dataset("synapsemnist3d", "SynapseMNIST3D", "C", 3, 1, 2, _BINARY, 1230, 177, 352),
)

DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in _TABLE}
