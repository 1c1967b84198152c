"""The training of M4oE: masked modelling if asked for, experts by hard routing, then the gate that mixes them.

Or, in the place of the gate, experts that join while all else stays as it is.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mosaic_pipeline.compute import autocast
from mosaic_pipeline.data.batches import Batch
from mosaic_pipeline.processes import Processes, Share
from mosaic_pipeline.segmentation.model.m4oe import M4oE
from mosaic_pipeline.segmentation.model.pretrain import draw_masks, reconstruction_loss
from mosaic_pipeline.segmentation.training.augment import Draws, augment, draw
from mosaic_pipeline.segmentation.training.losses import class_weights, segmentation_loss
from mosaic_pipeline.segmentation.training.validation import organ_dsc, reconstruction_error
from mosaic_pipeline.streams import stream
from mosaic_pipeline.training.engine import Engine, Phase

if TYPE_CHECKING:
    from mosaic_pipeline.segmentation.config import Config
    from mosaic_pipeline.segmentation.data.slices import Slices

# Exponent of the public code's schedule.
POLY = 0.9


@dataclass(frozen=True)
class StepDraws:
    """Random draws of N slices: augmentation, which branches are kept, and what masked modelling hides."""

    augment: Draws
    kept: Tensor | None
    masked: Tensor | None

    def take(self, rows: slice) -> "StepDraws":
        """Return those of some slices."""
        kept, masked = (None if each is None else each[rows] for each in (self.kept, self.masked))
        return StepDraws(self.augment.take(rows), kept, masked)


class SegmentationTrainer(Engine["Slices"]):
    """Trains one network on slices of all sets; what is deployed is the last phase's round of the best mean DSC.

    DSC in validation is of whole volumes, on the network's grid: it chooses rounds, and is no result.
    """

    SECTION = "segmentation.train"

    def __init__(
        self,
        model: M4oE,
        config: "Config",
        *,
        train: "dict[str, Slices]",
        val: "dict[str, Slices]",
        seed: int,
        device: torch.device,
        eval_batch_size: int,
        processes: Processes = Processes(),  # noqa: B008 - immutable
    ) -> None:
        """Take a model on `device` and the slices of every set in `config`."""
        recipe = config.train
        self.phase_names = list(config.rounds)
        phases = [
            Phase(rounds, 0 if name == "gate" else recipe.warmup_rounds, config.datasets_in(name))
            for name, rounds in config.rounds.items()
        ]
        self.network = processes.wrap(model, partly_used=True)
        self.eval_batch_size = eval_batch_size
        self._class_weights = {
            name: _moved(class_weights(train[name].class_voxels, recipe.class_weight), device)
            for name in config.datasets
        }
        optimizer = build_optimizer(model, config)
        models = {"model": model}
        super().__init__(
            models, config, phases, optimizer, train=train, val=val, seed=seed, device=device, processes=processes
        )

    @property
    def deployed(self) -> str:
        """Which of the model file's models is deployed: there is one."""
        return "model"

    @property
    def models(self) -> dict[str, dict[str, Tensor]]:
        """What the model file holds."""
        return self.best.states

    @property
    def phase_name(self) -> str:
        """`pretrain`, `experts`, `gate` or `adapt`."""
        return self.phase_names[len(self.phases_from) - 1]

    def _set_up(self, phase: int) -> None:
        self.student.enter(self.phase_names[phase])

    def _draw(self, name: str, count: int, generator: torch.Generator) -> StepDraws:
        draws = draw(self.config.train.augment, count, generator).to(self.device)
        kept, masked = self.student.draw_kept(count, generator), None
        if self.phase_name == "pretrain":
            side, ratio = self.config.model.coarsest_side, self.config.train.mask_ratio
            masked = draw_masks(count, side, ratio, generator).to(self.device)
        return StepDraws(draws, _moved(kept, self.device), masked)

    def _batch_loss(self, name: str, share: Share, batch: Batch, draws: StepDraws) -> Tensor:
        recipe = self.config.train
        images, labels = augment(batch.images.float(), batch.labels, draws.augment)
        with autocast(self.device, self.config.precision):
            predicted = self.network(images, name, kept=draws.kept, masked=draws.masked)
        if draws.masked is not None:
            return reconstruction_loss(predicted.float(), images, draws.masked) * share.weight
        return segmentation_loss(
            predicted,
            labels,
            ce=recipe.ce,
            dice=recipe.dice,
            dice_form=recipe.dice_form,
            weights=self._class_weights[name],
            share=share.weight,
            processes=self.processes,
        )

    def _validated(self) -> dict[str, float]:
        row = {f"{name}/train_loss": loss for name, loss in self.losses.items()}
        # Of a set that joins later, expert and head have learned nothing yet.
        begun = {name for phase in self.phase_names[: len(self.phases_from)] for name in self.config.datasets_in(phase)}
        scores = {}
        for name in (name for name in self.config.datasets if name in begun):
            found = self.processes.agree(self._validate(name))
            row |= {f"{name}/{key}": value for key, value in found.items()}
            scores[name] = found["score"]
        row["score"] = float(np.mean(list(scores.values())))
        self._keep_if_best(row["score"], self.deployed)
        return {"phase": len(self.phases_from), "score": row.pop("score")} | row

    def _validate(self, name: str) -> dict[str, float]:
        """Return what validation says of one set: its score, and the DSC of each organ that some case has."""
        split, options = self.val[name], {"precision": self.config.precision, "batch_size": self.eval_batch_size}
        if self.phase_name == "pretrain":
            side, ratio = self.config.model.coarsest_side, self.config.train.mask_ratio
            masked = draw_masks(len(split), side, ratio, stream(self.seed, "validation", name)).to(self.device)
            return {"score": -reconstruction_error(self.student, split, name, masked, **options)}
        dsc = organ_dsc(self.student, split, name, self.config.datasets[name], **options)
        defined = {f"dsc/{organ}": value for organ, value in dsc.items() if not math.isnan(value)}
        return {"score": float(np.mean(list(defined.values()))) if defined else 0.0} | defined

    def _validation_line(self, row: Mapping[str, float]) -> str:
        kind = "reconstruction" if self.phase_name == "pretrain" else "val DSC"
        return f"{self.phase_name}  {kind} {abs(row['score']):.4f}"

    def _learning_rate(self, name: str, number: int, position: int) -> float:
        recipe = self.config.train
        if recipe.schedule == "cosine":
            return super()._learning_rate(name, number, position)
        a_round = sum(self.steps.values())
        done, steps = self.round_in_phase * a_round + position, self.phase.rounds * a_round
        return recipe.lr * (1 - done / steps) ** POLY


def build_optimizer(model: M4oE, config: "Config") -> torch.optim.Optimizer:
    """AdamW, or the public code's SGD with momentum 0.9; weight decay on matrices only."""
    recipe = config.train
    decayed: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        matrix = parameter.ndim >= 2 and not name.endswith(("relative_position_bias_table", "mask_token"))
        (decayed if matrix else rest).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": recipe.weight_decay, "lr_scale": 1.0},
        {"params": rest, "weight_decay": 0.0, "lr_scale": 1.0},
    ]
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=0.9)
    return torch.optim.AdamW(groups, lr=recipe.lr, fused=next(model.parameters()).device.type in ("cpu", "cuda"))


def _moved(tensor: Tensor | None, device: torch.device) -> Tensor | None:
    return None if tensor is None else tensor.to(device)
