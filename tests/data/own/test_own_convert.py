"""From any size, shape and range to that of the dataset."""

import numpy as np
import pytest
from PIL import Image

from mosaic_pipeline.data.own.convert import convert
from mosaic_pipeline.data.own.picture import Picture, whole_span
from mosaic_pipeline.data.own.resample import resample


def picture(values, spacing=None, span=(0.0, 255.0), **others):
    return Picture(values, spacing or (1.0,) * values.ndim, span, **others)


@pytest.mark.parametrize("size", [(28, 28), (5, 90), (300, 417), (600, 20)])
def test_resampling_is_pillows_bilinear(pixels, size):
    image = pixels(1, 300, 417)[0]
    expected = np.asarray(Image.fromarray(image.astype(np.float32)).resize(size[::-1], Image.BILINEAR))
    np.testing.assert_allclose(resample(image, size, 0, 255), expected, atol=1e-3)


def test_resampling_a_volume_is_resampling_each_axis(pixels):
    volume = pixels(1, 12, 9, 7)[0].astype(float)
    made = resample(volume, (4, 9, 14), 0, 255)
    flat = resample(volume.reshape(12, 63), (4, 63), 0, 255).reshape(4, 9, 7)
    np.testing.assert_allclose(made, resample(flat.reshape(36, 7), (36, 14), 0, 255).reshape(4, 9, 14))


def test_the_same_size_is_the_same_image_to_the_last_bit(pixels):
    values = pixels(1, 8, 8, dtype=np.float64)[0]
    np.testing.assert_array_equal(resample(values, (8, 8), 0, 1), values)


def test_an_oblong_image_is_padded_stretched_or_cut(declare):
    image = np.full((8, 4), 200, np.uint8)
    image[:2], image[6:] = 50, 100
    padded, stretched, cut = (convert(picture(image), declare(fit=fit), 8) for fit in ("pad", "stretch", "crop"))
    np.testing.assert_array_equal(padded.image[:, 2:6], image)
    assert not padded.image[:, :2].any()
    assert not padded.image[:, 6:].any()
    np.testing.assert_array_equal(stretched.image, np.repeat(image, 2, axis=1))
    assert (cut.image == 200).all()
    assert not padded.square


def test_the_size_of_voxels_decides_what_is_long(declare, pixels):
    volume = pixels(1, 4, 8, 8)[0]
    made = convert(picture(volume, spacing=(5.0, 2.5, 2.5)), declare(dimension=3), 8)
    assert made.square
    assert made.enlarged
    flat = convert(picture(volume, spacing=(2.5, 2.5, 2.5)), declare(dimension=3), 8)
    assert not flat.square
    np.testing.assert_array_equal(flat.image[2:6], volume)
    assert not flat.image[:2].any()


def test_values_beyond_the_window_are_cut_off_before_means_are_taken(declare):
    image = np.zeros((16, 16), np.int16)
    image[::2] = 30_000  # metal beside air: the mean of the cut values is grey, that of the whole ones white
    made = convert(picture(image, span=None), declare(window=[0, 100]), 8)
    assert set(np.unique(made.image[1:-1])) <= {127, 128}


def test_each_image_may_have_a_range_of_its_own(declare):
    ramp = np.arange(1000.0).reshape(25, 40)
    bright = convert(picture(ramp * 7 + 3, span=None), declare(window="each", fit="stretch"), 8)
    dark = convert(picture(ramp, span=None), declare(window="each", fit="stretch"), 8)
    np.testing.assert_array_equal(bright.image, dark.image)
    assert (dark.low, dark.high) == (4, 995)


def test_fractions_may_miss_0_and_1_by_rounding(declare):
    values = np.linspace(-1e-7, 1.0000001, 64, dtype=np.float32).reshape(8, 8)
    made = convert(picture(values, span=whole_span(values)), declare(), 8)
    assert (made.image.min(), made.image.max()) == (0, 255)
    assert whole_span(values * 1.01) is None
    assert whole_span(values - 0.01) is None


def test_a_constant_image_has_no_range_and_is_black(declare):
    assert not convert(picture(np.full((8, 8), 7.0), span=None), declare(window="each"), 8).image.any()


def test_a_few_values_beside_one_are_the_range_of_an_image(declare):
    image = np.zeros((8, 8))
    image[3, 5] = 7
    made = convert(picture(np.pad(image, 50), span=None), declare(window="each"), 108)
    assert (made.low, made.high) == (0, 7)
    assert made.image.max() == 255


def test_where_the_largest_value_is_black_the_margin_is_black_too(declare):
    made = convert(picture(np.full((8, 4), 255, np.uint8), inverted=True), declare(), 8)
    assert not made.image.any()


@pytest.mark.parametrize(
    ("values", "span", "says"),
    [
        (np.array([[0, np.nan]] * 2), None, "NaN or infinite"),
        (np.array([[0, np.inf]] * 2), None, "NaN or infinite"),
        (np.array([[-5, 900]] * 2, np.int16), None, r"values from -5 to 900, .*window: \[low, high\]"),
        (np.zeros((2, 2), complex), None, "holds complex128, not numbers"),
        (np.zeros((1, 9), np.uint8), (0, 255), "one line alone"),
        (np.zeros((0, 9), np.uint8), (0, 255), "without a pixel"),
        (np.zeros((3, 9, 9, 2), np.uint8), (0, 255), r"has the form \[3, 9, 9, 2\]"),
        (np.zeros((9, 9, 7), np.uint8), (0, 255), r"has the form \[9, 9, 7\]"),
    ],
)
def test_what_is_no_image_is_refused(declare, values, span, says):
    with pytest.raises(ValueError, match=says):
        convert(Picture(values, (1.0, 1.0), span), declare(), 8)
