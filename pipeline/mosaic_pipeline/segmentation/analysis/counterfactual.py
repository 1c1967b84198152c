"""Experts in the place of others: what each dataset's validation slices score through each expert."""

import math
from statistics import fmean
from typing import Any

from torch import Tensor

from mosaic_pipeline.segmentation.analysis.subject import Subject
from mosaic_pipeline.segmentation.model.m4oe import M4oE
from mosaic_pipeline.segmentation.training.validation import organ_dsc


def counterfactual(subject: Subject) -> dict[str, Any] | None:
    """Send every dataset through every expert, with its own head.

    Returns datasets, experts, each dataset's `own`, and the mean DSC over organs [D, E], nan where there is none to be
    found; on the network's grid, of a case's slices together. None with one expert, or where a gate mixes them.
    """
    model = subject.model
    experts = list(model.config.experts.names)
    if len(experts) < 2 or model.gated:
        return None
    dsc = []
    for name, chosen in subject.slices.items():
        row = []
        for expert in experts:
            found = organ_dsc(
                _Through(model, expert),
                chosen,
                name,
                model.datasets[name],
                precision=subject.precision,
                batch_size=subject.batch_size,
            )
            defined = [value for value in found.values() if not math.isnan(value)]
            row.append(fmean(defined) if defined else math.nan)
        dsc.append(row)
    own = [model.config.experts.of[name] for name in subject.slices]
    return {"datasets": list(subject.slices), "experts": experts, "own": own, "dsc": dsc}


class _Through:
    """A model, in evaluation mode, of which one expert computes for every dataset."""

    def __init__(self, model: M4oE, expert: str) -> None:
        self._model, self._expert = model.eval(), expert

    def __call__(self, images: Tensor, dataset: str) -> Tensor:
        return self._model(images, dataset, expert=self._expert)

    def eval(self) -> None:
        """Stay as it is."""

    train = eval
