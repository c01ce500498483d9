"""A training run: its epochs, the learning rate of each, what is saved when, and its state."""

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from itertools import islice
from pathlib import Path

from alm.checkpoint.restore import copy_whole
from alm.checkpoint.retention import drop_surplus, numbered_name, save_under
from alm.checkpoint.schema import OWN_FORMAT, checked_state
from alm.constants import BEST, LAST
from alm.errors import AlmError, first_few
from alm.training import distributed
from alm.training.distributed import Batch
from alm.training.evaluation import Evaluation
from alm.training.schedule import learning_rate
from alm.training.step_errors import NonFiniteLossError, NonFiniteSteps
from alm.training.trainer import Loader, Trainer, stop_after


@dataclass
class RunSettings:
    """How long a run trains, at which rate, and what it keeps.

    Attributes:
        epochs: their number in all.
        lr, schedule, decay_epochs, warmup: its highest rate, and what `schedule.learning_rate` makes of it.
        max_iters: the most iterations of an epoch.
        save_freq: keep a checkpoint of every `save_freq`-th epoch, and of the last one.
        save_every_iters: keep one after every `save_every_iters`-th iteration too.
        keep: the number of epoch checkpoints that stay, and of iteration checkpoints; None: all.
        prefix: of the checkpoints' names.
    """

    epochs: int
    lr: float
    schedule: str = "step"
    decay_epochs: tuple[int, ...] = ()
    warmup: float = 0.0
    max_iters: int | None = None
    save_freq: int = 10
    save_every_iters: int | None = None
    keep: int | None = 3
    prefix: str = ""


@dataclass
class RunProgress:
    """How far a run is; every field is a part of its checkpoints.

    Attributes:
        epoch, iterations: the number of whole epochs, and of iterations in all.
        iteration, seen: the number of iterations and of pictures of the next epoch that are done.
        unevaluated: whether the last whole epoch still waits for its evaluation.
        best_ma, best_accu: the best figures of any evaluation so far.
        saved: the names of the numbered checkpoints, in the order of saving.
    """

    epoch: int = 0
    iterations: int = 0
    iteration: int = 0
    seen: int = 0
    unevaluated: bool = False
    best_ma: float = -math.inf
    best_accu: float = 0.0
    saved: list[str] = field(default_factory=list)


class LoaderGuard:
    """A loader's batches until `stop()`, or until reading one fails. `error` is the reason then, so that the
    steps before can be saved first.
    """

    def __init__(self, batches: Iterable[Batch], stop: Callable[[], bool]):
        self.error: AlmError | OSError | None = None
        self._batches = stop_after(batches, stop)

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        try:
            return next(self._batches)
        except (AlmError, OSError) as error:
            self.error = error
            raise StopIteration from error


@dataclass
class TrainingRun:
    """A training run, from its first epoch or from a checkpoint on.

    Attributes:
        identity: what a checkpoint says of its model, data and options.
        unsaved: why the last save failed; None if it did not.
    """

    trainer: Trainer
    directory: Path
    settings: RunSettings
    identity: dict = field(default_factory=dict)
    progress: RunProgress = field(default_factory=RunProgress)
    unsaved: str | None = field(default=None, init=False)

    def fit(
        self,
        train_loader: Loader,
        val_loader: Loader | None = None,
        evaluated: Callable[[int, Evaluation], None] = lambda epoch, evaluation: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Train until all epochs are done; evaluate after each if there is a `val_loader`.

        `evaluated(epoch, evaluation)` is called after each evaluation, `epoch` counting those done. An epoch
        is saved when it is trained, and once more when it is evaluated: always as `last.pth.tar`; the last
        epoch and every `save_freq`-th also as `[<prefix>_]<epoch>.pth.tar`; the best mA also as
        `best.pth.tar`. If a save fails, the log says so, and the next one tries again.

        Returns True when all is done. Returns False if `stop()`, called after each batch, returned True, on
        any rank; what was trained is saved then. Raises AlmError if a loss (NonFiniteLossError), a weight or
        a prediction is not finite. Raises what the loaders and `evaluated` raise; if `train_loader` raises
        AlmError or OSError, what was trained is saved before.
        """
        progress = self.progress
        progress.unevaluated &= val_loader is not None
        while progress.epoch < self.settings.epochs or progress.unevaluated:
            if distributed.any_rank(stop()):
                return False
            if not progress.unevaluated:
                self.trainer.log.learning_rate(self._set_learning_rate(progress.epoch))
                is_whole = self._train(train_loader, stop)
                if is_whole:
                    progress.epoch, progress.iteration, progress.seen = progress.epoch + 1, 0, 0
                    progress.unevaluated = val_loader is not None
                self._save()
                if not is_whole:
                    return False
            if progress.unevaluated:
                evaluation = self.trainer.evaluate(val_loader, stop)
                if evaluation is None:
                    return False
                evaluated(progress.epoch, evaluation)
                self._remember(evaluation)
            self.trainer.log.epoch(progress.epoch)
        return True

    def state_dict(self) -> dict:
        """Return a checkpoint. What is random follows from the seed, the epoch and a picture's index, so no
        generator has a state.
        """
        self._set_learning_rate(self._epoch_begun)  # each step sets its own
        trainer = self.trainer
        return self.identity | {
            "format": OWN_FORMAT,
            **asdict(self.progress),
            "log": trainer.log.state_dict(),
            "state_dict": trainer.evaluated.state_dict(),
            **({"raw_weights": trainer.model.state_dict()} if trainer.average else {}),
            "optimizer": trainer.optimizer.state_dict(),
            "scaler": trainer.scaler.state_dict(),
        }

    def load_state_dict(self, checkpoint: Mapping) -> None:
        """Go on from a checkpoint, ours or a published one, whose `state_dict` the model has already, and its
        average if there is one.

        Raises AlmError, and changes nothing, if its optimizer's state is of another model. Raises AlmError
        too if its `raw_weights` are.
        """
        if "optimizer" in checkpoint:
            self._restore_optimizer(checkpoint["optimizer"], fp16=bool(checkpoint.get("scaler")))
        if self.trainer.scaler.is_enabled() and checkpoint.get("scaler"):
            self.trainer.scaler.load_state_dict(checkpoint["scaler"])
        names = [each.name for each in fields(RunProgress) if each.name in checkpoint]
        progress = self.progress = RunProgress(**{name: checkpoint[name] for name in names})
        if checkpoint.get("raw_weights"):
            copy_whole(self.trainer.model.state_dict(), checkpoint["raw_weights"])
        if self.trainer.average:
            self.trainer.average.steps = progress.iterations
        progress.best_accu, progress.saved = float(progress.best_accu), list(progress.saved)
        self._set_learning_rate(self._epoch_begun)
        if checkpoint.get("log"):
            self.trainer.log.load_state_dict(checkpoint["log"])

    def _restore_optimizer(self, saved: Mapping, fp16: bool) -> None:
        """Restore the moments. The options of this run stay, and what its device can do (`fused`).

        In `fp16` there may be none yet: the first steps overflow, and are skipped, until the scale is found.
        """
        optimizer = self.trainer.optimizer
        state = checked_state(optimizer, saved, may_be_empty=fp16)
        optimizer.load_state_dict(optimizer.state_dict() | {"state": state})

    @property
    def _epoch_begun(self) -> int:
        """The number of the epoch that the last step was in."""
        progress = self.progress
        return progress.epoch if progress.iteration else max(progress.epoch - 1, 0)

    def _set_learning_rate(self, done: float) -> float:
        """Set the rate of the step that begins when so many epochs are done; return it, of the backbone.

        A group's `initial_lr` is its highest rate if that is not the run's.
        """
        s = self.settings
        for group in self.trainer.optimizer.param_groups:
            highest = group.get("initial_lr", s.lr)
            group["lr"] = learning_rate(highest, done, s.epochs, s.schedule, s.decay_epochs, s.warmup)
        return self.trainer.optimizer.param_groups[0]["lr"]

    def _train(self, loader: Loader, stop: Callable[[], bool]) -> bool:
        """Train the rest of an epoch and save every `save_every_iters`; return whether the epoch is whole."""
        progress = self.progress
        every = self.settings.save_every_iters
        of = progress.iteration + loader.left(progress.seen)
        end = min(of, self.settings.max_iters or of)
        epoch = loader.epoch(progress.epoch, progress.seen, end - progress.iteration)
        batches = LoaderGuard(epoch, stop)
        with_rates = self._with_rates(batches, progress.iteration, end)
        while progress.iteration < end:
            to_save = every - progress.iterations % every if every else sys.maxsize
            count = min(end - progress.iteration, to_save)
            try:
                amount = self.trainer.train(islice(with_rates, count), progress.epoch, progress.iteration, of)
            except NonFiniteLossError as error:
                raise self._with_pictures(error, loader) from error
            progress.iteration += amount.iterations
            progress.iterations += amount.iterations
            progress.seen += amount.pictures
            error = None
            if progress.iteration < end:
                error = distributed.first_error(batches.error)
            if progress.iteration < end and not error:
                if distributed.any_rank(stop()):
                    return False
                if amount.iterations == count:
                    self._save()
                    continue
                error = AlmError(
                    f"the loader gave {progress.iteration} of the {of} batches of epoch {progress.epoch}; "
                    "make its `left` and `epoch` agree"
                )
            if error:
                if amount.iterations:
                    self._save()
                if not self.unsaved and (self.directory / LAST).exists():
                    self.trainer.log.note("saved", last=self.directory / LAST)
                raise error
        if progress.iteration < of:
            self.trainer.log.note("max_iters", epoch=progress.epoch, iterations=progress.iteration, of=of)
        return True

    def _with_rates(self, batches: Iterable[Batch], first: int, end: int) -> Iterator[Batch]:
        """Yield an epoch's batches, `end` in all, from number `first` on, and set each step's rate before."""
        for iteration, batch in enumerate(batches, start=first):
            self._set_learning_rate(self.progress.epoch + iteration / end)
            yield batch

    def _remember(self, evaluation: Evaluation) -> None:
        progress = self.progress
        progress.unevaluated = False
        progress.best_accu = max(progress.best_accu, evaluation.accu)
        former = progress.best_ma
        is_best = evaluation.ma > former  # a NaN is not larger
        if is_best:
            progress.best_ma = evaluation.ma
        if BEST not in self._save(is_best):
            progress.best_ma = former  # best.pth.tar is still of this one

    def _save(self, is_best: bool = False) -> list[str]:
        """Save the run under each name that is due, always as the last one; return the names of its files.

        Of several ranks the first one saves. If the disk does not take it, the log says so. Raises AlmError,
        and saves nothing, if a weight is not finite.
        """
        progress, before, settings = self.progress, self.progress.saved, self.settings
        epoch, iteration, number = progress.epoch, progress.iteration, None
        if iteration or epoch % settings.save_freq == 0 or epoch == settings.epochs:
            number = numbered_name(settings.prefix, epoch, iteration)
        names = [name for name in (number, BEST if is_best else None, LAST) if name]
        if number and number not in before:
            progress.saved = [*before, number]  # a checkpoint lists itself
        if not distributed.is_main():
            return names
        state = self.state_dict()
        weights = *state["state_dict"].values(), *self.trainer.model.state_dict().values()
        if not all(tensor.isfinite().all() for tensor in weights):
            raise AlmError(
                f"the weights are not finite after epoch {epoch}, so they are not saved; "
                f"{NonFiniteSteps.ADVICE}{self._last_checkpoint()}"
            )
        written: list[str] = []
        try:
            for name in save_under(self.directory, names, state):
                written.append(name)
            if keep := settings.keep:
                progress.saved = drop_surplus(self.directory, progress.saved, keep, self.directory / names[0])
            self.unsaved = None
            return written
        except OSError as error:
            self.unsaved = f"{error.filename}: {error.strerror}"
        except AlmError as error:  # the file is damaged, under whatever name
            self.unsaved, written = str(error), []
        if number not in written:
            progress.saved = before
        self.trainer.log.note("not_saved", reason=self.unsaved)
        return written

    def _with_pictures(self, error: NonFiniteLossError, loader: Loader) -> NonFiniteLossError:
        """Return the error with the pictures of its batch and the run's last checkpoint."""
        names = loader.names(self.progress.epoch, self.progress.seen + error.before, error.pictures)
        self.trainer.log.note("at_fault", pictures=" ".join(names))
        message = f"{error}{self._last_checkpoint()}; the pictures of that step are {first_few(names, 3)}"
        return NonFiniteLossError(message, error.before, error.pictures)

    def _last_checkpoint(self) -> str:
        last = self.directory / LAST
        return f"; {last} is the last checkpoint" if last.exists() else ""
