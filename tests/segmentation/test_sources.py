"""How the scans of a set are scaled: by its own window where it declares one."""

from types import SimpleNamespace

import pytest

from mosaic_pipeline.segmentation.custom import Custom
from mosaic_pipeline.segmentation.data.intensity import Intensity
from mosaic_pipeline.segmentation.sources import find_intensity

SCALES = SimpleNamespace(ct_window=(-160.0, 240.0), percentiles=(0.5, 99.5))


@pytest.mark.parametrize(
    ("modality", "window", "expected"),
    [
        ("ct", None, Intensity(window=(-160.0, 240.0))),
        ("ct", (-1000, 400), Intensity(window=(-1000, 400))),
        ("pet", (0, 20), Intensity(window=(0, 20))),
        ("pet", None, Intensity(percentiles=(0.5, 99.5))),
    ],
)
def test_a_window_of_a_sets_own_is_before_that_of_its_modality(modality, window, expected):
    custom = {"mine": Custom(modality=modality, labels={"liver": 1}, window=window)}
    section = SimpleNamespace(data=SimpleNamespace(custom=custom), intensity=SCALES)
    assert find_intensity(section, "mine", modality) == expected
    assert find_intensity(section, "another", "ct") == Intensity(window=(-160.0, 240.0))
