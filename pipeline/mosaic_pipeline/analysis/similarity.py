"""How alike the specialists are: linear CKA of what they add to the same tokens (arXiv:1905.00414)."""

from typing import Any

import torch
from torch import Tensor

from mosaic_pipeline.analysis.cka import linear_cka
from mosaic_pipeline.analysis.observe import Seen, observe
from mosaic_pipeline.analysis.subject import Subject
from mosaic_pipeline.model.specialist import Adapter
from mosaic_pipeline.present import present

# Patch tokens taken of each image, evenly spaced, beside its class token. Tokens as the model has them rather than
# their mean, which no adapter ever sees.
PATCHES = 3


@torch.inference_mode()
def similarity(subject: Subject) -> dict[str, Any] | None:
    """Compare the specialists layer by layer on tokens of all datasets, each routed as trained.

    Every specialist's adapter of a layer gets the same tokens, those that the layer's adapters see: the class token and
    PATCHES patch tokens of each case, beside the last MLP the class token alone. Returns the specialists and the CKA
    [L, S, S] of their contributions, nan where one adds the same to all tokens. None with fewer than two specialists,
    and for prompts, which add nothing to a token.
    """
    specialists = list(subject.model.specialists)
    if len(specialists) < 2:
        return None
    tokens: list[list[Tensor]] = [[] for _ in subject.model.backbone.blocks]
    for name in subject.cases:
        for seen in observe(subject, name):
            rows = _tokens_of(seen)
            if rows is None:
                return None
            tokens[seen.layer].append(rows)
    layers = [
        linear_cka([contribution(subject.model.specialists[name][layer], torch.cat(rows)) for name in specialists])
        for layer, rows in enumerate(tokens)
    ]
    return {"specialists": specialists, "layers": layers}


def contribution(adapter: Adapter, tokens: Tensor) -> Tensor:
    """Return what an adapter adds for tokens [n, D]: [n, D], or [n, 2 D] for queries and values side by side."""
    branch = adapter.beside_mlp(tokens[None])
    added = adapter.query_value(tokens[None]) if branch is None else (branch,)
    return torch.cat(present(added), dim=-1)[0]


def _tokens_of(seen: Seen) -> Tensor | None:
    """Take the class token and PATCHES patch tokens of each image, [n, D], where its adapters see them."""
    if seen.branch is not None:
        x = seen.h
    elif seen.query_value is not None:
        x = seen.u
    else:
        return None
    patches = x.shape[1] - 1
    count = min(PATCHES, patches)
    picked = [0] + [1 + (2 * index + 1) * patches // (2 * count) for index in range(count)]
    return x[:, picked].flatten(0, 1).float()
