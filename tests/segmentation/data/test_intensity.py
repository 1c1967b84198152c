import numpy as np
import pytest

from mosaic_pipeline.segmentation.data.intensity import Intensity, intensity_of

TABLE = {"ct_window": [-160, 240], "percentiles": [0.5, 99.5]}
WINDOW, PERCENTILES = intensity_of("ct", **TABLE), intensity_of("mri", **TABLE)


def _scan(dtype=np.int16, scale=1.0):
    return (np.random.default_rng(0).random((20, 20, 10)) * 1000 * scale).astype(dtype)


def test_a_window_means_the_same_in_every_scan():
    hu = np.array([-1000, -160, 40, 240, 3000], np.int16)
    assert WINDOW.normalise(hu).tolist() == [-1, -1, 0, 1, 1]


@pytest.mark.parametrize("scale", [0.001, 1, 1700])
def test_percentiles_make_scales_of_mri_alike(scale):
    assert PERCENTILES.normalise(_scan(np.float64, scale)) == pytest.approx(
        PERCENTILES.normalise(_scan(np.float64)), abs=1e-5
    )


def test_percentiles_are_those_of_the_whole_scan_not_of_a_slice():
    scan = _scan()
    scan[..., 0] //= 10
    assert PERCENTILES.normalise(scan)[..., 0].max() < -0.7
    low, high = PERCENTILES.limits(scan)
    assert (np.mean(scan < low), np.mean(scan > high)) == pytest.approx((0.005, 0.005), abs=0.001)


def test_values_that_no_float16_holds_are_scaled_before_they_are_narrowed():
    scan = _scan(np.float32, scale=1704.295)
    assert scan.max() > 65504
    narrowed = PERCENTILES.normalise(scan).astype(np.float16)
    assert np.isfinite(narrowed).all()
    assert len(np.unique(narrowed)) > 1000


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64, np.int64])
def test_every_type_becomes_float32_between_minus_one_and_one(dtype):
    scaled = PERCENTILES.normalise(_scan(dtype, scale=0.2))
    assert scaled.dtype == np.float32
    assert (scaled.min(), scaled.max()) == (-1, 1)


def test_a_large_offset_does_not_swallow_what_stands_out_of_it():
    plain = PERCENTILES.normalise(_scan(np.int32))
    assert PERCENTILES.normalise(_scan(np.int32) + 2**30) == pytest.approx(plain, abs=1e-6)


@pytest.mark.parametrize("intensity", [WINDOW, PERCENTILES])
def test_a_constant_scan_is_finite(intensity):
    scaled = intensity.normalise(np.full((4, 4, 4), -300, np.int16))
    assert (scaled == -1).all()


def test_a_scan_that_is_nearly_all_background_keeps_what_stands_out():
    scan = np.zeros((100, 100, 10), np.int16)
    scan[:5, :5, 0] = 700
    scaled = PERCENTILES.normalise(scan)
    assert (scaled[:5, :5, 0] == 1).all()
    assert (scaled == 1).sum() == 25


def test_the_scan_itself_stays_as_it_is():
    scan = _scan(np.float32)
    before = scan.copy()
    PERCENTILES.normalise(scan)
    assert (scan == before).all()


def test_all_but_ct_is_scaled_by_percentiles():
    assert intensity_of("ct", **TABLE) == Intensity(window=(-160, 240))
    assert {intensity_of(other, **TABLE) for other in ("ce_mri", "mri", "pet")} == {Intensity(percentiles=(0.5, 99.5))}
