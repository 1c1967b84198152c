"""Phantoms: generated scans with label maps, in NIfTI as the Decathlon lays it out, that a small network learns from.

One anatomy, three modalities. An abdomen is a body of fat and muscle with a spine and 15 organs, deformed ellipsoids in
mm whose size and place differ from patient to patient; in the liver are up to three tumours, one patient in five has
no gallbladder. Modalities differ in contrast, voxels, noise and in what is labelled: what a set has no label for is
painted all the same. Left and right kidneys and adrenal glands look alike: only their place tells them apart. Phantoms
look like patients only from afar, and a result on them says nothing about medicine.

Byte-identical on every machine (see `mosaic_pipeline.data.noise`; files are stored in gzip's form without being
compressed, because zlib's output differs). Each patient has a random stream of its own, keyed by set, split and
number, so it depends neither on counts nor on neighbours.
"""

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform
from numpy.random import Generator
from numpy.typing import NDArray

from mosaic_pipeline.atomic import appearing, atomic, write_text
from mosaic_pipeline.data.noise import bell, stream, texture
from mosaic_pipeline.segmentation.data.splits import SPLITS
from mosaic_pipeline.segmentation.datasets import LabelledSet

Triple = tuple[float, float, float]
Space = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]  # x, y, z in mm of each voxel

FIELD = 288.0  # mm along x that a scan shows
DEPTH = 0.875  # of the field, along y
PLACE, SIZE = 3.0, 0.1  # how far organs stray from their place (mm) and from their size (share)
WARP = 3.0  # mm by which space is bent, smoothly
BUMPS = 0.15  # how far an organ's surface strays from an ellipsoid's
NO_GALLBLADDER = 0.2  # of the patients
MOST_TUMOURS = 3
ABOVE_PELVIS = -58.0  # mm


@dataclass(frozen=True)
class _Organ:
    """Centre and half axes in mm, in RAS: x to the patient's right, y forwards, z upwards; 0 is the body's middle."""

    centre: Triple
    axes: Triple


# In the order in which they are painted: later ones cover earlier ones. A vessel is a long ellipsoid.
_ANATOMY = {
    "stomach": _Organ((-54, 46, 40), (46, 48, 42)),
    "liver": _Organ((58, 12, 44), (72, 82, 50)),
    "spleen": _Organ((-92, -41, 44), (36, 55, 44)),
    "duodenum": _Organ((30, 34, -12), (25, 28, 32)),
    "pancreas": _Organ((-12, 19, 2), (56, 24, 20)),
    "right kidney": _Organ((66, -55, -14), (33, 36, 48)),
    "left kidney": _Organ((-66, -55, -8), (33, 36, 48)),
    "aorta": _Organ((-17, -43, -10), (16, 19, 400)),
    "inferior vena cava": _Organ((20, -41, -10), (17, 19, 400)),
    "right adrenal gland": _Organ((46, -50, 44), (17, 18, 20)),
    "left adrenal gland": _Organ((-48, -50, 46), (17, 18, 20)),
    "gallbladder": _Organ((50, 65, 8), (22, 29, 24)),
    "oesophagus": _Organ((-6, -10, 88), (18, 20, 38)),
    "bladder": _Organ((0, 43, -84), (42, 43, 28)),
    "prostate or uterus": _Organ((0, -5, -94), (28, 28, 22)),
}
_TUMOUR = "liver tumour"
# Before any organ: tone, centre and half axes, layer upon layer.
_GROUND = (
    ("fat", _Organ((0, 0, 0), (138, 122, 400))),
    ("muscle", _Organ((0, 0, 0), (132, 115, 400))),
    ("fat", _Organ((0, 4, 0), (122, 103, 400))),
    ("bone", _Organ((2, -86, 0), (24, 26, 400))),
)


@dataclass(frozen=True)
class _Modality:
    """How scans of one modality look; tones are in Hounsfield units or, in MRI, arbitrary."""

    name: str  # in the Decathlon's words
    slice_mm: float
    voxels: tuple[float, float]  # along x and y, relative to `size`; the field is wider than deep
    span: tuple[float, float]  # of z, mm
    stored: str  # orientation in the file
    tones: Mapping[str, float]
    spread: float  # standard deviation of an organ's tone from patient to patient
    grain: float  # amplitude of the texture
    noise: float  # standard deviation of a voxel
    gain: tuple[float, float] = (1, 1)  # from patient to patient
    bias: float = 0  # share by which the field's sensitivity differs
    cropped: float = 0  # share of the patients whose scan ends above the pelvis


def _tones(ground: tuple[float, float, float, float], organs: Sequence[float]) -> Mapping[str, float]:
    """Name the tones of air, fat, muscle and bone, and those of the organs in the order of the anatomy."""
    return dict(zip(("air", "fat", "muscle", "bone", *_ANATOMY, _TUMOUR), (*ground, *organs), strict=True))


# Of the stomach first, of tumours last; in HU, in T2, and with a contrast agent.
_HU = (20, 100, 135, 45, 75, 190, 190, 230, 160, 110, 110, -20, 60, 0, 50, 50)
_T2 = (270, 430, 620, 340, 500, 700, 700, 60, 140, 380, 380, 980, 220, 990, 540, 640)
_CE = (180, 640, 900, 240, 480, 850, 850, 980, 780, 480, 480, 100, 290, 150, 380, 330)

MODALITIES = {
    "ct": _Modality("CT", 5, (1, 0.875), (-52, 103), "LAS", _tones((-1000, -100, 50, 350), _HU), 8, 8, 12),
    "mri": _Modality(
        *("MRI", 6, (1, 0.875), (-112, 104), "LPS", _tones((10, 820, 220, 60), _T2), 25, 18, 22),
        gain=(0.6, 1.8),
        bias=0.15,
        cropped=0.35,
    ),
    # Its voxels are shorter along y, by an eighth.
    "ce_mri": _Modality(
        *("MRI", 8, (1, 1), (-36, 100), "RAS", _tones((10, 330, 300, 100), _CE), 25, 18, 25),
        gain=(0.3, 3),
        bias=0.2,
    ),
}


def write_phantoms(folder: Path, dataset: LabelledSet, size: int, counts: Mapping[str, int]) -> None:
    """Write a set of scans, `counts[split]` of each split, as a folder that appears whole.

    Below it are imagesTr, labelsTr, dataset.json (the Decathlon's form) and splits.json, which says which case is in
    which split. Scans have `size` voxels along x. Raises KeyError for a modality or an organ that no phantom has.
    """
    look = MODALITIES[dataset.modality]
    if unknown := [organ for organ in dataset.organs if organ not in look.tones]:
        raise KeyError(unknown[0])
    cases = {split: [f"{dataset.name}_{split}_{number:03d}" for number in range(counts[split])] for split in SPLITS}
    with appearing(folder) as partial:
        for split, names in cases.items():
            for number, case in enumerate(names):
                values, classes, spacing = generate(dataset, size, split, number)
                for kind, array in (("imagesTr", values), ("labelsTr", dataset.to_ids(classes))):
                    write_volume(partial / kind / f"{case}.nii.gz", array, spacing, look.stored)
        write_text(partial / "splits.json", json.dumps(cases, indent=1) + "\n")
        described = _describe(dataset, look, [case for split in SPLITS for case in cases[split]])
        write_text(partial / "dataset.json", json.dumps(described, indent=1) + "\n")


def generate(
    dataset: LabelledSet, size: int, split: str, number: int
) -> tuple[NDArray[np.int16], NDArray[np.uint8], Triple]:
    """Return one scan [X,Y,Z] in RAS, its classes as the set labels them, and the size of its voxels in mm."""
    look, rng = MODALITIES[dataset.modality], stream("phantom", dataset.name, split, number)
    x, y = (round(size * share) for share in look.voxels)
    spacing = (FIELD / size, FIELD * DEPTH / y, look.slice_mm)
    bottom = ABOVE_PELVIS if rng.random() < look.cropped else look.span[0]
    shape = (x, y, round((look.span[1] - bottom) / look.slice_mm))
    image, classes = _paint(rng, _place(rng, shape, spacing, bottom), look, dataset)
    image += look.grain * texture(rng, (9, 9, 9), shape)
    image *= 1 + look.bias * texture(rng, (2, 2, 2), shape)
    image += look.noise * bell(rng, *shape)
    low, high = look.gain
    image *= low + (high - low) * rng.random()
    return np.clip(np.rint(image), -1024, 32767).astype(np.int16), classes, spacing


def write_volume(path: Path, array: NDArray, spacing: Triple, stored: str) -> None:
    """Write a volume [X,Y,Z] in RAS, centred at 0 mm, as NIfTI whose axes are `stored` otherwise, atomically."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [-step * (count - 1) / 2 for step, count in zip(spacing, array.shape, strict=True)]
    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(stored))
    image = nibabel.Nifti1Image(apply_orientation(array, turn), affine @ inv_ornt_aff(turn, array.shape))
    image.header.set_xyzt_units("mm")
    image.header["sform_code"] = 1
    with atomic(path) as temporary:
        temporary.write_bytes(_gzip(image.to_bytes()))


def _place(rng: Generator, shape: Sequence[int], spacing: Triple, bottom: float) -> Space:
    """Return where each voxel is in the body: after the patient's own size, place in the field, and smooth bends."""
    first = (-spacing[0] * (shape[0] - 1) / 2, -spacing[1] * (shape[1] - 1) / 2, bottom)
    axes = []
    for axis in range(3):
        scale, shift = 1 + 0.04 * (2 * rng.random() - 1), 4 * (2 * rng.random() - 1)
        along = (first[axis] + spacing[axis] * np.arange(shape[axis]) + shift) * scale
        straight = along.reshape([-1 if other == axis else 1 for other in range(3)])
        axes.append(straight + WARP * texture(rng, (4, 4, 3), shape))
    return axes[0], axes[1], axes[2]


def _paint(
    rng: Generator, space: Space, look: _Modality, dataset: LabelledSet
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Return the scan without noise, and the classes that the set has labels for."""
    image = np.full(space[0].shape, float(look.tones["air"]))
    classes = np.zeros(space[0].shape, np.uint8)
    class_of = {organ: index for index, organ in enumerate(dataset.organs, start=1)}

    def cover(name: str, inside: NDArray[np.float64], label: str | None = None) -> None:
        opacity = np.clip(0.5 + 3 * inside, 0, 1)  # voxels at the surface are partly of both
        tone = look.tones[name] + look.spread * bell(rng)
        np.add(image, opacity * (tone - image), out=image)
        classes[inside > 0] = class_of.get(label or name, 0)

    for name, organ in _GROUND:
        cover(name, _inside(space, organ.centre, organ.axes))
    has_gallbladder = rng.random() >= NO_GALLBLADDER
    for name, organ in _ANATOMY.items():
        centre = [at + PLACE * (2 * rng.random() - 1) for at in organ.centre]
        axes = [half * (1 + SIZE * (2 * rng.random() - 1)) for half in organ.axes]
        bumps = 1 + BUMPS * texture(rng, (6, 6, 5), space[0].shape)
        if name == "gallbladder" and not has_gallbladder:
            continue
        cover(name, _inside(space, centre, axes) * bumps)
        for _ in range(rng.integers(MOST_TUMOURS + 1) if name == "liver" else 0):
            within = [at + 0.5 * half * (2 * rng.random() - 1) for at, half in zip(centre, axes, strict=True)]
            radius = 14 + 12 * rng.random()
            # To a set without a label for it, a tumour is liver.
            cover(_TUMOUR, _inside(space, within, (radius,) * 3), _TUMOUR if _TUMOUR in class_of else "liver")
    return image, classes


def _inside(space: Space, centre: Sequence[float], axes: Sequence[float]) -> NDArray[np.float64]:
    """Return 1 at an ellipsoid's centre, 0 at its surface, less beyond."""
    distance: NDArray[np.float64] = np.zeros(())
    for along, at, half in zip(space, centre, axes, strict=True):
        offset = (along - at) * (1 / half)
        distance = distance + offset * offset
    return 1 - distance


def _describe(dataset: LabelledSet, look: _Modality, cases: Sequence[str]) -> dict[str, Any]:
    """Return dataset.json in the Decathlon's form."""
    files = [{"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"} for case in cases]
    return {
        "name": dataset.title,
        "modality": {"0": look.name},
        "labels": {"0": "background"} | {str(id_): organ for id_, organ in dataset.labels.items()},
        "numTraining": len(files),
        "numTest": 0,
        "training": files,
        "test": [],
    }


def _gzip(content: bytes) -> bytes:
    """Return a gzip file of stored blocks, without name and time."""
    longest = 0xFFFF
    blocks = [content[start : start + longest] for start in range(0, len(content), longest)]
    heads = [struct.pack("<BHH", block is blocks[-1], len(block), longest - len(block)) for block in blocks]
    deflated = b"".join(part for pair in zip(heads, blocks, strict=True) for part in pair)
    end = struct.pack("<II", zlib.crc32(content), len(content) & 0xFFFFFFFF)
    return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + deflated + end
