"""A run: its epochs, the learning rate of each, what is saved when, and its state."""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from alm.checkpoint import OWN_FORMAT
from alm.checkpoint_file import all_finite, give_second_name, save_checkpoint
from alm.errors import AlmError
from alm.optimizer_state import checked_state
from alm.trainer import Loader, NonFiniteLossError, Trainer

BEST = "best.pth.tar"


@dataclass
class Run:
    """A training run, from its first epoch or from a checkpoint on.

    Attributes:
        epochs: train until so many are done.
        lr, decay_epochs: the rate, times 0.1 from each of these epochs on, counted from 0.
        max_iters: end each epoch after so many iterations.
        save_freq: save every so many epochs, besides the last.
        identity: what a checkpoint says of its model and options.
        epoch, iterations: how much is done.
        best_ma, best_accu: the best figures of any evaluation so far.
    """

    trainer: Trainer
    directory: Path
    epochs: int
    lr: float
    decay_epochs: tuple[int, ...] = ()
    max_iters: int | None = None
    save_freq: int = 10
    prefix: str = ""
    identity: dict = field(default_factory=dict)
    epoch: int = 0
    iterations: int = 0
    best_ma: float = -math.inf
    best_accu: float = 0.0
    _last: Path | None = field(default=None, init=False)  # of the checkpoints saved

    def fit(
        self,
        train_loader: Loader,
        val_loader: Loader | None = None,
        evaluated: Callable[[int, dict], None] = lambda epoch, figures: None,
    ) -> None:
        """Train until `epochs` are done, evaluating after each where there is a list to.

        `evaluated(epoch, figures)` is told each evaluation's figures, `epoch` counting those done. The last
        epoch and every `save_freq`-th are saved as `[<prefix>_]<epoch>.pth.tar` when they are trained, and
        any other one that cannot be evaluated; the best mA as `best.pth.tar`. Raises AlmError where a loss
        (NonFiniteLossError), a weight or a prediction is not finite, OSError where nothing can be saved, and
        whatever the loaders and `evaluated` raise.
        """
        while self.epoch < self.epochs:
            self._set_learning_rate()
            self._train(train_loader)
            due = self.epoch % self.save_freq == 0 or self.epoch == self.epochs
            if due:
                self._save(self._name)
            if val_loader is not None:
                with self._kept(already=due):
                    figures = self.trainer.evaluate(val_loader)
                    self._remember(figures, due)
                    evaluated(self.epoch, figures)

    def state_dict(self) -> dict:
        """Return what a checkpoint holds: all that going on with the run depends on."""
        return self.identity | {
            "format": OWN_FORMAT,
            "epoch": self.epoch,
            "iterations": self.iterations,
            "best_ma": self.best_ma,
            "best_accu": self.best_accu,
            "state_dict": self.trainer.model.state_dict(),
            "optimizer": self.trainer.optimizer.state_dict(),
            "scaler": self.trainer.scaler.state_dict(),
        }

    def load_state_dict(self, checkpoint: Mapping) -> None:
        """Go on from a checkpoint whose weights the model has already, ours or a published one.

        Raises AlmError, and changes nothing, where its optimizer's state is of another model.
        """
        if "optimizer" in checkpoint:
            self._restore_optimizer(checkpoint["optimizer"], fp16=bool(checkpoint.get("scaler")))
        if self.trainer.scaler.is_enabled() and checkpoint.get("scaler"):
            self.trainer.scaler.load_state_dict(checkpoint["scaler"])
        self.epoch = checkpoint["epoch"]
        self.iterations = checkpoint.get("iterations", 0)
        self.best_ma = checkpoint.get("best_ma", -math.inf)
        self.best_accu = float(checkpoint["best_accu"])

    def _restore_optimizer(self, saved: Mapping, fp16: bool) -> None:
        """Restore the moments. The options of this run stay, and what its device can do (`fused`).

        In `fp16` there may be none yet: the first steps overflow, and are left out, until the scale is found.
        """
        optimizer = self.trainer.optimizer
        state = checked_state(optimizer, saved, may_be_empty=fp16)
        optimizer.load_state_dict(optimizer.state_dict() | {"state": state})

    @property
    def _name(self) -> str:
        return f"{self.prefix}_{self.epoch}.pth.tar" if self.prefix else f"{self.epoch}.pth.tar"

    def _set_learning_rate(self) -> None:
        lr = self.lr
        for decay in self.decay_epochs:
            if self.epoch >= decay:
                lr *= 0.1
        for group in self.trainer.optimizer.param_groups:
            group["lr"] = lr
        self.trainer.log.learning_rate(lr)

    def _train(self, loader: Loader) -> None:
        """Train for one epoch."""
        try:
            self.iterations += self.trainer.train_epoch(loader, self.epoch, self.max_iters)
        except NonFiniteLossError as error:
            raise NonFiniteLossError(f"{error}{self._way_back}") from error
        self.epoch += 1

    @contextmanager
    def _kept(self, already: bool) -> Iterator[None]:
        """Save an epoch, where it is not `already`, whose evaluation fails: a damaged picture of that list
        must not cost it.
        """
        try:
            yield
        except BaseException:
            if not already:
                try:
                    self._save(self._name)
                except Exception as second:  # the first error counts
                    warnings.warn(f"epoch {self.epoch} is lost, it cannot be saved: {second}", stacklevel=4)
            raise

    def _remember(self, figures: Mapping, due: bool) -> None:
        """Keep the best figures, and save what they are of. An epoch that was `due` is saved once more where
        they changed: who goes on from it goes on with the best so far.
        """
        accu = self.best_accu
        self.best_accu = max(accu, figures["accu"])
        if figures["ma"] > self.best_ma:  # a NaN is not larger
            self.best_ma = figures["ma"]
            self._save(BEST)
            if due:
                give_second_name(self.directory / BEST, self.directory / self._name)
        elif due and self.best_accu != accu:
            self._save(self._name)

    def _save(self, name: str) -> None:
        """Save the run. Raises AlmError, and saves nothing, where a weight is not finite."""
        state = self.state_dict()
        if not all_finite(state["state_dict"]):
            raise AlmError(
                f"the weights are not finite after epoch {self.epoch}, so they are not saved; start again "
                f"with a lower --lr, or with --amp off{self._way_back}"
            )
        save_checkpoint(self.directory / name, state)
        if name != BEST:
            self._last = self.directory / name

    @property
    def _way_back(self) -> str:
        """Return where the run can be gone on with after an error, in words."""
        return f"; {self._last} is the last checkpoint" if self._last else ""
