"""The backbone that all variants share, as a file: weights/backbone.safetensors."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save

from mosaic_pipeline.atomic import atomic
from mosaic_pipeline.model.vit import VisionTransformer
from mosaic_pipeline.weights.load import PROVENANCE


def save_backbone(model: VisionTransformer, path: Path, provenance: dict[str, Any]) -> None:
    """Write the state dict, fp32, and where it comes from; the same bytes for the same values."""
    # safetensors puts several metadata entries in random order, so all of it stands in one.
    metadata = {PROVENANCE: json.dumps(provenance, sort_keys=True)}
    with atomic(path) as temporary:
        temporary.write_bytes(save(model.state_dict(), metadata))  # save_file would make it private (mode 0600)
