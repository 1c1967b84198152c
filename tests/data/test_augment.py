import math
from itertools import pairwise

import pytest
import torch

from mosaic_pipeline.data.augment import STATISTICS, Draws, augment, draw, normalise, to_float
from mosaic_pipeline.datasets import MEDMNIST


def draws(first: list[float], second: list[float]) -> Draws:
    return Draws(torch.tensor(first), torch.tensor(second))


def picture() -> torch.Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_images_without_rotation_or_flip_pass_unchanged():
    torch.testing.assert_close(augment(picture(), draws([0, 0], [1, 1])), picture(), atol=1e-5, rtol=0)


def test_each_image_is_flipped_by_its_own_draw():
    flipped = augment(picture(), draws([0, 0], [1, -1]))
    torch.testing.assert_close(flipped, torch.stack([picture()[0], picture()[1].flip(-1)]), atol=1e-5, rtol=0)


def test_a_quarter_turn_turns_the_image():
    turned = augment(picture(), draws([math.pi / 2, 0], [1, 1]))
    torch.testing.assert_close(turned[0], picture()[0].rot90(1, (-2, -1)), atol=1e-4, rtol=0)


def test_volumes_get_contrast_about_their_mean_and_brightness_and_stay_in_range():
    volume = torch.full((1, 1, 2, 2, 2), 0.5)
    volume[0, 0, 0] = 0.3
    changed = augment(volume, draws([1.1], [0.05]))
    torch.testing.assert_close(changed[0, 0, 1], torch.full((2, 2), 0.4 + 0.1 * 1.1 + 0.05))
    torch.testing.assert_close(changed[0, 0, 0], torch.full((2, 2), 0.4 - 0.1 * 1.1 + 0.05))
    assert augment(volume, draws([1.0], [0.9])).max() == 1


def test_2d_draws_rotate_up_to_15_degrees_and_flip_half_of_the_images():
    drawn = draw(MEDMNIST["pathmnist"], 4000, torch.Generator().manual_seed(0))
    assert drawn.first.abs().max() <= math.radians(15)
    assert drawn.first.abs().max() > math.radians(14.9)
    assert set(drawn.second.tolist()) == {-1.0, 1.0}
    assert (drawn.second < 0).float().mean().item() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("name", ["organamnist", "organcmnist", "organsmnist"])
def test_where_classes_tell_left_from_right_no_image_is_flipped(name):
    drawn = draw(MEDMNIST[name], 100, torch.Generator().manual_seed(0))
    assert (drawn.second == 1).all()
    assert drawn.first.std() > 0


def test_3d_draws_leave_half_of_the_volumes_alone_in_each_respect_independently():
    drawn = draw(MEDMNIST["nodulemnist3d"], 4000, torch.Generator().manual_seed(0))
    assert 0.9 <= drawn.first.min() < 0.901
    assert 1.099 < drawn.first.max() <= 1.1
    assert 0.099 < drawn.second.abs().max() <= 0.1
    same_contrast, same_brightness = drawn.first == 1, drawn.second == 0
    assert same_contrast.float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert same_brightness.float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert (same_contrast & same_brightness).float().mean().item() == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(
    ("stored", "dimension", "expected"),
    [((2, 28, 28), 2, (2, 1, 32, 32)), ((2, 28, 28, 3), 2, (2, 3, 32, 32)), ((2, 28, 28, 28), 3, (2, 1, 32, 32, 32))],
)
def test_stored_images_become_channels_first_fractions_of_the_models_size(stored, dimension, expected):
    images = to_float(torch.full(stored, 51, dtype=torch.uint8), dimension, 32)
    assert images.shape == expected
    torch.testing.assert_close(images, torch.full(expected, 0.2))


def volumes(*shape: int) -> torch.Tensor:
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_a_shrunk_volume_is_close_to_its_area_average():
    noise = volumes(2, 64, 64, 64)
    # 8 of 3 equal parts of a voxel are one of 24 new voxels.
    parts = noise.float() / 255
    for axis in (1, 2, 3):
        parts = parts.repeat_interleave(3, axis)
    average = torch.nn.functional.avg_pool3d(parts, 8)
    off = (to_float(noise, 3, 24)[:, 0] - average).square().mean().sqrt()
    # Noise is the hardest case: without a filter 33 grey levels.
    assert off * 255 < 8


@pytest.mark.parametrize(("stored", "size"), [(64, 24), (28, 24)])
def test_the_mass_of_a_small_object_hardly_depends_on_where_it_lies(stored, size):
    where, masses = torch.arange(stored) - stored / 2, []
    for shift in range(8):
        square = where**2
        distance = (where - shift) ** 2 + square[:, None] + square[:, None, None]
        ball = (255 * (distance < (0.12 * stored) ** 2)).to(torch.uint8)
        masses.append(to_float(ball[None], 3, size).sum().item())
    steps = [abs(after / before - 1) for before, after in pairwise(masses)]
    # Without a filter up to 4.3 % from 64 and 1.6 % from 28 voxels.
    assert max(steps) < 0.012


@pytest.mark.parametrize("size", [8, 24, 32])
def test_volumes_are_resized_alike_along_every_axis(size):
    stored = volumes(2, 28, 28, 28)
    for axes in ((0, 2, 3, 1), (0, 3, 2, 1), (0, 2, 1, 3)):
        permuted = to_float(stored, 3, size).squeeze(1).permute(axes)
        torch.testing.assert_close(to_float(stored.permute(axes), 3, size).squeeze(1), permuted)


def test_volumes_are_enlarged_by_trilinear_interpolation():
    stored = volumes(2, 28, 28, 28)
    expected = torch.nn.functional.interpolate(stored[:, None] / 255, size=(32, 32, 32), mode="trilinear")
    assert torch.equal(to_float(stored, 3, 32), expected)


def test_grayscale_is_seen_as_three_equal_channels_between_minus_one_and_one():
    seen = normalise(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1))
    assert seen.shape == (2, 3, 1, 1)
    assert seen[0].flatten().tolist() == [-1, -1, -1]
    assert seen[1].flatten().tolist() == [1, 1, 1]


def test_normalising_leaves_its_input_and_the_single_channel_of_volumes_alone():
    images = torch.full((1, 1, 2, 2, 2), 0.5)
    assert normalise(images).shape == images.shape
    assert (images == 0.5).all()


def test_imagenet_statistics_are_by_channel_and_for_images_alone():
    image = torch.tensor([0.485 + 0.229, 0.456, 0.406 - 0.225]).view(1, 3, 1, 1)
    torch.testing.assert_close(normalise(image, STATISTICS["imagenet"]).flatten(), torch.tensor([1.0, 0.0, -1.0]))
    gray = normalise(torch.full((1, 1, 1, 1), 0.485), STATISTICS["imagenet"]).flatten()
    torch.testing.assert_close(gray, torch.tensor([0.0, (0.485 - 0.456) / 0.224, (0.485 - 0.406) / 0.225]))
    volume = torch.rand(1, 1, 2, 2, 2)
    assert torch.equal(normalise(volume, STATISTICS["imagenet"]), normalise(volume))


def test_sided_organs_are_flipped_only_when_told_so():
    def flipped(name: str, **how: bool) -> bool:
        return bool((draw(MEDMNIST[name], 64, torch.Generator().manual_seed(0), **how).second < 0).any())

    assert flipped("pathmnist")
    assert not flipped("organamnist")
    assert flipped("organamnist", flip_sided=True)
