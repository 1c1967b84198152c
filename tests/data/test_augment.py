import math

import pytest
import torch

from pipeline.data.augment import Draws, augment, draw, normalise, to_float
from pipeline.datasets import DATASETS


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
    drawn = draw(DATASETS["pathmnist"], 4000, torch.Generator().manual_seed(0))
    assert drawn.first.abs().max() <= math.radians(15)
    assert drawn.first.abs().max() > math.radians(14.9)
    assert set(drawn.second.tolist()) == {-1.0, 1.0}
    assert (drawn.second < 0).float().mean().item() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("name", ["organamnist", "organcmnist", "organsmnist"])
def test_where_classes_tell_left_from_right_no_image_is_flipped(name):
    drawn = draw(DATASETS[name], 100, torch.Generator().manual_seed(0))
    assert (drawn.second == 1).all()
    assert drawn.first.std() > 0


def test_3d_draws_leave_half_of_the_volumes_alone_in_each_respect_independently():
    drawn = draw(DATASETS["nodulemnist3d"], 4000, torch.Generator().manual_seed(0))
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
    torch.testing.assert_close(normalise(image, "imagenet").flatten(), torch.tensor([1.0, 0.0, -1.0]))
    gray = normalise(torch.full((1, 1, 1, 1), 0.485), "imagenet").flatten()
    torch.testing.assert_close(gray, torch.tensor([0.0, (0.485 - 0.456) / 0.224, (0.485 - 0.406) / 0.225]))
    volume = torch.rand(1, 1, 2, 2, 2)
    assert torch.equal(normalise(volume, "imagenet"), normalise(volume))


def test_sided_organs_are_flipped_only_when_told_so():
    def flipped(name: str, **how: bool) -> bool:
        return bool((draw(DATASETS[name], 64, torch.Generator().manual_seed(0), **how).second < 0).any())

    assert flipped("pathmnist")
    assert not flipped("organamnist")
    assert flipped("organamnist", flip_sided=True)
