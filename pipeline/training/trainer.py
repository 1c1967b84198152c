"""Cyclic training: a round visits every dataset once, a full epoch each (paper, section 2)."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.compute import autocast
from pipeline.config import Config
from pipeline.data.augment import Draws, augment, draw, normalise, to_float
from pipeline.data.batches import Split
from pipeline.datasets import DATASETS
from pipeline.errors import PipelineError
from pipeline.evaluation import metrics
from pipeline.evaluation.predict import predict
from pipeline.model.mosaic import Mosaic
from pipeline.model.teacher import Ema, build_teacher
from pipeline.streams import stream
from pipeline.training.losses import classification_loss, mosaic_loss
from pipeline.training.progress import Progress
from pipeline.training.schedule import learning_rate
from pipeline.training.stopping import EarlyStopping

MODELS = ("student", "teacher")


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
    is the time spent training, validation aside.
    """

    def __init__(
        self,
        student: Mosaic,
        config: Config,
        *,
        train: dict[str, Split],
        val: dict[str, Split],
        seed: int,
        device: torch.device,
        eval_batch_size: int,
    ) -> None:
        """Take a model on `device` and the splits of every dataset in `config`."""
        self.student = student
        self.teacher = build_teacher(student)
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
        self.round = 0
        self.step = 0
        self.seconds = 0.0
        self.images_per_round = sum(len(train[name]) for name in config.datasets)
        self.steps_per_round = sum(math.ceil(len(train[name]) / config.train.batch_size) for name in config.datasets)

    @property
    def stopped_early(self) -> bool:
        """Whether patience ran out before the rounds did."""
        return self.stopping.exhausted and self.round < self.config.train.num_rounds

    def run(self, on_round: Callable[[dict[str, float]], None]) -> None:
        """Train to the end; `on_round` gets each round's row of the history as soon as it is known."""
        rounds = self.config.train.num_rounds
        progress = Progress(images_per_round=self.images_per_round, num_rounds=rounds, done_rounds=self.round)
        while self.round < rounds and not self.stopping.exhausted:
            started = self.seconds
            row = self._run_round(progress)
            self.history.append(row)
            speed = self.images_per_round / (self.seconds - started)
            on_round(row | {"images_per_second": speed})
            progress.round(
                f"round {self.round}/{rounds}  loss {row['train_loss']:.3f}  "
                f"val student {row['student_score']:.4f}  teacher {row['teacher_score']:.4f}  "
                f"{speed:.0f} images/s{'  *' if self.best.round == self.round else ''}"
            )
        progress.close()

    def _run_round(self, progress: Progress) -> dict[str, float]:
        """Visit every dataset, then validate both models; return the round's row."""
        started = time.perf_counter()
        losses = {}
        for name in self.config.datasets:
            progress.visit(self.round + 1, name)
            losses[name] = self.visit(name, on_step=progress.step)
            progress.visited(losses[name])
        elapsed = time.perf_counter() - started
        self.seconds += elapsed
        self.round += 1
        row = {
            "round": self.round,
            "lr": self._learning_rate(self.step - 1),
            "train_loss": float(np.mean(list(losses.values()))),
        }
        validation = {which: self.validate(getattr(self, which)) for which in MODELS}
        for measure in ("score", "acc", "auc"):
            for which in MODELS:
                row[f"{which}_{measure}"] = validation[which][measure]
        for name in self.config.datasets:
            row[f"{name}/train_loss"] = losses[name]
            for which in MODELS:
                for measure in ("acc", "auc"):
                    row[f"{name}/{which}_{measure}"] = validation[which][f"{name}/{measure}"]
        self._keep_if_best(row)
        return row

    def visit(self, name: str, on_step: Callable[[int], None] = lambda images: None) -> float:
        """Train one epoch of one dataset and return its mean loss; nothing waits for the device before the end.

        `on_step` gets the number of images of each step.
        """
        dataset, split = DATASETS[name], self.train[name]
        train = self.config.train
        size = self.config.model.size(dataset.dimension)
        momentum = self.config.momentum.of(dataset.dimension)
        active = [parameter for _, parameter in self.student.active_parameters(name)]
        generator = stream(self.seed, "visit", name, self.round)
        order = torch.randperm(len(split), generator=generator)
        draws = draw(dataset.dimension, len(split), generator).to(self.device)
        total = torch.zeros((), device=self.device)
        for batch in split.batches(train.batch_size, order):
            for group in self.optimizer.param_groups:
                group["lr"] = self._learning_rate(self.step)
            images = to_float(batch.images, dataset.dimension, size)
            loss = self._loss(images, draws.take(batch.positions), batch.labels, name)
            loss.backward()
            nn.utils.clip_grad_norm_(active, train.grad_clip)
            self.optimizer.step()
            # None rather than zero: AdamW skips these, so that decay and momentum leave inactive parts alone.
            self.optimizer.zero_grad(set_to_none=True)
            self.ema.update(name, momentum)
            self.step += 1
            total += loss.detach() * len(batch.labels)
            on_step(len(batch.labels))
        return total.item() / len(split)

    def _loss(self, images: Tensor, draws: Draws, labels: Tensor, name: str) -> Tensor:
        """Loss of one batch of images in [0, 1]: the student sees them augmented, the teacher as they are."""
        dataset, weight = DATASETS[name], self.config.train.consist_weight
        with autocast(self.device, self.config.precision):
            feature, logits = self.student(normalise(augment(images, draws)), name)
            with torch.no_grad():
                target, _ = self.teacher(normalise(images), name)
        classification = classification_loss(logits.float(), labels, multi_label=dataset.multi_label)
        return mosaic_loss(classification, feature.float(), target.float(), weight)

    def validate(self, model: Mosaic) -> dict[str, float]:
        """Return ACC and AUC per dataset, their means over datasets, and the score that `train.monitor` names."""
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
            )
            labels = split.labels.cpu().numpy()
            values[f"{name}/acc"] = metrics.accuracy(dataset, labels, scores)
            values[f"{name}/auc"] = metrics.auc(dataset, labels, scores)
        means = {m: _mean([values[f"{name}/{m}"] for name in self.config.datasets]) for m in ("acc", "auc")}
        monitored = {"acc": ["acc"], "auc": ["auc"], "acc_auc": ["acc", "auc"]}[self.config.train.monitor]
        return values | means | {"score": float(np.mean([means[m] for m in monitored]))}

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
