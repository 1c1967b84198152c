"""What learned gates make of the experts: how much each is given, how decided they are, and where in a slice."""

import math
from typing import Any

import torch

from mosaic_pipeline.data.batches import consecutive
from mosaic_pipeline.model.gate import Gate
from mosaic_pipeline.segmentation.analysis.subject import Subject
from mosaic_pipeline.segmentation.analysis.watch import watching

MAP_DIGITS = 3


def gate_weights(subject: Subject) -> dict[str, Any] | None:
    """Return experts, layers and, by dataset, the mean weights [L, E] and the weights' mean entropy [L].

    Entropies are in units of ln E, 0 for a hard choice to 1, of each token's weights, or of each image's where gates
    look at images. None without gates in use, and for those of the public code, whose weights are not of experts.
    """
    gates = _gates(subject)
    if not gates:
        return None
    experts = list(subject.model.config.experts.names)
    datasets = {}
    for name in subject.slices:
        # By layer: summed weights, summed entropy, number of both.
        total = {layer: torch.zeros(len(experts) + 2, dtype=torch.float64) for layer in gates}
        with watching(gates) as watched:
            for batch in subject.batches(name):
                subject.run(name, batch.images)
                for layer, weights in watched.outputs.items():
                    given = weights.double().flatten(0, 1).cpu()
                    total[layer][:-2] += given.sum(dim=0)
                    total[layer][-2] += torch.special.entr(given).sum() / math.log(len(experts))
                    total[layer][-1] += len(given)
        means = [sums[:-1] / sums[-1] for sums in total.values()]
        datasets[name] = {
            "weights": [mean[:-1].tolist() for mean in means],
            "entropy": [float(mean[-1]) for mean in means],
        }
    return {"experts": experts, "layers": list(gates), "datasets": datasets}


def gate_maps(subject: Subject) -> list[dict[str, Any]] | None:
    """Return weights [E, h, w] over the slice of each dataset that shows most of its organs, and the slice itself.

    For the first block with experts and the last, which have the most tokens. None without gates that look at tokens.
    """
    gates = {layer: gate for layer, gate in _gates(subject).items() if gate.looks_at == "tokens"}
    if not gates:
        return None
    layers = list(dict.fromkeys((next(iter(gates)), list(gates)[-1])))
    maps = []
    for name, chosen in subject.slices.items():
        areas = torch.cat([(batch.labels > 0).sum(dim=(1, 2)) for batch in subject.batches(name)])
        best = int(areas.argmax())
        (batch,) = chosen.batches(consecutive(slice(best, best + 1), 1))
        with watching({layer: gates[layer] for layer in layers}) as watched:
            subject.run(name, batch.images)
        image = ((batch.images[0].float() + 1) * 127.5).round().clamp(0, 255).int().tolist()
        for layer in layers:
            weights = watched.outputs[layer][0].double()
            side = math.isqrt(len(weights))
            rounded = weights.T.reshape(-1, side, side).cpu().numpy().round(MAP_DIGITS).tolist()
            experts = list(subject.model.config.experts.names)
            maps.append({"dataset": name, "layer": layer, "experts": experts, "weights": rounded, "image": image})
    return maps


def _gates(subject: Subject) -> dict[str, Gate]:
    """Return the gates that mix experts, by layer."""
    if not subject.model.gated:
        return {}
    return {layer: mlp.gate for layer, mlp in subject.mlps.items() if isinstance(mlp.gate, Gate)}
