"""Every line and table of the published log, and the same figures for machines. To the letter: programs
outside this project read them. What is ours alone stands behind them, never inside.
"""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from utils.evaluation.significance import DRAWS, FEWEST, LEVEL
from utils.io.untrusted import printable

RULE = "=" * 100
FIGURES = (
    ("mA", "ma"),
    ("Accuracy", "accuracy"),
    ("Precision", "precision"),
    ("Recall", "recall"),
    ("F1_Score", "f1"),
)


def argument_block(options: Mapping) -> str:
    """Return the options a run starts with, a line each."""
    lines = (f"\t{name}: {printable(str(value))}" for name, value in options.items())
    return "\n".join([RULE, "Arguments = ", *lines, RULE])


def parameter_count(count: int) -> str:
    """Return the line that says how large the model is."""
    return f"Number of model parameters: {count}\n"


def learning_rate(lr: float) -> str:
    """Return what stands before an epoch."""
    return f"\nLearning Rate: {lr}\n"


def training_step(time: float, epoch: int, iteration: int, rank: int, loss: float, ips: float) -> str:
    """Return a training step's line; `time` in seconds since 1970, `ips` in pictures a second."""
    return (
        f"TCAPPDLL {local_time(time)} - Epoch: {epoch} Iteration: {iteration}"
        f"  rank : {rank}  train.loss : {loss!r}  train.ips : {ips!r} imgs/s"
    )


def skipped_step(epoch: int, iteration: int, scale: float) -> str:
    """Return what stands behind a step whose gradients overflowed."""
    return (
        f"Skipped: epoch {epoch} iteration {iteration} overflowed in fp16; loss scale {scale:g} from now on"
    )


def left_out_step(epoch: int, iteration: int, loss: float, count: int) -> str:
    """Return what stands behind a step that changed no weight; the `count`-th such step."""
    what = "its gradients are not finite" if math.isfinite(loss) else f"its loss is {loss}"
    return f"Left out: epoch {epoch} iteration {iteration}, {what}; {count} so far"


def at_fault(pictures: Sequence[str]) -> str:
    """Return the pictures of the step that ends a run."""
    return f"The pictures of that step: {' '.join(pictures)}"


def not_saved(reason: str) -> str:
    """Return what stands where a checkpoint could not be written."""
    return f"Not saved: {reason}; training goes on, and the next save tries again"


def faults_survived(replaced: Mapping[str, str], left_out: int) -> list[str]:
    """Return what stands at the end of a run of pictures that could not be read, and of steps left out."""
    lines = []
    if replaced:
        names = ", ".join(f"{name} ({other} in its place)" for name, other in replaced.items())
        lines.append(f"Pictures that could not be read: {len(replaced)}: {names}")
    if left_out:
        lines.append(f"Steps left out because they were not finite: {left_out}")
    return lines


def interrupted(signal: str, last: Path) -> str:
    """Return the last line of a run that a signal ended."""
    return f"Stopped: {signal}; saved {last}; go on with --resume auto --output_dir {last.parent}"


def early_stop(iterations: int) -> str:
    """Return what stands behind an epoch that was ended early."""
    return f"\nEarly stopping at iteration {iterations}"


def failure(reason: str) -> str:
    """Return the last line of a run that did not come to its end."""
    return f"Ended: {reason}"


def mean_accu(accu: float) -> str:
    """Return the line behind an evaluation."""
    return f" * Accu {accu:.3f}"


def event(**fields) -> str:
    """Return a line of the JSON stream."""
    return f"TCAPPDLL {json.dumps(fields)}"


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
        """Take one iteration. One whose loss is not finite has no part in the means."""
        self._last = seconds, loss, accu
        if not math.isfinite(loss):
            return
        for k, amount in enumerate((seconds, loss * pictures, accu * pictures)):
            self._sums[k] += amount
        self._iterations += 1
        self._pictures += pictures

    def state_dict(self) -> dict:
        """Return the sums behind the means."""
        return {"sums": list(self._sums), "iterations": self._iterations, "pictures": self._pictures}

    def load_state_dict(self, state: Mapping) -> None:
        """Go on from sums that `state_dict` returned."""
        self._sums = list(state["sums"])
        self._iterations, self._pictures = state["iterations"], state["pictures"]

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


def evaluation_table(figures: Mapping, attributes: Sequence[str], seen: int, listed: int) -> str:
    """Return the table of `AttributeMetrics.compute()`; `seen` of `listed` pictures were evaluated."""
    lines = [RULE, "\t     Attr              \tp_true/n_true\tp_tol/n_tol\tp_pred/n_pred\tcur_mA"]
    for k, name in enumerate(attributes):
        counts = [
            f"{figures[f'{kind}positive'][k]:4}\\{figures[f'{kind}negative'][k]:4}"
            for kind in ("", "predicted_")
        ]
        right = f"{figures['true_positive'][k]:4}\\{figures['true_negative'][k]:4}"
        ma = figures["attribute_ma"][k].item()
        shown = "n/a" if math.isnan(ma) else f"{ma:.5f}"
        lines.append("\t".join(["", f"#{k:2}: {printable(name):18}", right, *counts, shown]))
    lines += [f"\t{title + ':':11}{figures[key]}" for title, key in FIGURES]
    if seen < listed:
        lines.append(f"\tPictures:  {seen} of {listed}")
    return "\n".join([*lines, RULE])


def interval_lines(intervals: Mapping | None, units: int, resampled: str) -> str:
    """Return what stands behind the table: `significance.intervals`, of so many pictures or identities."""
    if intervals is None:
        return f"95 % intervals: none; {units} {resampled} are too few, {FEWEST} are needed"
    lines = [f"95 % intervals, from {DRAWS:,} draws of the list's {units:,} {resampled} with replacement:"]
    for title, key in FIGURES:
        low, high = intervals[key]
        lines.append(f"\t{title:10} " + ("n/a" if math.isnan(low) else f"{low:.4f} to {high:.4f}"))
    return "\n".join(lines)


def interval_record(intervals: Mapping | None, units: int, resampled: str) -> dict:
    """Return the same as plain numbers and lists; an interval that is undefined is None."""
    record = {"level": LEVEL, "draws": DRAWS, "resampled": resampled, "units": units}
    for _, key in FIGURES:
        low, high = intervals[key] if intervals else (math.nan, math.nan)
        record[key] = None if math.isnan(low) else [low, high]
    return record


def evaluation_record(figures: Mapping, attributes: Sequence[str], seen: int, listed: int) -> dict:
    """Return the same as plain numbers and lists; an undefined figure (NaN) becomes None."""
    record = {"pictures": seen, "listed": listed}
    record |= {key: none_for_nan(value) for key, value in figures.items() if isinstance(value, float)}
    per_attribute = {
        key.removeprefix("attribute_"): value.tolist()
        for key, value in figures.items()
        if not isinstance(value, float)
    }
    record["attributes"] = [
        {"name": name} | {key: none_for_nan(values[k]) for key, values in per_attribute.items()}
        for k, name in enumerate(attributes)
    ]
    return record


def none_for_nan(value: float) -> float | None:
    """Return the number, or None for NaN, which JSON cannot say."""
    return None if math.isnan(value) else value
