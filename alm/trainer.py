"""One epoch, one evaluation, the run. Loaders and log are handed in."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from alm.checkpoint import OWN_FORMAT, save_checkpoint
from alm.device import Readback, autocast
from alm.metrics import AttributeMetrics, right_answers
from alm.network import vote
from alm.preprocess import preprocess
from alm.progress import Progress, Stopwatch

Network = Callable[[Tensor], tuple[Tensor, ...]]  # normalized images -> the branches' logits


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


class Pending(NamedTuple):
    """An iteration that the device was given and whose values are still on their way."""

    iteration: int
    pictures: int
    seconds: float
    values: Readback  # loss and share of right answers


def one_late(steps: Iterable[Pending]) -> Iterator[Pending]:
    """Yield each step when the next one has been given to the device, which so never waits to be read."""
    last = None
    for step in steps:
        if last:
            yield last
        last = step
    if last:
        yield last


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
    compiled: Network | None = None  # what training calls instead of the model

    def train_epoch(self, loader: Loader, epoch: int, max_iters: int | None = None) -> None:
        """Train for one epoch, or `max_iters` iterations of it, logging every iteration."""
        self.model.train()
        progress = Progress()
        for done in one_late(self._train(islice(loader.epoch(epoch), max_iters))):
            loss, accu = done.values.read()
            progress.add(done.seconds, loss, accu, done.pictures)
            self.log.iteration(epoch, done.iteration, loss, done.pictures / done.seconds)
            if done.iteration % self.print_freq == 0:
                self.log.line(progress.line(f"Epoch: [{epoch}][{done.iteration}/{len(loader)}]"))
        if max_iters and max_iters < len(loader):
            self.log.line(f"\nEarly stopping at iteration {max_iters}")

    def _train(self, batches: Iterable[tuple[Tensor, Tensor, Tensor]]) -> Iterator[Pending]:
        """Take an optimizer step on each batch."""
        watch = Stopwatch()
        for iteration, (images, labels, mirror) in enumerate(batches):
            self.optimizer.zero_grad(set_to_none=True)  # before the forward pass, which can use their memory
            predictions, labels = self._forward(self.compiled or self.model, images, labels, mirror)
            loss = self._loss(predictions, labels)
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            with torch.no_grad():
                values = torch.stack([loss, right_answers(vote(predictions), labels)])
            yield Pending(iteration, len(images), watch.lap(), Readback(values))

    @torch.inference_mode()
    def evaluate(self, loader: Loader, num_attributes: int) -> dict:
        """Return the figures of `AttributeMetrics`, with `loss` and `accu`, over the loader's pictures."""
        metrics = AttributeMetrics(num_attributes)
        progress = Progress()
        for done in one_late(self._test(loader.epoch(0), metrics)):
            progress.add(done.seconds, *done.values.read(), done.pictures)
            if done.iteration % self.print_freq == 0:
                self.log.line(progress.line(f"Test: [{done.iteration}/{len(loader)}]"))
        self.log.line(f" * Accu {progress.accu.mean:.3f}")
        return metrics.compute() | {"loss": progress.loss.mean, "accu": progress.accu.mean}

    def _test(
        self, batches: Iterable[tuple[Tensor, Tensor, Tensor]], metrics: AttributeMetrics
    ) -> Iterator[Pending]:
        """Predict each batch and count its answers, on the device."""
        model, watch = self.model.folded(), Stopwatch()
        for iteration, (images, labels, mirror) in enumerate(batches):
            predictions, labels = self._forward(model, images, labels, mirror)
            logits = vote(predictions)
            metrics.update(logits, labels)
            values = torch.stack([self._loss(predictions, labels), right_answers(logits, labels)])
            yield Pending(iteration, len(images), watch.lap(), Readback(values))

    def _loss(self, predictions: tuple[Tensor, ...], labels: Tensor) -> Tensor:
        return sum(self.criterion(prediction, labels) for prediction in predictions)

    def _forward(self, model: Network, images: Tensor, labels: Tensor, mirror: Tensor) -> tuple:
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
            figures, improved = None, False
            if val_loader is not None:
                figures = trainer.evaluate(val_loader, num_attributes)
                improved = figures["ma"] > self.best_ma
                self.best_ma = max(self.best_ma, figures["ma"])  # a NaN is not larger
                self.best_accu = max(self.best_accu, figures["accu"])
            self._save(trainer, epoch, improved)  # before anything that may fail is done with the figures
            if figures:
                evaluated(epoch, figures)

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
