"""Cyclic training: a round visits every dataset once, a full epoch each (paper, section 2), and its variations.

A variant may shuffle the steps of a round or deal them out otherwise, and may train its last rounds with a gate.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.compute import autocast
from pipeline.data.augment import Draws, augment, draw, normalise, to_float
from pipeline.data.batches import Batch, Split
from pipeline.errors import Diverged, PipelineError
from pipeline.evaluation import metrics
from pipeline.evaluation.predict import predict
from pipeline.evaluation.undefined import mean_of_defined
from pipeline.model.mosaic import Mosaic
from pipeline.model.teacher import Ema, build_teacher
from pipeline.processes import Processes, Share
from pipeline.streams import stream
from pipeline.training.class_weights import class_weights
from pipeline.training.conflicts import measure_conflicts
from pipeline.training.losses import classification_loss, mosaic_loss
from pipeline.training.order import plan_round, steps_of_round
from pipeline.training.own_rounds import COMPOSED, OwnRounds
from pipeline.training.progress import Progress
from pipeline.training.schedule import learning_rate, learning_rate_by_round
from pipeline.training.stopping import MONITORED, EarlyStopping

if TYPE_CHECKING:
    from pipeline.config import Config

MODELS = ("student", "teacher")
# What AdamW keeps of each parameter that it has updated.
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
# Parameters with several dimensions that are no matrices: positions and tokens of ours and of the ViT.
NOT_MATRICES = ("positions", ".tokens", "pos_embed", "cls_token", "dist_token", "reg_token")


class StoppedByRequest(Exception):
    """Training stopped after a step because it was asked to; its state is whole."""


@dataclass
class Best:
    """The best round of all datasets so far: trainable tensors of both models, and the better one of the two."""

    round: int = 0
    deployed: str = ""
    score: float = math.nan
    student: dict[str, Tensor] = field(default_factory=dict)
    teacher: dict[str, Tensor] = field(default_factory=dict)


class CyclicTrainer:
    """Trains the student on one dataset after another, with its EMA teacher, until patience or rounds run out.

    `history` has one flat row per finished round, the same for the same inputs, and `conflicts` what each round's
    gradients have in common, where that is measured; `best` is what to deploy, unless each dataset is deployed from one
    of its `own_rounds`; `seconds` is the time spent training, validation aside. Several `processes` each build one on
    the same inputs and run it in step: they share the work of every batch and every validation, and end in the same
    state.
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
        # A step may leave out heads, specialists, one of the embeddings, and the gates while they are not in use.
        everything = len(student.trainable_state())
        partly_used = any(len([*student.active_parameters(name)]) < everything for name in config.datasets)
        self.network = processes.wrap(student, partly_used=partly_used or bool(student.gates))
        self.config = config
        self.train = train
        self.val = val
        self.seed = seed
        self.device = device
        self.eval_batch_size = eval_batch_size

        self._class_weights = {
            name: class_weights(config.train.class_weights, dataset, train[name].labels)
            for name, dataset in config.datasets.items()
        }
        self.optimizer = build_optimizer(student, config.train.weight_decay, device, config.train.prompt_strength_lr)
        images = {name: len(train[name]) for name in config.datasets}
        epochs = {name: math.ceil(count / config.train.batch_size) for name, count in images.items()}
        self.steps = steps_of_round(config.train.order, config.train.tau, images, epochs)
        # Where training stands: rounds finished, the round in which the gates came into use, steps done in this round
        # and overall, and of each step of this round loss, gradient norm and number of images.
        self.round = 0
        self.gated_from: int | None = None
        self.position = 0
        self.step = 0
        self.trace = torch.zeros((0, 3), device=device)
        # Losses of the datasets that this round is done with, and what the student then knew of them.
        self.losses: dict[str, float] = {}
        self.visits: dict[str, dict[str, float]] = {}
        self.history: list[dict[str, float]] = []
        self.conflicts: list[dict[str, Any]] = []
        self.speeds: list[
            float
        ] = []  # images/s of each round; apart, because they are not the same for the same inputs
        self.seconds = 0.0
        self.round_seconds = 0.0
        self._summed = 0
        self._enter_phase(gated=False)

    @property
    def rounds(self) -> int:
        """Rounds of the current phase at most: all of them, or those before and those after the gates."""
        gated = self.config.routing.gate_rounds or 0
        return self.config.train.num_rounds - gated if self.gated_from is None else gated

    @property
    def round_in_phase(self) -> int:
        """Rounds finished since the gates came into use, or since the start."""
        return self.round - (self.gated_from or 0)

    @property
    def stopped_early(self) -> bool:
        """Whether patience ran out before the rounds did."""
        return self.stopping.exhausted and self.round_in_phase < self.rounds

    def _enter_phase(self, *, gated: bool) -> None:
        """Begin hard-routed, or put the gates to use; what was best without them is no candidate any more."""
        for model in (self.student, self.teacher):
            model.gated = gated
        self.gated_from = self.round if gated else None
        self.ema = Ema(self.teacher, self.student)
        self._active = {
            name: [parameter for _, parameter in self.student.active_parameters(name)] for name in self.steps
        }
        self.stopping = EarlyStopping(self.config.train.early_stopping_patience, self.config.train.min_delta)
        self.best = Best()
        self.own_rounds = None
        if self.config.train.deploy == "dataset":
            parts = {name: [key for key, _ in self.student.active_parameters(name)] for name in self.steps}
            self.own_rounds = OwnRounds(parts, self.config.train.monitor, self.config.train.min_delta)

    @property
    def deployed(self) -> str:
        """Which of the model file's models is deployed."""
        return COMPOSED if self.own_rounds else self.best.deployed

    @property
    def models(self) -> dict[str, dict[str, Tensor]]:
        """What the model file holds: both models of the best round, or the one of the datasets' own rounds."""
        if self.own_rounds:
            return {COMPOSED: self.own_rounds.tensors}
        return {which: getattr(self.best, which) for which in MODELS}

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
        num_rounds = self.config.train.num_rounds
        progress = Progress(
            images_per_round=sum(share.batch for name in self.steps for share in self._shares(name)),
            num_rounds=num_rounds,
            done_rounds=self.round,
            hidden=not self.processes.leads,
        )

        def on_step(name: str, images: int) -> None:
            progress.step(self.round + 1, name, images)

        def visited(name: str) -> None:
            progress.visited(self.losses[name])
            if len(self.losses) < len(self.steps):
                on_visit()

        try:
            while self._goes_on():
                plan = plan_round(self.config.train.order, self.steps, self.seed, self.round)
                self._follow(plan, on_step, visited, stop_requested)
                images, speed = sum(self.trace[:, 2].tolist()), 1 / self.round_seconds
                row = self._validation_row()
                self.history.append(row)
                self.speeds.append(images * speed)
                if self.config.train.conflict_cases:
                    self.conflicts.append(self._measured_conflicts())
                self.losses, self.visits, self.round_seconds = {}, {}, 0.0
                on_round(row | {"images_per_second": self.speeds[-1]})
                on_visit()
                progress.round(
                    f"round {self.round}/{num_rounds}  loss {row['train_loss']:.3f}  "
                    f"val student {row['student_score']:.4f}  teacher {row['teacher_score']:.4f}  "
                    f"{images * speed:.0f} images/s{'  *' if self.best.round == self.round else ''}"
                )
        finally:
            progress.close()

    def measured(self) -> Iterator[dict[str, float]]:
        """Yield what `on_round` got of each finished round: its row of the history, and its images/s."""
        for row, speed in zip(self.history, self.speeds, strict=True):
            yield row | {"images_per_second": speed}

    def _goes_on(self) -> bool:
        """Whether there is another round; after the last one without gates, those with them begin, from the best."""
        if self.round_in_phase < self.rounds and not self.stopping.exhausted:
            return True
        if self.config.routing.gate is None or self.gated_from is not None:
            return False
        for which in MODELS:
            getattr(self, which).load_trainable_state(getattr(self.best, which))
        self.optimizer.state.clear()  # moments of where the weights are no more
        self._enter_phase(gated=True)
        return True

    def visit(
        self,
        name: str,
        on_step: Callable[[str, int], None] = lambda name, images: None,
        stop_requested: Callable[[], bool] = lambda: False,
    ) -> float:
        """Train this round's steps on one dataset alone and return their mean loss."""
        self._follow([name] * self.steps[name], on_step=on_step, stop_requested=stop_requested)
        self.visits = {}
        return self.losses.pop(name)

    def _follow(
        self,
        plan: list[str],
        on_step: Callable[[str, int], None] = lambda name, images: None,
        on_visit: Callable[[str], None] = lambda name: None,
        stop_requested: Callable[[], bool] = lambda: False,
    ) -> None:
        """Do the steps of a plan from `position` on; nothing waits for the device before a dataset's last one.

        The batches are those that an uninterrupted pass over the plan would have had. `on_step` gets dataset and number
        of images of each step, `on_visit` each dataset that the plan is done with. Raises Diverged if a loss or a
        gradient was not finite, StoppedByRequest when `stop_requested` says so after a step.
        """
        if self.position == 0:
            self.trace, self._summed = torch.zeros((len(plan), 3), device=self.device), 0
        done = Counter(plan[: self.position])
        in_all = Counter(plan)
        feeds: dict[str, Iterator[tuple[Share, Batch, Draws]]] = {}
        started = time.perf_counter()
        try:
            for name in plan[self.position :]:
                if name not in feeds:
                    feeds[name] = self._feed(name, done[name])
                share, batch, draws = next(feeds[name])
                self._train_step(name, done[name], share, batch, draws)
                done[name] += 1
                on_step(name, share.batch)
                stopped = stop_requested()
                if stopped or done[name] == in_all[name]:
                    trace = self._checked_trace(plan)
                if done[name] == in_all[name]:
                    self.losses[name] = _mean_loss(trace, plan, name)
                    self._clock(started)
                    if self.config.train.validate_visits:
                        self.visits[name] = self.processes.agree(self._validate(self.student, name))
                    if not stopped:
                        on_visit(name)
                    started = time.perf_counter()
                if stopped:
                    raise StoppedByRequest
        finally:
            self._clock(started)
        self.position = 0

    def _clock(self, started: float) -> None:
        """Count the time since `started` as training."""
        elapsed = time.perf_counter() - started
        self.round_seconds += elapsed
        self.seconds += elapsed

    def _shares(self, name: str) -> list[Share]:
        """Return this process's part of each of the round's steps on a dataset, in order."""
        shares = self.processes.shares(len(self.train[name]), self.config.train.batch_size)
        first = self.round * self.steps[name]
        return [shares[step % len(shares)] for step in range(first, first + self.steps[name])]

    def _feed(self, name: str, done: int) -> Iterator[tuple[Share, Batch, Draws]]:
        """Yield batches and augmentation of the round's steps on a dataset, after the `done` first ones.

        A dataset's steps go through it epoch by epoch, wherever a round ends; each epoch has an order and draws of its
        own, which depend on nothing but seed, dataset and epoch.
        """
        dataset, split = self.config.datasets[name], self.train[name]
        shares = self.processes.shares(len(split), self.config.train.batch_size)
        step, end = self.round * self.steps[name] + done, (self.round + 1) * self.steps[name]
        while step < end:
            epoch, first = divmod(step, len(shares))
            generator = stream(self.seed, "visit", name, epoch)
            order = torch.randperm(len(split), generator=generator)
            draws = draw(dataset, len(split), generator, bool(self.config.train.flip_sided)).to(self.device)
            taken = shares[first : first + end - step]
            batches = split.batches([share.positions for share in taken], order)
            for share, batch in zip(taken, batches, strict=True):
                yield share, batch, draws.take(share.positions)
            step += len(taken)

    def _train_step(self, name: str, number: int, share: Share, batch: Batch, draws: Draws) -> None:
        """Do the `number`th step of the round on a dataset."""
        dataset, momentum = self.config.datasets[name], self.config.momentum
        rate = self._learning_rate(name, number, self.position)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]
        images = to_float(batch.images, dataset.dimension, self.config.model.size(dataset.dimension))
        loss = self._loss(images, draws, batch.labels, name) * share.weight
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self._active[name], self.config.train.grad_clip)
        self.optimizer.step()
        # None rather than zero: AdamW skips these, so that decay and momentum leave inactive parts alone.
        self.optimizer.zero_grad(set_to_none=True)
        if momentum.update == "step" or number == self.steps[name] - 1:
            self.ema.update(name, momentum.of(dataset.dimension))
        self.trace[self.position, 0] = loss.detach() / self.processes.count
        self.trace[self.position, 1] = norm
        self.trace[self.position, 2] = share.batch
        self.step += 1
        self.position += 1

    def _checked_trace(self, plan: list[str]) -> list[list[float]]:
        """Sum losses over processes and return the trace so far; Diverged at the first step not finite."""
        fresh = slice(self._summed, self.position)
        self.trace[fresh, 0] = self.processes.sum(self.trace[fresh, 0])
        self._summed = self.position
        trace = self.trace[: self.position].tolist()
        for index, (loss, norm, _) in enumerate(trace):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                name = plan[index]
                number = plan[:index].count(name)
                rate = self._learning_rate(name, number, index)
                raise Diverged(
                    f"{name}: loss {loss:.3g} and gradient norm {norm:.3g} in round {self.round + 1}, step "
                    f"{number + 1} of {self.steps[name]}, at a learning rate of {rate:.2g}; lower train.lr or "
                    "train.grad_clip"
                )
        return trace

    def _validation_row(self) -> dict[str, float]:
        """Validate both models after a round and keep them if they are the best; return the round's row."""
        name = list(self.config.datasets)[-1]
        row = {
            "round": self.round + 1,
            "lr": self._learning_rate(name, self.steps[name] - 1, sum(self.steps.values()) - 1),
            "train_loss": float(np.mean([self.losses[name] for name in self.config.datasets])),
        }
        self.round += 1
        validation = {which: self.validate(getattr(self, which)) for which in MODELS}
        for measure in ("score", "acc", "auc"):
            for which in MODELS:
                row[f"{which}_{measure}"] = validation[which][measure]
        for name in self.config.datasets:
            row[f"{name}/train_loss"] = self.losses[name]
            row |= {f"{name}/visit_{measure}": value for measure, value in self.visits.get(name, {}).items()}
            for which in MODELS:
                for measure in ("acc", "auc"):
                    row[f"{name}/{which}_{measure}"] = validation[which][f"{name}/{measure}"]
        self._keep_if_best(row)
        return row

    def _measured_conflicts(self) -> dict[str, Any]:
        """Compare the datasets' gradients at the student's weights: in the leading process, the others wait."""
        found = measure_conflicts(self.student, self.config, self.train) if self.processes.leads else {}
        return self.processes.agree(found)

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

    def _keep_if_best(self, row: dict[str, float]) -> None:
        """Update early stopping with the better of student and teacher, and keep both if that is an improvement.

        What is best for a single dataset is kept beside it, where that is asked for.
        """
        deployed = "student" if row["student_score"] > row["teacher_score"] else "teacher"
        score = row[f"{deployed}_score"]
        if math.isnan(score):
            raise PipelineError(
                "validation AUC is undefined for every dataset: each lacks a class in its validation split; take more "
                "images (data.eval_limit, phantom.val) or set train.monitor: acc"
            )
        if self.stopping.improved(score):
            states = (
                {name: tensor.cpu().clone() for name, tensor in model.trainable_state().items()}
                for model in (self.student, self.teacher)
            )
            self.best = Best(self.round, deployed, score, *states)
        if self.own_rounds:
            self.own_rounds.update(row, {which: getattr(self, which) for which in MODELS})

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
            "gated_from": self.gated_from,
            "losses": self.losses,
            "visits": self.visits,
            "position": self.position,
            "step": self.step,
            "seconds": self.seconds,
            "round_seconds": self.round_seconds,
            "stopping": [self.stopping.best, self.stopping.waited],
            "best": [self.best.round, self.best.deployed, self.best.score],
            "history": self.history,
            "conflicts": self.conflicts,
            "speeds": self.speeds,
        }
        if self.own_rounds:
            tensors |= {f"{COMPOSED}.{name}": tensor for name, tensor in self.own_rounds.tensors.items()}
            values["own_rounds"] = self.own_rounds.best
        return tensors, values

    def check_state(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Raise ValueError unless `restore` can continue from these, in a trainer at its start."""
        for key, own in self.state()[1].items():
            if key not in values or not (own is None or isinstance(values[key], type(own))):
                raise ValueError(f"no {key} of the right kind")
        if not len(values["history"]) == len(values["speeds"]) == values["round"]:
            raise ValueError(f"{len(values['history'])} rounds of history after {values['round']}")

        steps = max(values["position"], len(tensors.get("trace", ())))
        expected = {"trace": torch.empty((steps, 3), device="meta")}
        for which in MODELS:
            for name, own in getattr(self, which).trainable_state().items():
                expected[f"{which}.{name}"] = own
                if values["best"][0]:
                    expected[f"best.{which}.{name}"] = own
        for name, own in self.student.trainable_state().items():
            kept = {key: f"optimizer.{key}.{name}" for key in MOMENTS}
            if any(key in tensors for key in kept.values()):
                expected |= {kept["step"]: torch.zeros(()), kept["exp_avg"]: own, kept["exp_avg_sq"]: own}
        if self.own_rounds:
            own = self.student.trainable_state()
            expected |= {f"{COMPOSED}.{k}": own[k] for d in values["own_rounds"] for k in self.own_rounds.parts[d]}
        if different := expected.keys() ^ tensors.keys():
            raise ValueError(f"tensors {sorted(different)[:3]} are too few or too many")
        for name, own in expected.items():
            if (tensors[name].shape, tensors[name].dtype) != (own.shape, own.dtype):
                raise ValueError(f"{name} is {list(tensors[name].shape)} {tensors[name].dtype}, not {list(own.shape)}")

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Continue from what `state` returned, in a trainer built from the same inputs."""
        if values["gated_from"] is not None:
            self._enter_phase(gated=True)
        by_prefix = {
            prefix: {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
            for prefix in (*(f"{kept}{which}." for which in MODELS for kept in ("", "best.")), f"{COMPOSED}.")
        }
        for which in MODELS:
            getattr(self, which).load_trainable_state(by_prefix[f"{which}."])
        for name, parameter in self.student.named_parameters():
            moments = {key: tensors.get(f"optimizer.{key}.{name}") for key in MOMENTS}
            if moments["step"] is not None:
                self.optimizer.state[parameter] = {
                    key: tensor.to(parameter.device) for key, tensor in moments.items() if tensor is not None
                }
        for key in (
            "round",
            "gated_from",
            "losses",
            "visits",
            "position",
            "step",
            "seconds",
            "round_seconds",
            "history",
            "conflicts",
            "speeds",
        ):
            setattr(self, key, values[key])
        self.trace, self._summed = tensors["trace"].to(self.device), self.position
        self.stopping.best, self.stopping.waited = values["stopping"]
        self.best = Best(*values["best"], by_prefix["best.student."], by_prefix["best.teacher."])
        if self.own_rounds:
            self.own_rounds.tensors = by_prefix[f"{COMPOSED}."]
            self.own_rounds.best = {name: tuple(best) for name, best in values["own_rounds"].items()}

    def _learning_rate(self, name: str, number: int, position: int) -> float:
        """Return the learning rate of the `number`th step on a dataset, the `position`th of the current round.

        The gates' rounds have a cosine of their own, without warm-up.
        """
        train, done = self.config.train, self.round_in_phase
        warmup = train.warmup_rounds if self.gated_from is None else 0
        if train.schedule == "round":
            return learning_rate_by_round(done, peak=train.lr, warmup_rounds=warmup, num_rounds=self.rounds)
        if train.schedule == "dataset":
            step, a_round = done * self.steps[name] + number, self.steps[name]
        else:
            a_round = sum(self.steps.values())
            step = done * a_round + position
        return learning_rate(step, peak=train.lr, warmup_steps=warmup * a_round, total_steps=self.rounds * a_round)


def build_optimizer(
    model: Mosaic, weight_decay: float, device: torch.device, prompt_strength_lr: float | None = None
) -> torch.optim.AdamW:
    """AdamW over the trainable tensors, weight decay on matrices only: no biases, no positions, no learned tokens.

    `lr_scale` of a group is the factor on each step's learning rate: 1, or `prompt_strength_lr` for learned strengths.
    """
    decayed, rest, strengths = [], [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            matrix = parameter.ndim >= 2 and not name.endswith(NOT_MATRICES)
            (decayed if matrix else strengths if name.endswith(".strength") else rest).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay, "lr_scale": 1.0},
        {"params": rest, "weight_decay": 0.0, "lr_scale": 1.0},
    ]
    if strengths:
        groups.append({"params": strengths, "weight_decay": 0.0, "lr_scale": prompt_strength_lr})
    return torch.optim.AdamW(groups, fused=device.type in ("cpu", "cuda"))


def _mean_loss(trace: list[list[float]], plan: list[str], name: str) -> float:
    """Mean loss over the images that the plan's steps on one dataset saw."""
    steps = [row for row, trained in zip(trace, plan, strict=False) if trained == name]
    return sum(loss * images for loss, _, images in steps) / sum(images for _, _, images in steps)
