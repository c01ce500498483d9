"""How an epoch or an evaluation goes on: the `Epoch:` and `Test:` lines of the log."""

import time


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
