import math

import numpy as np
import pytest
import torch

from mosaic_pipeline.segmentation.data.grid import Grid, ceiling, classes_from_grid, from_grid, labels_to_grid, to_grid

SHAPES = [
    ((40, 40, 3), (2.0, 2.0, 5.0), 32),
    ((45, 33, 3), (0.7, 0.7, 5.0), 32),  # padded along y
    ((31, 50, 3), (0.1, 0.1, 1.0), 64),  # padded along x, and made larger
    ((48, 42, 3), (1.5, 1.9, 8.0), 40),  # not isotropic within the plane
    ((60, 20, 3), (1.1, 2.3, 8.0), 48),
    ((49, 49, 3), (0.3, 0.302, 5.0), 49),  # isotropic but for rounding
]


def _centres(grid):
    """The mm of each pixel's centre along both axes, from the centre of the square."""
    along = (np.arange(grid.size) + 0.5) * grid.side_mm / grid.size - grid.side_mm / 2
    return along[:, None], along[None, :]


def _voxels(shape, spacing):
    """The mm of each voxel's centre along both axes, from the centre of the scan."""
    return np.meshgrid(
        *((np.arange(n) + 0.5 - n / 2) * s for n, s in zip(shape[:2], spacing, strict=False)), indexing="ij"
    )


def _shift(grid):
    """The mm by which the centre of the scan lies beyond that of the square: whole voxels are padded."""
    return [
        (axis.before + axis.voxels / 2 - axis.side / 2) * step
        for axis, step in zip(grid.axes, grid.spacing, strict=False)
    ]


@pytest.mark.parametrize(("shape", "spacing", "size"), SHAPES)
def test_what_is_sent_to_the_grid_and_back_has_the_scans_shape(shape, spacing, size):
    grid = Grid(shape, spacing, size)
    assert to_grid(np.zeros(shape, np.int16), spacing, size).shape == (3, size, size)
    assert labels_to_grid(np.zeros(shape, np.uint8), spacing, size).shape == (3, size, size)
    assert from_grid(torch.zeros(2, 5, size, size), grid).shape == (2, 5, *shape[:2])


@pytest.mark.parametrize(("shape", "spacing", "size"), SHAPES)
def test_padding_is_the_same_on_both_sides_but_for_a_voxel(shape, spacing, size):
    shift = _shift(Grid(shape, spacing, size))
    assert all(abs(mm) <= step for mm, step in zip(shift, spacing, strict=False))


@pytest.mark.parametrize(("shape", "spacing", "size"), SHAPES)
@pytest.mark.parametrize("axis", [0, 1])
def test_an_organs_centre_of_mass_in_mm_is_kept_by_the_grid(shape, spacing, size, axis):
    x, y = _voxels(shape, spacing)
    blob = np.exp(-((x - 3 * spacing[0]) ** 2 + (y + 2 * spacing[1]) ** 2) / (2 * (5 * spacing[0]) ** 2))
    volume = np.repeat(blob[..., None], 3, 2)
    grid = Grid(shape, spacing, size)
    on_grid = to_grid(volume, spacing, size)[1].astype(float)
    before = (blob * (x, y)[axis]).sum() / blob.sum()
    after = (on_grid * _centres(grid)[axis]).sum() / on_grid.sum() - _shift(grid)[axis]
    assert after == pytest.approx(before, abs=0.02 * spacing[axis])
    back = from_grid(torch.from_numpy(on_grid)[None, None], grid)[0, 0].numpy()
    assert (back * (x, y)[axis]).sum() / back.sum() == pytest.approx(before, abs=0.02 * spacing[axis])


@pytest.mark.parametrize(("shape", "spacing", "size"), SHAPES[:-1])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_linear_ramp_stays_one_in_mm(shape, spacing, size, axis):
    ramp = _voxels(shape, spacing)[axis]
    grid = Grid(shape, spacing, size)
    on_grid = to_grid(np.repeat(ramp[..., None], 3, 2), spacing, size)[0]
    expected = np.broadcast_to(_centres(grid)[axis] - _shift(grid)[axis], on_grid.shape)
    inside = labels_to_grid(np.ones(shape, np.uint8), spacing, size)[0] > 0
    for _ in range(4):  # the filter takes in what lies around
        for along in (0, 1):
            inside = inside & np.roll(inside, 1, along) & np.roll(inside, -1, along)
        inside[[0, -1]] = inside[:, [0, -1]] = False
    assert inside.any()
    assert np.abs(on_grid - expected)[inside].max() < 0.15 * max(spacing[:2])
    back = from_grid(torch.from_numpy(np.ascontiguousarray(expected))[None, None], grid)[0, 0].numpy()
    pixel = grid.side_mm / size  # beyond the centres of the outermost pixels nothing is known
    known = np.abs(ramp + _shift(grid)[axis]) <= (grid.side_mm - pixel) / 2
    assert np.abs(back - ramp)[known].max() < 1e-3 * spacing[axis]


@pytest.mark.parametrize(("shape", "spacing", "size"), SHAPES)
@pytest.mark.parametrize("axis", [0, 1])
def test_masks_lie_on_their_images(shape, spacing, size, axis):
    x, y = _voxels(shape, spacing)
    organ = np.hypot(x - 3 * spacing[0], y + 2 * spacing[1]) < 9 * spacing[0]
    labels = np.repeat(organ[..., None].astype(np.uint8), 3, 2)
    image, mask = to_grid(labels, spacing, size)[0], labels_to_grid(labels, spacing, size)[0]
    along = _centres(Grid(shape, spacing, size))[axis]
    pixel = Grid(shape, spacing, size).side_mm / size
    assert (mask * along).sum() / mask.sum() == pytest.approx((image * along).sum() / image.sum(), abs=0.3 * pixel)
    assert mask.sum() == pytest.approx(image.sum(), rel=0.1)


def test_what_is_finer_than_a_pixel_is_averaged():
    stripes = np.broadcast_to(np.arange(64) // 2 % 2, (64, 64))[..., None]
    assert to_grid(stripes, (1, 1, 1), 16)[0, 2:-2, 2:-2] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("spacing", [0.1, 0.3, 0.7, 0.78100001811, 1.1, 2.3])
def test_the_longer_axis_fills_the_square_to_the_last_voxel(spacing):
    for count in range(8, 80):
        x, y = Grid((count, count - 3, 1), (spacing, spacing, 1), 32).axes
        assert (x.side, y.side, x.padding, y.padding) == (count, count, (0, 0), (1, 2))


def test_every_slice_stays_where_it_is():
    volume = np.broadcast_to(np.arange(7, dtype=np.int16), (20, 16, 7))
    slices = to_grid(np.ascontiguousarray(volume), (1, 1, 5), 20)
    assert [np.unique(each[:, 10]).tolist() for each in slices] == [[z] for z in range(7)]


def test_the_padding_has_the_lowest_value_and_no_class():
    shape, spacing = (40, 20, 2), (1.0, 1.0, 1.0)
    slices, labels = (
        to_grid(np.full(shape, -7.0), spacing, 40),
        labels_to_grid(np.full(shape, 3, np.uint8), spacing, 40),
    )
    assert (slices == -7).all()
    assert (labels[:, :, 10:30] == 3).all()
    assert not labels[:, :, :10].any()
    assert not labels[:, :, 30:].any()


def test_left_and_right_are_not_swapped():
    labels = np.zeros((30, 20, 1), np.uint8)
    labels[22:28, 5:15] = 1  # high x: the patient's right
    image = labels.astype(np.float32)
    assert labels_to_grid(labels, (1, 1, 1), 30)[0].nonzero()[0].min() > 15
    assert to_grid(image, (1, 1, 1), 30)[0, :15].max() == 0
    assert ceiling(labels, (1, 1, 1), 30, 2) == [1.0]
    slices = torch.from_numpy(labels_to_grid(labels, (1, 1, 1), 30)).long()
    one_hot = torch.nn.functional.one_hot(slices, 2).movedim(-1, 1).float()
    swapped = classes_from_grid([one_hot.flip(2)], Grid(labels.shape, (1, 1, 1), 30))
    assert not (swapped & labels).any()


def _organs(shape, classes, seed=0):
    """Boxes of classes in a volume."""
    rng, labels = np.random.default_rng(seed), np.zeros(shape, np.uint8)
    for label in range(1, classes):
        low = [rng.integers(0, n // 2) for n in shape[:2]]
        labels[low[0] : low[0] + shape[0] // 3, low[1] : low[1] + shape[1] // 3] = label
    return labels


@pytest.mark.parametrize(("shape", "spacing", "size"), SHAPES)
def test_labels_sent_through_the_grid_and_back_reach_the_ceiling(shape, spacing, size):
    labels, grid = _organs(shape, 4), Grid(shape, spacing, size)
    filtered_as_images = [to_grid((labels == c).astype(np.float32), spacing, size) for c in range(5)]
    filtered_as_images[0] = 1 - sum(filtered_as_images[1:])
    found = classes_from_grid(torch.from_numpy(np.stack(filtered_as_images, 1)).split(2), grid)
    dice = [2 * ((found == c) & (labels == c)).sum() / ((found == c).sum() + (labels == c).sum()) for c in (1, 2, 3)]
    reached = ceiling(labels, spacing, size, 5)
    assert reached[:3] == pytest.approx(dice, abs=0.03)
    assert min(reached[:3]) > 0.9
    assert math.isnan(reached[3])  # not in the scan


def test_a_finer_grid_has_a_higher_ceiling_and_the_scans_own_none():
    labels = _organs((64, 48, 2), 4, seed=1)
    reached = [np.mean(ceiling(labels, (1, 1, 3), size, 4)) for size in (16, 32, 64)]
    assert reached == sorted(reached)
    assert reached[-1] == 1


def test_the_ceiling_is_a_mark_that_other_logits_can_pass():
    labels = np.zeros((32, 32, 1), np.uint8)
    labels[13] = 1  # a quarter of a pixel wide, so that its shares never win
    shares = torch.zeros(1, 2, 8, 8)
    shares[:, 1, 3], shares[:, 0] = 0.25, 1.0
    shares[:, 0, 3] = 0.75
    shares[:, 1] *= 4
    found = classes_from_grid([shares], Grid(labels.shape, (1, 1, 1), 8))
    assert ceiling(labels, (1, 1, 1), 8, 2) == [0.0]
    assert 2 * (found & labels).sum() / (found.sum() + labels.sum()) > 0.6


def test_interpolating_before_the_largest_is_taken_beats_the_other_way_round():
    labels = np.zeros((64, 64, 1), np.uint8)
    x, y = _voxels((64, 64), (1, 1))
    labels[(x - 3) ** 2 + (y + 5) ** 2 < 15**2] = 1
    nearest = labels_to_grid(labels_to_grid(labels, (1, 1, 1), 20).transpose(1, 2, 0), (1, 1, 1), 64)[0]
    dice = 2 * (nearest & labels[..., 0]).sum() / (nearest.sum() + labels.sum())
    assert ceiling(labels, (1, 1, 1), 20, 2)[0] > dice + 0.005


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_the_batches_in_which_slices_come_do_not_matter(parts):
    grid = Grid((30, 22, 7), (1.2, 1.9, 4), 16)
    logits = torch.randn(7, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    whole = from_grid(logits, grid).argmax(1).permute(1, 2, 0).numpy()
    assert (classes_from_grid(logits.tensor_split(parts), grid) == whole).all()


def test_blocks_of_any_size_give_the_same(monkeypatch):
    volume = np.random.default_rng(0).random((30, 22, 7)).astype(np.float32)
    labels = _organs((30, 22, 7), 3)
    spacing = (1.2, 1.9, 4)
    logits = torch.randn(7, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    def everything():
        sent, grid = to_grid(volume, spacing, 16), Grid(volume.shape, spacing, 16)
        return sent.tolist(), classes_from_grid([logits], grid).tolist(), ceiling(labels, spacing, 16, 3)

    at_once = everything()
    monkeypatch.setattr("mosaic_pipeline.segmentation.data.grid.BLOCK_BYTES", 1)
    assert everything() == at_once


def test_what_is_interpolated_at_once_is_bounded(monkeypatch):
    from mosaic_pipeline.segmentation.data import grid as module

    seen, interpolate = [], module.F.interpolate

    def watched(values, **how):
        result = interpolate(values, **how)
        seen.append(result.nbytes)
        return result

    monkeypatch.setattr(module.F, "interpolate", watched)
    monkeypatch.setattr(module, "BLOCK_BYTES", 2_000_000)
    labels = np.zeros((128, 128, 60), np.uint8)
    to_grid(labels, (1, 1, 1), 64)
    classes_from_grid([torch.zeros(60, 4, 64, 64)], Grid(labels.shape, (1, 1, 1), 64))
    ceiling(labels, (1, 1, 1), 64, 4)
    assert max(seen) <= 2_000_000


def test_slices_that_are_missing_are_not_made_up():
    with pytest.raises(ValueError, match="4 slices for a scan that has 5"):
        classes_from_grid([torch.zeros(4, 2, 8, 8)], Grid((8, 8, 5), (1, 1, 1), 8))
