"""That the benchmarks of segmentation measure what they say, on networks too small to measure anything."""

import json
import sys
import weakref

import nibabel
import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import __main__ as command
from benchmarks.engine import seconds_per_step
from benchmarks.result import Result
from benchmarks.segmentation import evaluation, training
from benchmarks.segmentation.data import write_scan, write_slices
from benchmarks.segmentation.plain import PARTS, PHASES, PlainLoop, PlainM4oE
from benchmarks.segmentation.setting import SETS, full_config
from mosaic_pipeline.segmentation.config import Architecture, Augment
from mosaic_pipeline.segmentation.evaluation import test_set
from mosaic_pipeline.segmentation.model.build import build_m4oe
from mosaic_pipeline.segmentation.model.cost import slice_macs
from mosaic_pipeline.segmentation.model.m4oe import M4oE

SMALL = Architecture(
    dim=8, depths=(2, 2), heads=(1, 2), window=2, patch=4, size=16, channels=3, drop_path=0.0, weights=None
)
COUNT = 4


@pytest.fixture(autouse=True)
def _threads():
    """What is measured takes one thread, in a process that is then not a fresh one."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    """Slices that are scanned at the network's own size, so that neither side has to resize them."""
    folder = tmp_path_factory.mktemp("slices")
    write_slices(folder, full_config("experts", model=SMALL), COUNT, scanned=SMALL.size)
    return folder


def still(phase):
    """A configuration that neither moves a slice nor, to speak of, a weight, a slice at a time."""
    config = full_config(phase, model=SMALL, batch_size=1)
    none = Augment(rotate=0, scale=0, intensity=0, flip=False)
    return config.model_copy(update={"train": config.train.model_copy(update={"augment": none, "lr": 1e-30})})


def load(plain: PlainM4oE, model: M4oE) -> None:
    """Give the plain model the weights of this project's."""
    names = model.config.experts.names
    state = {}
    for name, tensor in model.state_dict().items():
        for number, expert in enumerate(names):
            name = name.replace(f".experts.{expert}.", f".experts.{number}.")
        for number, dataset in enumerate(model.datasets):
            name = name.replace(f"heads.{dataset}.", f"heads.{number}.")
        state[name.replace("trunks.shared.", "trunk.").replace(".gate.linear.", ".gate.")] = tensor
    plain.load_state_dict(state)


@pytest.mark.parametrize("phase", PHASES)
def test_the_plain_loop_loses_on_a_mixed_batch_what_the_trainer_loses_on_its_slices_one_by_one(slices, phase):
    config = still(phase)
    trainer, loop = training.build_trainer(slices, config), PlainLoop(config, slices)
    for gate in trainer.student.gates.values():
        torch.nn.init.normal_(gate.linear.weight)  # else all experts weigh the same
    load(loop.model, trainer.student)
    ours = [trainer.visit(name) for name in SETS]
    images, labels, sets = zip(*loop.loader.dataset, strict=True)
    theirs = loop.step(torch.stack(images), torch.stack(labels), torch.tensor(sets), phase)
    assert theirs == pytest.approx(np.mean(ours), rel=1e-4)
    assert len(sets) == COUNT * len(SETS)
    assert len(set(ours)) == len(SETS)


def test_all_experts_of_the_plain_loop_compute_in_both_phases():
    config = full_config("gate", model=SMALL)
    plain, counted = PlainM4oE(config), {}
    with torch.device("meta"):
        model = M4oE(config)
    for phase in PHASES:
        plain.route.gated = phase == "gate"
        with FlopCounterMode(display=False) as counter:
            plain(torch.zeros(1, 1, SMALL.size, SMALL.size), torch.tensor([0]))
        counted[phase] = counter.get_total_flops() // 2
    assert counted["gate"] == slice_macs(model, SETS[0], "gate")
    assert slice_macs(model, SETS[0], "experts") < 0.7 * counted["experts"]


def test_the_plain_loop_resizes_what_was_scanned_larger(tmp_path):
    config = full_config("experts", model=SMALL)
    write_slices(tmp_path, config, 2, scanned=40)
    image, labels, number = PlainLoop(config, tmp_path).loader.dataset[-1]
    assert image.shape == (1, SMALL.size, SMALL.size)
    assert labels.shape == (SMALL.size, SMALL.size)
    assert image.dtype == torch.float32
    assert number == len(SETS) - 1
    assert 0 < labels.max() < config.datasets[SETS[-1]].num_classes


def test_the_model_that_is_measured_is_the_published_one():
    config = full_config("gate")
    with torch.device("meta"):
        model = M4oE(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == 58_486_830
    assert [each.num_classes for each in config.datasets.values()] == [14, 3, 16]


def test_a_row_says_how_much_faster_the_trainer_is_in_each_run():
    trainer = [{"experts": {"fp32": 2.0, "bf16": 1.0}, "gate": {"fp32": 4.0}}] * 2
    plain = [{phase: dict.fromkeys(PARTS, seconds) for phase in PHASES} for seconds in (1.0, 2.0)]
    rows = training.rows(trainer, plain)
    assert [(row["phase"], row["trainer in"], row["ratio"]) for row in rows] == [
        ("experts", "fp32", [2.5, 5.0]),
        ("experts", "bf16", [5.0, 10.0]),
        ("gate", "fp32", [1.25, 2.5]),
    ]
    assert [round(row["ratio of products"], 2) for row in rows] == [2.06, 2.06, 1.0]
    assert training.shares(plain) == "data 20 %, forward 20 %, loss 20 %, backward 20 %, update 20 %"


def test_the_trainer_is_timed_in_each_phase_and_precision(slices, monkeypatch):
    monkeypatch.setattr(
        training, "seconds_per_step", lambda trainer, *_: f"{trainer.phase_name} {trainer.config.precision}"
    )
    config = full_config("experts", model=SMALL, batch_size=1)
    found = training.measure_trainer(slices, config, ["fp32", "bf16"])
    assert found == {phase: {name: f"{phase} {name}" for name in ("fp32", "bf16")} for phase in PHASES}


def test_the_plain_loop_is_timed_part_by_part_in_both_phases_but_for_the_first_step_of_each(slices, monkeypatch):
    done, step = [], PlainLoop.step
    monkeypatch.setattr(PlainLoop, "step", lambda *given: (done.append(given[4]), step(*given)))
    config = full_config("experts", model=SMALL)
    laps = PlainLoop(config, slices).run(skipped=len(PHASES))
    steps = len(SETS) * COUNT // config.train.batch_size
    assert done == list(PHASES) * (steps // 2)
    for each in laps.values():
        assert len(each) == steps // 2 - 1
        assert all(tuple(lap) == PARTS and min(lap.values()) > 0 for lap in each)


def test_the_first_step_on_each_set_is_not_timed(slices):
    trainer = training.build_trainer(slices, full_config("experts", model=SMALL))
    # By a clock that goes on by a second with every step.
    assert seconds_per_step(trainer, 1, lambda: trainer.step) == 1


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


def test_the_image_is_not_in_memory_while_it_is_measured(tmp_path, monkeypatch):
    read, measured = [], []

    def read_case(*arguments):
        scan, reference = test_set_read_case(*arguments)
        read.append(weakref.ref(scan))
        return scan, reference

    def case_record(*arguments):
        measured.append(read[-1]())
        return test_set_case_record(*arguments)

    test_set_read_case, test_set_case_record = test_set.read_case, test_set.case_record
    monkeypatch.setattr(test_set, "read_case", read_case)
    monkeypatch.setattr(test_set, "case_record", case_record)
    write_scan(tmp_path, evaluation.CASE, (24, 24, 8), (16.0, 16.0, 10.0))
    evaluation.measure_large(tmp_path, SMALL)
    assert measured == [None]


def test_all_tables_of_a_benchmark_are_printed_and_written(tmp_path, monkeypatch, capsys):
    tables = [Result("one", [{"ratio": [1.0, 2.0]}]), Result("two", [{"measured": 3.0}])]
    monkeypatch.setattr(command, "_segmentation", lambda repeats: iter(tables))
    monkeypatch.setattr(sys, "argv", ["benchmarks", "segmentation", "--json", str(tmp_path / "all.json")])
    command.main()
    assert [each["name"] for each in json.loads((tmp_path / "all.json").read_text())["results"]] == ["one", "two"]
    printed = capsys.readouterr().out
    assert "## one" in printed
    assert "## two" in printed
