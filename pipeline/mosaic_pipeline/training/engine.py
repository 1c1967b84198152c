"""Training in rounds of steps, each on one dataset, in phases; interrupted anywhere, it goes on to the same bytes.

What is trained, what a step loses and what validation says is a task's own: see the methods at the end of `Engine`.
"""

import math
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from mosaic_pipeline.errors import Diverged
from mosaic_pipeline.processes import Processes, Share
from mosaic_pipeline.streams import stream
from mosaic_pipeline.training.order import plan_round, steps_of_round
from mosaic_pipeline.training.progress import Progress
from mosaic_pipeline.training.schedule import learning_rate, learning_rate_by_round
from mosaic_pipeline.training.stopping import EarlyStopping

if TYPE_CHECKING:
    from mosaic_pipeline.data.batches import Batch, Split

S = TypeVar("S", bound="Split")

# What an optimiser keeps of each parameter that it has updated.
MOMENTS: dict[type[torch.optim.Optimizer], tuple[str, ...]] = {
    torch.optim.AdamW: ("step", "exp_avg", "exp_avg_sq"),
    torch.optim.SGD: ("momentum_buffer",),
}


class StoppedByRequest(Exception):
    """Training stopped after a step because it was asked to; its state is whole."""


class Trained(Protocol):
    """What a model has to offer to be trained: its trainable tensors by name, and which of them a dataset uses."""

    def active_parameters(self, dataset: str) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield what a batch of `dataset` trains, as the model is set up now."""

    def trainable_state(self) -> dict[str, Tensor]:
        """Return all trainable tensors."""

    def load_trainable_state(self, state: dict[str, Tensor]) -> None:
        """Copy tensors into the model."""


class Taken(Protocol):
    """Random draws for the images of a pass."""

    def take(self, positions: slice) -> Any:
        """Return those of some of them."""


@dataclass(frozen=True)
class Phase:
    """A part of a training, of so many rounds at most: it has a schedule, patience and best round of its own.

    Its rounds train all datasets, or those that it names.
    """

    rounds: int
    warmup_rounds: float = 0
    datasets: tuple[str, ...] | None = None


@dataclass
class Best:
    """The best round of a phase so far: the trainable tensors of each model, and the model that is the better one."""

    round: int = 0
    deployed: str = ""
    score: float = math.nan
    states: dict[str, dict[str, Tensor]] = field(default_factory=dict)


class Engine(ABC, Generic[S]):
    """Trains a model on one dataset after another, phase after phase, until patience or rounds run out.

    `history` has one flat row per finished round, the same for the same inputs; `best` is what to deploy; `seconds` is
    the time spent training, validation aside. Several `processes` each build one on the same inputs and run it in step:
    they share the work of every batch and every validation, and end in the same state.
    """

    # Attributes, besides tensors, that a checkpoint keeps as they are.
    KEPT: tuple[str, ...] = (
        *("round", "losses", "position", "step", "seconds", "round_seconds"),
        *("history", "speeds"),
    )

    def __init__(
        self,
        models: Mapping[str, Any],
        config: Any,
        phases: Sequence[Phase],
        optimizer: torch.optim.Optimizer,
        *,
        train: dict[str, S],
        val: dict[str, S],
        seed: int,
        device: torch.device,
        processes: Processes,
    ) -> None:
        """Take models on `device`, the first one the one that is trained, and the splits of every dataset in `config`.

        `config` has the `datasets` and, as `train`, the recipe.
        """
        self.trained = dict(models)
        self.config = config
        self.phases = tuple(phases)
        self.optimizer = optimizer
        self.train = train
        self.val = val
        self.seed = seed
        self.device = device
        self.processes = processes

        images = {name: len(train[name]) for name in config.datasets}
        epochs = {name: math.ceil(count / config.train.batch_size) for name, count in images.items()}
        # Of a round on all datasets; a phase that trains some of them takes as many steps on each of those.
        self._steps_of_all = steps_of_round(config.train.order, config.train.tau, images, epochs)
        # Where training stands: rounds finished, the round in which each phase began, steps done in this round and
        # overall, and of each step of this round loss, gradient norm and number of images.
        self.round = 0
        self.phases_from: list[int] = []
        self.position = 0
        self.step = 0
        self.trace = torch.zeros((0, 3), device=device)
        # Losses of the datasets that this round is done with.
        self.losses: dict[str, float] = {}
        self.history: list[dict[str, float]] = []
        # Images/s of each round; apart, because they are not the same for the same inputs.
        self.speeds: list[float] = []
        self.seconds = 0.0
        self.round_seconds = 0.0
        self._summed = 0
        self._enter_phase()

    @property
    def phase(self) -> Phase:
        """The current phase."""
        return self.phases[len(self.phases_from) - 1]

    @property
    def round_in_phase(self) -> int:
        """Rounds finished since the current phase began."""
        return self.round - self.phases_from[-1]

    @property
    def num_rounds(self) -> int:
        """Rounds of all phases at most."""
        return sum(phase.rounds for phase in self.phases)

    @property
    def stopped_early(self) -> bool:
        """Whether patience ran out before the rounds did."""
        return self.stopping.exhausted and self.round_in_phase < self.phase.rounds

    @property
    def steps(self) -> dict[str, int]:
        """Steps of a round of the current phase, by dataset, in the order of the configuration."""
        return self._steps_in(self.phase)

    @property
    def student(self) -> Any:
        """The model that is trained."""
        return next(iter(self.trained.values()))

    @property
    def _moments(self) -> tuple[str, ...]:
        return MOMENTS[type(self.optimizer)]

    def _steps_in(self, phase: Phase) -> dict[str, int]:
        return {
            name: count
            for name, count in self._steps_of_all.items()
            if phase.datasets is None or name in phase.datasets
        }

    def _enter_phase(self) -> None:
        """Begin the next phase; what was best in the one before is no candidate any more."""
        self.phases_from.append(self.round)
        self._set_up(len(self.phases_from) - 1)
        self._active = {
            name: [parameter for _, parameter in self.student.active_parameters(name)] for name in self.steps
        }
        self.stopping = EarlyStopping(self.config.train.early_stopping_patience, self.config.train.min_delta)
        self.best = Best()

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
        progress = Progress(
            images=sum(phase.rounds * self._images_in(phase) for phase in self.phases),
            done=self._images_done(),
            num_rounds=self.num_rounds,
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
                row = self._row()
                self.history.append(row)
                self.speeds.append(images * speed)
                self._end_round()
                self.losses, self.round_seconds = {}, 0.0
                on_round(row | {"images_per_second": self.speeds[-1]})
                on_visit()
                progress.round(
                    f"round {self.round}/{self.num_rounds}  loss {row['train_loss']:.3f}  "
                    f"{self._validation_line(row)}  {images * speed:.0f} images/s"
                    f"{'  *' if self.best.round == self.round else ''}"
                )
        finally:
            progress.close()

    def measured(self) -> Iterator[dict[str, float]]:
        """Yield what `on_round` got of each finished round: its row of the history, and its images/s."""
        for row, speed in zip(self.history, self.speeds, strict=True):
            yield row | {"images_per_second": speed}

    def _goes_on(self) -> bool:
        """Whether there is another round; each phase begins from what was best in the one before."""
        if self.round_in_phase < self.phase.rounds and not self.stopping.exhausted:
            return True
        if len(self.phases_from) == len(self.phases):
            return False
        for which, model in self.trained.items():
            model.load_trainable_state(self.best.states[which])
        self.optimizer.state.clear()  # moments of where the weights are no more
        self._enter_phase()
        return True

    def visit(
        self,
        name: str,
        on_step: Callable[[str, int], None] = lambda name, images: None,
        stop_requested: Callable[[], bool] = lambda: False,
    ) -> float:
        """Train this round's steps on one dataset alone and return their mean loss."""
        self._follow([name] * self.steps[name], on_step=on_step, stop_requested=stop_requested)
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
        feeds: dict[str, Iterator[tuple[Share, Batch, Taken]]] = {}
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
                    self._end_visit(name)
                    if not stopped:
                        on_visit(name)
                    started = time.perf_counter()
                if stopped:
                    raise StoppedByRequest
        finally:
            self._clock(started)
        self.position = 0

    def _images_in(self, phase: Phase) -> int:
        """Images of a round of a phase."""
        return sum(share.batch for name in self._steps_in(phase) for share in self._shares(name))

    def _images_done(self) -> int:
        """Images of all rounds that are finished."""
        ends = [*self.phases_from[1:], self.round]
        done = zip(self.phases, self.phases_from, ends, strict=False)
        return sum((end - start) * self._images_in(phase) for phase, start, end in done)

    def _clock(self, started: float) -> None:
        """Count the time since `started` as training."""
        elapsed = time.perf_counter() - started
        self.round_seconds += elapsed
        self.seconds += elapsed

    def _shares(self, name: str) -> list[Share]:
        """Return this process's part of each of the round's steps on a dataset, in order."""
        shares = self.processes.shares(len(self.train[name]), self.config.train.batch_size)
        count = self._steps_of_all[name]
        first = self.round * count
        return [shares[step % len(shares)] for step in range(first, first + count)]

    def _feed(self, name: str, done: int) -> "Iterator[tuple[Share, Batch, Any]]":
        """Yield batches and augmentation of the round's steps on a dataset, after the `done` first ones.

        A dataset's steps go through it epoch by epoch, wherever a round ends; each epoch has an order and draws of its
        own, which depend on nothing but seed, dataset and epoch.
        """
        split = self.train[name]
        shares = self.processes.shares(len(split), self.config.train.batch_size)
        step, end = self.round * self.steps[name] + done, (self.round + 1) * self.steps[name]
        while step < end:
            epoch, first = divmod(step, len(shares))
            generator = stream(self.seed, "visit", name, epoch)
            order = torch.randperm(len(split), generator=generator)
            draws = self._draw(name, len(split), generator)
            taken = shares[first : first + end - step]
            batches = split.batches([share.positions for share in taken], order)
            for share, batch in zip(taken, batches, strict=True):
                yield share, batch, draws.take(share.positions)
            step += len(taken)

    def _train_step(self, name: str, number: int, share: Share, batch: "Batch", draws: Any) -> None:
        """Do the `number`th step of the round on a dataset."""
        rate = self._learning_rate(name, number, self.position)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]
        loss = self._batch_loss(name, share, batch, draws)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self._active[name], self.config.train.grad_clip)
        self.optimizer.step()
        # None rather than zero: AdamW skips these, so that decay and momentum leave inactive parts alone.
        self.optimizer.zero_grad(set_to_none=True)
        self._end_step(name, number)
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
                    f"{number + 1} of {self.steps[name]}, at a learning rate of {rate:.2g}; lower {self.SECTION}.lr or "
                    f"{self.SECTION}.grad_clip"
                )
        return trace

    def _row(self) -> dict[str, float]:
        """Validate after a round, keep what is the best, and return the round's row of the history."""
        name = list(self.steps)[-1]
        row = {
            "round": self.round + 1,
            "lr": self._learning_rate(name, self.steps[name] - 1, sum(self.steps.values()) - 1),
            "train_loss": float(np.mean([self.losses[name] for name in self.steps])),
        }
        self.round += 1
        return row | self._validated()

    def _keep_if_best(self, score: float, deployed: str) -> None:
        """Update early stopping with a round's score, and keep all models if that is an improvement."""
        if self.stopping.improved(score):
            states = {
                which: {name: tensor.cpu().clone() for name, tensor in model.trainable_state().items()}
                for which, model in self.trained.items()
            }
            self.best = Best(self.round, deployed, score, states)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that determines the rest of the training: tensors by name, and values that JSON can hold.

        No state of a random generator is among them: every visit draws from a stream named by seed, dataset and round.
        """
        tensors = {"trace": self.trace}
        for which, model in self.trained.items():
            tensors |= {f"{which}.{name}": tensor for name, tensor in model.trainable_state().items()}
            tensors |= {f"best.{which}.{name}": tensor for name, tensor in self.best.states.get(which, {}).items()}
        for name, parameter in self.student.named_parameters():
            for key, tensor in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{key}.{name}"] = tensor
        values = {key: getattr(self, key) for key in self.KEPT}
        values |= {
            "phases_from": self.phases_from,
            "stopping": [self.stopping.best, self.stopping.waited],
            "best": [self.best.round, self.best.deployed, self.best.score],
        }
        return tensors, values

    def check_state(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Raise ValueError unless `restore` can continue from these, in a trainer at its start."""
        for key, own in self.state()[1].items():
            if key not in values or not isinstance(values[key], type(own)):
                raise ValueError(f"no {key} of the right kind")
        if not len(values["history"]) == len(values["speeds"]) == values["round"]:
            raise ValueError(f"{len(values['history'])} rounds of history after {values['round']}")
        expected = self._expected(tensors, values)
        if different := expected.keys() ^ tensors.keys():
            raise ValueError(f"tensors {sorted(different)[:3]} are too few or too many")
        for name, own in expected.items():
            if (tensors[name].shape, tensors[name].dtype) != (own.shape, own.dtype):
                raise ValueError(f"{name} is {list(tensors[name].shape)} {tensors[name].dtype}, not {list(own.shape)}")

    def _expected(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> dict[str, Tensor]:
        """Return, by the names of the tensors that go with these values, tensors of the same shapes and dtypes."""
        steps = max(values["position"], len(tensors.get("trace", ())))
        expected = {"trace": torch.empty((steps, 3), device="meta")}
        for which, model in self.trained.items():
            for name, own in model.trainable_state().items():
                expected[f"{which}.{name}"] = own
                if values["best"][0]:
                    expected[f"best.{which}.{name}"] = own
        for name, own in self.student.trainable_state().items():
            kept = {f"optimizer.{key}.{name}": own if key != "step" else torch.zeros(()) for key in self._moments}
            if kept.keys() & tensors.keys():
                expected |= kept
        return expected

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Continue from what `state` returned, in a trainer built from the same inputs."""
        for _ in values["phases_from"][1:]:
            self._enter_phase()
        self.phases_from = values["phases_from"]
        by_model = {
            f"{kept}{which}": with_prefix(tensors, f"{kept}{which}.")
            for which in self.trained
            for kept in ("", "best.")
        }
        for which, model in self.trained.items():
            model.load_trainable_state(by_model[which])
        for name, parameter in self.student.named_parameters():
            moments = {key: tensors.get(f"optimizer.{key}.{name}") for key in self._moments}
            if moments[self._moments[0]] is not None:
                self.optimizer.state[parameter] = {
                    key: tensor.to(parameter.device) for key, tensor in moments.items() if tensor is not None
                }
        for key in self.KEPT:
            setattr(self, key, values[key])
        self.trace, self._summed = tensors["trace"].to(self.device), self.position
        self.stopping.best, self.stopping.waited = values["stopping"]
        number, deployed, score = values["best"]
        states = {which: with_prefix(tensors, f"best.{which}.") for which in self.trained}
        self.best = Best(number, deployed, score, states)

    def _learning_rate(self, name: str, number: int, position: int) -> float:
        """Return the learning rate of the `number`th step on a dataset, the `position`th of the current round.

        Each phase has a cosine of its own, after its own warm-up.
        """
        train, done, phase = self.config.train, self.round_in_phase, self.phase
        if train.schedule == "round":
            return learning_rate_by_round(
                done, peak=train.lr, warmup_rounds=phase.warmup_rounds, num_rounds=phase.rounds
            )
        if train.schedule == "dataset":
            step, a_round = done * self.steps[name] + number, self.steps[name]
        else:
            a_round = sum(self.steps.values())
            step = done * a_round + position
        warmup_steps, total_steps = phase.warmup_rounds * a_round, phase.rounds * a_round
        return learning_rate(step, peak=train.lr, warmup_steps=warmup_steps, total_steps=total_steps)

    # What is a task's own. -------------------------------------------------------------------------------------------

    # The section of params.yaml that holds the recipe.
    SECTION = "train"

    @property
    @abstractmethod
    def deployed(self) -> str:
        """Which of the model file's models is deployed."""

    @abstractmethod
    def _set_up(self, phase: int) -> None:
        """Make the models ready for the phase of that index."""

    @abstractmethod
    def _draw(self, name: str, count: int, generator: torch.Generator) -> Taken:
        """Draw the augmentation of `count` images of a dataset, on the device."""

    @abstractmethod
    def _batch_loss(self, name: str, share: Share, batch: "Batch", draws: Any) -> Tensor:
        """Return the loss of this process's share of a batch; its average over processes is that of the batch."""

    @abstractmethod
    def _validated(self) -> dict[str, float]:
        """Validate after a round, call `_keep_if_best`, and return what the row of the history says of it."""

    @abstractmethod
    def _validation_line(self, row: Mapping[str, float]) -> str:
        """Say of a round's row what its line in the log says of validation."""

    def _end_step(self, name: str, number: int) -> None:
        """Do what follows the `number`th step of the round on a dataset."""

    def _end_visit(self, name: str) -> None:
        """Do what follows the round's last step on a dataset."""

    def _end_round(self) -> None:
        """Do what follows a round, when its row is in the history."""


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _mean_loss(trace: list[list[float]], plan: list[str], name: str) -> float:
    """Mean loss over the images that the plan's steps on one dataset saw."""
    steps = [row for row, trained in zip(trace, plan, strict=False) if trained == name]
    return sum(loss * images for loss, _, images in steps) / sum(images for _, _, images in steps)
