"""What another seed of the training could have changed: runs that differ in their seed, and two sets of them.

The interval of the difference is Welch's (1947): the figures of each set scatter normally, by its own spread.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alm.constants import METRICS, OPTIONS
from alm.errors import AlmError
from utils.evaluation.results import none_for_nan
from utils.evaluation.significance import FIGURES, LEVEL, Difference, Interval
from utils.io.phrases import counted
from utils.io.untrusted import is_number, parsed, read_text


@dataclass(frozen=True)
class SeedSet:
    """Runs of one training with N seeds, two at least.

    Attributes:
        seeds: of each run.
        evaluation: what the last evaluations of all runs were of: data set, digest of the list, epoch.
        figures: FIGURES of the last evaluation of each run, NaN if it is undefined.
    """

    directory: Path
    seeds: list[int]
    evaluation: dict
    figures: dict[str, list[float]]

    def summary(self, name: str) -> tuple[float, float]:
        """Return a figure's mean over the seeds, and its standard deviation."""
        values = self.figures[name]
        return float(np.mean(values)), float(np.std(values, ddof=1))


def read_seeds(directory: Path) -> SeedSet:
    """Read the runs in a directory, each in a directory of its own, as `read_runs` does.

    Raises AlmError, too, if they are fewer than two.
    """
    runs = sorted(path.parent for path in directory.glob(f"*/{METRICS}"))
    if len(runs) < 2:
        raise AlmError(
            f"{directory}: it has the directories of {counted(runs, 'run')}; two are needed at least"
        )
    return read_runs(directory, runs)


def read_runs(directory: Path, runs: Sequence[Path]) -> SeedSet:
    """Read these runs, whose directories are in `directory`.

    Raises AlmError if two have one seed, or if their last evaluations are of other epochs or lists.
    """
    seeds, evaluations, figures = [], [], {name: [] for name in FIGURES}
    for run in runs:
        options = parsed(read_text(run / OPTIONS))
        lines = read_text(run / METRICS).splitlines()
        last = parsed(lines[-1]) if lines else None
        if not isinstance(options, dict) or not isinstance(last, dict):
            raise AlmError(f"{run}: its {OPTIONS} or {METRICS} is damaged; remove the run from {directory}")
        seeds.append(options.get("seed"))
        names = {"data set": "experiment", "list": "list_digest", "epoch": "epoch"}
        evaluations.append({name: last.get(key) for name, key in names.items()})
        for name, values in figures.items():
            values.append(float(last[name]) if is_number(last.get(name)) else math.nan)
        if seeds[-1] in seeds[:-1]:
            raise AlmError(f"{run}: its seed {seeds[-1]} is another run's too; train with another --seed")
        for name, value in evaluations[-1].items():
            if value != evaluations[0][name]:
                raise AlmError(
                    f"{run}: its last evaluation is of {name} {value}, that of {runs[0]} of "
                    f"{evaluations[0][name]}; let all runs end, on one list"
                )
    return SeedSet(directory, seeds, evaluations[0], figures)


def set_lines(runs: SeedSet) -> Iterator[str]:
    """Yield which runs they are, then mean and standard deviation of each figure."""
    seeds = ", ".join(map(str, runs.seeds))
    yield f"{runs.directory}, epoch {runs.evaluation['epoch']} of the seeds {seeds}"
    for name, title in FIGURES.items():
        yield "   {:12}{:.4f}, standard deviation {:.4f}".format(title, *runs.summary(name))


def set_record(runs: SeedSet) -> dict:
    """Return the runs' figures for JSON; an undefined one (NaN) is None."""
    figures = {}
    for name in FIGURES:
        mean, spread = map(none_for_nan, runs.summary(name))
        figures[name] = {"mean": mean, "spread": spread, "runs": list(map(none_for_nan, runs.figures[name]))}
    about = {"directory": str(runs.directory), "seeds": runs.seeds, "epoch": runs.evaluation["epoch"]}
    return about | {"figures": figures}


def compare_seeds(first: SeedSet, second: SeedSet) -> dict[str, Difference]:
    """Return the Difference of each figure's means. Raises AlmError if the sets are of other lists."""
    for name in ("data set", "list"):
        if first.evaluation[name] != second.evaluation[name]:
            raise AlmError(
                f"{first.directory} and {second.directory} are not of the same {name}; evaluate both on one"
            )
    differences = {}
    for name in FIGURES:
        interval = welch(first.figures[name], second.figures[name])
        means = first.summary(name)[0], second.summary(name)[0]
        differences[name] = Difference(*means, interval, interval.excludes_zero)
    return differences


def welch(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Return the interval of mean(second) - mean(first); NaN if nothing scatters or one is NaN."""
    from scipy.stats import t as student  # a second and more, for the one command that asks

    parts = [(np.var(values, ddof=1) / len(values), len(values) - 1) for values in (first, second)]
    variance = sum(part for part, _ in parts)
    if not variance > 0:
        return Interval(math.nan, math.nan)
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    half = student.ppf((1 + LEVEL) / 2, freedom) * math.sqrt(variance)
    difference = np.mean(second) - np.mean(first)
    return Interval(float(difference - half), float(difference + half))
