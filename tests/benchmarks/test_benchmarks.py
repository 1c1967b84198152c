"""That the benchmarks measure what they say, on inputs too small to measure anything."""

import itertools
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from benchmarks import engine, memory, plain, setting
from benchmarks.data import write_training_splits
from benchmarks.products import PROBE, product_rate
from benchmarks.result import Result
from mosaic_pipeline import config

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
# What a machine with torch, timm and numpy alone does not have.
ABSENT = (
    "pydantic",
    "scipy",
    "pandas",
    "mlflow",
    "dvc",
    "sklearn",
    "medmnist",
    "pooch",
    "ruamel",
    "matplotlib",
    "psutil",
)

SMALL = setting.settings("cpu", "fp32")["vit_tiny_2d"].but(
    image_size=32, volume_size=16, batch_size=2, steps=1, skipped=1
)


def test_both_loops_run_where_only_torch_timm_and_numpy_are_installed(tmp_path):
    program = f"""
import sys
sys.modules.update(dict.fromkeys({ABSENT}))  # None: an import fails as if there were none
import benchmarks.__main__
from pathlib import Path
import torch
from benchmarks.data import write_training_splits
from benchmarks.setting import settings
from benchmarks.training import measure_engine, measure_plain
small = settings("cpu", "bf16")["vit_tiny_2d"].but(image_size=32, batch_size=2, steps=1, skipped=1)
write_training_splits(Path({str(tmp_path)!r}), small)
for measured in (
    measure_engine(small, Path({str(tmp_path)!r}), torch.device("cpu"), False),
    measure_plain(small, Path({str(tmp_path)!r}), torch.device("cpu")),
):
    assert measured["seconds"] > 0 and measured["host_mb"] > 0, measured
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


@pytest.mark.parametrize("name", [setting.IMAGES, setting.VOLUMES])
def test_the_plain_loop_trains_the_same_function_as_the_engine(name):
    chosen = SMALL.but(datasets=setting.of(name))
    theirs, ours = plain.PlainMosaic(chosen), engine.build_model(chosen)
    for parameter in theirs.adapters.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    ours.backbone.load_state_dict(theirs.vit.state_dict())
    ours.heads.load_state_dict(theirs.heads.state_dict())
    for specialist, layers in theirs.adapters.items():
        for bottleneck, (down, _, up) in zip(ours.specialists[specialist], layers, strict=True):
            bottleneck.down.load_state_dict(down.state_dict())
            bottleneck.up.load_state_dict(up.state_dict())
    for tokenizer in ours.tokenizers_3d.values():
        tokenizer.projection.load_state_dict(theirs.conv3d.state_dict())
        tokenizer.positions.data.copy_(theirs.positions)
    images = torch.randn((2, 3, 32, 32) if name == setting.IMAGES else (2, 1, 16, 16, 16))
    for mine, other in zip(ours(images, name), theirs(images, name), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)
    # The plain model always has the 3D tokenizer.
    unused = 0 if ours.tokenizers_3d else theirs.positions.numel() + sum(p.numel() for p in theirs.conv3d.parameters())
    trained = sum(p.numel() for p in theirs.parameters() if p.requires_grad)
    assert trained - unused == ours.parameter_counts()["trainable"]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (setting.Architecture, config.Architecture),
        (setting.Momentum, config.Momentum),
        (setting.Train, config.Recipe),
    ],
)
def test_a_setting_has_the_fields_of_a_configuration(ours, theirs):
    assert {field.name for field in fields(ours)} == set(theirs.model_fields)


def test_the_paper_is_what_is_measured(params):
    base = setting.settings("cuda", "bf16")["vit_base_2d"]
    assert (base.train.batch_size, base.model.image_size, base.model.volume_size) == (32, 224, 64)
    adapter = params.adapter
    assert {"A": adapter.bottleneck_a, "B": adapter.bottleneck_b, "C": adapter.bottleneck_c} == setting.WIDTHS


def test_a_sparse_file_of_many_gigabytes_takes_next_to_no_disk(tmp_path):
    memory.write_sparse_split(tmp_path, SMALL.but(stored={2: 224, 3: 64}), gigabytes=5)
    file = tmp_path / setting.IMAGES / "train_images.npy"
    assert file.stat().st_size > 4.9e9
    assert file.stat().st_blocks * 512 < 1e6


def test_the_teacher_is_weighed_by_what_it_does_not_share():
    trainable, extra = memory.weigh_teacher(SMALL, CPU)
    assert extra == trainable > 0


def test_what_is_timed_outside_the_core_trains_nothing_but_moves_the_teacher(tmp_path):
    write_training_splits(tmp_path, SMALL)
    trainer = engine.build_trainer(SMALL, tmp_path, CPU)
    torch.nn.init.ones_(trainer.student.heads[setting.IMAGES].bias)
    student = {name: tensor.clone() for name, tensor in trainer.student.trainable_state().items()}
    assert engine.seconds_outside_the_core(trainer, setting.IMAGES) > 0
    assert all(torch.equal(tensor, student[name]) for name, tensor in trainer.student.trainable_state().items())
    # Two steps at m = 0.9, from 0 towards 1.
    torch.testing.assert_close(trainer.teacher.heads[setting.IMAGES].bias, torch.full((9,), 1 - 0.9**2))


def test_products_are_timed_by_the_clock_that_is_given():
    # One that goes on by a second at each look finds the small product slow, and the large one is not tried.
    assert product_rate(CPU, "fp32", itertools.count().__next__) == pytest.approx(2 * PROBE**3)


def test_a_table_shows_the_median_and_the_range():
    table = Result("speed", [{"what": "a", "images/s": [3.0, 1.0, 200.0]}, {"what": "b", "more": 5}]).table()
    assert [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:6]] == [
        ["what", "images/s", "more"],
        ["------", "--------------", "------"],
        ["a", "3 (1 to 200)", ""],
        ["b", "", "5"],
    ]
