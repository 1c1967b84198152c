"""Cyclic training: a round visits every dataset once, a full epoch each (paper, section 2), and its variations.

A variant may shuffle the steps of a round or deal them out otherwise, and may train its last rounds with a gate.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mosaic_pipeline.compute import autocast
from mosaic_pipeline.data.augment import Draws, augment, draw, normalise, to_float
from mosaic_pipeline.data.batches import Batch, Split
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.evaluation import metrics
from mosaic_pipeline.evaluation.predict import predict
from mosaic_pipeline.evaluation.undefined import mean_of_defined
from mosaic_pipeline.model.mosaic import Mosaic
from mosaic_pipeline.model.teacher import Ema, build_teacher
from mosaic_pipeline.processes import Processes, Share
from mosaic_pipeline.training.class_weights import class_weights
from mosaic_pipeline.training.conflicts import measure_conflicts
from mosaic_pipeline.training.engine import Engine, Phase, with_prefix
from mosaic_pipeline.training.losses import classification_loss, mosaic_loss
from mosaic_pipeline.training.own_rounds import COMPOSED, OwnRounds
from mosaic_pipeline.training.stopping import MONITORED

if TYPE_CHECKING:
    from mosaic_pipeline.config import Config

MODELS = ("student", "teacher")
# Parameters with several dimensions that are no matrices: positions and tokens of ours and of the ViT.
NOT_MATRICES = ("positions", ".tokens", "pos_embed", "cls_token", "dist_token", "reg_token")


class CyclicTrainer(Engine[Split]):
    """Trains the student with its EMA teacher; the better of the two in the best round is deployed.

    Hard-routed at first and, where the configuration has a gate, with it in the last rounds. `conflicts` has what each
    round's gradients have in common, where that is measured; each dataset may be deployed from one of its `own_rounds`.
    """

    KEPT = (*Engine.KEPT, "visits", "conflicts")

    def __init__(
        self,
        student: Mosaic,
        config: "Config",
        *,
        train: dict[str, Split],
        val: dict[str, Split],
        seed: int,
        device: torch.device,
        eval_batch_size: int,
        processes: Processes = Processes(),  # noqa: B008 - immutable
    ) -> None:
        """Take a model on `device` and the splits of every dataset in `config`."""
        self.teacher = build_teacher(student)
        # A step may leave out heads, specialists, one of the embeddings, and the gates while they are not in use.
        everything = len(student.trainable_state())
        partly_used = any(len([*student.active_parameters(name)]) < everything for name in config.datasets)
        self.network = processes.wrap(student, partly_used=partly_used or bool(student.gates))
        self.eval_batch_size = eval_batch_size
        self._class_weights = {
            name: class_weights(config.train.class_weights, dataset, train[name].labels)
            for name, dataset in config.datasets.items()
        }
        # What the student knew of each dataset that this round is done with.
        self.visits: dict[str, dict[str, float]] = {}
        self.conflicts: list[dict[str, Any]] = []
        gated = config.routing.gate_rounds or 0
        phases = [Phase(config.train.num_rounds - gated, config.train.warmup_rounds)]
        phases += [Phase(gated)] if config.routing.gate else []
        optimizer = build_optimizer(student, config.train.weight_decay, device, config.train.prompt_strength_lr)
        models = {"student": student, "teacher": self.teacher}
        super().__init__(
            models, config, phases, optimizer, train=train, val=val, seed=seed, device=device, processes=processes
        )

    @property
    def gated_from(self) -> int | None:
        """The round in which the gates came into use; None while they are not."""
        return self.phases_from[1] if len(self.phases_from) > 1 else None

    @property
    def deployed(self) -> str:
        """Which of the model file's models is deployed."""
        return COMPOSED if self.own_rounds else self.best.deployed

    @property
    def models(self) -> dict[str, dict[str, Tensor]]:
        """What the model file holds: both models of the best round, or the one of the datasets' own rounds."""
        return {COMPOSED: self.own_rounds.tensors} if self.own_rounds else self.best.states

    def _set_up(self, phase: int) -> None:
        for model in (self.student, self.teacher):
            model.gated = phase > 0
        self.ema = Ema(self.teacher, self.student)
        self.own_rounds: OwnRounds | None = None
        if self.config.train.deploy == "dataset":
            parts = {name: [key for key, _ in self.student.active_parameters(name)] for name in self.steps}
            self.own_rounds = OwnRounds(parts, self.config.train.monitor, self.config.train.min_delta)

    def visit(self, name: str, *args: Any, **options: Any) -> float:
        """Train this round's steps on one dataset alone and return their mean loss."""
        loss = super().visit(name, *args, **options)
        self.visits = {}
        return loss

    def _draw(self, name: str, count: int, generator: torch.Generator) -> Draws:
        sided = bool(self.config.train.flip_sided)
        return draw(self.config.datasets[name], count, generator, sided).to(self.device)

    def _batch_loss(self, name: str, share: Share, batch: Batch, draws: Draws) -> Tensor:
        dimension = self.config.datasets[name].dimension
        images = to_float(batch.images, dimension, self.config.model.size(dimension))
        return self._loss(images, draws, batch.labels, name) * share.weight

    def _loss(self, images: Tensor, draws: Draws, labels: Tensor, name: str) -> Tensor:
        """Mean loss of a batch of images in [0, 1]: the student sees them augmented, the teacher as they are."""
        dataset, train, statistics = self.config.datasets[name], self.config.train, self.student.statistics
        # Outside autocast: in bf16 the grid that is sampled would be off by up to 0.67 of 224 pixels.
        augmented, plain = normalise(augment(images, draws), statistics), normalise(images, statistics)
        with autocast(self.device, self.config.precision):
            feature, logits = self.network(augmented, name)
            with torch.inference_mode():
                target, _ = self.teacher(plain, name)
        classification = classification_loss(
            logits.float(), labels, multi_label=dataset.multi_label, weights=self._class_weights[name]
        )
        # The clone is an ordinary tensor: one of inference mode may not be part of what is differentiated.
        target = target.clone().float()
        return mosaic_loss(classification, feature.float(), target, train.consist_weight, train.consist_form)

    def _end_step(self, name: str, number: int) -> None:
        momentum = self.config.momentum
        if momentum.update == "step" or number == self.steps[name] - 1:
            self.ema.update(name, momentum.of(self.config.datasets[name].dimension))

    def _end_visit(self, name: str) -> None:
        if self.config.train.validate_visits:
            self.visits[name] = self.processes.agree(self._validate(self.student, name))

    def _end_round(self) -> None:
        self.visits = {}
        if self.config.train.conflict_cases:
            # At the student's weights, in the leading process; the others wait.
            found = measure_conflicts(self.student, self.config, self.train) if self.processes.leads else {}
            self.conflicts.append(self.processes.agree(found))

    def _validated(self) -> dict[str, float]:
        row = {}
        validation = {which: self.validate(model) for which, model in self.trained.items()}
        for measure in ("score", "acc", "auc"):
            for which in MODELS:
                row[f"{which}_{measure}"] = validation[which][measure]
        for name in self.config.datasets:
            row[f"{name}/train_loss"] = self.losses[name]
            row |= {f"{name}/visit_{measure}": value for measure, value in self.visits.get(name, {}).items()}
            for which in MODELS:
                for measure in ("acc", "auc"):
                    row[f"{name}/{which}_{measure}"] = validation[which][f"{name}/{measure}"]
        deployed = "student" if row["student_score"] > row["teacher_score"] else "teacher"
        score = row[f"{deployed}_score"]
        if math.isnan(score):
            raise PipelineError(
                "validation AUC is undefined for every dataset: each lacks a class in its validation split; take more "
                "images (data.eval_limit, phantom.val) or set train.monitor: acc"
            )
        self._keep_if_best(score, deployed)
        if self.own_rounds:
            self.own_rounds.update(row | {"round": self.round}, self.trained)
        return row

    def _validation_line(self, row: Mapping[str, float]) -> str:
        return f"val student {row['student_score']:.4f}  teacher {row['teacher_score']:.4f}"

    def validate(self, model: Mosaic) -> dict[str, float]:
        """Return ACC and AUC per dataset, their means over datasets, and the score that `train.monitor` names.

        All processes get the values of the leading one, so that rounding cannot make them disagree on when to stop.
        """
        values: dict[str, float] = {}
        for name in self.config.datasets:
            values |= {f"{name}/{measure}": value for measure, value in self._validate(model, name).items()}
        measured = {m: [values[f"{name}/{m}"] for name in self.config.datasets] for m in ("acc", "auc")}
        means = {m: float(mean_of_defined(of_datasets)) for m, of_datasets in measured.items()}
        score = float(np.mean([means[m] for m in MONITORED[self.config.train.monitor]]))
        return self.processes.agree(values | means | {"score": score})

    def _validate(self, model: Mosaic, name: str) -> dict[str, float]:
        """Return ACC and AUC of a model on the validation split of one dataset."""
        dataset, split = self.config.datasets[name], self.val[name]
        scores = predict(
            model, split, dataset, config=self.config, batch_size=self.eval_batch_size, processes=self.processes
        )
        labels = split.labels.cpu().numpy()
        return {
            "acc": metrics.accuracy(dataset, labels, scores, self.config.train.grade_tolerance or 0),
            "auc": metrics.auc(dataset, labels, scores),
        }

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that determines the rest of the training, what is best for single datasets included."""
        tensors, values = super().state()
        if self.own_rounds:
            tensors |= {f"{COMPOSED}.{name}": tensor for name, tensor in self.own_rounds.tensors.items()}
            values["own_rounds"] = self.own_rounds.best
        return tensors, values

    def _expected(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> dict[str, Tensor]:
        expected = super()._expected(tensors, values)
        if self.own_rounds:
            own = self.student.trainable_state()
            expected |= {f"{COMPOSED}.{k}": own[k] for d in values["own_rounds"] for k in self.own_rounds.parts[d]}
        return expected

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Continue from what `state` returned, in a trainer built from the same inputs."""
        super().restore(tensors, values)
        if self.own_rounds:
            self.own_rounds.tensors = with_prefix(tensors, f"{COMPOSED}.")
            self.own_rounds.best = {name: tuple(best) for name, best in values["own_rounds"].items()}


def build_optimizer(
    model: Mosaic, weight_decay: float, device: torch.device, prompt_strength_lr: float | None = None
) -> torch.optim.AdamW:
    """AdamW over the trainable tensors, weight decay on matrices only: no biases, no positions, no learned tokens.

    `lr_scale` of a group is the factor on each step's learning rate: 1, or `prompt_strength_lr` for learned strengths.
    """
    decayed: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    strengths: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            matrix = parameter.ndim >= 2 and not name.endswith(NOT_MATRICES)
            (decayed if matrix else strengths if name.endswith(".strength") else rest).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": weight_decay, "lr_scale": 1.0},
        {"params": rest, "weight_decay": 0.0, "lr_scale": 1.0},
    ]
    if strengths:
        groups.append({"params": strengths, "weight_decay": 0.0, "lr_scale": prompt_strength_lr})
    return torch.optim.AdamW(groups, fused=device.type in ("cpu", "cuda"))
