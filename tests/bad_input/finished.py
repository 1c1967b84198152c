"""A tiny finished project: every stage's outputs as the stages write them, made in this process within seconds."""

import os
import runpy
import shlex
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DATASETS = ("retinamnist", "breastmnist", "nodulemnist3d")  # one of each specialist
EXTERNAL, CORRUPTION = "pneumoniamnist", "contrast"
VARIANTS = ("mosaic", "shared")  # `shared` is tuned, and its gradients are compared
TINY = {
    "data.datasets": list(DATASETS),
    "data.external": [EXTERNAL],
    "data.corruptions": [CORRUPTION],
    "phantom": {"train": 8, "val": 6, "test": 7},
    "model.backbone": "test_vit",  # 64 wide, 6 blocks
    "model.image_size": 32,
    "model.volume_size": 16,
    "adapter.bottleneck_a": 2,
    "adapter.bottleneck_b": 2,
    "adapter.bottleneck_c": 2,
    "adapter.bottleneck_shared": 3,
    "train.num_rounds": 1,
    "train.warmup_rounds": 0,
    "ablation.run": list(VARIANTS),
    "ablation.analyse": list(VARIANTS),
    "ablation.analyse_cases": 6,
    "ablation.tune.variants": ["shared"],
    "ablation.tune.grid": {"train.lr": [0.001, 0.01]},
    "compute.threads": 1,
    "tracking.system_metrics": False,
}
# What the environment of whoever runs the tests may hold, and must not decide one.
FOREIGN = ("MLFLOW_", "DVC_", "MOSAIC_", "LOCAL_RANK", "RANK", "WORLD_SIZE")


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status and what it printed; `traceback` if an exception left it."""

    status: int
    stdout: str
    stderr: str
    traceback: str = ""


def finish(folder: Path) -> Path:
    """Run all stages in `folder`, from a params.yaml of their own on, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    tree = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    described = tree["ablation"]["variants"]
    write_params(folder, TINY | {"ablation.variants": {name: described[name] for name in VARIANTS}}, tree)
    commands = ["declare", *(f"{stage} {name}" for name in DATASETS for stage in ("download", "cache"))]
    commands += [f"download_external {EXTERNAL}", f"cache_external {EXTERNAL}", "weights"]
    commands += ["recognise", f"recognise_external {EXTERNAL}"]
    for variant in VARIANTS:
        commands += [f"configure {variant}", f"tune {variant}", f"train {variant} 42"]
        commands += [f"evaluate {variant} 42 {specialist}" for specialist in "ABC"]
        commands += [f"analyse {variant} 42", f"corrupt {variant} 42 {CORRUPTION}", f"transfer {variant} 42 {EXTERNAL}"]
    for command in (*commands, "report", "mosaic bundle mosaic 42"):
        ended = run_stage(folder, command)
        assert ended.status == 0, f"{command}: {ended.stderr}{ended.traceback}"
    return folder


def write_params(folder: Path, changes: Mapping[str, Any], tree: dict[str, Any] | None = None) -> None:
    """Write params.yaml with other values at these dotted keys, in what stands there or in `tree`."""
    file = folder / "params.yaml"
    tree = tree or yaml.safe_load(file.read_text(encoding="utf-8"))
    for key, value in changes.items():
        *sections, last = key.split(".")
        part = tree
        # The keys of a grid and of a variant's overrides hold dots themselves; they are given as whole mappings.
        for section in sections:
            part = part[section]
        part[last] = value
    file.unlink(missing_ok=True)
    file.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")


def run_stage(folder: Path, command: str, environment: Mapping[str, str] = {}) -> Ended:
    """Do what `python -m stages.<command>` does in `folder`, or what `mosaic <...>` does, in this process.

    What must not stay behind for the next one is put back: the folder, the arguments and the environment.
    """
    stage, *arguments = shlex.split(command)
    module = f"stages.{stage}"
    if stage == "mosaic":
        module = f"mosaic_pipeline.commands.{arguments[0].replace('-', '_')}"
        arguments = arguments[1:]
    stdout, stderr, status, left = StringIO(), StringIO(), 0, ""
    with _placed(folder, environment), redirect_stdout(stdout), redirect_stderr(stderr), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*found in sys.modules.*", RuntimeWarning)
        sys.argv = [module, *arguments]
        try:
            runpy.run_module(module, run_name="__main__")
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
        except Exception:
            status, left = 1, traceback.format_exc()
    return Ended(status, stdout.getvalue(), stderr.getvalue(), left)


@contextmanager
def _placed(folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    before, argv, where = dict(os.environ), sys.argv, Path.cwd()
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        del os.environ[name]
    os.environ.update(environment)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(where)
        sys.argv = argv
        os.environ.clear()
        os.environ.update(before)
