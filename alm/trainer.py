"""One epoch, one evaluation, the run. Loaders and log are handed in."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from alm.checkpoint import OWN_FORMAT, save_checkpoint
from alm.device import Readback, autocast
from alm.metrics import AttributeMetrics, right_answers
from alm.network import vote
from alm.preprocess import preprocess


class Log(Protocol):
    """Where a run's lines and numbers go."""

    def line(self, text: str = "") -> None:
        """Write a line."""

    def iteration(self, epoch: int, iteration: int, loss: float, ips: float) -> None:
        """Write a training iteration's loss and pictures a second."""


class Loader(Protocol):
    """Batches (images uint8 (B, 3, 256, 128), labels (B, K), mirror bool (B,)) of an epoch."""

    def __len__(self) -> int: ...

    def epoch(self, epoch: int) -> Iterable[tuple[Tensor, Tensor, Tensor]]:
        """Return the epoch's batches."""


class Average:
    """The last value and the running mean, as the log shows them: `0.422 (0.431)`."""

    def __init__(self):
        self.value = self.total = self.count = 0.0

    def add(self, value: float, count: int = 1) -> None:
        """Take a value that stands for `count` of equal weight."""
        self.value = value
        self.total += value * count
        self.count += count

    @property
    def mean(self) -> float:
        """The mean so far."""
        return self.total / max(self.count, 1)

    def text(self, digits: int) -> str:
        """Return `last (mean)` with so many decimals."""
        return f"{self.value:.{digits}f} ({self.mean:.{digits}f})"


class Stopwatch:
    """Seconds from one lap to the next."""

    def __init__(self):
        self._since = time.perf_counter()

    def lap(self) -> float:
        """Return the seconds since the last lap, or the start."""
        now = time.perf_counter()
        self._since, before = now, self._since
        return now - before


class Progress:
    """The published `Epoch:` and `Test:` lines: time, loss and share of right answers, with running means."""

    def __init__(self):
        self.time, self.loss, self.accu = Average(), Average(), Average()

    def add(self, seconds: float, loss: float, accu: float, count: int) -> None:
        """Take one iteration over `count` pictures."""
        self.time.add(seconds)
        self.loss.add(loss, count)
        self.accu.add(accu, count)

    def line(self, head: str) -> str:
        """Return the line that starts with `head`, such as `Epoch: [0][100/2850]`."""
        figures = (f"Time {self.time.text(3)}", f"Loss {self.loss.text(4)}", f"Accu {self.accu.text(3)}")
        return "\t".join([head, *figures])


class Pending(NamedTuple):
    """An iteration that the device was given and whose values are still on their way."""

    iteration: int
    pictures: int
    seconds: float
    values: Readback  # loss and share of right answers


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
    print_freq: int = 100

    def train_epoch(self, loader: Loader, epoch: int, max_iters: int | None = None) -> None:
        """Train for one epoch, or `max_iters` iterations of it, logging every iteration.

        The device is given the next iteration before the last one's loss is read and printed.
        """
        self.model.train()
        progress, watch = Progress(), Stopwatch()
        pending = None
        for iteration, (images, labels, mirror) in enumerate(loader.epoch(epoch)):
            if iteration == max_iters:
                break
            values = self._step(images, labels, mirror)
            if pending:
                self._report(progress, epoch, len(loader), pending)
            pending = Pending(iteration, len(images), watch.lap(), Readback(values))
        self._report(progress, epoch, len(loader), pending)
        if max_iters and max_iters < len(loader):
            self.log.line(f"\nEarly stopping at iteration {max_iters}")

    def _step(self, images: Tensor, labels: Tensor, mirror: Tensor) -> Tensor:
        """Take one optimizer step; return its loss and share of right answers (2,), on the device."""
        predictions, labels = self._forward(self.model, images, labels, mirror)
        loss = sum(self.criterion(prediction, labels) for prediction in predictions)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        with torch.no_grad():
            return torch.stack([loss.detach(), right_answers(vote(predictions), labels)])

    def _report(self, progress: Progress, epoch: int, iterations: int, done: Pending) -> None:
        loss, accu = done.values.read()
        progress.add(done.seconds, loss, accu, done.pictures)
        self.log.iteration(epoch, done.iteration, loss, done.pictures / done.seconds)
        if done.iteration % self.print_freq == 0:
            self.log.line(progress.line(f"Epoch: [{epoch}][{done.iteration}/{iterations}]"))

    @torch.inference_mode()
    def evaluate(self, loader: Loader, num_attributes: int) -> dict:
        """Return the figures of `AttributeMetrics`, with `loss` and `accu`, over the loader's pictures."""
        model = self.model.folded()
        metrics = AttributeMetrics(num_attributes)
        progress, watch = Progress(), Stopwatch()
        for iteration, (images, labels, mirror) in enumerate(loader.epoch(0)):
            predictions, labels = self._forward(model, images, labels, mirror)
            logits = vote(predictions)
            metrics.update(logits, labels)
            loss = sum(self.criterion(prediction, labels) for prediction in predictions)
            accu = right_answers(logits, labels)
            progress.add(watch.lap(), loss.item(), accu.item(), len(images))
            if iteration % self.print_freq == 0:
                self.log.line(progress.line(f"Test: [{iteration}/{len(loader)}]"))
        self.log.line(f" * Accu {progress.accu.mean:.3f}")
        return metrics.compute() | {"loss": progress.loss.mean, "accu": progress.accu.mean}

    def _forward(self, model: nn.Module, images: Tensor, labels: Tensor, mirror: Tensor) -> tuple:
        images, labels, mirror = (x.to(self.device, non_blocking=True) for x in (images, labels, mirror))
        with autocast(self.device, self.precision):
            return model(preprocess(images, mirror)), labels


@dataclass
class Run:
    """A training run: which epochs, what is saved where, and the best so far."""

    directory: Path
    epochs: int
    lr: float
    decay_epochs: tuple[int, ...] = ()
    start_epoch: int = 0
    max_iters: int | None = None
    save_freq: int = 10
    prefix: str = ""
    best_ma: float = -math.inf
    best_accu: float = 0.0
    identity: dict = field(default_factory=dict)  # what a checkpoint says of its model and options

    def fit(
        self,
        trainer: Trainer,
        train_loader: Loader,
        val_loader: Loader | None,
        num_attributes: int,
        evaluated: Callable[[int, dict], None],
    ) -> None:
        """Train from `start_epoch` to `epochs`, evaluating after each epoch where there is a list to.

        `evaluated(epoch, figures)` is told each evaluation's figures. The last epoch and every
        `save_freq`-th are saved as `[<prefix>_]<epoch>.pth.tar`, counted from 1; the best mA as
        `best.pth.tar`.
        """
        for epoch in range(self.start_epoch, self.epochs):
            self._set_learning_rate(trainer, epoch)
            trainer.train_epoch(train_loader, epoch, self.max_iters)
            improved = False
            if val_loader is not None:
                figures = trainer.evaluate(val_loader, num_attributes)
                evaluated(epoch, figures)
                improved = figures["ma"] > self.best_ma
                self.best_ma = max(self.best_ma, figures["ma"]) if improved else self.best_ma
                self.best_accu = max(self.best_accu, figures["accu"])
            self._save(trainer, epoch, improved)

    def _set_learning_rate(self, trainer: Trainer, epoch: int) -> None:
        lr = self.lr
        for decay in self.decay_epochs:
            if epoch >= decay:
                lr *= 0.1
        for group in trainer.optimizer.param_groups:
            group["lr"] = lr
        trainer.log.line(f"\nLearning Rate: {lr}\n")

    def _save(self, trainer: Trainer, epoch: int, improved: bool) -> None:
        done = epoch + 1
        names = []
        if done % self.save_freq == 0 or done == self.epochs:
            names.append(f"{self.prefix}_{done}.pth.tar" if self.prefix else f"{done}.pth.tar")
        if improved:
            names.append("best.pth.tar")
        if not names:
            return
        checkpoint = self.identity | {
            "format": OWN_FORMAT,
            "epoch": done,
            "state_dict": trainer.model.state_dict(),
            "optimizer": trainer.optimizer.state_dict(),
            "scaler": trainer.scaler.state_dict(),
            "best_ma": self.best_ma,
            "best_accu": self.best_accu,
        }
        for name in names:
            save_checkpoint(self.directory / name, checkpoint)
