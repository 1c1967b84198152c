"""A training of segmentation in two processes against the same one alone."""

import json
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from mosaic_pipeline.processes import Processes
from mosaic_pipeline.segmentation.data.slices import open_slices
from mosaic_pipeline.segmentation.model.build import build_m4oe
from mosaic_pipeline.segmentation.training import trainer as training
from tests.segmentation.nets import make_config

CPU = torch.device("cpu")
# Of 10 slices the last batch has one: fewer than processes.
RECIPE = {"batch_size": 3, "lr": 1e-2, "weight_decay": 0.5, "expert_rounds": 1, "gate_rounds": 1}


def train(config, cached: Path, processes: Processes) -> dict:
    """Train; return the trace of every round, the history, and all tensors."""
    splits = open_slices(cached, config.datasets, config.model.size, ("train", "val"), CPU)
    trainer = training.SegmentationTrainer(
        build_m4oe(config, 0),
        config,
        train=splits[0],
        val=splits[1],
        seed=0,
        device=CPU,
        eval_batch_size=4,
        processes=processes,
    )
    traces = []
    trainer.run(on_round=lambda row: traces.append(trainer.trace.clone()))
    tensors = {name: tensor.clone() for name, tensor in trainer.state()[0].items() if name != "trace"}
    return {"traces": torch.cat(traces), "history": json.dumps(trainer.history), "tensors": tensors}


def train_as_one_of_two(rank: int, folder: Path, *inputs) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    if rank == 1:  # as if it rounded differently: it must not count
        training.organ_dsc = lambda *arguments, **options: {"organ 1": 0.5}
    torch.save(train(*inputs, Processes(rank, 2)), folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize(
    "options",
    [
        {"mix": "gated"},
        {"mix": "gated", "gate_trains": "gates_heads_norms", "head": "union"},
        {"pretrain": True, "added": 1},
    ],
    ids=["gated", "frozen-union", "pretrained-added"],
)
def test_two_processes_train_what_one_does(options, cached, tmp_path, monkeypatch):
    options = dict(options)
    recipe = RECIPE | ({"pretrain_rounds": 1, "mask_ratio": 0.5} if options.pop("pretrain", False) else {})
    recipe |= {} if "mix" in options else {"gate_rounds": 0}
    config = make_config(("flare22", "atlas23"), experts=options, train=recipe, drop_path=0.2)
    alone = train(config, cached, Processes())
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    torch.multiprocessing.spawn(train_as_one_of_two, (tmp_path, config, cached), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))

    torch.testing.assert_close(first["traces"], alone["traces"], rtol=1e-3, atol=1e-6)
    for name, tensor in first["tensors"].items():
        torch.testing.assert_close(tensor, alone["tensors"][name], rtol=1e-3, atol=1e-4, msg=name)
    # Among themselves they do not differ by a bit: nothing would bring them together again.
    assert second["history"] == first["history"]
    assert torch.equal(second["traces"], first["traces"])
    assert all(torch.equal(tensor, second["tensors"][name]) for name, tensor in first["tensors"].items())
