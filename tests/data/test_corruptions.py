"""Corrupted images: the same bytes always, stronger step by step, and only what the kind says."""

import hashlib
from typing import get_args

import numpy as np
import pytest

from mosaic_pipeline.data import corruptions
from mosaic_pipeline.data.corruptions import KINDS, STRENGTHS, corrupt
from mosaic_pipeline.params import Data

# Shape of a stored image, and its dimension.
FORMS = {"gray": ((28, 28), 2), "colour": ((32, 32, 3), 2), "large": ((64, 64), 2), "volume": ((28, 28, 28), 3)}


def picture(shape: tuple[int, ...], dimension: int, case: int = 0) -> np.ndarray:
    """A soft blob on a grained ground: it has an edge to blur, a range to narrow and detail to lose."""
    generator = np.random.default_rng(case)
    axes = np.meshgrid(*[np.linspace(-1, 1, side) for side in shape[:dimension]], indexing="ij")
    distance = np.sqrt(sum((axis - 0.2 * generator.standard_normal()) ** 2 for axis in axes))
    image = 60 + 140 / (1 + np.exp(20 * (distance - 0.5)))
    image = image[..., None] if len(shape) > dimension else image
    return np.clip(image + generator.normal(0, 12, shape), 0, 255).astype(np.uint8)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_strength_is_farther_from_the_original_than_the_one_before(form, kind):
    shape, dimension = FORMS[form]
    images = [picture(shape, dimension, case) for case in range(4)]
    by_strength = [
        np.mean([distance(corrupt(x, dimension, kind, strength, str(c)), x) for c, x in enumerate(images)])
        for strength in range(1, STRENGTHS + 1)
    ]
    assert by_strength[0] > 0.1
    assert (np.diff(by_strength) > 0).all(), by_strength


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_corrupted_image_is_an_image_of_the_same_form_and_the_original_stays(form, kind):
    shape, dimension = FORMS[form]
    image = picture(shape, dimension)
    before = image.copy()
    made = corrupt(image, dimension, kind, 5, "case")
    assert (made.dtype, made.shape) == (np.uint8, shape)
    assert (image == before).all()


# Of fixed pictures of whole numbers, so that another machine's exponential cannot move them.
BYTES = {
    "noise": "907d1d046d5a37bd",
    "blur": "82a063b65187ea4f",
    "contrast": "d502928e8dc590e7",
    "jpeg": "ab53517637fc2863",
    "pixelate": "c29b3881a6c49723",
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_bytes_are_the_same_on_every_machine(kind):
    digest = hashlib.sha256()
    for shape, dimension in FORMS.values():
        image = (np.arange(np.prod(shape)) * 7919 % 251).reshape(shape).astype(np.uint8)
        for strength in range(1, STRENGTHS + 1):
            digest.update(corrupt(image, dimension, kind, strength, "pathmnist/3").tobytes())
    assert digest.hexdigest()[:16] == BYTES[kind]


def test_parameters_know_every_kind_and_no_other():
    assert get_args(get_args(Data.model_fields["corruptions"].annotation)[0]) == KINDS


def test_noise_is_another_one_for_every_case_dataset_and_strength():
    image = np.full((28, 28), 128, np.uint8)
    keys = [("pathmnist/0", 1), ("pathmnist/1", 1), ("bloodmnist/0", 1), ("pathmnist/0", 2)]
    noise = [corrupt(image, 2, "noise", strength, key).astype(float).ravel() - 128 for key, strength in keys]
    correlations = np.corrcoef(noise)[np.triu_indices(len(keys), 1)]
    assert np.abs(correlations).max() < 0.15  # 784 pixels: a standard error of 0.036


def test_noise_is_normal_and_as_strong_as_it_says():
    deviates = corruptions._deviates("any", (200, 200))
    assert abs(deviates.mean()) < 0.02
    assert abs(deviates.std() - 1) < 0.02
    assert 0.94 < np.mean(np.abs(deviates) < 1.96) < 0.96
    made = corrupt(np.full((200, 200), 128, np.uint8), 2, "noise", 1, "any")
    assert made.std() == pytest.approx(255 * corruptions.DEVIATION[0], rel=0.03)


@pytest.mark.parametrize("end", [0, 255])
def test_noise_beyond_black_and_white_is_cut_off(end):
    made = corrupt(np.full((28, 28), end, np.uint8), 2, "noise", 5, "any")
    assert 0.4 < np.mean(made == end) < 0.6


def test_blur_is_a_gaussian_of_the_images_size():
    from scipy.ndimage import gaussian_filter

    for side in (28, 64):
        image = picture((side, side), 2)
        for strength in (1, 5):
            wanted = gaussian_filter(image.astype(float), corruptions.WIDTH[strength - 1] * side, mode="reflect")
            assert np.abs(corrupt(image, 2, "blur", strength, "") - wanted).max() < 0.6


def test_blur_and_cells_leave_channels_apart():
    image = np.zeros((28, 28, 3), np.uint8)
    image[10:18, 10:18, 1] = 200
    for kind in ("blur", "pixelate", "contrast"):
        made = corrupt(image, 2, kind, 5, "")
        assert made[..., 1].any()
        assert not made[..., [0, 2]].any()


def test_contrast_keeps_the_mean_and_narrows_the_range():
    image = picture((28, 28), 2)
    made = corrupt(image, 2, "contrast", 4, "")
    assert made.mean() == pytest.approx(image.mean(), abs=0.5)
    assert np.ptp(made) == pytest.approx(0.1 * np.ptp(image), abs=1)


@pytest.mark.parametrize(("shape", "dimension"), FORMS.values(), ids=FORMS)
def test_pixelation_leaves_as_many_cells_as_it_says_each_with_its_mean(shape, dimension):
    image = picture(shape, dimension)
    made, side = corrupt(image, dimension, "pixelate", 5, ""), shape[0]
    line = made[(slice(None), *[0] * (made.ndim - 1))]
    assert 1 + np.count_nonzero(np.diff(line.astype(int))) <= side // 4
    # A quarter of the side: each cell is a block of four pixels a side.
    corner = image[(slice(4),) * dimension].astype(float).mean(axis=tuple(range(dimension)))
    assert np.abs(made[(0,) * dimension] - corner).max() <= 0.5


def test_a_volumes_jpeg_is_that_of_each_of_its_slices():
    volume = picture((28, 28, 28), 3)
    made = corrupt(volume, 3, "jpeg", 3, "")
    assert all((made[z] == corrupt(volume[z], 2, "jpeg", 3, "")).all() for z in (0, 13, 27))


def test_a_volume_is_blurred_along_its_depth_too():
    volume = np.zeros((28, 28, 28), np.uint8)
    volume[14] = 200
    for kind in ("blur", "pixelate"):
        assert corrupt(volume, 3, kind, 5, "")[13, 5, 5] > 0
