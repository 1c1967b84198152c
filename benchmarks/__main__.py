"""Measure the training engine: `python -m benchmarks` for all, or name what to measure.

Needs torch, timm and numpy alone; what measures the report's statistics (calibration, power, margin, rules), the report
of many trainings, corrupted images, exported graphs, segmentation, serving, tracking or an ablation's cells (matrix)
needs the whole environment. Prints tables and, with --json, writes every single measurement.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import torch

from benchmarks import busy, changes, cost, memory, products, scaling, startup, training
from benchmarks.result import Result, machine
from benchmarks.setting import settings

NAMES = tuple(settings("cpu", "bf16"))


def main() -> None:
    """Run the chosen benchmarks one after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "benchmark",
        nargs="*",
        metavar="benchmark",
        help="training, products, changes, startup, scaling, cost, memory, busy; and of the report's statistics, only "
        "where named: calibration, power, margin, rules; so are report, corruptions, exported, segmentation, "
        "serving, tracking, matrix",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--setting", action="append", choices=NAMES, help="measure only this one; may be repeated")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each measurement (default 3)")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16", help="of the engine (default bf16)")
    parser.add_argument("--compile", action="store_true", help="torch.compile in training and cost")
    parser.add_argument("--families", type=int, default=400, help="simulated families of each setting (default 400)")
    parser.add_argument("--root", type=Path, help="checkout whose trainings calibration sets against each other too")
    parser.add_argument("--bundle", type=Path, help="bundle that is served (default bundles/mosaic-42)")
    parser.add_argument("--variants", type=int, default=50, help="of the report's results (default 50)")
    parser.add_argument("--seeds", type=int, default=3, help="of each of these variants (default 3)")
    parser.add_argument("--rounds", type=int, default=100, help="of each of these trainings (default 100)")
    parser.add_argument("--analysed", type=int, default=50, help="how many of these variants are analysed (default 50)")
    parser.add_argument("--cases", type=int, default=96, help="test images of each of the 18 datasets (default 96)")
    parser.add_argument("--json", type=Path, help="file for all measurements")
    options = parser.parse_args()
    device, names = torch.device(options.device), options.setting or list(NAMES)
    repeats, precision = options.repeats, options.precision
    benchmarks: dict[str, Callable[[], Result]] = {
        "training": lambda: training.run(device, names, repeats, precision, options.compile),
        "products": lambda: products.run(device),
        "changes": lambda: changes.run(device, names, repeats, precision),
        "startup": lambda: startup.run(device, names, repeats, precision),
        "scaling": lambda: scaling.run(device, names, repeats, precision),
        "cost": lambda: cost.run(device, repeats, precision, options.compile),
        "memory": lambda: memory.run(device, precision),
        "busy": lambda: busy.run(device, names, repeats, precision),
    }
    named: dict[str, Callable[[], Result | Iterator[Result]]] = {
        "calibration": lambda: _calibration().run(options.families, options.root),
        "power": lambda: _calibration().run_power(options.families),
        "margin": lambda: _calibration().run_margin(options.families),
        "rules": lambda: _calibration().run_rules(options.families),
        "corruptions": lambda: _corruptions().run(repeats),
        "exported": lambda: _exported().run(names, repeats),
        "segmentation": lambda: _segmentation(repeats),
        "report": lambda: _report(options, repeats),
        "serving": lambda: _serving(repeats, options.bundle or Path("bundles/mosaic-42")),
        "tracking": lambda: _tracking().run(repeats),
        "matrix": lambda: _matrix().run(options.variants, options.seeds),
    }
    if unknown := set(options.benchmark) - set(benchmarks) - set(named):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join([*benchmarks, *named])}")
    described = machine(device)
    print(", ".join(f"{key} {value}" for key, value in described.items()), flush=True)
    results = []
    for name in options.benchmark or benchmarks:
        made = (benchmarks | named)[name]()
        for result in [made] if isinstance(made, Result) else made:
            results.append(result)
            print(f"\n{result.table()}\n", flush=True)
            if options.json:
                document = {"machine": described, "results": [asdict(each) for each in results]}
                options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _calibration() -> ModuleType:
    """Import what needs the whole environment, which the others do not."""
    from benchmarks import calibration

    return calibration


def _corruptions() -> ModuleType:
    """Import what needs scipy and Pillow, as above."""
    from benchmarks import corruptions

    return corruptions


def _exported() -> ModuleType:
    """Import what needs pydantic and, later, onnxruntime, as above."""
    from benchmarks import exported

    return exported


def _report(options: argparse.Namespace, repeats: int) -> Result:
    """Import what needs pydantic, as above; the stage that is measured needs MLflow and matplotlib."""
    from benchmarks import finished, report

    scale = finished.Scale(options.variants, options.seeds, options.rounds, options.analysed, options.cases)
    return report.run(scale, repeats)


def _serving(repeats: int, bundle: Path) -> Iterator[Result]:
    """Import what needs MLflow, as above; there are two tables."""
    from benchmarks import serving

    yield from serving.run(repeats, bundle)


def _tracking() -> ModuleType:
    """Import what needs MLflow, as above."""
    from benchmarks import tracking

    return tracking


def _matrix() -> ModuleType:
    """Import what needs DVC, as above."""
    from benchmarks import matrix

    return matrix


def _segmentation(repeats: int) -> Iterator[Result]:
    """Import what needs nibabel and, to compare with, MONAI, as above; there are two tables."""
    from benchmarks.segmentation import evaluation, training

    yield training.run(repeats)
    yield evaluation.run(repeats)


if __name__ == "__main__":
    main()
