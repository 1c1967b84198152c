"""From Google's npz through a timm ViT to safetensors, every array accounted for."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save

from pipeline.atomic import atomic
from pipeline.model.vit import VisionTransformer
from pipeline.weights.google_npz import Contents, check_npz, layout_of
from pipeline.weights.load import PROVENANCE


def fill_from_npz(model: VisionTransformer, path: Path, architecture: str) -> Contents:
    """Fill every parameter of a plain ViT from an npz, through timm, which resizes positions of another grid.

    Raises PipelineError if the file does not fit (`check_npz`): timm alone would resample patches of another size
    and ignore blocks beyond the model's.
    """
    contents = check_npz(path, layout_of(model), architecture)
    model.load_pretrained(str(path))
    return contents


def save_backbone(model: VisionTransformer, path: Path, provenance: dict[str, Any]) -> None:
    """Write the state dict, fp32, and where it comes from; the same bytes for the same values."""
    # safetensors puts several metadata entries in random order, so all of it stands in one.
    metadata = {PROVENANCE: json.dumps(provenance, sort_keys=True)}
    with atomic(path) as temporary:
        temporary.write_bytes(save(model.state_dict(), metadata))  # save_file would make it private (mode 0600)
