"""What a labelled set of scans is, and those that people know by name.

Label ids are the files' own, checked against the sets' own tables or two public ones (A-Eval, nnU-Net). Nothing is
downloaded: most sets need a registration, so the folder is whoever has one. Licences are said where the set's own page
says them without doubt; else whoever downloads it agrees to its terms there.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mosaic_pipeline.errors import few
from mosaic_pipeline.reading import first_problem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HIGHEST_ID = 255  # label maps are written as uint8
OTHERS = "others"


@dataclass(frozen=True)
class LabelledSet:
    """Scans of one modality with label maps.

    `labels` says which organ a label id of the files is; background is 0, ids may have gaps. Class c >= 1 is the c-th
    organ in order of id. `ignore` are further ids that count as background: some, or all `others`. `images` and
    `labels_at` are how files are called below the folder, without suffix and with {case} where the case's id stands
    (without it they are one case); None if `data.folders.find_cases` shall find out. `ids` are the numbers that a
    case's name may end with, first and last.
    """

    name: str
    title: str
    modality: str
    labels: dict[int, str]
    ignore: tuple[int, ...] | Literal["others"] = ()
    images: str | None = None
    labels_at: str | None = None
    ids: tuple[int, int] | None = None
    licence: str = ""
    citation: str = ""
    download: str = ""

    def __post_init__(self) -> None:
        """Refuse what no file could mean, in words for whoever declared it (ValueError)."""
        object.__setattr__(self, "labels", dict(sorted(self.labels.items())))
        if not self.labels:
            raise ValueError(f"{self.name}: no label; say which id is which organ")
        ignored = () if self.ignore == OTHERS else self.ignore
        if wrong := [id_ for id_ in (*self.labels, *ignored) if not 1 <= id_ <= HIGHEST_ID]:
            raise ValueError(f"{self.name}: label id {wrong[0]} is not from 1 to {HIGHEST_ID}; 0 is background")
        if both := [id_ for id_ in ignored if id_ in self.labels]:
            raise ValueError(f"{self.name}: label id {both[0]} is {self.labels[both[0]]}, and ignored; say one of both")
        organs = [" ".join(organ.casefold().split()) for organ in self.organs]
        if twice := [organ for organ in organs if organs.count(organ) > 1]:
            raise ValueError(f"{self.name}: two label ids are called {twice[0]}; name them apart")

    @property
    def organs(self) -> tuple[str, ...]:
        """Names in order of id: those of classes 1, 2, ..."""
        return tuple(self.labels.values())

    @property
    def num_classes(self) -> int:
        """Classes of a head, background among them."""
        return 1 + len(self.labels)

    def form(self) -> dict[str, Any]:
        """What determines a training, as JSON and YAML have it."""
        ignore = self.ignore if self.ignore == OTHERS else list(self.ignore)
        labels = {organ: id_ for id_, organ in self.labels.items()}
        return {"name": self.name, "modality": self.modality, "labels": labels, "ignore": ignore}

    def check_ids(self, there: Iterable[int]) -> None:
        """Raise ValueError, which says what is known, if one of the label ids is none of the set's."""
        there = sorted(there)
        if there and there[0] < 0:
            raise ValueError(f"label {there[0]} is negative; background is 0")
        if self.ignore == OTHERS:
            return
        known = {0, *self.labels, *self.ignore}
        if unknown := [str(id_) for id_ in there if id_ not in known]:
            of_set = ", ".join(f"{id_} {organ}" for id_, organ in self.labels.items())
            raise ValueError(f"label {few(unknown)} is none of {self.name}'s, which are {of_set}")

    def to_classes(self, labels: "NDArray[np.integer]") -> "NDArray[np.uint8]":
        """Return class indices for label ids [X,Y,Z]. Raises ValueError for an id that is none of the set's."""
        import numpy as np

        there = count_ids(labels)
        self.check_ids(there)
        table = np.zeros(HIGHEST_ID + 1, np.uint8)
        table[list(self.labels)] = np.arange(1, self.num_classes, dtype=np.uint8)
        if max(there, default=0) > HIGHEST_ID:
            labels = np.where(labels > HIGHEST_ID, 0, labels)
        return table[labels]

    def to_ids(self, classes: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
        """Return the files' label ids for class indices, of any shape."""
        import numpy as np

        return np.array([0, *self.labels], np.uint8)[classes]


def count_ids(labels: "NDArray[np.integer]") -> dict[int, int]:
    """Return how many voxels [X,Y,Z] have each label id that is there; by slices, so that memory stays flat."""
    import numpy as np

    counts: Counter[int] = Counter()
    for z in range(labels.shape[-1]):
        part = labels[..., z]
        if part.dtype == np.uint8:
            of_part = np.bincount(part.ravel(order="K"), minlength=1)
            there = np.flatnonzero(of_part)
            counts.update(dict(zip(there.tolist(), of_part[there].tolist(), strict=True)))
        else:
            there, numbers = np.unique(part, return_counts=True)
            counts.update(dict(zip(there.tolist(), numbers.tolist(), strict=True)))
    return dict(counts)


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    modality: str
    labels: dict[str, int] = Field(min_length=1)
    ignore: list[int] | Literal["others"]


def read_form(form: Any) -> LabelledSet:
    """Return the set of a `LabelledSet.form()`, with no more than that. Raises ValueError, in a line, if it is none."""
    try:
        read = _Form.model_validate(form)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from None
    labels = {id_: organ for organ, id_ in read.labels.items()}
    if len(labels) < len(read.labels):
        raise ValueError(f"{read.name}: one label id is two organs")
    ignore: tuple[int, ...] | Literal["others"] = read.ignore if isinstance(read.ignore, str) else tuple(read.ignore)
    return LabelledSet(read.name, read.name, read.modality, labels, ignore)


def custom_set(
    name: str,
    modality: str,
    labels: Mapping[str, int],
    *,
    ignore: tuple[int, ...] | Literal["others"] = (),
    images: str | None = None,
    labels_at: str | None = None,
    title: str | None = None,
    licence: str = "",
) -> LabelledSet:
    """Return a set that somebody declares: organ -> label id. Raises ValueError, in a line, if that cannot be meant."""
    by_id: dict[int, str] = {}
    for organ, id_ in labels.items():
        if id_ in by_id:
            raise ValueError(f"{name}: label id {id_} is {by_id[id_]} and {organ}; an id is one organ")
        by_id[id_] = organ
    for pattern in (images, labels_at):
        if pattern is not None and (pattern.count("{case}") > 1 or re.search(r"[{}]", pattern.replace("{case}", ""))):
            raise ValueError(
                f"{name}: {pattern!r} does not say where the id of a case stands, as in images/img{{case}}"
            )
    if (images is None) != (labels_at is None):
        raise ValueError(f"{name}: say how both are called, images and label maps, or neither")
    if images and labels_at and ("{case}" in images) != ("{case}" in labels_at):
        raise ValueError(f"{name}: {{case}} stands in one of {images!r} and {labels_at!r}, and not in the other")
    return LabelledSet(name, title or name, modality, by_id, ignore, images, labels_at, licence=licence)


_AMOS = dict(
    enumerate(
        (
            *("spleen", "right kidney", "left kidney", "gallbladder", "oesophagus", "liver", "stomach", "aorta"),
            *("inferior vena cava", "pancreas", "right adrenal gland", "left adrenal gland", "duodenum", "bladder"),
            "prostate or uterus",
        ),
        start=1,
    )
)


class _About(TypedDict):
    licence: str
    citation: str


_AMOS_ABOUT: _About = {
    "licence": "As the download says it; pages differ (CC BY 4.0, CC BY-NC)",
    "citation": "Ji et al., AMOS: A Large-Scale Abdominal Multi-Organ Benchmark, NeurIPS 2022, arXiv:2206.08023",
}
_AMOS_DOWNLOAD = "amos22.zip from amos22.grand-challenge.org, unpacked: imagesTr, labelsTr, imagesVa, labelsVa"
_AT_REGISTRATION = "As agreed to at registration"
_MSD_ABOUT: _About = {
    "licence": "CC BY-SA 4.0",
    "citation": "Antonelli et al., The Medical Segmentation Decathlon, Nature Communications 13:4128, 2022",
}


def _msd(name: str, task: str, modality: str, *organs: str) -> LabelledSet:
    download = f"{task}.tar from medicaldecathlon.com, unpacked: imagesTr, labelsTr, dataset.json"
    title = f"MSD {task.partition('_')[2]}"
    return LabelledSet(name, title, modality, dict(enumerate(organs, start=1)), download=download, **_MSD_ABOUT)


_TABLE = (
    LabelledSet(
        "flare22",
        "FLARE22",
        "ct",
        dict(
            enumerate(
                (
                    *("liver", "right kidney", "spleen", "pancreas", "aorta", "inferior vena cava"),
                    *("right adrenal gland", "left adrenal gland", "gallbladder", "oesophagus", "stomach"),
                    *("duodenum", "left kidney"),
                ),
                start=1,
            )
        ),
        licence=_AT_REGISTRATION,
        citation="Ma et al., FLARE22, The Lancet Digital Health 6(11):e815, 2024",
        download="the 50 labelled cases from flare22.grand-challenge.org: images/FLARE22_Tr_0001_0000.nii.gz, "
        "labels/FLARE22_Tr_0001.nii.gz; their scans are cases of MSD Pancreas",
    ),
    # One download, two modalities: MRI are the scans with ids above 500.
    LabelledSet("amos22_ct", "AMOS22 CT", "ct", _AMOS, ids=(1, 500), download=_AMOS_DOWNLOAD, **_AMOS_ABOUT),
    LabelledSet("amos22_mr", "AMOS22 MRI", "mri", _AMOS, ids=(501, 9999), download=_AMOS_DOWNLOAD, **_AMOS_ABOUT),
    LabelledSet(
        "atlas23",
        "ATLAS23",
        "ce_mri",
        {1: "liver", 2: "liver tumour"},
        images="imagesTr/im{case}",
        labels_at="labelsTr/lb{case}",
        licence=_AT_REGISTRATION,
        citation="Quinton et al., A Tumour and Liver Automatic Segmentation (ATLAS) Dataset, Data 8(5):79, 2023",
        download="the 60 training cases from atlas-challenge.u-bourgogne.fr: imagesTr/im0.nii.gz, labelsTr/lb0.nii.gz; "
        "atlas.grand-challenge.org is another set (stroke)",
    ),
    LabelledSet(
        "btcv",
        "BTCV",
        "ct",
        dict(
            enumerate(
                (
                    *("spleen", "right kidney", "left kidney", "gallbladder", "oesophagus", "liver", "stomach"),
                    *("aorta", "inferior vena cava", "portal and splenic veins", "pancreas"),
                    *("right adrenal gland", "left adrenal gland"),
                ),
                start=1,
            )
        ),
        images="img/img{case}",
        labels_at="label/label{case}",
        licence=_AT_REGISTRATION,
        citation="Landman et al., MICCAI Multi-Atlas Labeling Beyond the Cranial Vault, 2015, doi:10.7303/syn3193805",
        download="Abdomen/RawData.zip from synapse.org (syn3193805), unpacked; the folder is RawData/Training: "
        "img/img0001.nii.gz, label/label0001.nii.gz",
    ),
    LabelledSet(
        "chaos_mr",
        "CHAOS MRI",
        "mri",
        {1: "liver", 2: "right kidney", 3: "left kidney", 4: "spleen"},
        licence=_AT_REGISTRATION,
        citation="Kavur et al., CHAOS Challenge, Medical Image Analysis 69:101950, 2021",
        download="the MR part of CHAOS from chaos.grand-challenge.org, DICOM and PNG, converted to NIfTI: one "
        "sequence, images/1.nii.gz, labels/1.nii.gz; grey values 63, 126, 189, 252 of the PNG as labels 1, 2, 3, 4",
    ),
    LabelledSet(
        "word",
        "WORD",
        "ct",
        dict(
            enumerate(
                (
                    *("liver", "spleen", "left kidney", "right kidney", "stomach", "gallbladder", "oesophagus"),
                    *("pancreas", "duodenum", "colon", "intestine", "adrenal glands", "rectum", "bladder"),
                    *("left femoral head", "right femoral head"),
                ),
                start=1,
            )
        ),
        licence="For academic research, as its authors say; not for clinical or commercial use",
        citation="Luo et al., WORD: A Large Scale Dataset ..., Medical Image Analysis 82:102642, 2022",
        download="WORD-V0.1.0 by github.com/HiLab-git/WORD: imagesTr, labelsTr, imagesVal, labelsVal",
    ),
    # Tasks 1 and 5 are left out: a case of theirs has several images.
    _msd("msd_heart", "Task02_Heart", "mri", "left atrium"),
    _msd("msd_liver", "Task03_Liver", "ct", "liver", "liver tumour"),
    _msd("msd_hippocampus", "Task04_Hippocampus", "mri", "anterior hippocampus", "posterior hippocampus"),
    _msd("msd_lung", "Task06_Lung", "ct", "lung tumour"),
    _msd("msd_pancreas", "Task07_Pancreas", "ct", "pancreas", "pancreatic tumour"),
    _msd("msd_hepatic_vessel", "Task08_HepaticVessel", "ct", "hepatic vessels", "liver tumour"),
    _msd("msd_spleen", "Task09_Spleen", "ct", "spleen"),
    _msd("msd_colon", "Task10_Colon", "ct", "colon tumour"),
)

NAMED: dict[str, LabelledSet] = {dataset.name: dataset for dataset in _TABLE}

# Those that the phantoms stand in for: three modalities, and labels of different organs.
PHANTOM_SETS = ("flare22", "amos22_mr", "atlas23")


def phantom_set(name: str) -> LabelledSet:
    """Return the stand-in of a named set: its labels and modality, none of its patients. Raises KeyError."""
    if name not in PHANTOM_SETS:
        raise KeyError(name)
    return replace(
        NAMED[name],
        title=f"{NAMED[name].title} phantom",
        images=None,
        labels_at=None,
        ids=None,
        licence="Made by this project",
        citation="",
        download="",
    )
