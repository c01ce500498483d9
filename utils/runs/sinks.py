"""The files of a run's log: lines for people, JSON events for machines, scalars for TensorBoard."""

import os
import time
from contextlib import suppress
from pathlib import Path

from utils.errors import LogError
from utils.io.atomic import naming, try_directory
from utils.runs import log_text

# The JSON stream declares these before its first event: metric -> (unit, goal, stage).
METRICS = {
    "train.loss": ("", "MINIMIZE", "TRAIN"),
    "train.ips": ("imgs/s", "MAXIMIZE", "TRAIN"),
    "val.loss": ("", "MINIMIZE", "VAL"),
    "val.accu": ("", "MAXIMIZE", "VAL"),
    "val.ma": ("", "MAXIMIZE", "VAL"),
    "val.ma_attributes": ("attributes", "MAXIMIZE", "VAL"),
    "val.accuracy": ("", "MAXIMIZE", "VAL"),
    "val.precision": ("", "MAXIMIZE", "VAL"),
    "val.recall": ("", "MAXIMIZE", "VAL"),
    "val.f1": ("", "MAXIMIZE", "VAL"),
}


class LineFile:
    """A UTF-8 file that grows line by line; what it holds already stays.

    If the disk does not take a line, the line is kept and written before the next one.
    """

    def __init__(self, path: str | Path):
        self._path = Path(path)
        self._is_new = not self._path.exists()
        self._unwritten = bytearray()
        try:
            self._file = open(path, "ab+", buffering=0)  # noqa: SIM115, closed by __exit__
            self._size = self._file.seek(0, os.SEEK_END)
            if self._size:
                self._file.seek(-1, os.SEEK_END)
                if self._file.read(1) != b"\n":  # an interrupted run left the last line without its end
                    self._unwritten += b"\n"
        except OSError as error:
            raise refusal(f"the log {path}", error, "a file that can be written") from error

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        try:
            self._write_all()
        finally:
            self._file.close()

    def write(self, text: str) -> None:
        """Write one line, at once. Raises OSError, naming the file, if the disk is full."""
        # A picture's name that is not valid Unicode must not end a training run.
        self._unwritten += text.encode("utf-8", errors="backslashreplace") + b"\n"
        self._write_all()

    def undo(self) -> None:
        """Leave the file as it was before; remove it if it is new."""
        self._unwritten.clear()
        self._file.truncate(self._size)
        if self._is_new:
            self._path.unlink(missing_ok=True)

    def _write_all(self) -> None:
        with naming(self._path):
            while self._unwritten:  # a disk may take a part
                del self._unwritten[: self._file.write(self._unwritten)]


class EventStream(LineFile):
    """The JSON stream: one event per line, the METADATA of all metrics first."""

    def __init__(self, path: str | Path):
        super().__init__(path)
        self._start = time.monotonic()
        try:
            for metric, (unit, goal, stage) in METRICS.items():
                timestamp, date, elapsed = self._now()
                metadata = {"unit": unit, "GOAL": goal, "STAGE": stage}
                times = {"timestamp": timestamp, "elapsedtime": elapsed, "datetime": date}
                self.write(log_text.event(**times, type="METADATA", metric=metric, metadata=metadata))
        except OSError as error:
            with suppress(OSError):
                self.undo()
            with suppress(OSError):
                self.__exit__()
            raise refusal(f"the log {path}", error, "a file elsewhere") from error

    def log(self, step: list[int], values: dict[str, float]) -> None:
        """Write one LOG event: `step` is [epoch, iteration] or [epoch], `values` name -> number."""
        timestamp, date, elapsed = self._now()
        # Readers outside this project expect a string that holds a dict of strings.
        data = str({name: str(value) for name, value in values.items()})
        times = {"timestamp": timestamp, "datetime": date, "elapsedtime": elapsed}
        self.write(log_text.event(**times, type="LOG", step=step, data=data))

    def _now(self) -> tuple[str, str, str]:
        """Return seconds since 1970, the local date, and seconds since the start."""
        now = time.time()
        return str(now), log_text.local_time(now), str(round(time.monotonic() - self._start, 3))


class Scalars:
    """TensorBoard's scalars; its files are made with the first of them.

    If a run goes on from iteration `first`, TensorBoard hides what was written from there on. (Evaluations
    count epochs, which are fewer.)
    """

    def __init__(self, folder: str | Path, first: int = 0):
        try:
            from torch.utils.tensorboard import SummaryWriter  # an extra, and slow to import
        except ImportError as error:
            raise LogError(
                "TensorBoard scalars need the extra 'tensorboard': pip install tensorboard"
            ) from error
        self._folder, self._first = folder, first
        try:
            try_directory(folder)
        except OSError as error:
            raise refusal(f"TensorBoard scalars to {folder}", error, "another --tensorboard") from error
        self._writer_class, self._writer = SummaryWriter, None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self._writer is not None:
            self._writer.close()

    def add(self, metrics: dict[str, float], step: int) -> None:
        if self._writer is None:
            try:
                self._writer = self._writer_class(str(self._folder), purge_step=self._first or None)
            except OSError as error:
                place = f"TensorBoard scalars to {self._folder}"
                raise refusal(place, error, "another --tensorboard") from error
        for name, value in metrics.items():
            self._writer.add_scalar(name.replace(".", "/"), value, step)  # train/loss: one group per stage


def refusal(target: str, error: OSError, remedy: str) -> LogError:
    return LogError(f"cannot write {target}: {error.strerror or error}; name {remedy}")
