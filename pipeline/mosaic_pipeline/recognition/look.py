"""The backbone that the weights stage made, alone, and what it makes of a split, a batch at a time."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from mosaic_pipeline.compute import store_matrices_in_bf16
from mosaic_pipeline.config import Architecture
from mosaic_pipeline.data.augment import STATISTICS
from mosaic_pipeline.data.batches import Split, consecutive
from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.layout import BACKBONE
from mosaic_pipeline.model.linear import use_pointwise
from mosaic_pipeline.model.vit import VisionTransformer
from mosaic_pipeline.recognition.features import backbone_features
from mosaic_pipeline.recognition.moments import Moments, groups_of
from mosaic_pipeline.recognition.recogniser import Sight
from mosaic_pipeline.recognition.trial import Seen
from mosaic_pipeline.weights.load import known_statistics, load_backbone, read_provenance

if TYPE_CHECKING:
    from mosaic_pipeline.params import Model


def load_alone(model: "Model", precision: str, device: torch.device) -> tuple[VisionTransformer, Sight]:
    """Return the backbone of the weights stage, as frozen ones compute, and how it has to see images.

    Raises PipelineError if the file holds another one, or does not say by which statistics it was trained.
    """
    absent = dict.fromkeys(Architecture.model_fields)
    given = {
        "backbone": model.backbone,
        "backbone_args": model.backbone_args.given() or None,
        "patch_size": model.patch_size,
        "image_size": model.image_size,
        "embedding_norm": False,
        "frozen": True,
    }
    backbone = load_backbone(BACKBONE, Architecture.model_validate(absent | given))
    known = model.normalisation != "auto"
    statistics = STATISTICS[model.normalisation] if known else known_statistics(read_provenance(BACKBONE))
    if precision == "bf16":
        store_matrices_in_bf16(backbone)
    use_pointwise(backbone)
    return backbone.eval().to(device), Sight(model.image_size, statistics, precision)


def see(
    backbone: VisionTransformer, splits: tuple[Split, Split, Split], dataset: Dataset, sight: Sight, batch_size: int
) -> Seen:
    """Return what the backbone sees in the training, validation and test `splits` of a dataset."""
    train, validation, test = splits
    moments = Moments.empty(dataset, backbone.embed_dim)
    for features, labels in look_at(backbone, train, sight, batch_size):
        moments.add(features, groups_of(dataset, labels))
    return Seen(moments, *(all_features(backbone, split, sight, batch_size) for split in (validation, test)))


def all_features(backbone: VisionTransformer, split: Split, sight: Sight, batch_size: int) -> NDArray[np.float32]:
    """Return the features [N, D] of a split's cases in stored order."""
    return np.concatenate([features for features, _ in look_at(backbone, split, sight, batch_size)])


def look_at(
    backbone: VisionTransformer, split: Split, sight: Sight, batch_size: int
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Yield features [B, D] and labels [B, L] of a split's cases in stored order, `batch_size` at a time."""
    for batch in split.batches(consecutive(slice(0, len(split)), batch_size)):
        features = backbone_features(
            backbone, batch.images, size=sight.size, statistics=sight.statistics, precision=sight.precision
        )
        yield features.cpu().numpy(), batch.labels.cpu().numpy()
