"""The log of a run: what the trainer reports, as lines on a stream and in files."""

import json
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from utils.io.atomic import write_text
from utils.io.process import send_to_null
from utils.io.untrusted import printable_block
from utils.runs import log_text
from utils.runs.sinks import EventStream, LineFile, Scalars


class TrainingLog:
    """The log of one training run or evaluation; a context manager.

    A line goes to `stream` (default: standard output) and to the end of the file `path`. If `epochs` are
    trained at a terminal, with a file, the terminal has a line per epoch and a bar instead of the iterations'
    lines and the tables; `max_iters` says how many iterations an epoch has at most. The record of each
    evaluation is a line of `metrics_path`; `page` writes a file about the latest one alone. `json_path` gets
    the JSON stream, `tensorboard_dir` the scalars, whose iterations are counted from `first_iteration` on.
    Files that exist are appended to. Every `print_freq` iterations there is an `Epoch:` or `Test:` line. A
    run that fails before its first iteration leaves the files as they were.

    If the stream goes away (`| head`, a closed terminal), a run that also writes a file goes on without it;
    without a file, the OSError ends the run, as BrokenPipeError ends any filter. If a file cannot be written
    after the first iteration has begun, because the disk is full, a warning says so and the run goes on. Its
    lines are kept and tried again; a page is written again after the next evaluation. `close` raises OSError
    if something is still unwritten.

    Raises:
        LogError: a file cannot be opened, or tensorboard is asked for and not installed.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        stream: TextIO | None = None,
        metrics_path: str | Path | None = None,
        json_path: str | Path | None = None,
        tensorboard_dir: str | Path | None = None,
        print_freq: int = 100,
        first_iteration: int = 0,
        epochs: int | None = None,
        max_iters: int | None = None,
        rank: int = 0,
    ):
        self._stream = sys.stdout if stream is None else stream
        self._print_freq = print_freq
        self._rank = rank
        self._iterations = first_iteration
        self._epochs, self._max_iters = epochs, max_iters
        is_terminal = self._stream is not None and self._stream.isatty()
        self._is_brief = epochs is not None and path is not None and is_terminal
        self._bar: tqdm | None = None
        self._steps, self._seconds, self._of = 0, 0.0, 0  # iterations of this process; those of an epoch
        self._begun = False  # an iteration was reported
        self._training, self._testing = log_text.Progress(), log_text.Progress()
        self._scalars = Scalars(tensorboard_dir, first_iteration) if tensorboard_dir is not None else None
        self._file = self._events = self._metrics = None
        self._metrics_path = metrics_path
        self._ma: float | None = None  # of the latest evaluation
        self._unwritten: dict[str | Path, OSError] = {}  # pages, and why
        with ExitStack() as sinks, ExitStack() as undoing:  # if a later sink fails, undo the earlier ones
            if path is not None:
                self._file = sinks.enter_context(LineFile(path))
                undoing.callback(self._file.undo)
            if json_path is not None:
                self._events = sinks.enter_context(EventStream(json_path))
            if self._scalars is not None:
                sinks.enter_context(self._scalars)
            undoing.pop_all()
            self._sinks = sinks.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None and not self._begun:
            for file in filter(None, (self._file, self._events)):
                with suppress(OSError):
                    file.undo()
        with nullcontext() if kind is None else suppress(OSError):  # the error that ends the run counts
            self.close()

    def close(self) -> None:
        """Close all files, once; the stream stays open."""
        unwritten, self._unwritten = self._unwritten, {}
        self._end_bar()
        self._sinks.close()
        for error in unwritten.values():
            raise error

    def line(self, text: str = "") -> None:
        """Write one line, or several, to the stream and to the file."""
        self._write(text, to_stream=True)

    def detail(self, text: str) -> None:
        """Write what a terminal does not show of a training."""
        self._write(text, to_stream=not self._is_brief)

    def _write(self, text: str, to_stream: bool) -> None:
        text = printable_block(text)
        if self._file is not None:
            with self._going_on():
                self._file.write(text)
        if self._stream is None or not to_stream:
            return
        try:
            tqdm.write(text, file=self._stream)  # a progress bar on the terminal stays whole
            self._stream.flush()
        except OSError:  # a broken pipe, or a terminal that is gone
            if self._file is None:
                raise
            if self._stream is sys.stdout:
                send_to_null(sys.stdout)
            self._stream = None

    def failed(self, reason: str) -> None:
        """Write to the file why the run ends, if it has begun; the command says it on the terminal."""
        if self._begun and self._file is not None:
            with suppress(OSError):  # of a full disk, which may be the reason
                self._file.write(log_text.failure(reason))

    def learning_rate(self, lr: float) -> None:
        self.detail(log_text.learning_rate(lr))

    def iteration(
        self,
        epoch: int,
        iteration: int,
        of: int,
        pictures: int,
        seconds: float,
        loss: float,
        accu: float,
    ) -> None:
        self._begun = True
        if iteration == 0:
            self._training = log_text.Progress()
        # A NumPy scalar would be printed as np.float64(...).
        loss, ips = float(loss), float(pictures / seconds)
        self.detail(log_text.training_step(time.time(), epoch, iteration, self._rank, loss, ips))
        metrics = {"train.loss": loss, "train.ips": ips}
        self._add([epoch, iteration], {"rank": self._rank}, metrics, self._iterations)
        self._iterations += 1
        self._training.add(pictures, seconds, loss, accu)
        if iteration % self._print_freq == 0:
            self.detail(self._training.line(f"Epoch: [{epoch}][{iteration}/{of}]"))
        if self._epochs is None:
            return
        self._of = min(of, self._max_iters or of)
        self._steps, self._seconds = self._steps + 1, self._seconds + seconds
        if iteration % self._print_freq == 0:
            self.detail(log_text.time_left(self._time_left(self._epochs - epoch, iteration + 1)))
        if self._is_brief:
            if self._bar is None:
                title = f"Epoch {epoch + 1}/{self._epochs}"
                bar = {"total": self._of, "initial": iteration, "leave": False, "file": self._stream}
                self._bar = tqdm(desc=title, **bar)
            self._bar.update()

    def epoch(self, done: int) -> None:
        """Log an epoch that is done."""
        self._end_bar()
        if self._epochs is not None:
            left = self._time_left(self._epochs - done) if self._steps else None
            seconds = self._training.seconds + self._testing.seconds
            self.line(log_text.epoch(done, self._epochs, self._training.loss, self._ma, seconds, left))

    def _time_left(self, epochs: int, iterations: int = 0) -> float:
        """Return the seconds that so many epochs still take, after the first iterations of the first one."""
        steps = epochs * self._of - iterations
        return steps * self._seconds / self._steps + epochs * self._testing.seconds

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def note(self, event: str, **details) -> None:
        self.line(log_text.note(event, **details))

    def test(self, iteration: int, of: int, pictures: int, seconds: float, loss: float, accu: float) -> None:
        self._begun = True
        if iteration == 0:
            self._testing = log_text.Progress()
        self._testing.add(pictures, seconds, loss, accu)
        if iteration % self._print_freq == 0:
            self.detail(self._testing.line(f"Test: [{iteration}/{of}]"))

    def tested(self, accu: float) -> None:
        self.detail(log_text.mean_accu(accu))

    def state_dict(self) -> dict:
        return self._training.state_dict()

    def load_state_dict(self, state: dict) -> None:
        self._training.load_state_dict(state)

    def evaluation(self, epoch: int, figures: dict[str, float]) -> None:
        """Log an evaluation after `epoch` epochs as an event and as scalars; print nothing. The figures have
        the names of `sinks.METRICS` without `val.`.
        """
        self._ma = figures["ma"]
        metrics = {f"val.{name}": float(figure) for name, figure in figures.items()}
        self._add([epoch], {}, metrics, epoch)

    def record(self, record: dict) -> None:
        """Write an evaluation's record as a line of JSON."""
        if self._metrics_path is None:
            return
        with self._going_on():
            if self._metrics is None:
                self._metrics = self._sinks.enter_context(LineFile(self._metrics_path))
            self._metrics.write(json.dumps(record))

    def page(self, path: str | Path, text: str) -> bool:
        """Write a whole file about the latest evaluation over the one before; return whether it worked."""
        self._unwritten.pop(path, None)
        with self._going_on("the next evaluation is written there again"):
            try:
                write_text(path, text)
            except OSError as error:
                self._unwritten[path] = error
                raise
        return path not in self._unwritten

    def _add(self, step: list[int], tags: dict, metrics: dict[str, float], count: int) -> None:
        if self._events is not None:
            with self._going_on():
                self._events.log(step, tags | metrics)
        if self._scalars is not None:
            with self._going_on("these scalars are lost"):
                self._scalars.add(metrics, step=count)

    @contextmanager
    def _going_on(self, consequence: str = "its lines are kept, and tried again") -> Iterator[None]:
        """If a training has begun, turn an OSError into a warning that says what follows."""
        try:
            yield
        except OSError as error:
            if not self._begun:
                raise
            warnings.warn(f"{error.filename}: {error.strerror or error}; {consequence}", stacklevel=4)
