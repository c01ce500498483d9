"""A run: its epochs, the learning rate of each, what is saved when, and its state."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from alm.checkpoint.files import all_finite
from alm.checkpoint.restore import OWN_FORMAT
from alm.checkpoint.retention import drop_surplus, numbered_name, save_under
from alm.checkpoint.schema import checked_state
from alm.constants import BEST, LAST
from alm.errors import AlmError
from alm.training.trainer import Batch, Loader, NonFiniteLossError, Trainer


class Stopped(Exception):  # noqa: N818, no error
    """An evaluation was asked to end."""


def until(stop: Callable[[], bool], batches: Iterable[Batch]) -> Iterator[Batch]:
    """Yield batches until `stop()`, which is asked when each is done with."""
    for batch in batches:
        yield batch
        if stop():
            return


@dataclass
class StoppedWhenAsked:
    """A loader for an evaluation that raises Stopped when `stop()` says so."""

    loader: Loader
    stop: Callable[[], bool]

    def __len__(self) -> int:
        return len(self.loader)

    @property
    def num_attributes(self) -> int:
        """K, the number of labels of each picture."""
        return self.loader.num_attributes

    def epoch(self, epoch: int, seen: int = 0) -> Iterator[Batch]:
        """Yield the loader's batches."""
        for batch in self.loader.epoch(epoch, seen):
            yield batch
            if self.stop():
                raise Stopped


@dataclass
class Run:
    """A training run, from its first epoch or from a checkpoint on.

    Attributes:
        epochs: train until so many are done.
        lr, decay_epochs: the rate, times 0.1 from each of these epochs on, counted from 0.
        max_iters: end each epoch after so many iterations.
        save_freq: keep a checkpoint of every so many epochs, besides the last; save_every_iters: and of every
            so many iterations. Of either the newest `keep` stay; None: all.
        identity: what a checkpoint says of its model, data and options.
        epoch, iterations: how much is done in all.
        iteration, seen: how much of the next epoch: iterations, and pictures in its order.
        unevaluated: whether the last whole epoch still waits for its evaluation.
        best_ma, best_accu: the best figures of any evaluation so far.
        saved: the numbered checkpoints that are there, by name, in order.
        unsaved: why the last save failed; None where it did not.
    """

    trainer: Trainer
    directory: Path
    epochs: int
    lr: float
    decay_epochs: tuple[int, ...] = ()
    max_iters: int | None = None
    save_freq: int = 10
    save_every_iters: int | None = None
    keep: int | None = 3
    prefix: str = ""
    identity: dict = field(default_factory=dict)
    epoch: int = 0
    iterations: int = 0
    iteration: int = 0
    seen: int = 0
    unevaluated: bool = False
    best_ma: float = -math.inf
    best_accu: float = 0.0
    saved: list[str] = field(default_factory=list)
    unsaved: str | None = field(default=None, init=False)

    def fit(
        self,
        train_loader: Loader,
        val_loader: Loader | None = None,
        evaluated: Callable[[int, dict], None] = lambda epoch, figures: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Train until `epochs` are done, evaluating after each where there is a list to.

        `evaluated(epoch, figures)` is told each evaluation's figures, `epoch` counting those done. An epoch
        is saved when it is trained, and once more when it is evaluated: as `last.pth.tar`, the last epoch and
        every `save_freq`-th as `[<prefix>_]<epoch>.pth.tar` too, the best mA as `best.pth.tar`. A save that
        fails is told, and the next one tries again.

        Returns True when all is done, and False where `stop()` asked for an end, after the iteration or the
        batch that was underway; what was trained is saved then. Raises AlmError where a loss
        (NonFiniteLossError), a weight or a prediction is not finite, and whatever the loaders and `evaluated`
        raise.
        """
        self.unevaluated &= val_loader is not None
        while self.epoch < self.epochs or self.unevaluated:
            if stop():
                return False
            if not self.unevaluated:
                self.trainer.log.learning_rate(self._set_learning_rate(self.epoch))
                is_whole = self._train(train_loader, stop)
                if is_whole:
                    self.epoch, self.iteration, self.seen = self.epoch + 1, 0, 0
                    self.unevaluated = val_loader is not None
                self._save()
                if not is_whole:
                    return False
            if self.unevaluated:
                try:
                    figures = self.trainer.evaluate(StoppedWhenAsked(val_loader, stop))
                except Stopped:
                    return False
                evaluated(self.epoch, figures)
                self._remember(figures)
        return True

    def state_dict(self) -> dict:
        """Return what a checkpoint holds: all that going on with the run depends on. What is random follows
        from the seed, the epoch and a picture's index, so that no generator has a state.
        """
        return self.identity | {
            "format": OWN_FORMAT,
            "epoch": self.epoch,
            "iterations": self.iterations,
            "iteration": self.iteration,
            "seen": self.seen,
            "unevaluated": self.unevaluated,
            "best_ma": self.best_ma,
            "best_accu": self.best_accu,
            "saved": list(self.saved),
            "log": self.trainer.log.state_dict(),
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
        self.iteration, self.seen = checkpoint.get("iteration", 0), checkpoint.get("seen", 0)
        self.unevaluated = checkpoint.get("unevaluated", False)
        self._set_learning_rate(self.epoch if self.iteration else self.epoch - 1)  # as when it was saved
        self.best_ma = checkpoint.get("best_ma", -math.inf)
        self.best_accu = float(checkpoint["best_accu"])
        self.saved = list(checkpoint.get("saved", []))
        if checkpoint.get("log"):
            self.trainer.log.load_state_dict(checkpoint["log"])

    def _restore_optimizer(self, saved: Mapping, fp16: bool) -> None:
        """Restore the moments. The options of this run stay, and what its device can do (`fused`).

        In `fp16` there may be none yet: the first steps overflow, and are left out, until the scale is found.
        """
        optimizer = self.trainer.optimizer
        state = checked_state(optimizer, saved, may_be_empty=fp16)
        optimizer.load_state_dict(optimizer.state_dict() | {"state": state})

    def _set_learning_rate(self, epoch: int) -> float:
        """Give the optimizer an epoch's learning rate; return it."""
        lr = self.lr
        for decay in self.decay_epochs:
            if epoch >= decay:
                lr *= 0.1
        for group in self.trainer.optimizer.param_groups:
            group["lr"] = lr
        return lr

    def _train(self, loader: Loader, stop: Callable[[], bool]) -> bool:
        """Train the rest of an epoch, saving on the way where that is wanted; return whether it is whole."""
        of = self.iteration + loader.left(self.seen)
        end = min(of, self.max_iters or of)
        batches = until(stop, loader.epoch(self.epoch, self.seen))
        while self.iteration < end:
            some = min(end - self.iteration, self._until_save())
            try:
                taken = self.trainer.train(islice(batches, some), self.epoch, self.iteration, of)
            except NonFiniteLossError as error:
                raise self._explained(error, loader) from error
            self.iteration += taken.iterations
            self.iterations += taken.iterations
            self.seen += taken.pictures
            if self.iteration < end:
                if stop():
                    return False
                self._save()
        if self.iteration < of:
            self.trainer.log.stopped_early(self.iteration)
        return True

    def _until_save(self) -> int | float:
        """Return the number of iterations to the next save within an epoch."""
        every = self.save_every_iters
        return every - self.iterations % every if every else math.inf

    def _remember(self, figures: Mapping) -> None:
        """Keep the best figures, and save what they are of."""
        self.unevaluated = False
        self.best_accu = max(self.best_accu, figures["accu"])
        former = self.best_ma
        is_best = figures["ma"] > former  # a NaN is not larger
        if is_best:
            self.best_ma = figures["ma"]
        if BEST not in self._save(is_best):
            self.best_ma = former  # best.pth.tar is of this one still

    def _save(self, is_best: bool = False) -> list[str]:
        """Save the run, as the last when all else is done; return the names that the file got. Raises
        AlmError, and saves nothing, where a weight is not finite; a disk that does not take it is told of.
        """
        name = self._number_due()
        names = [*filter(None, [name]), *([BEST] if is_best else []), LAST]
        saved = self.saved
        if name and name not in saved:
            self.saved = [*saved, name]
        state = self.state_dict()
        if not all_finite(state["state_dict"]):
            raise AlmError(
                f"the weights are not finite after epoch {self.epoch}, so they are not saved; start again "
                f"with a lower --lr, or with --amp off{self._way_back}"
            )
        given: list[str] = []
        self.unsaved = None
        try:
            for each in save_under(self.directory, names, state):
                given.append(each)
            if self.keep:
                self.saved = drop_surplus(self.directory, self.saved, self.keep, self.directory / names[0])
        except OSError as error:
            self.unsaved = f"{error.filename}: {error.strerror}"
        except AlmError as error:  # what was written is damaged
            self.unsaved = str(error)
            given.clear()
        if self.unsaved:
            self.saved = self.saved if name in given else saved
            self.trainer.log.not_saved(self.unsaved)
        return given

    def _number_due(self) -> str | None:
        """Return the numbered name that what is saved now gets; None where it is the last alone."""
        is_due = self.iteration or self.epoch % self.save_freq == 0 or self.epoch == self.epochs
        return numbered_name(self.prefix, self.epoch, self.iteration) if is_due else None

    def _explained(self, error: NonFiniteLossError, loader: Loader) -> NonFiniteLossError:
        """Return the error with the pictures of its batch, and where the run can be gone on with."""
        names = loader.names(self.epoch, self.seen + error.before, error.pictures)
        self.trainer.log.at_fault(names)
        first = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        return NonFiniteLossError(
            f"{error}{self._way_back}; the pictures of that step are {first}", error.before, error.pictures
        )

    @property
    def _way_back(self) -> str:
        """Return where the run can be gone on with after an error, in words."""
        last = self.directory / LAST
        return f"; {last} is the last checkpoint" if last.exists() else ""
