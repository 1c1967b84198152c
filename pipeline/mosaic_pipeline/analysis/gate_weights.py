"""What a learned gate makes of the specialists: how much it gives to each, and how decided it is."""

from typing import TYPE_CHECKING, Any, cast

import torch

from mosaic_pipeline.analysis.observe import observe
from mosaic_pipeline.analysis.subject import Subject
from mosaic_pipeline.present import present

if TYPE_CHECKING:
    from mosaic_pipeline.model.gate import Mixture


@torch.inference_mode()
def gate_weights(subject: Subject) -> dict[str, Any] | None:
    """Return the specialists and, by dataset and layer, their mean weights [L, S] and the weights' mean entropy [L].

    Entropies are in nats, 0 for a hard choice to ln S, of each token's weights, or of each image's where the gate looks
    at images. Only weights that act count: beside the last MLP those of the class token. None without a gate in use.
    """
    model = subject.model
    if not model.gated:
        return None
    depth, specialists = len(model.gates), list(model.specialists)
    weights: dict[str, list[list[float]]] = {}
    entropy: dict[str, list[float]] = {}
    for name in subject.cases:
        # By layer: summed weights, summed entropy, number of both.
        total = torch.zeros(depth, len(specialists) + 2, dtype=torch.float64, device=subject.device)
        for seen in observe(subject, name):
            given = present(cast("Mixture", seen.adapter).weights)
            given = given if seen.branch is None else given[:, : seen.h.shape[1]]
            given = given.double().flatten(0, 1)
            total[seen.layer, :-2] += given.sum(dim=0)
            total[seen.layer, -2] += torch.special.entr(given).sum()
            total[seen.layer, -1] += len(given)
        mean = total[:, :-1] / total[:, -1:]
        weights[name] = mean[:, :-1].tolist()
        entropy[name] = mean[:, -1].tolist()
    return {"specialists": specialists, "weights": weights, "entropy": entropy}
