import math
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from mosaic_pipeline.errors import ProcessLost
from mosaic_pipeline.processes import Processes, joined

CPU = torch.device("cpu")
# Passes that divide evenly, end in a short batch, and have batches with fewer images than processes.
PASSES = [(12, 4, 2), (13, 4, 2), (20, 8, 3), (10, 8, 4), (7, 3, 4), (1, 8, 3), (5, 1, 2), (64, 32, 8), (9, 4, 1)]


def everyone(count: int) -> list[Processes]:
    return [Processes(rank, count) for rank in range(count)]


@pytest.mark.parametrize(("total", "batch_size", "count"), PASSES)
def test_the_shares_of_all_processes_cover_each_batch_exactly_once(total, batch_size, count):
    shares = [processes.shares(total, batch_size) for processes in everyone(count)]
    assert {len(own) for own in shares} == {math.ceil(total / batch_size)}
    for number, parts in enumerate(zip(*shares, strict=True)):
        start = number * batch_size
        size = min(batch_size, total - start)
        assert {part.batch for part in parts} == {size}
        # Every process takes part in every step, with at least one image.
        assert all(start <= part.positions.start < part.positions.stop <= start + size for part in parts)
        counted = [i for part in parts if part.weight for i in range(part.positions.start, part.positions.stop)]
        assert counted == list(range(start, start + size))
        assert sum(part.weight for part in parts) == pytest.approx(count)
    assert sum(share.batch for share in shares[0]) == total


@pytest.mark.parametrize(("total", "batch_size", "count"), PASSES)
def test_the_mean_over_processes_of_weighted_means_is_the_mean_of_the_batch(total, batch_size, count):
    values = torch.randn(total, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shares = [processes.shares(total, batch_size) for processes in everyone(count)]
    for batch, parts in zip(values.split(batch_size), zip(*shares, strict=True), strict=True):
        mean = sum(part.weight * values[part.positions].mean() for part in parts) / count
        torch.testing.assert_close(mean, batch.mean())


@pytest.mark.parametrize(("total", "count"), [(0, 3), (1, 3), (2, 3), (3, 3), (4, 3), (5, 4), (6, 3), (100, 7), (5, 1)])
def test_the_blocks_of_all_processes_cover_all_rows_once_in_order(total, count):
    blocks = [processes.block(total) for processes in everyone(count)]
    assert [row for block in blocks for row in range(block.start, block.stop)] == list(range(total))


@pytest.mark.parametrize(("total", "count"), [(0, 3), (1, 3), (2, 3), (3, 3), (5, 3), (5, 4), (100, 7)])
def test_gathered_blocks_are_all_rows_once_in_order(monkeypatch, total, count):
    rows = torch.arange(2 * total).reshape(total, 2)
    padded = {}

    def all_gather(blocks, own) -> None:
        padded[own.data_ptr()] = own
        for block, processes in zip(blocks, everyone(count), strict=True):
            sent = rows[processes.block(total)]
            assert block.shape == own.shape  # gloo and nccl want the same shape from all
            block[: len(sent)] = sent
            block[len(sent) :] = -1

    monkeypatch.setattr(dist, "all_gather", all_gather)
    for processes in everyone(count):
        assert torch.equal(processes.gather(rows[processes.block(total)], total), rows)


def test_alone_nothing_is_shared_out_or_changed():
    alone, model, rows = Processes(), nn.Linear(2, 2), torch.randn(5, 2)
    assert alone.leads
    assert alone.wrap(model, partly_used=True) is model
    assert alone.gather(rows, 5) is rows
    assert alone.sum(rows) is rows
    assert (alone.any(True), alone.any(False)) == (True, False)
    value = object()
    assert alone.agree(value) is value


def exchange(rank: int, count: int, folder: Path) -> None:
    """Do each collective operation once, in one of several real processes."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=count)
    processes = Processes(rank, count)
    found = {"leads": processes.leads}
    for total in (1, 3, 5, 7):
        rows = torch.arange(2.0 * total).reshape(total, 2)[processes.block(total)]
        found[f"gather {total}"] = processes.gather(rows, total)
    mine = torch.tensor([rank + 1.0, 10.0])
    found["sum"] = processes.sum(mine)
    found["mine"] = mine
    found["any"] = [processes.any(rank == only) for only in (0, 1, 2, None)]
    found["agree"] = processes.agree({"from": rank, "tensor": torch.tensor(float(rank))})
    model = processes.wrap(nn.Linear(1, 1, bias=False), partly_used=False)
    model(torch.tensor([[rank + 1.0]])).sum().backward()
    found["gradient"] = model.module.weight.grad
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_three_processes_gather_sum_and_agree(tmp_path, monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    torch.multiprocessing.spawn(exchange, (3, tmp_path), nprocs=3)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(3)]
    assert [each["leads"] for each in found] == [True, False, False]
    for rank, each in enumerate(found):
        for total in (1, 3, 5, 7):
            assert torch.equal(each[f"gather {total}"], torch.arange(2.0 * total).reshape(total, 2))
        assert each["sum"].tolist() == [6, 30]
        assert each["mine"].tolist() == [rank + 1, 10]
        assert each["any"] == [True, True, True, False]
        assert each["agree"] == {"from": 0, "tensor": torch.tensor(0.0)}
        assert each["gradient"].item() == pytest.approx(2)  # the mean of 1, 2 and 3


def test_without_torchrun_a_process_is_alone(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with joined(CPU) as processes:
        assert processes == Processes()
    assert not dist.is_initialized()


@pytest.fixture
def second_of_three(monkeypatch, as_process):
    """The environment of a process that torchrun started, without the others."""
    as_process(1, 3)
    monkeypatch.setattr(dist, "init_process_group", lambda *arguments, **keywords: None)
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    monkeypatch.setattr(dist, "get_world_size", lambda: 3)
    left = []
    monkeypatch.setattr(dist, "destroy_process_group", lambda: left.append(True))
    return left


def test_a_process_joins_under_its_number_and_leaves_in_the_end(second_of_three):
    with joined(CPU) as processes:
        assert processes == Processes(1, 3)
        assert not second_of_three
    assert second_of_three


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer"),
        dist.DistBackendError("NCCL communicator was aborted"),
    ],
)
def test_a_lost_process_is_told_as_such_and_not_waited_for(second_of_three, error):
    with pytest.raises(ProcessLost, match="process 1 of 3 lost the others") as lost, joined(CPU):
        raise error
    assert lost.value.__cause__ is error
    assert not second_of_three


def test_another_error_is_not_taken_for_a_lost_process(second_of_three):
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), joined(CPU):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(KeyError), joined(CPU):
        raise KeyError("gloo")
    assert not second_of_three
