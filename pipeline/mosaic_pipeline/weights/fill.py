"""From a file of weights into a timm ViT, every array accounted for."""

from pathlib import Path

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.model.vit import VisionTransformer
from mosaic_pipeline.weights.checkpoint import fill_from_checkpoint
from mosaic_pipeline.weights.files import kind_of
from mosaic_pipeline.weights.google_npz import Contents, check_npz, fits_layout, layout_of


def fill_from_npz(model: VisionTransformer, path: Path, architecture: str) -> Contents:
    """Fill every parameter of a plain ViT from an npz, through timm, which resizes positions of another grid.

    Raises PipelineError if the file does not fit (`check_npz`): timm alone would resample patches of another size
    and ignore blocks beyond the model's.
    """
    contents = check_npz(path, layout_of(model), architecture)
    model.load_pretrained(str(path))
    return contents


def fill(model: VisionTransformer, path: Path, architecture: str) -> Contents:
    """Fill every parameter of a ViT from a file of either kind. Raises PipelineError if it does not fit."""
    if kind_of(path) != "npz":
        return fill_from_checkpoint(model, path, architecture)
    if not fits_layout(model):
        raise PipelineError(
            f"{path}: an npz in Google's layout holds a plain ViT, and {architecture} is none (layer scale, registers, "
            "...); model.weights must be a safetensors or torch file, or null for random weights"
        )
    return fill_from_npz(model, path, architecture)
