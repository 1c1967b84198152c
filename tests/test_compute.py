import copy

import pytest
import torch

from mosaic_pipeline.compute import autocast, pick_device, store_matrices_in_bf16
from mosaic_pipeline.errors import PipelineError

CPU = torch.device("cpu")


def test_storing_frozen_matrices_in_bf16_changes_no_result_under_autocast(make_model):
    plain = make_model()
    stored = copy.deepcopy(plain)
    store_matrices_in_bf16(stored.backbone)
    assert stored.backbone.blocks[0].mlp.fc1.weight.dtype == torch.bfloat16
    assert stored.backbone.blocks[0].norm1.weight.dtype == torch.float32
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with autocast(CPU, "bf16"):
        expected, found = plain(images, "retinamnist"), stored(images, "retinamnist")
    assert torch.equal(expected[0], found[0])
    assert torch.equal(expected[1], found[1])


def test_precision_decides_whether_products_run_in_bf16():
    a = torch.ones(2, 2)
    with autocast(CPU, "bf16"):
        assert (a @ a).dtype == torch.bfloat16
    with autocast(CPU, "fp32"):
        assert (a @ a).dtype == torch.float32


def test_a_missing_device_is_one_line_that_names_the_key(params, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(PipelineError, match=r"compute\.device = 'cuda': torch sees no CUDA device; use auto or cpu"):
        pick_device(params.compute.model_copy(update={"device": "cuda"}))
    assert pick_device(params.compute) == CPU


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_each_process_of_torchruns_gets_a_gpu_of_its_own(params, monkeypatch, two_gpus, as_process, device):
    compute = params.compute.model_copy(update={"device": device, "processes": 2})
    for rank in (0, 1):
        as_process(rank, 2)
        assert pick_device(compute) == torch.device("cuda", rank)
    monkeypatch.delenv("LOCAL_RANK")
    assert pick_device(compute) == torch.device("cuda")


def test_one_process_more_than_gpus_is_one_line_that_says_how_many_there_are(params, two_gpus, as_process):
    as_process(2, 3)
    with pytest.raises(PipelineError, match=r"^params\.yaml: compute\.device: no cuda:2, there are 2 CUDA devices$"):
        pick_device(params.compute.model_copy(update={"processes": 3}))
