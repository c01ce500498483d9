"""One epoch and one evaluation, as straight loops. Loaders and log are handed in."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from alm.device import CPU, is_accelerator
from alm.errors import AlmError
from alm.metrics import AttributeMetrics, right_answers
from alm.network import vote
from alm.precision import autocast
from alm.preprocess import preprocess
from alm.readback import Readback
from alm.step_faults import step_faults

Network = Callable[[Tensor], tuple[Tensor, ...]]  # normalized images -> the branches' logits
Batch = tuple[Tensor, Tensor, Tensor]  # images uint8 (B, 3, 256, 128), labels (B, K), mirror bool (B,)


class Loader(Protocol):
    """The batches of an epoch, over pictures with `num_attributes` labels."""

    num_attributes: int

    def __len__(self) -> int: ...

    def epoch(self, epoch: int) -> Iterable[Batch]:
        """Return the epoch's batches."""


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

    def stopped_early(self, iterations: int) -> None:
        """An epoch has ended after so many of its iterations."""

    def test(self, iteration: int, of: int, pictures: int, seconds: float, loss: float, accu: float) -> None:
        """A batch was evaluated."""

    def tested(self, accu: float) -> None:
        """All batches were evaluated."""


class NonFiniteLossError(AlmError):
    """The loss became NaN or infinite; nothing after that step is worth keeping."""


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

    def train_epoch(self, loader: Loader, epoch: int, max_iters: int | None = None) -> int:
        """Train for one epoch, or `max_iters` iterations of it; return how many there were.

        Raises NonFiniteLossError.
        """

        scale_before = self.scaler.get_scale()

        def tell(step: Step, seconds: float, loss: float, accu: float, scale: float) -> None:
            nonlocal scale_before
            self.log.iteration(epoch, step.iteration, len(loader), step.pictures, seconds, loss, accu)
            if scale < scale_before:
                self.log.skipped(epoch, step.iteration, scale)
            scale_before = scale
            if not math.isfinite(loss):
                raise NonFiniteLossError(
                    f"the loss is {loss} at epoch {epoch} iteration {step.iteration}; start again with a "
                    "lower --lr, or with --amp off"
                )

        self.model.train()
        network = self.compiled or self.model
        with Steps(self.device, tell) as steps:
            for images, labels, mirror in islice(loader.epoch(epoch), max_iters):
                with step_faults(len(images)), self.watch(images, labels, mirror):
                    self.optimizer.zero_grad(set_to_none=True)  # first: the forward pass can use the memory
                    images, labels, mirror = self._on_device(images, labels, mirror)
                    predictions = self._predict(network, images, mirror)
                    loss = self._loss(predictions, labels)
                    self.scaler.scale(loss).backward()
                    self.scaler.step(self.optimizer)
                    self.scaler.update()
                    accu = right_answers(vote(predictions), labels)
                    steps.taken(len(images), loss.detach(), accu, self.scaler.scale(torch.ones_like(accu)))
        if steps.count < len(loader):
            self.log.stopped_early(steps.count)
        return steps.count

    @torch.inference_mode()
    def evaluate(self, loader: Loader) -> dict:
        """Return the figures of `AttributeMetrics`, with `loss` and `accu`, over the loader's pictures, and
        `logits`: their votes, (N, K) on the CPU, in the loader's order.

        Raises AlmError where predictions are NaN.
        """
        network, metrics = self.model.folded(), AttributeMetrics(loader.num_attributes)
        votes: list[Tensor] = []
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
                    predictions = self._predict(network, images, mirror)
                    logits = vote(predictions)
                    metrics.update(logits, labels)
                    votes.append(logits)
                    steps.taken(len(images), self._loss(predictions, labels), right_answers(logits, labels))
        figures = metrics.compute() | {name: total / max(pictures, 1) for name, total in sums.items()}
        figures["logits"] = torch.cat([torch.empty(0, loader.num_attributes), *(x.to(CPU) for x in votes)])
        self.log.tested(figures["accu"])
        return figures

    def _on_device(self, *batch: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor.to(self.device, non_blocking=True) for tensor in batch)

    def _predict(self, network: Network, images: Tensor, mirror: Tensor) -> tuple[Tensor, ...]:
        with autocast(self.device, self.precision):
            return network(preprocess(images, mirror))

    def _loss(self, predictions: tuple[Tensor, ...], labels: Tensor) -> Tensor:
        return sum(self.criterion(prediction, labels) for prediction in predictions)


class Step(NamedTuple):
    """A step that the device was given."""

    iteration: int
    pictures: int
    values: Readback


class Steps:
    """The steps of an epoch: tells each one's time and values, such as its loss, when it is done.

    The CPU is done at once. An accelerator is asked one step late, so that it never waits for what to do
    next. At the end, also after an error, the last step is told too: `tell(step, seconds, *values)`.
    """

    def __init__(self, device: torch.device, tell: Callable[..., None]):
        self.count = 0
        self._late = 1 if is_accelerator(device) else 0
        self._tell = tell
        self._untold: deque[Step] = deque()
        self._since = time.perf_counter()

    def taken(self, pictures: int, *values: Tensor) -> None:
        """Take note of the step that the device was given last."""
        self._untold.append(Step(self.count, pictures, Readback(torch.stack(values))))
        self.count += 1
        self._tell_all_but(self._late)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self._tell_all_but(0)
            return
        with suppress(Exception):  # of two errors the first one counts
            self._tell_all_but(0)

    def _tell_all_but(self, count: int) -> None:
        while len(self._untold) > count:
            step = self._untold.popleft()
            values = step.values.read()
            now = time.perf_counter()
            self._since, seconds = now, now - self._since
            self._tell(step, seconds, *values)
