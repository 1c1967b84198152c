"""Each dataset's own best round: the choice of single-task training, where nothing that is trained is shared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np
from torch import Tensor

from mosaic_pipeline.model.mosaic import Mosaic
from mosaic_pipeline.training.stopping import MONITORED

# What the model file calls the model that is put together from the datasets' own rounds.
COMPOSED = "composed"


class Outcome(TypedDict):
    """The round that a dataset is deployed from, the model of the two, and its score there."""

    round: int
    deployed: str
    score: float


@dataclass
class OwnRounds:
    """What each dataset trains, as it was in the round and the model (student or teacher) best for that dataset.

    `parts` names each dataset's tensors; no tensor is of two datasets. A dataset's score is what `monitor` names of its
    validation split, without an AUC that is undefined there. As for all datasets together, the teacher wins a tie and
    a later round has to be better by more than `min_delta`: a dataset ends with what it would have ended with alone.
    """

    parts: dict[str, list[str]]
    monitor: str
    min_delta: float
    best: dict[str, tuple[int, str, float]] = field(default_factory=dict)  # round from 1, model, score
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def update(self, row: Mapping[str, float], models: Mapping[str, Mosaic]) -> None:
        """Keep what the round of this row of the history made better; `models` are the student and the teacher."""
        states = {which: model.trainable_state() for which, model in models.items()}
        for name, part in self.parts.items():
            scores = {which: self._score(row, f"{name}/{which}") for which in models}
            which = "student" if scores["student"] > scores["teacher"] else "teacher"
            if name not in self.best or scores[which] > self.best[name][2] + self.min_delta:
                self.best[name] = (int(row["round"]), which, scores[which])
                self.tensors |= {key: states[which][key].cpu().clone() for key in part}

    def _score(self, row: Mapping[str, float], prefix: str) -> float:
        """Mean of the measures that are monitored and defined; ACC, which always is, where none of them is."""
        values = [row[f"{prefix}_{measure}"] for measure in MONITORED[self.monitor]]
        defined = [value for value in values if not np.isnan(value)]
        return float(np.mean(defined or [row[f"{prefix}_acc"]]))

    def outcome(self) -> dict[str, Outcome]:
        """Return by dataset its round, the model of the two that it is from, and its score there."""
        return {
            name: {"round": number, "deployed": which, "score": score}
            for name, (number, which, score) in self.best.items()
        }
