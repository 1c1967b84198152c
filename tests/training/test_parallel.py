"""The trainer in two processes against the same training in one."""

import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from mosaic_pipeline.data.batches import open_splits
from mosaic_pipeline.evaluation import metrics
from mosaic_pipeline.model.mosaic import build_mosaic
from mosaic_pipeline.processes import Processes
from mosaic_pipeline.training.trainer import CyclicTrainer

CPU = torch.device("cpu")
# Of 12 images each dataset's last batch has one: fewer than processes.
BATCH_SIZE = 11
ONE_OF_EACH = ("retinamnist", "breastmnist", "chestmnist", "nodulemnist3d")
VOLUMES = ("nodulemnist3d",)


def train(config, backbone, cached: Path, processes: Processes) -> dict:
    """Train; return the trace of every round, the history, the tensors, and what one more visit each changed."""
    splits = open_splits(cached, config.datasets, ("train", "val"), CPU)
    model = build_mosaic(config, deepcopy(backbone), 0)  # which training may change
    trainer = CyclicTrainer(
        model, config, train=splits[0], val=splits[1], seed=0, device=CPU, eval_batch_size=4, processes=processes
    )
    traces = []
    trainer.run(on_round=lambda row: traces.append(trainer.trace.clone()))
    found = {"traces": torch.cat(traces), "history": json.dumps(trainer.history)}
    found["conflicts"] = trainer.conflicts
    found["tensors"] = {name: tensor.clone() for name, tensor in trainer.state()[0].items() if name != "trace"}
    found["changed"] = {}
    for name in config.datasets:
        before = tensors_of(trainer)
        trainer.visit(name)
        after = tensors_of(trainer)
        found["changed"][name] = {key for key, tensor in after.items() if not torch.equal(tensor, before[key])}
    return found


def tensors_of(trainer: CyclicTrainer) -> dict[str, torch.Tensor]:
    """All that a visit could touch, the frozen tensors too."""
    tensors = {name: tensor.clone() for name, tensor in trainer.state()[0].items() if name.startswith("optimizer.exp")}
    for which in ("student", "teacher"):
        tensors |= {f"{which}.{name}": p.detach().clone() for name, p in getattr(trainer, which).named_parameters()}
    return tensors


def train_as_one_of_two(rank: int, folder: Path, *inputs) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    if rank == 1:  # as if it rounded differently: it must not count
        metrics.accuracy = lambda *arguments: 0.5
    torch.save(train(*inputs, Processes(rank, 2)), folder / f"{rank}.pt")
    dist.destroy_process_group()


# What a step leaves out differs: other specialists, then none of them and the gates come in, then only heads.
@pytest.fixture(
    params=[
        ("mosaic", ONE_OF_EACH),
        ("shared", ONE_OF_EACH),
        ("gated", ONE_OF_EACH),
        ("per_dataset_own_round", ONE_OF_EACH),
        ("full_finetune", ONE_OF_EACH),
        ("full_finetune", VOLUMES),
    ],
    ids=lambda param: f"{param[0]}-{len(param[1])}",
)
def inputs(request, make_config, make_backbone, cached) -> tuple:
    variant, datasets = request.param
    overrides = {"train__batch_size": BATCH_SIZE, "train__num_rounds": 3, "train__weight_decay": 0.5}
    return make_config(datasets, variant=variant, **overrides), make_backbone(), cached


def test_two_processes_train_what_one_does(inputs, tmp_path, monkeypatch):
    alone = train(*inputs, Processes())
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    torch.multiprocessing.spawn(train_as_one_of_two, (tmp_path, *inputs), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))

    assert alone["traces"].shape == (3 * len(inputs[0].datasets) * 2, 3)  # loss, gradient norm and images of every step
    torch.testing.assert_close(first["traces"], alone["traces"], rtol=1e-4, atol=0)
    for name, tensor in first["tensors"].items():
        torch.testing.assert_close(tensor, alone["tensors"][name], rtol=1e-3, atol=1e-5, msg=name)
    for two, one in zip(first["conflicts"], alone["conflicts"], strict=True):
        torch.testing.assert_close(torch.tensor(two["cosine"]), torch.tensor(one["cosine"]), rtol=0, atol=1e-3)
    # Among themselves they do not differ by a bit: nothing would bring them together again.
    assert second["history"] == first["history"]
    assert torch.equal(second["traces"], first["traces"])
    assert second["conflicts"] == first["conflicts"]
    assert all(torch.equal(tensor, second["tensors"][name]) for name, tensor in first["tensors"].items())

    config, backbone, _ = inputs
    model = build_mosaic(config, backbone, 0)
    model.gated = config.routing.gate is not None
    for name in config.datasets:
        active = {key for key, _ in model.active_parameters(name)}
        prefixes = ("student", "teacher", "optimizer.exp_avg", "optimizer.exp_avg_sq")
        expected = {f"{prefix}.{key}" for prefix in prefixes for key in active}
        assert first["changed"][name] == second["changed"][name] == expected
