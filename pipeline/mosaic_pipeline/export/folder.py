"""A bundle as a folder of ONNX graphs with export.json, which says what each takes and what it answers."""

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mosaic_pipeline.atomic import appearing
from mosaic_pipeline.bundle import Bundle
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.export.to_onnx import CHECKED_BATCHES, NEEDED, OPSET, Exported, check_installed, export_graphs

DESCRIPTION = "export.json"
NOTICE = "Not a medical device: limits, licences and test results are in the README.md of the bundle."


def write_export(bundle: Bundle, folder: Path, done: Callable[[Exported], None] = lambda exported: None) -> None:
    """Write the graphs of a bundle as a new folder; `done` is told of each.

    Raises PipelineError if something lies there already, without the packages, and for a graph that differs from torch.
    """
    check_installed()
    if folder.exists():
        raise PipelineError(f"{folder}: is there already; remove it, or say another folder with -o")
    known = bundle.manifest.datasets
    sizes = {name: each.preparation.size for name, each in known.items()}
    said = {name: _said(bundle, name) for name in known}
    graphs = {}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with appearing(folder) as partial:
        partial.mkdir()
        for exported in export_graphs(bundle.model, bundle.config, sizes, partial, said):
            graphs[exported.file] = exported.description | {"largest_difference_from_torch": exported.difference}
            done(exported)
        text = json.dumps(_origin(bundle) | {"graphs": graphs}, indent=2) + "\n"
        (partial / DESCRIPTION).write_text(text, encoding="utf-8", newline="\n")


def _said(bundle: Bundle, dataset: str) -> dict[str, Any]:
    known = bundle.manifest.datasets[dataset]
    return {
        "title": known.title,
        "task": bundle.datasets[dataset].task,
        "classes": known.class_names,
        "licence": known.licence,
        "prepared": known.preparation.model_dump(),
    }


def _origin(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "format": 1,
        "notice": NOTICE,
        "variant": manifest.variant,
        "seed": manifest.seed,
        "md5": manifest.provenance.md5["model"],
        "revision": manifest.provenance.revision,
        "precision": "fp32",
        "trained_in": bundle.config.precision,
        "opset": OPSET,
        "made_with": {name: version(name) for name in ("torch", *NEEDED)},
        "checked_batches": list(CHECKED_BATCHES),
    }
