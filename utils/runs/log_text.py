"""Every line of a run's log. The published ones are to the letter: programs outside this project read them.
Lines of our own stand below them, never inside.
"""

import json
import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from utils.io.phrases import RULE, duration
from utils.io.untrusted import printable

# What the trainer notes beside its steps (alm.training.trainer.Log.note).
NOTES = {
    "overflow": "Skipped: epoch {epoch} iteration {iteration} overflowed in fp16; "
    "the loss scale is now {scale:g}",
    "loss_not_finite": "Left out: epoch {epoch} iteration {iteration}, its loss is {loss}; {count} so far",
    "gradients_not_finite": "Left out: epoch {epoch} iteration {iteration}, its gradients are not finite; "
    "{count} so far",
    "at_fault": "The pictures of that step: {pictures}",
    "not_saved": "Not saved: {reason}; training goes on, and the next save tries again",
    "saved": "Saved: {last}; go on with --resume auto --output_dir {last.parent}",
    "max_iters": "\nEpoch {epoch} ends after {iterations} of {of} iterations, for --max_iters",
}

RUN, FAILURE, INTERRUPTION = "Run: ", "Ended: ", "Stopped: "  # how a run's last line begins


def note(event: str, **details) -> str:
    return NOTES[event].format_map(details)


def argument_block(options: Mapping) -> str:
    lines = (f"\t{name}: {printable(str(value))}" for name, value in options.items())
    return "\n".join([RULE, "Arguments = ", *lines, RULE])


def parameter_count(count: int) -> str:
    return f"Number of model parameters: {count}\n"


def learning_rate(lr: float) -> str:
    return f"\nLearning Rate: {lr}\n"


def training_step(time: float, epoch: int, iteration: int, rank: int, loss: float, ips: float) -> str:
    """Return a training step's line; `time` is in seconds since 1970, `ips` in pictures per second."""
    return (
        f"TCAPPDLL {local_time(time)} - Epoch: {epoch} Iteration: {iteration}"
        f"  rank : {rank}  train.loss : {loss!r}  train.ips : {ips!r} imgs/s"
    )


def time_left(seconds: float) -> str:
    return f"Time left: {duration(seconds)}"


def epoch(done: int, epochs: int, loss: float, ma: float | None, seconds: float, left: float | None) -> str:
    """Return the line of an epoch; `ma` is None without an evaluation, `left` the seconds to go, if known."""
    figures = [f"epoch {done}/{epochs}", f"loss {loss:.4f}", *([] if ma is None else [f"mA {ma:.4f}"])]
    to_go = [f"{duration(left)} to go"] if left else []
    return f"Done: {', '.join([*figures, duration(seconds), *to_go])}"


def mean_accu(accu: float) -> str:
    return f" * Accu {accu:.3f}"


def event(**fields) -> str:
    return f"TCAPPDLL {json.dumps(fields)}"


def faults_survived(replaced: Mapping[str, str], skipped: int) -> list[str]:
    """Return lines about pictures, mapped to the ones in their place, and the number of skipped steps."""
    lines = []
    if replaced:
        names = ", ".join(f"{name} ({other} in its place)" for name, other in replaced.items())
        lines.append(f"Pictures that could not be read: {len(replaced)}: {names}")
    if skipped:
        lines.append(f"Steps left out because they were not finite: {skipped}")
    return lines


def interrupted(signal: str, last: Path) -> str:
    return f"{INTERRUPTION}{signal}; saved {last}; go on with --resume auto --output_dir {last.parent}"


def failure(reason: str) -> str:
    return f"{FAILURE}{reason}"


def local_time(seconds: float) -> str:
    """Return seconds since 1970 as `2025-07-06 05:55:46.338889`, in local time."""
    return datetime.fromtimestamp(seconds).isoformat(sep=" ", timespec="microseconds")


class Progress:
    """The `Epoch:` and `Test:` lines: time, loss and share of right answers, with their running means."""

    def __init__(self):
        self._last: tuple[float, float, float] = 0.0, 0.0, 0.0
        self._sums = [0.0, 0.0, 0.0]
        self._iterations = self._pictures = 0

    def add(self, pictures: int, seconds: float, loss: float, accu: float) -> None:
        """Add an iteration. If its loss is not finite, it has no part in the means."""
        self._last = seconds, loss, accu
        if not math.isfinite(loss):
            return
        for k, amount in enumerate((seconds, loss * pictures, accu * pictures)):
            self._sums[k] += amount
        self._iterations += 1
        self._pictures += pictures

    def state_dict(self) -> dict:
        return {"sums": list(self._sums), "iterations": self._iterations, "pictures": self._pictures}

    def load_state_dict(self, state: Mapping) -> None:
        self._sums = list(state["sums"])
        self._iterations, self._pictures = state["iterations"], state["pictures"]

    @property
    def seconds(self) -> float:
        """The time of all iterations so far."""
        return self._sums[0]

    @property
    def loss(self) -> float:
        """The mean loss so far."""
        return self._sums[1] / max(self._pictures, 1)

    def line(self, head: str) -> str:
        """Return the line that starts with `head`, such as `Epoch: [0][100/2850]`."""
        counts = self._iterations, self._pictures, self._pictures
        figures = (
            f"{name} {last:.{digits}f} ({total / max(count, 1):.{digits}f})"
            for name, digits, last, total, count in zip(
                ("Time", "Loss", "Accu"), (3, 4, 3), self._last, self._sums, counts, strict=True
            )
        )
        return "\t".join([head, *figures])
