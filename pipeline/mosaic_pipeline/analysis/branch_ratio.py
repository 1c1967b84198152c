"""How much the specialists add: the norm of their branch beside that of the MLP's output."""

import torch

from mosaic_pipeline.analysis.observe import observe
from mosaic_pipeline.analysis.subject import Subject


@torch.inference_mode()
def branch_ratio(subject: Subject) -> dict[str, list[float]] | None:
    """Return by dataset the mean over tokens of ||branch|| / ||MLP(h)|| in each layer, [L].

    The branch is what is added to the stream: with its scale, and mixed where a gate is in use. The last layer has the
    class token alone. None without a branch beside the MLP.
    """
    depth = len(subject.model.backbone.blocks)
    ratios: dict[str, list[float]] = {}
    for name in subject.cases:
        total = torch.zeros(depth, dtype=torch.float64, device=subject.device)
        tokens = [0] * depth
        for seen in observe(subject, name):
            if seen.branch is None:
                return None
            ratio = seen.branch.float().norm(dim=-1) / seen.mlp.float().norm(dim=-1)
            total[seen.layer] += ratio.double().sum()
            tokens[seen.layer] += ratio.numel()
        ratios[name] = [value / count for value, count in zip(total.tolist(), tokens, strict=True)]
    return ratios
