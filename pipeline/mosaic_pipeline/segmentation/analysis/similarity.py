"""How alike the experts are: linear CKA of what they make of the same tokens (arXiv:1905.00414)."""

from typing import Any

import torch
from torch import Tensor

from mosaic_pipeline.analysis.cka import linear_cka
from mosaic_pipeline.segmentation.analysis.subject import Subject
from mosaic_pipeline.segmentation.analysis.watch import watching

TOKENS = 4  # taken of each slice, evenly spaced


def similarity(subject: Subject) -> dict[str, Any] | None:
    """Compare the experts layer by layer on tokens of all datasets, each routed as it is deployed.

    Returns experts, layers and the CKA [L, E, E]. None with fewer than two experts in one network.
    """
    experts, mlps = list(subject.model.config.experts.names), subject.mlps
    if len(experts) < 2 or not mlps:
        return None
    tokens: dict[str, list[Tensor]] = {layer: [] for layer in mlps}
    with watching(mlps) as watched:
        for name in subject.slices:
            for batch in subject.batches(name):
                subject.run(name, batch.images)
                for layer, seen in watched.inputs.items():
                    tokens[layer].append(_some(seen))
    with torch.inference_mode():
        cka = [
            linear_cka([expert(rows)[0].cpu() for expert in mlps[layer].experts.values()])
            for layer, rows in ((layer, torch.cat(parts)[None]) for layer, parts in tokens.items())
        ]
    return {"experts": experts, "layers": list(mlps), "cka": cka}


def _some(tokens: Tensor) -> Tensor:
    """Take TOKENS evenly spaced tokens of each slice [N, T, D]: [n, D]."""
    count, there = min(TOKENS, tokens.shape[1]), tokens.shape[1]
    picked = [(2 * index + 1) * there // (2 * count) for index in range(count)]
    return tokens[:, picked].flatten(0, 1).float()
