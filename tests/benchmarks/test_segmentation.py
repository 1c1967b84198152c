"""That the benchmarks of segmentation measure what they say, on networks too small to measure anything."""

import nibabel
import numpy as np
import pytest
import torch

from benchmarks.segmentation import evaluation
from benchmarks.segmentation.data import write_scan
from benchmarks.segmentation.setting import full_config
from pipeline.segmentation.config import Architecture
from pipeline.segmentation.model.build import build_m4oe
from pipeline.segmentation.model.m4oe import M4oE

SMALL = Architecture(
    dim=8, depths=(2, 2), heads=(1, 2), window=2, patch=4, size=16, channels=3, drop_path=0.0, weights=None
)


@pytest.fixture(autouse=True)
def _threads():
    """What is measured takes one thread, in a process that is then not a fresh one."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_model_that_is_measured_is_the_published_one():
    config = full_config("gate")
    with torch.device("meta"):
        model = M4oE(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == 58_486_830
    assert [each.num_classes for each in config.datasets.values()] == [14, 3, 16]


def test_the_large_scan_is_found_full_of_one_organ_and_computed_in_part(tmp_path, monkeypatch):
    computed = []

    def build(*arguments, **options):
        model = build_m4oe(*arguments, **options)
        model.register_forward_hook(lambda module, taken, logits: computed.append(len(logits)))
        return model

    monkeypatch.setattr(evaluation, "build_m4oe", build)
    write_scan(tmp_path, evaluation.CASE, (24, 24, 40), (16.0, 16.0, 10.0))
    assert evaluation.measure_large(tmp_path, SMALL)["host_mb"] > 0
    found = nibabel.load(tmp_path / "predictions" / f"{evaluation.CASE}.nii.gz")
    assert found.shape == (24, 24, 40)
    assert np.unique(found.dataobj).tolist() == [1]
    assert computed == [evaluation.BATCH] * 2  # of 40 slices
