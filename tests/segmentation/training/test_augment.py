import pytest
import torch

from mosaic_pipeline.segmentation.config import Augment
from mosaic_pipeline.segmentation.training.augment import augment, draw

NOTHING = Augment(rotate=0, scale=0, intensity=0, flip=False)


def drawn(count: int = 4, seed: int = 0, **changed):
    return draw(NOTHING.model_copy(update=changed), count, torch.Generator().manual_seed(seed))


def slices(size: int = 16, count: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth images, and masks that are the images cut into three classes."""
    steps = torch.linspace(-1, 1, size)
    phases = torch.arange(count).view(-1, 1, 1)
    images = 0.6 * torch.sin(2 * steps[:, None] + phases) * torch.cos(3 * steps[None, :] - phases)
    return images, (images > -0.2).to(torch.uint8) + (images > 0.2).to(torch.uint8)


def test_without_widths_nothing_changes():
    images, labels = slices()
    moved, masks = augment(images, labels, drawn())
    torch.testing.assert_close(moved, images)
    assert torch.equal(masks, labels)
    assert masks.dtype == torch.uint8


def test_masks_move_with_their_images():
    images, labels = slices(size=64)
    moved, masks = augment(images, labels, drawn(rotate=30, scale=0.2))
    assert (moved - images).abs().mean() > 0.02
    again = (moved > -0.2).to(torch.uint8) + (moved > 0.2).to(torch.uint8)
    assert (again == masks).float().mean() > 0.97
    # The masks as they were would not have fitted.
    assert (again == labels).float().mean() < 0.95


def test_masks_keep_whole_classes_of_those_that_were_there():
    labels = torch.tensor([0, 7, 200], dtype=torch.uint8)[torch.randint(3, (8, 16, 16))]
    _, masks = augment(torch.zeros(8, 16, 16), labels, drawn(8, rotate=40, scale=0.3))
    assert set(masks.unique().tolist()) == {0, 7, 200}


def test_a_quarter_turn_is_exact():
    images, labels = slices()
    draws = drawn()
    quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]]).expand(4, 2, 2)
    moved, masks = augment(images, labels, type(draws)(quarter, draws.contrast, draws.brightness))
    torch.testing.assert_close(moved, images.rot90(1, dims=(1, 2)), atol=1e-5, rtol=0)
    assert torch.equal(masks, labels.rot90(1, dims=(1, 2)))


def test_nothing_is_mirrored_or_turned_over_unless_asked_for():
    plain = drawn(200, rotate=15, scale=0.1).matrix
    assert (plain.det() > 0).all()
    assert (plain[:, 0, 0] > 0.8).all()
    asked = drawn(200, flip=True).matrix.round(decimals=4) + 0.0
    assert len({tuple(matrix.flatten().tolist()) for matrix in asked}) == 8


def test_draws_stay_within_their_widths_and_reach_them():
    draws = drawn(4000, rotate=15, scale=0.1, intensity=0.2)
    angle = torch.atan2(draws.matrix[:, 1, 0], draws.matrix[:, 0, 0]).rad2deg()
    scale = 1 / draws.matrix.det().sqrt()
    for values, low, high in (
        (angle, -15, 15),
        (scale, 0.9, 1.1),
        (draws.contrast, 0.8, 1.2),
        (draws.brightness, -0.2, 0.2),
    ):
        slack = (high - low) / 100
        assert low - 1e-3 <= values.min() < low + slack
        assert high - slack < values.max() <= high + 1e-3
        assert values.mean() == pytest.approx((low + high) / 2, abs=3 * slack)
    assert (
        abs(torch.corrcoef(torch.stack([angle, scale, draws.contrast, draws.brightness])) - torch.eye(4)).max() < 0.06
    )


def test_a_scale_above_one_enlarges():
    image = torch.full((1, 32, 32), -1.0)
    image[:, 12:20, 12:20] = 1
    draws = drawn(1)
    larger = type(draws)(draws.matrix / 1.5, draws.contrast, draws.brightness)
    _, mask = augment(image, (image > 0).to(torch.uint8), larger)
    assert mask.sum() == 12 * 12
    scaled = draw(NOTHING.model_copy(update={"scale": 0.5}), 50, torch.Generator().manual_seed(0))
    assert (1 / scaled.matrix[:, 0, 0]).max() > 1.4


def test_intensity_changes_contrast_about_the_mean_and_brightness_and_stays_in_range():
    images, labels = slices()
    draws = drawn()
    changed, masks = augment(
        images, labels, type(draws)(draws.matrix, torch.full((4,), 1.5), torch.tensor([0.0, 0.1, -0.1, 3.0]))
    )
    mean = images.mean(dim=(1, 2), keepdim=True)
    expected = (images - mean) * 1.5 + mean + torch.tensor([0.0, 0.1, -0.1, 3.0]).view(-1, 1, 1)
    torch.testing.assert_close(changed, expected.clamp(-1, 1))
    assert changed[3].min() == 1
    assert torch.equal(masks, labels)


def test_rows_of_a_pass_have_the_draws_that_they_have_in_the_whole_of_it():
    images, labels = slices(count=6)
    draws = drawn(6, rotate=15, scale=0.1, intensity=0.1)
    whole, masks = augment(images, labels, draws)
    for rows in (slice(0, 2), slice(2, 6), torch.tensor([5, 0])):
        part, of_part = augment(images[rows], labels[rows], draws.take(rows))
        torch.testing.assert_close(part, whole[rows])
        assert torch.equal(of_part, masks[rows])
    again, other = drawn(6, rotate=15, scale=0.1, intensity=0.1), drawn(6, seed=1, rotate=15, scale=0.1, intensity=0.1)
    assert torch.equal(draws.matrix, again.matrix)
    assert not torch.equal(draws.matrix, other.matrix)
