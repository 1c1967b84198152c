"""Cyclic training: a round visits every dataset once, a full epoch each (paper, section 2)."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.compute import autocast
from pipeline.data.augment import Draws, augment, draw, normalise, to_float
from pipeline.data.batches import Split
from pipeline.datasets import DATASETS
from pipeline.errors import PipelineError
from pipeline.evaluation import metrics
from pipeline.evaluation.predict import predict
from pipeline.model.mosaic import Mosaic
from pipeline.model.teacher import Ema, build_teacher
from pipeline.processes import Processes
from pipeline.streams import stream
from pipeline.training.losses import classification_loss, mosaic_loss
from pipeline.training.progress import Progress
from pipeline.training.schedule import learning_rate
from pipeline.training.stopping import EarlyStopping

if TYPE_CHECKING:
    from pipeline.config import Config

MODELS = ("student", "teacher")


class StoppedByRequest(Exception):
    """Training stopped after a step because it was asked to; its state is whole."""


@dataclass
class Best:
    """The best round so far: trainable tensors of both models, and which of the two is deployed."""

    round: int = 0
    deployed: str = ""
    score: float = math.nan
    student: dict[str, Tensor] = field(default_factory=dict)
    teacher: dict[str, Tensor] = field(default_factory=dict)


class CyclicTrainer:
    """Trains the student on one dataset after another, with its EMA teacher, until patience or rounds run out.

    `history` has one flat row per finished round, the same for the same inputs; `best` is what to deploy; `seconds`
    is the time spent training, validation aside. Several `processes` each build one on the same inputs and run it in
    step: they share the work of every batch and every validation, and end in the same state.
    """

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
        self.student = student
        self.teacher = build_teacher(student)
        self.processes = processes
        # With several datasets a step uses one of the heads, and may use one of the specialists.
        self.network = processes.wrap(student, partly_used=len(config.datasets) > 1)
        self.config = config
        self.train = train
        self.val = val
        self.seed = seed
        self.device = device
        self.eval_batch_size = eval_batch_size

        self.ema = Ema(self.teacher, student)
        self.optimizer = build_optimizer(student, config.train.weight_decay, device)
        self.stopping = EarlyStopping(config.train.early_stopping_patience, config.train.min_delta)
        self.best = Best()
        self.history: list[dict[str, float]] = []
        # Where training stands: rounds finished, losses of the datasets visited in this one, steps done in the visit,
        # and the visit's trace, loss and gradient norm of each of its steps.
        self.round = 0
        self.losses: dict[str, float] = {}
        self.position = 0
        self.trace = torch.zeros((0, 2), device=device)
        self.step = 0
        self.seconds = 0.0
        self.round_seconds = 0.0
        self.images_per_round = sum(len(train[name]) for name in config.datasets)
        self.steps_per_round = sum(math.ceil(len(train[name]) / config.train.batch_size) for name in config.datasets)

    @property
    def stopped_early(self) -> bool:
        """Whether patience ran out before the rounds did."""
        return self.stopping.exhausted and self.round < self.config.train.num_rounds

    def run(
        self,
        on_round: Callable[[dict[str, float]], None] = lambda row: None,
        on_visit: Callable[[], None] = lambda: None,
        stop_requested: Callable[[], bool] = lambda: False,
    ) -> None:
        """Train to the end, from wherever the state is.

        `on_round` gets each round's row of the history as soon as it is known; `on_visit` is called after every
        dataset, when `state` is worth keeping. Raises StoppedByRequest when `stop_requested` says so after a step.
        """
        rounds = self.config.train.num_rounds
        progress = Progress(
            images_per_round=self.images_per_round,
            num_rounds=rounds,
            done_rounds=self.round,
            hidden=not self.processes.leads,
        )
        try:
            while self.round < rounds and not self.stopping.exhausted:
                self._finish_round(progress, on_visit, stop_requested)
                row = self._validation_row()
                self.history.append(row)
                self.losses = {}
                speed = self.images_per_round / self.round_seconds
                self.round_seconds = 0.0
                on_round(row | {"images_per_second": speed})
                on_visit()
                progress.round(
                    f"round {self.round}/{rounds}  loss {row['train_loss']:.3f}  "
                    f"val student {row['student_score']:.4f}  teacher {row['teacher_score']:.4f}  "
                    f"{speed:.0f} images/s{'  *' if self.best.round == self.round else ''}"
                )
        finally:
            progress.close()

    def _finish_round(
        self, progress: Progress, on_visit: Callable[[], None], stop_requested: Callable[[], bool]
    ) -> None:
        """Visit the datasets that this round has not visited yet."""
        for name in self.config.datasets:
            if name in self.losses:
                continue
            progress.visit(self.round + 1, name)
            started = time.perf_counter()
            try:
                self.losses[name] = self.visit(name, progress.step, stop_requested)
            finally:
                elapsed = time.perf_counter() - started
                self.round_seconds += elapsed
                self.seconds += elapsed
            progress.visited(self.losses[name])
            if len(self.losses) < len(self.config.datasets):
                on_visit()

    def _validation_row(self) -> dict[str, float]:
        """Validate both models after a round and keep them if they are the best; return the round's row."""
        self.round += 1
        row = {
            "round": self.round,
            "lr": self._learning_rate(self.step - 1),
            "train_loss": float(np.mean(list(self.losses.values()))),
        }
        validation = {which: self.validate(getattr(self, which)) for which in MODELS}
        for measure in ("score", "acc", "auc"):
            for which in MODELS:
                row[f"{which}_{measure}"] = validation[which][measure]
        for name in self.config.datasets:
            row[f"{name}/train_loss"] = self.losses[name]
            for which in MODELS:
                for measure in ("acc", "auc"):
                    row[f"{name}/{which}_{measure}"] = validation[which][f"{name}/{measure}"]
        self._keep_if_best(row)
        return row

    def visit(
        self,
        name: str,
        on_step: Callable[[int], None] = lambda images: None,
        stop_requested: Callable[[], bool] = lambda: False,
    ) -> float:
        """Train one epoch of one dataset and return its mean loss; nothing waits for the device before the end.

        Starts after the `position` steps that were done already, with the batches that an uninterrupted visit would
        have had. `on_step` gets the number of images of each step. Raises PipelineError if a loss or a gradient was
        not finite.
        """
        dataset, split, train = DATASETS[name], self.train[name], self.config.train
        size = self.config.model.size(dataset.dimension)
        momentum = self.config.momentum.of(dataset.dimension)
        active = [parameter for _, parameter in self.student.active_parameters(name)]
        generator = stream(self.seed, "visit", name, self.round)
        order = torch.randperm(len(split), generator=generator)
        draws = draw(dataset, len(split), generator).to(self.device)
        shares = self.processes.shares(len(split), train.batch_size)
        if self.position == 0:
            self.trace = torch.zeros((len(shares), 2), device=self.device)
        first, stopped = self.position, False
        batches = split.batches([share.positions for share in shares[first:]], order)
        for share, batch in zip(shares[first:], batches, strict=True):
            for group in self.optimizer.param_groups:
                group["lr"] = self._learning_rate(self.step)
            images = to_float(batch.images, dataset.dimension, size)
            loss = self._loss(images, draws.take(share.positions), batch.labels, name) * share.weight
            loss.backward()
            norm = nn.utils.clip_grad_norm_(active, train.grad_clip)
            self.optimizer.step()
            # None rather than zero: AdamW skips these, so that decay and momentum leave inactive parts alone.
            self.optimizer.zero_grad(set_to_none=True)
            self.ema.update(name, momentum)
            self.trace[self.position, 0] = loss.detach() / self.processes.count
            self.trace[self.position, 1] = norm
            self.step += 1
            self.position += 1
            on_step(share.batch)
            if stopped := stop_requested():
                break
        self.trace[first:, 0] = self.processes.sum(self.trace[first:, 0])
        losses = self._checked_losses(name)
        if stopped:
            raise StoppedByRequest
        self.position = 0
        return sum(loss * share.batch for loss, share in zip(losses, shares, strict=True)) / len(split)

    def _checked_losses(self, name: str) -> list[float]:
        """Return the losses of the visit so far; raise PipelineError at the first step that was not finite."""
        trace = self.trace[: self.position].tolist()
        for number, (loss, norm) in enumerate(trace):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                rate = self._learning_rate(self.step - self.position + number)
                raise PipelineError(
                    f"{name}: loss {loss:.3g} and gradient norm {norm:.3g} in round {self.round + 1}, step "
                    f"{number + 1} of {len(self.trace)}, at a learning rate of {rate:.2g}; lower train.lr or "
                    "train.grad_clip"
                )
        return [loss for loss, _ in trace]

    def _loss(self, images: Tensor, draws: Draws, labels: Tensor, name: str) -> Tensor:
        """Mean loss of a batch of images in [0, 1]: the student sees them augmented, the teacher as they are."""
        dataset, weight = DATASETS[name], self.config.train.consist_weight
        with autocast(self.device, self.config.precision):
            feature, logits = self.network(normalise(augment(images, draws)), name)
            with torch.inference_mode():
                target, _ = self.teacher(normalise(images), name)
        classification = classification_loss(logits.float(), labels, multi_label=dataset.multi_label)
        # The clone is an ordinary tensor: one of inference mode may not be part of what is differentiated.
        return mosaic_loss(classification, feature.float(), target.clone().float(), weight)

    def validate(self, model: Mosaic) -> dict[str, float]:
        """Return ACC and AUC per dataset, their means over datasets, and the score that `train.monitor` names.

        All processes get the values of the leading one, so that rounding cannot make them disagree on when to stop.
        """
        values: dict[str, float] = {}
        for name in self.config.datasets:
            dataset, split = DATASETS[name], self.val[name]
            scores = predict(
                model,
                split,
                dataset,
                size=self.config.model.size(dataset.dimension),
                batch_size=self.eval_batch_size,
                precision=self.config.precision,
                processes=self.processes,
            )
            labels = split.labels.cpu().numpy()
            values[f"{name}/acc"] = metrics.accuracy(dataset, labels, scores)
            values[f"{name}/auc"] = metrics.auc(dataset, labels, scores)
        means = {m: _mean([values[f"{name}/{m}"] for name in self.config.datasets]) for m in ("acc", "auc")}
        monitored = {"acc": ["acc"], "auc": ["auc"], "acc_auc": ["acc", "auc"]}[self.config.train.monitor]
        return self.processes.agree(values | means | {"score": float(np.mean([means[m] for m in monitored]))})

    def _keep_if_best(self, row: dict[str, float]) -> None:
        """Update early stopping with the better of student and teacher, and keep both if that is an improvement."""
        deployed = "student" if row["student_score"] > row["teacher_score"] else "teacher"
        score = row[f"{deployed}_score"]
        if math.isnan(score):
            raise PipelineError(
                "validation AUC is undefined for every dataset (one class only); raise data.eval_limit or set "
                "train.monitor: acc"
            )
        if self.stopping.improved(score):
            states = (
                {name: tensor.cpu().clone() for name, tensor in model.trainable_state().items()}
                for model in (self.student, self.teacher)
            )
            self.best = Best(self.round, deployed, score, *states)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that determines the rest of the training: tensors by name, and values that JSON can hold.

        No state of a random generator is among them: every visit draws from a stream named by seed, dataset and round.
        """
        tensors = {"trace": self.trace}
        for which in MODELS:
            current, best = getattr(self, which).trainable_state(), getattr(self.best, which)
            tensors |= {f"{which}.{name}": tensor for name, tensor in current.items()}
            tensors |= {f"best.{which}.{name}": tensor for name, tensor in best.items()}
        for name, parameter in self.student.named_parameters():
            for key, tensor in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{key}.{name}"] = tensor
        values = {
            "round": self.round,
            "losses": self.losses,
            "position": self.position,
            "step": self.step,
            "seconds": self.seconds,
            "round_seconds": self.round_seconds,
            "stopping": [self.stopping.best, self.stopping.waited],
            "best": [self.best.round, self.best.deployed, self.best.score],
            "history": self.history,
        }
        return tensors, values

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Continue from what `state` returned, in a trainer built from the same inputs."""
        by_prefix: dict[str, dict[str, Tensor]] = {}
        for which in MODELS:
            for prefix in (f"{which}.", f"best.{which}."):
                by_prefix[prefix] = {
                    name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)
                }
            getattr(self, which).load_trainable_state(by_prefix[f"{which}."])
        for name, parameter in self.student.named_parameters():
            moments = {key: tensors.get(f"optimizer.{key}.{name}") for key in ("step", "exp_avg", "exp_avg_sq")}
            if moments["step"] is not None:
                self.optimizer.state[parameter] = {
                    key: tensor.to(parameter.device) for key, tensor in moments.items() if tensor is not None
                }
        for key in ("round", "losses", "position", "step", "seconds", "round_seconds", "history"):
            setattr(self, key, values[key])
        self.trace = tensors["trace"].to(self.device)
        self.stopping.best, self.stopping.waited = values["stopping"]
        self.best = Best(*values["best"], by_prefix["best.student."], by_prefix["best.teacher."])

    def _learning_rate(self, step: int) -> float:
        train = self.config.train
        return learning_rate(
            step,
            peak=train.lr,
            warmup_steps=train.warmup_rounds * self.steps_per_round,
            total_steps=train.num_rounds * self.steps_per_round,
        )


def build_optimizer(model: Mosaic, weight_decay: float, device: torch.device) -> torch.optim.AdamW:
    """AdamW over the trainable tensors, weight decay on matrices only: no biases, no position embedding."""
    decayed, rest = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            matrix = parameter.ndim >= 2 and not name.endswith("positions")
            (decayed if matrix else rest).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, fused=device.type in ("cpu", "cuda"))


def _mean(values: list[float]) -> float:
    """Mean over the datasets for which the metric is defined; nan if there is none."""
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan
