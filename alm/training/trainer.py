"""One epoch and one evaluation, as straight loops. Loaders and log are handed in."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from alm.devices.device import CPU
from alm.devices.precision import autocast
from alm.errors import AlmError
from alm.models.metrics import AttributeMetrics, right_answers
from alm.models.network import vote
from alm.models.preprocessing import preprocess
from alm.training.step_queue import Step, Steps

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")  # as the devices put it
NO_OPERATOR = re.compile(r"Could not run '([\w:.]+)' with arguments from the '(\w+)' backend")


@contextmanager
def step_faults(pictures: int) -> Iterator[None]:
    """Turn a lack of memory, or of an operator, within a step over so many pictures into an AlmError."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # NotImplementedError is a RuntimeError
        if isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY):
            raise AlmError(
                f"out of memory in a step over {pictures} pictures; lower --batch_size, "
                "or use less for each with --amp bf16 or fp16"
            ) from error
        if missing := NO_OPERATOR.search(str(error)):
            operator, device = missing.groups()
            raise AlmError(
                f"{device} has no {operator}; `python locate.py --device {device}` says where it is needed"
            ) from error
        raise


MOST_IN_A_ROW = 10
ADVICE = "start again with a lower --lr, or with --amp off"


class NonFiniteLossError(AlmError):
    """The loss became NaN or infinite. `before` is the number of pictures ahead of that step's, in the
    batches that were handed in, `pictures` the step's own.
    """

    def __init__(self, message: str, before: int, pictures: int):
        super().__init__(message)
        self.before, self.pictures = before, pictures


@dataclass
class NonFinite:
    """What becomes of such steps: the first one ends the run, or where it `leaves_out` these steps the
    `MOST_IN_A_ROW`-th in a row; `left_out` is how many were.

    Who leaves out waits for the device at each step, before the weights are changed.
    """

    leaves_out: bool = False
    left_out: int = field(default=0, init=False)
    _in_a_row: int = field(default=0, init=False)

    def is_good(self, loss: Tensor, parameters: Iterable[nn.Parameter]) -> Tensor:
        """Return whether a step's loss is finite, bool (); and for who leaves out, the gradients too."""
        values = [loss]
        if self.leaves_out:
            values += [parameter.grad for parameter in parameters if parameter.grad is not None]
        return torch.stack([value.isfinite().all() for value in values]).all()

    def was_left_out(self, is_good: bool, place: str, loss: float, step: Step) -> bool:
        """Return whether a step was left out, and count it; `place` says in words where it is in the run.

        Raises NonFiniteLossError where the run ends.
        """
        if is_good:
            self._in_a_row = 0
            return False
        self._in_a_row += 1
        if not self.leaves_out:
            raise NonFiniteLossError(f"the loss is {loss} at {place}; {ADVICE}", step.before, step.pictures)
        self.left_out += 1
        if self._in_a_row == MOST_IN_A_ROW:
            raise NonFiniteLossError(
                f"{MOST_IN_A_ROW} iterations in a row, up to {place}, had a loss or gradients that are not "
                f"finite; {ADVICE}",
                step.before,
                step.pictures,
            )
        return True


Network = Callable[[Tensor], tuple[Tensor, ...]]  # normalized images -> the branches' logits
Batch = tuple[Tensor, Tensor, Tensor]  # images uint8 (B, 3, 256, 128), labels (B, K), mirror bool (B,)


class Loader(Protocol):
    """The batches of an epoch, over pictures with `num_attributes` labels."""

    num_attributes: int

    def __len__(self) -> int: ...

    def left(self, seen: int) -> int:
        """Return the number of batches of an epoch after its first `seen` pictures."""

    def epoch(self, epoch: int, seen: int = 0) -> Iterable[Batch]:
        """Return the epoch's batches, but for its first `seen` pictures."""

    def names(self, epoch: int, first: int, count: int) -> list[str]:
        """Return the names of `count` pictures of an epoch, from the `first` on, in its order."""


class Log(Protocol):
    """What is told of a run. `of` is the number of iterations in a whole epoch, `seconds` the iteration's own
    time, `accu` the share of right answers.
    """

    def learning_rate(self, lr: float) -> None:
        """An epoch begins."""

    def iteration(
        self, epoch: int, iteration: int, of: int, pictures: int, seconds: float, loss: float, accu: float
    ) -> None:
        """A training step was taken."""

    def skipped(self, epoch: int, iteration: int, scale: float) -> None:
        """A step's gradients overflowed in fp16: the weights stay, the loss is scaled by less from now on."""

    def left_out(self, epoch: int, iteration: int, loss: float, count: int) -> None:
        """A step's loss or gradients were not finite: the weights stay. It is the `count`-th such step."""

    def at_fault(self, pictures: list[str]) -> None:
        """A step over these pictures is what ends the run."""

    def not_saved(self, reason: str) -> None:
        """A checkpoint could not be written."""

    def stopped_early(self, iterations: int) -> None:
        """An epoch has ended after so many of its iterations."""

    def test(self, iteration: int, of: int, pictures: int, seconds: float, loss: float, accu: float) -> None:
        """A batch was evaluated."""

    def tested(self, accu: float) -> None:
        """All batches were evaluated."""

    def state_dict(self) -> dict:
        """Return what goes on with the run: the running means of its epoch."""

    def load_state_dict(self, state: dict) -> None:
        """Go on from what `state_dict` returned."""


class Taken(NamedTuple):
    """What was trained on."""

    iterations: int
    pictures: int


def unwatched(images: Tensor, labels: Tensor, mirror: Tensor) -> AbstractContextManager:
    """Watch nothing of a training step."""
    return nullcontext()


@dataclass
class Trainer:
    """What every step of a run needs."""

    model: nn.Module
    criterion: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    device: torch.device
    precision: torch.dtype | None  # autocast's type; None: float32
    log: Log
    compiled: Network | None = None  # what training calls instead of the model
    watch: Callable[..., AbstractContextManager] = unwatched  # entered with a batch around its training step
    nonfinite: NonFinite = field(default_factory=NonFinite)  # what becomes of such a step
    localize: bool = False  # evaluations give regions too

    def train(self, batches: Iterable[Batch], epoch: int, first: int, of: int) -> Taken:
        """Train on batches of an epoch of `of` iterations; the first one is its iteration `first`.

        Raises NonFiniteLossError.
        """
        scale_before = self.scaler.get_scale()

        def tell(step: Step, seconds: float, loss: float, accu: float, scale: float, is_good: float) -> None:
            nonlocal scale_before
            iteration = first + step.iteration
            self.log.iteration(epoch, iteration, of, step.pictures, seconds, loss, accu)
            if scale < scale_before:
                self.log.skipped(epoch, iteration, scale)
            scale_before = scale
            place = f"epoch {epoch} iteration {iteration}"
            if self.nonfinite.was_left_out(bool(is_good), place, loss, step):
                self.log.left_out(epoch, iteration, loss, self.nonfinite.left_out)

        self.model.train()
        network = self.compiled or self.model
        with Steps(self.device, tell) as steps:
            for batch in batches:
                pictures = len(batch[0])
                with step_faults(pictures), self.watch(*batch):
                    steps.taken(pictures, *self._step(network, *batch))
        return Taken(steps.count, steps.pictures)

    @torch.inference_mode()
    def evaluate(self, loader: Loader) -> dict:
        """Return the figures of `AttributeMetrics`, with `loss` and `accu`, over the loader's pictures, and
        `logits`: their votes, (N, K) on the CPU, in the loader's order.

        With `localize` also what `model.predict` gives of them: `branches`, each branch's logits (L, N, K),
        and `regions`, {"3b": (N, K, 4), ...}. Raises AlmError where predictions are NaN.
        """
        network, metrics = self.model.folded(), AttributeMetrics(loader.num_attributes)
        votes: list[Tensor] = []
        seen: list[tuple[tuple[Tensor, ...], dict[str, Tensor]]] = []
        sums = {"loss": 0.0, "accu": 0.0}
        pictures = 0

        def tell(step: Step, seconds: float, loss: float, accu: float) -> None:
            nonlocal pictures
            self.log.test(step.iteration, len(loader), step.pictures, seconds, loss, accu)
            sums["loss"] += loss * step.pictures
            sums["accu"] += accu * step.pictures
            pictures += step.pictures

        with Steps(self.device, tell) as steps:
            for images, labels, mirror in loader.epoch(0):
                with step_faults(len(images)):
                    images, labels, mirror = self._on_device(images, labels, mirror)
                    if self.localize:
                        seen.append(self._predict(network.predict, images, mirror))
                        predictions, _ = seen[-1]
                    else:
                        predictions = self._predict(network, images, mirror)
                    logits = vote(predictions)
                    metrics.update(logits, labels)
                    votes.append(logits)
                    steps.taken(len(images), self._loss(predictions, labels), right_answers(logits, labels))
        figures = metrics.compute() | {name: total / max(pictures, 1) for name, total in sums.items()}
        figures["logits"] = torch.cat([torch.empty(0, loader.num_attributes), *(x.to(CPU) for x in votes)])
        if seen:
            figures |= joined(seen)
        self.log.tested(figures["accu"])
        return figures

    def _step(self, network: Network, *batch: Tensor) -> tuple[Tensor, ...]:
        """Take a training step; return its loss, accu, the loss's scale after it, and whether it was good."""
        self.optimizer.zero_grad(set_to_none=True)  # first: the forward pass can use the memory
        images, labels, mirror = self._on_device(*batch)
        buffers = [buffer.clone() for buffer in self.model.buffers()] if self.nonfinite.leaves_out else []
        predictions = self._predict(network, images, mirror)
        loss = self._loss(predictions, labels)
        self.scaler.scale(loss).backward()
        # In fp16 gradients overflow now and then, and are the scaler's business.
        parameters = () if self.scaler.is_enabled() else self.model.parameters()
        is_good = self.nonfinite.is_good(loss.detach(), parameters)
        if self.nonfinite.leaves_out and not is_good:
            for buffer, before in zip(self.model.buffers(), buffers, strict=True):
                buffer.copy_(before)  # a running mean that is not finite once is so for ever
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        accu = right_answers(vote(predictions), labels)
        return loss.detach(), accu, self.scaler.scale(torch.ones_like(accu)), is_good.to(accu.dtype)

    def _on_device(self, *batch: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor.to(self.device, non_blocking=True) for tensor in batch)

    def _predict(self, network: Callable, images: Tensor, mirror: Tensor) -> tuple:
        with autocast(self.device, self.precision):
            return network(preprocess(images, mirror))

    def _loss(self, predictions: tuple[Tensor, ...], labels: Tensor) -> Tensor:
        return sum(self.criterion(prediction, labels) for prediction in predictions)


def joined(seen: list[tuple[tuple[Tensor, ...], dict[str, Tensor]]]) -> dict:
    """Return `branches` (L, N, K) and `regions` of what `model.predict` gave of each batch, on the CPU."""
    predictions, regions = zip(*seen, strict=True)
    return {
        "branches": torch.cat([torch.stack(logits) for logits in predictions], dim=1).to(CPU).float(),
        "regions": {level: torch.cat([of[level] for of in regions]).to(CPU) for level in regions[0]},
    }
