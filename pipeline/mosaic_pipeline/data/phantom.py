"""Phantoms: generated stand-ins for the 18 datasets, in the official npz layout, that a small model can learn from.

A phantom is a textured ground on which soft ellipsoids are painted; the tables below say which ones make a class.
Tones, numbers and places vary from image to image so much that neighbouring classes overlap. Phantoms look like their
originals only from afar, and a result on them says nothing about medicine.

Byte-identical on every machine (see `noise`). Every image has a random stream of its own, keyed by dataset, split and
index, so it depends neither on counts nor on neighbours.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.random import Generator

from mosaic_pipeline.data.noise import along, bell, stream, texture
from mosaic_pipeline.datasets import SPLITS, Dataset
from mosaic_pipeline.npz import write_npz

Tone = tuple[float, ...]  # gray level or RGB, 0 to 255
Place = tuple[float, ...]  # (z,) y, x with half the image as unit, 0 in the middle

JITTER = 10  # standard deviation of a tone from image to image, gray levels
NOISE = 15  # standard deviation of a pixel, gray levels


@dataclass(frozen=True)
class Look:
    """What a class adds to an image: a few ellipsoids, and if given a ground and a texture of its own."""

    percent: int  # of the images
    tone: Tone = (0,)  # of the ellipsoids
    radius: float = 0.4
    count: int = 1  # ellipsoids; varies by a quarter
    axes: Place = (1, 1, 1)  # the radius along each axis, relative to `radius`
    at: Place = (0, 0, 0)  # centre of the group
    scatter: float = 0.15  # how far from `at` they stray
    hollow: float = 0  # share of the radius that stays unpainted
    vary: float = 0.2  # largest relative deviation of a radius
    ground: Tone | None = None  # what they are painted on
    grain: float = 0  # amplitude of the texture, gray levels
    cells: tuple[int, ...] = (5, 5, 5)  # of the texture, along each axis


def _ground(*tone: float, grain: float = 0) -> Look:
    return Look(100, count=0, ground=tone, grain=grain)


_BODY = (_ground(60),)
_CHEST = (_ground(150), *(Look(100, (60,), 0.8, 1, (1, 0.45), (0, side), 0.05, vary=0.05) for side in (-0.45, 0.45)))
_STAGES = {  # painted before the class, in every image
    "pathmnist": (),
    "dermamnist": (_ground(225, 180, 165),),
    "retinamnist": (_ground(8, 5, 5), Look(100, (215, 135, 75), 0.95, scatter=0.05, vary=0.05, grain=12, cells=(3, 3))),
    "bloodmnist": (_ground(240, 212, 205),),
    "tissuemnist": (_ground(60),),
    "chestmnist": _CHEST,
    "octmnist": (
        _ground(30),
        *(Look(100, (tone,), 0.12, 1, (1, 20), (y, 0)) for y, tone in ((-0.3, 150), (0.1, 110), (0.45, 190))),
    ),
    "pneumoniamnist": _CHEST,
    "breastmnist": (_ground(135, grain=40),),
    "organamnist": _BODY,
    "organcmnist": _BODY,
    "organsmnist": _BODY,
    "organmnist3d": (_ground(90),),
    "nodulemnist3d": (_ground(60),),
    "adrenalmnist3d": (_ground(60),),
    "fracturemnist3d": (_ground(80), Look(100, (215,), 0.3, axes=(1, 1, 4), grain=15)),
    "vesselmnist3d": (_ground(60), Look(100, (220,), 0.2, 3, axes=(4, 1, 1), scatter=0.3)),
    "synapsemnist3d": (_ground(150, grain=25),),
}

_ORGANS = {  # in z, y, x; percent in axial, coronal and sagittal slices, and of volumes
    "bladder": ((6, 9, 8, 8), Look(0, (10,), 0.5, at=(0.4, -0.1, 0))),
    "femur-left": ((4, 5, 5, 8), Look(0, (240,), 0.4, axes=(2.2, 1, 1), at=(0.3, 0, 0.35), hollow=0.4)),
    "femur-right": ((4, 5, 5, 8), Look(0, (240,), 0.4, axes=(2.2, 1, 1), at=(0.3, 0, -0.35), hollow=0.4)),
    "heart": ((4, 5, 5, 8), Look(0, (200,), 0.55, 2, at=(-0.2, -0.1, 0.1), scatter=0.3)),
    "kidney-left": ((11, 9, 8, 9), Look(0, (175,), 0.45, axes=(1.3, 1, 0.8), at=(0.1, 0.3, 0.45))),
    "kidney-right": ((11, 9, 8, 9), Look(0, (175,), 0.45, axes=(1.3, 1, 0.8), at=(0.2, 0.3, -0.45))),
    "liver": ((18, 23, 25, 13), Look(0, (150,), 0.95, axes=(0.8, 0.8, 1), at=(0, 0, -0.2))),
    "lung-left": ((11, 8, 8, 10), Look(0, (0,), 0.75, axes=(1.2, 1, 0.7), at=(-0.1, 0, 0.3))),
    "lung-right": ((11, 8, 8, 10), Look(0, (0,), 0.85, axes=(1.2, 1, 0.8), at=(-0.1, 0, -0.3))),
    "pancreas": ((9, 8, 10, 8), Look(0, (140,), 0.25, 4, axes=(0.7, 0.7, 1.5), scatter=0.4)),
    "spleen": ((11, 11, 10, 9), Look(0, (130,), 0.5, axes=(1.3, 0.7, 0.7), at=(-0.3, 0.2, 0.4))),
}
_ORGANS_3D = "liver kidney-right kidney-left femur-right femur-left bladder heart lung-right lung-left spleen pancreas"


def _organs(view: int, kept: Sequence[int], names: Iterable[str] = _ORGANS) -> tuple[Look, ...]:
    """Return the named organs with the percentages of one view, as seen along the `kept` ones of the three axes."""
    shown = []
    for percent, organ in (_ORGANS[name] for name in names):
        axes, at = (tuple(place[axis] for axis in kept) for place in (organ.axes, organ.at))
        shown.append(replace(organ, percent=percent[view], axes=axes, at=at))
    return tuple(shown)


_CLASSES = {  # in the order of the labels; percent after the real class sizes, the rarest raised to about 5
    "pathmnist": (
        Look(10, (205, 155, 195), 0.45, 5, hollow=0.8, scatter=0.9, ground=(238, 224, 236)),  # adipose
        Look(11, count=0, ground=(238, 230, 238)),  # background
        Look(11, (130, 95, 150), 0.15, 8, scatter=0.9, ground=(195, 155, 188), grain=40),  # debris
        Look(12, (85, 50, 130), 0.12, 30, scatter=1, ground=(190, 160, 205)),  # lymphocytes
        Look(9, (180, 170, 215), 0.3, 3, scatter=0.9, ground=(208, 200, 228), grain=25, cells=(8, 2)),  # mucus
        Look(13, (130, 70, 150), 0.1, 6, (1, 3), scatter=0.9, ground=(212, 125, 172), grain=30, cells=(9, 2)),  # muscle
        Look(9, (125, 75, 158), 0.35, 4, hollow=0.5, scatter=0.8, ground=(208, 150, 195)),  # mucosa
        Look(11, (130, 75, 155), 0.1, 8, scatter=0.9, ground=(218, 145, 188), grain=35, cells=(6, 3)),  # stroma
        Look(14, (105, 55, 140), 0.25, 9, scatter=0.9, ground=(180, 112, 172), grain=20),  # adenocarcinoma
    ),
    "dermamnist": (
        Look(5, (205, 110, 100), 0.7, grain=25),  # actinic keratosis
        Look(8, (225, 150, 150), 0.6, 2, hollow=0.5),  # basal cell carcinoma
        Look(13, (165, 115, 70), 0.7, 2),  # benign keratosis
        Look(5, (195, 135, 105), 0.35),  # dermatofibroma
        Look(13, (60, 40, 50), 0.65, 4, scatter=0.35),  # melanoma
        Look(50, (130, 80, 60), 0.5),  # naevus
        Look(6, (165, 20, 60), 0.55, 2),  # vascular lesion
    ),
    "retinamnist": tuple(  # the number of lesions is the grade
        Look(percent, (80, 15, 15), 0.15, lesions, scatter=0.65)
        for percent, lesions in ((45, 0), (12, 5), (19, 11), (18, 18), (6, 28))
    ),
    "bloodmnist": (
        Look(7, (75, 35, 130), 0.5, 4, scatter=0.3),  # basophil
        Look(18, (220, 100, 100), 0.3, 8, scatter=0.45),  # eosinophil
        Look(9, (85, 35, 85), 0.4),  # erythroblast
        Look(17, (165, 115, 180), 0.9, grain=15),  # immature granulocyte
        Look(7, (105, 60, 160), 0.55),  # lymphocyte
        Look(8, (135, 125, 200), 0.8, hollow=0.3),  # monocyte
        Look(20, (140, 80, 160), 0.3, 3, scatter=0.45),  # neutrophil
        Look(14, (190, 130, 180), 0.2),  # platelet
    ),
    "tissuemnist": (
        Look(32, (150,), 0.5, 2, scatter=0.3),  # collecting duct, connecting tubule
        Look(5, (170,), 0.5, hollow=0.5),  # distal convoluted tubule
        Look(5, (120,), 0.35, 3, scatter=0.5),  # glomerular endothelial cells
        Look(9, (200,), 0.25, 2, axes=(3, 1)),  # interstitial endothelial cells
        Look(7, (250,), 0.35),  # leukocytes
        Look(5, (220,), 0.6, 3, hollow=0.6, scatter=0.4),  # podocytes
        Look(23, (100,), 1.2, grain=35),  # proximal tubule
        Look(14, (190,), 0.25, 2, axes=(1, 4), grain=20),  # thick ascending limb
    ),
    "chestmnist": (  # findings, independent of each other; about twice as frequent as in the original
        Look(21, (225,), 0.5, 3, axes=(0.25, 1.6), scatter=0.6),  # atelectasis
        Look(8, (235,), 0.7, at=(0.2, 0.05)),  # cardiomegaly
        Look(24, (250,), 0.5, 2, axes=(0.7, 1.6), at=(0.8, 0)),  # effusion
        Look(35, (185,), 0.14, 16, scatter=0.8),  # infiltration
        Look(12, (250,), 0.45, scatter=0.5),  # mass
        Look(13, (255,), 0.15, 8, scatter=0.7),  # nodule
        Look(8, (190,), 0.7, at=(0, -0.5)),  # pneumonia
        Look(11, (0,), 0.7, axes=(1.3, 0.7), at=(-0.2, 0.4)),  # pneumothorax
        Look(10, (225,), 0.4, 2, at=(-0.4, 0), scatter=0.5),  # consolidation
        Look(8, (185,), 1.2, hollow=0.4),  # oedema
        Look(8, (0,), 0.5, 3, scatter=0.5),  # emphysema
        Look(8, count=0, grain=120, cells=(8, 8)),  # fibrosis
        Look(9, (245,), 1.15, hollow=0.8),  # pleural thickening
        Look(6, (0,), 0.6, at=(0.7, 0)),  # hernia
    ),
    "octmnist": (
        Look(34, (235,), 0.35, 2, at=(0.3, 0), scatter=0.3),  # choroidal neovascularisation
        Look(11, (10,), 0.22, 5, axes=(0.8, 1.4), at=(-0.1, 0), scatter=0.5),  # diabetic macular oedema
        Look(8, (200,), 0.13, 6, at=(0.35, 0), scatter=0.6),  # drusen
        Look(47, count=0),  # normal
    ),
    "pneumoniamnist": (
        Look(26, count=0),  # normal
        Look(74, (160,), 0.3, 4, scatter=0.6, vary=0.4),  # pneumonia
    ),
    "breastmnist": (
        Look(27, (25,), 0.35, 4, axes=(1.3, 1), scatter=0.35, vary=0.4),  # malignant
        Look(73, (55,), 0.4, axes=(0.8, 1.3), scatter=0.4, vary=0.4),  # normal, benign
    ),
    "organamnist": _organs(0, kept=(1, 2)),
    "organcmnist": _organs(1, kept=(0, 2)),
    "organsmnist": _organs(2, kept=(0, 1)),
    "organmnist3d": _organs(3, kept=(0, 1, 2), names=_ORGANS_3D.split()),
    "nodulemnist3d": (
        Look(75, (180,), 0.5, vary=0.4),  # benign
        Look(25, (210,), 0.45, 4, scatter=0.4, vary=0.4),  # malignant
    ),
    "adrenalmnist3d": (
        Look(77, (220,), 0.3, 3, axes=(1, 1, 2), scatter=0.3, vary=0.35),  # normal
        Look(23, (230,), 0.42, 4, axes=(1, 1, 2), scatter=0.3, vary=0.35),  # hyperplasia
    ),
    "fracturemnist3d": (
        Look(40, (245,), 0.5, scatter=0.3),  # buckle
        Look(42, (60,), 0.2, 2, axes=(3, 3, 1), scatter=0.3),  # nondisplaced
        Look(18, (10,), 0.5, 2, axes=(2, 2, 1), scatter=0.3),  # displaced
    ),
    "vesselmnist3d": (
        Look(89, count=0),  # vessel
        Look(11, (235,), 0.55, scatter=0.4, vary=0.3),  # aneurysm
    ),
    "synapsemnist3d": (
        Look(27, (60,), 0.3, 8, scatter=0.6, vary=0.4),  # inhibitory
        Look(73, (40,), 0.5, axes=(0.8, 1, 1.5), scatter=0.3, vary=0.4),  # excitatory
    ),
}


def generate(dataset: Dataset, size: int, counts: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Generate one dataset with `counts[split]` images of `size` pixels (or voxels) a side.

    Returns the official arrays: `<split>_images` uint8 [N, *dataset.image_shape(size)] and `<split>_labels` uint8
    [N, dataset.label_columns]. With as many images as classes, every split has every class.
    """
    classes = _CLASSES[dataset.name]
    percent = tuple(look.percent for look in classes)
    shape = dataset.image_shape(size)
    canvas = shape if dataset.channels == 3 else (*shape, 1)
    arrays: dict[str, np.ndarray] = {}
    for split in SPLITS:
        key, count = (dataset.name, split), counts[split]
        labels = _findings(percent, count, *key) if dataset.multi_label else _quotas(percent, count)
        images = np.empty((count, *shape), np.uint8)
        for index, label in enumerate(labels):
            present = np.flatnonzero(label) if dataset.multi_label else label
            looks = (*_STAGES[dataset.name], *(classes[c] for c in present))
            images[index] = _paint(stream(*key, "image", index), looks, canvas).reshape(shape)
        arrays |= {f"{split}_images": images, f"{split}_labels": labels}
    return arrays


def write_phantom(path: Path, dataset: Dataset, size: int, counts: Mapping[str, int]) -> None:
    """Generate one dataset and write it as an npz, atomically."""
    write_npz(path, generate(dataset, size, counts))


def _quotas(percent: tuple[int, ...], count: int) -> np.ndarray:
    """Return class labels [N, 1]: every class once, the common ones first, then always the one most in arrears.

    Any first n labels thus have the proportions of `percent`, as the stratified splits of the originals have.
    """
    have = np.zeros(len(percent), np.int64)
    labels = np.empty((count, 1), np.uint8)
    for index in range(count):
        arrears = np.multiply(percent, index + 1) - sum(percent) * have
        unseen = 10**6 * (have == 0)  # more than any arrears: these come first
        labels[index] = (arrears + unseen).argmax()
        have[labels[index]] += 1
    return labels


def _findings(percent: tuple[int, ...], count: int, *key: str | int) -> np.ndarray:
    """Return independent yes/no labels [N, L]; image i has finding i for sure, so that none is missing."""
    draws = [stream(*key, "labels", index).random(len(percent)) for index in range(count)]
    present = 100 * np.reshape(draws, (count, len(percent))) < percent
    return (present | np.eye(count, len(percent), dtype=bool)).astype(np.uint8)


def _paint(rng: Generator, looks: tuple[Look, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Paint one image of `shape` [(S,) S, S, channels]; all but the noise is the same at every size."""
    *sizes, channels = shape
    ground = [look.ground for look in looks if look.ground][-1]
    image = np.zeros(shape) + ground + JITTER * bell(rng, channels)
    for look in looks:
        tone = look.tone + JITTER * bell(rng, channels)
        for _ in range(look.count + rng.integers(-(look.count // 4), look.count // 4 + 1)):
            image += _ellipsoid(rng, look, sizes)[..., None] * (tone - image)
        if look.grain:
            image += look.grain * texture(rng, look.cells, sizes)[..., None]
    image += NOISE * bell(rng, *shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _ellipsoid(rng: Generator, look: Look, sizes: list[int]) -> np.ndarray:
    """Return the opacity, 0 to 1 with soft edges, of one ellipsoid of a look."""
    axes = len(sizes)
    radius = look.radius * (1 + look.vary * (2 * rng.random() - 1))
    distance: np.ndarray = np.zeros(())
    for axis, (at, stretch) in enumerate(zip(look.at[-axes:], look.axes[-axes:], strict=True)):
        centre = at + look.scatter * (2 * rng.random() - 1)
        offset = (along(axis, sizes) - centre) / (radius * stretch)
        distance = distance + offset * offset
    opacity = np.clip(3 * (1 - distance), 0, 1)
    if look.hollow:
        opacity -= np.clip(3 * (1 - distance / (look.hollow * look.hollow)), 0, 1)
    return opacity
