"""Write the training log: lines for people, a JSON stream for machines, scalars for TensorBoard."""

import json
import os
import sys
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

# What the JSON stream declares before its first event: metric -> (unit, goal, stage).
METRICS = {
    "train.loss": ("", "MINIMIZE", "TRAIN"),
    "train.ips": ("imgs/s", "MAXIMIZE", "TRAIN"),
    "val.loss": ("", "MINIMIZE", "VAL"),
    "val.accu": ("", "MAXIMIZE", "VAL"),
    "val.ma": ("", "MAXIMIZE", "VAL"),
    "val.accuracy": ("", "MAXIMIZE", "VAL"),
    "val.precision": ("", "MAXIMIZE", "VAL"),
    "val.recall": ("", "MAXIMIZE", "VAL"),
    "val.f1": ("", "MAXIMIZE", "VAL"),
}


class LogError(ValueError):
    """A log that cannot be written, read or compared; the message is one sentence for the user."""


class TrainingLog:
    """The log of one training run; a context manager.

    A line goes to `stream` (standard output unless given) and, where `path` is given, to the end of that
    file. `json_path` adds the JSON stream, `tensorboard_dir` the scalars. Files that exist are appended to.

    When the stream goes away (`| head`, a closed terminal), a run that also writes a file goes on without
    it; without a file, the OSError ends the run, as BrokenPipeError ends any filter.

    Raises:
        LogError: a file cannot be opened, or tensorboard is asked for and not installed.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        stream: TextIO | None = None,
        json_path: str | Path | None = None,
        tensorboard_dir: str | Path | None = None,
    ):
        self._stream = sys.stdout if stream is None else stream
        self._file = self._events = self._scalars = None
        self._iterations = 0
        with ExitStack() as sinks:  # closes what is open already if a later one fails
            if tensorboard_dir is not None:
                self._scalars = sinks.enter_context(_open_scalars(tensorboard_dir))
            if path is not None:
                self._file = sinks.enter_context(_LineFile(path))
            if json_path is not None:
                self._events = sinks.enter_context(_EventStream(json_path))
            self._sinks = sinks.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self) -> None:
        """Close all files; the stream stays open. A second call does nothing."""
        self._sinks.close()

    def line(self, text: str = "") -> None:
        """Write one line to the stream and to the file."""
        if self._file is not None:
            self._file.write(text)
        if self._stream is not None:
            self._write_to_stream(text)

    def iteration(self, epoch: int, iteration: int, loss: float, ips: float, rank: int = 0) -> None:
        """Log the loss of one training iteration and its speed in pictures a second.

        TensorBoard counts the iterations of this log, through all epochs.
        """
        loss, ips = float(loss), float(ips)  # a NumPy scalar would be printed as np.float64(...)
        self.line(
            f"TCAPPDLL {_format_time(time.time())} - Epoch: {epoch} Iteration: {iteration}"
            f"  rank : {rank}  train.loss : {loss!r}  train.ips : {ips!r} imgs/s"
        )
        metrics = {"train.loss": loss, "train.ips": ips}
        if self._events is not None:
            self._events.log([epoch, iteration], {"rank": rank, **metrics})
        self._add_scalars(metrics, step=self._iterations)
        self._iterations += 1

    def evaluation(self, epoch: int, figures: dict[str, float]) -> None:
        """Log the figures of one evaluation as an event and as scalars; print nothing.

        Args:
            epoch: the epoch that was evaluated, counted as in `iteration`.
            figures: name -> float, the names as in METRICS without `val.`.
        """
        metrics = {f"val.{name}": float(figure) for name, figure in figures.items()}
        if self._events is not None:
            self._events.log([epoch], metrics)
        self._add_scalars(metrics, step=epoch)

    def _write_to_stream(self, text: str) -> None:
        try:
            tqdm.write(text, file=self._stream)  # a progress bar on the terminal stays whole
            self._stream.flush()
        except OSError:  # a broken pipe, or a terminal that is gone
            if self._file is None:
                raise
            if self._stream is sys.stdout:
                _send_to_null(sys.stdout)
            self._stream = None

    def _add_scalars(self, metrics: dict[str, float], step: int) -> None:
        if self._scalars is not None:
            for name, value in metrics.items():
                self._scalars.add_scalar(name.replace(".", "/"), value, step)  # train/loss: one group a stage


class _LineFile:
    """A UTF-8 file that grows line by line; whatever it holds already stays."""

    def __init__(self, path: str | Path):
        try:
            self._file = open(path, "ab+")  # noqa: SIM115, closed by __exit__
            if self._is_torn():
                self._file.write(b"\n")
        except OSError as error:
            reason = error.strerror or error
            raise LogError(
                f"cannot write the log {path}: {reason}; name a file that can be written"
            ) from error

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._file.close()

    def write(self, text: str) -> None:
        # A picture's name that is not valid Unicode must not end a training run.
        self._file.write(text.encode("utf-8", errors="backslashreplace") + b"\n")
        self._file.flush()

    def _is_torn(self) -> bool:
        """Tell whether an interrupted run left the last line without its end."""
        if self._file.seek(0, os.SEEK_END) == 0:
            return False
        self._file.seek(-1, os.SEEK_END)
        return self._file.read(1) != b"\n"


class _EventStream(_LineFile):
    """The JSON stream: an event a line, the METADATA of all metrics first."""

    def __init__(self, path: str | Path):
        super().__init__(path)
        self._start = time.monotonic()
        for metric, (unit, goal, stage) in METRICS.items():
            self._declare(metric, {"unit": unit, "GOAL": goal, "STAGE": stage})

    def log(self, step: list[int], values: dict[str, float]) -> None:
        """Write one LOG event: `step` is [epoch, iteration] or [epoch], `values` name -> number."""
        timestamp, date, elapsed = self._now()
        self._write_event(
            timestamp=timestamp,
            datetime=date,
            elapsedtime=elapsed,
            type="LOG",
            step=step,
            # Readers outside this project expect a string that holds a dict of strings.
            data=str({name: str(value) for name, value in values.items()}),
        )

    def _declare(self, metric: str, metadata: dict[str, str]) -> None:
        timestamp, date, elapsed = self._now()
        self._write_event(
            timestamp=timestamp,
            elapsedtime=elapsed,
            datetime=date,
            type="METADATA",
            metric=metric,
            metadata=metadata,
        )

    def _now(self) -> tuple[str, str, str]:
        """Return the time as seconds since 1970, as a local date, and as seconds since the start."""
        now = time.time()
        return str(now), _format_time(now), str(round(time.monotonic() - self._start, 3))

    def _write_event(self, **event) -> None:
        self.write(f"TCAPPDLL {json.dumps(event)}")


def _open_scalars(folder: str | Path):
    """Return TensorBoard's writer, which is a context manager."""
    try:
        from torch.utils.tensorboard import SummaryWriter  # an extra, and slow to import
    except ImportError as error:
        raise LogError("TensorBoard scalars need the extra 'tensorboard': pip install tensorboard") from error
    try:
        return SummaryWriter(str(folder))
    except OSError as error:
        raise LogError(f"cannot write TensorBoard scalars to {folder}: {error.strerror or error}") from error


def _send_to_null(stream: TextIO) -> None:
    """Point a stream whose reader is gone at the null device: Python flushes it once more at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def _format_time(seconds: float) -> str:
    """Return seconds since 1970 as `2025-07-06 05:55:46.338889`, in local time."""
    return datetime.fromtimestamp(seconds).isoformat(sep=" ", timespec="microseconds")
