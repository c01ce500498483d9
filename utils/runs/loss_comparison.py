"""Compare the losses of two training runs: the official, signed rule, a strict one, what they are worth."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.signal import savgol_filter

from utils.errors import LogError
from utils.io.phrases import counted
from utils.runs.log_reader import LossLog, Step

# The official rule: one of the two is enough.
RELATIVE_LIMIT = 0.05
ABSOLUTE_LIMIT = 0.0002

# The strict rule: both must hold.
MEAN_LIMIT = 0.05
P95_LIMIT = 0.15

# What a pass needs whichever rule decides. Over 100 iterations it is 0.15 between the published runs, 0.06
# between runs on two CPUs, 0.11 between bf16 and float32; 0.9 or more for another seed, other data, the order
# moved by one, or the reference's mean as a constant loss. Over a few it is less by chance: below a half
# in 5 % of the parts of 10 iterations with another seed. If the limit of N iterations is N / 40 up to a half,
# no part of these passes, and 97 % of those of 10 in the same training still do.
DISTANCE_LIMIT, ENOUGH = 0.5, 20  # iterations that have the whole limit

DIVERGENCE = 0.05  # smoothed curves that differ by more, as a share of the reference, have diverged
SMOOTHING_WINDOW = 5  # iterations


@dataclass(frozen=True)
class LossDifference:
    """How losses s differ from losses c, iteration by iteration."""

    mean_relative_error: float  # mean((s - c) / c), signed
    mean_absolute_error: float  # mean(s - c), signed in spite of its official name
    mean_difference: float  # mean(|s - c| / |c|)
    p95_difference: float  # the 95th percentile of |s - c| / |c|, interpolated linearly
    distance: float  # mean(|s - c|) / mean(|c' - c|), c' being the reference's next loss after c
    largest_difference: float  # max(|s - c| / |c|)
    largest_step: Step  # the first that has the largest difference
    correlation: float  # Pearson's, of s and c; NaN if one of them is constant
    diverged_step: Step | None  # the first with |S - C| > 5 % |C|, S and C being s and c smoothed

    def official_text(self) -> str:
        return (
            f"mean relative error {compared_text(self.mean_relative_error, RELATIVE_LIMIT)}, "
            f"mean absolute error {compared_text(self.mean_absolute_error, ABSOLUTE_LIMIT)}"
        )

    def strict_text(self, limit: float, limit_p95: float) -> str:
        return (
            f"mean |s - c|/|c| {compared_text(self.mean_difference, limit)}, "
            f"95th percentile {compared_text(self.p95_difference, limit_p95)}"
        )


@dataclass(frozen=True)
class Verdict:
    """Whether a run agrees with another, and why."""

    passed: bool | None  # None: the logs do not show it
    reason: str


@dataclass(frozen=True)
class LossComparison:
    """One run, judged by another over the N iterations of which both logs have the loss."""

    candidate: LossLog  # with the reference's numbers
    reference: LossLog
    asked: list[Step]  # all that were to be compared, ascending
    steps: list[Step]  # those of them that both logs have, N
    candidate_losses: np.ndarray  # float64 (N,)
    reference_losses: np.ndarray
    figures: LossDifference
    renumbered: str  # how one log's numbers became the other's; "" if they are the same

    def nonfinite(self) -> list[str]:
        """Return what is NaN or infinite, the first loss of each log."""
        return [
            f"{log.path}: the loss is {log.nonfinite[step]} at {log.at(step)}"
            for log in (self.candidate, self.reference)
            for step in sorted(log.nonfinite)[:1]
        ]

    @property
    def distance_limit(self) -> float:
        return DISTANCE_LIMIT * min(1.0, len(self.steps) / ENOUGH)

    def missing(self) -> list[str]:
        """Return which log lacks iterations that it was asked for, and which, or how it ended early."""
        return [
            _gap(log, missing) if missing else f"{log.path} {log.early_end}"
            for log in (self.candidate, self.reference)
            if (missing := [step for step in self.asked if step not in log.losses]) or log.early_end
        ]

    def ranks(self) -> list[str]:
        """Return whose losses were compared, for each log of several ranks."""
        return [
            f"rank {log.rank} of {log.ranks} in {log.path}"
            for log in (self.candidate, self.reference)
            if log.ranks > 1
        ]

    def passes_official_rule(self) -> bool:
        """Whether the signed mean error is small enough, relative or absolute."""
        figures = self.figures
        return not self.nonfinite() and (
            figures.mean_relative_error <= RELATIVE_LIMIT or figures.mean_absolute_error <= ABSOLUTE_LIMIT
        )

    def passes_strict_rule(self, limit: float = MEAN_LIMIT, limit_p95: float = P95_LIMIT) -> bool:
        """Whether |s - c| / |c| is small enough, its mean and its 95th percentile."""
        figures = self.figures
        return (
            not self.nonfinite() and figures.mean_difference <= limit and figures.p95_difference <= limit_p95
        )

    def verdict(
        self, strict: bool = False, limit: float = MEAN_LIMIT, limit_p95: float = P95_LIMIT
    ) -> Verdict:
        """Return what the official rule, or the strict one, is worth.

        Neither shows an agreement if the logs are not whole, or as far apart as two trainings that have
        nothing in common may be.
        """
        if nonfinite := self.nonfinite():
            return Verdict(False, "; ".join(nonfinite))
        if missing := self.missing():
            return Verdict(None, "; ".join(missing))
        figures, similar = self.figures, self.passes_strict_rule(limit, limit_p95)
        rule = figures.strict_text(limit, limit_p95) if strict else figures.official_text()
        if not (similar if strict else self.passes_official_rule()):
            return Verdict(False, rule)
        reason = f"{rule}; distance {compared_text(figures.distance, self.distance_limit)}"
        if figures.distance <= self.distance_limit:
            return Verdict(True, reason)
        reason += ", as between trainings that have nothing in common"
        open_question = similar or figures.distance <= DISTANCE_LIMIT
        return Verdict(None if open_question else False, reason)


def compare_losses(
    candidate: LossLog, reference: LossLog, same_epochs: bool = False, iterations: int | None = None
) -> LossComparison:
    """Compare two logs by all iterations that either names, or the first `iterations` of these.

    With `same_epochs` an epoch's number is known to mean one epoch. Otherwise, and for iterations, a log that
    counts from 1 is compared with one that counts from 0, if all numbers fit then.

    Raises LogError if they have fewer than two iterations in common, or together fewer than `iterations`; or
    if they begin with different epochs, would have more in common if these were the same epoch, and
    `same_epochs` is False.
    """
    candidate, renumbered = _renumber(candidate, reference, same_epochs, iterations)
    named = [log.losses.keys() | log.unread for log in (candidate, reference)]
    asked = sorted(named[0] | named[1])[:iterations]
    steps = [step for step in asked if step in candidate.losses and step in reference.losses]
    if not same_epochs:
        _refuse_other_epoch_count(candidate, reference)
    if len(steps) < 2:
        raise LogError(
            f"{candidate.path} ({_extent(candidate)}) and {reference.path} ({_extent(reference)}) have "
            f"{len(steps)} iterations in common, which is too few; give logs of the same training"
        )
    if iterations and len(asked) < iterations:
        raise LogError(
            f"{candidate.path} and {reference.path} have {counted(asked, 'iteration')}, fewer than the "
            f"{iterations} to compare; choose fewer with --iterations"
        )
    if iterations:
        candidate, reference = candidate.until(asked[-1]), reference.until(asked[-1])
    s = np.array([candidate.losses[step] for step in steps])
    c = np.array([reference.losses[step] for step in steps])
    figures = _measure(steps, s, c)
    return LossComparison(candidate, reference, asked, steps, s, c, figures, renumbered)


def figure_text(value: float, form: str = ".4g") -> str:
    return "undefined" if math.isnan(value) else format(value, form)


def compared_text(value: float, limit: float) -> str:
    """Say on which side of a limit a figure is."""
    return figure_text(value) + ("" if math.isnan(value) else f" {'<=' if value <= limit else '>'} {limit}")


def relative_difference(s: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return (s - c) / c, float64 (N,). For c = 0 it is 0 if s is 0 too, else infinite."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where((s == 0) & (c == 0), 0.0, (s - c) / c)


def smooth(losses: np.ndarray) -> np.ndarray:
    """Smooth a curve, float64 (N,) -> (N,): Savitzky-Golay, window 5, order 1. Fewer than 5 losses, or losses
    that are not all finite, stay as they are.
    """
    if len(losses) < SMOOTHING_WINDOW or not np.isfinite(losses).all():
        return losses
    return savgol_filter(losses, SMOOTHING_WINDOW, 1)


def _measure(steps: list[Step], s: np.ndarray, c: np.ndarray) -> LossDifference:
    relative = relative_difference(s, c)
    difference = np.abs(relative)
    # A run that went wrong has infinite or undefined figures; they are its result, not a fault here.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return LossDifference(
            mean_relative_error=float(np.mean(relative)),
            mean_absolute_error=float(np.mean(s - c)),
            mean_difference=float(np.mean(difference)),
            p95_difference=float(np.percentile(difference, 95)),
            distance=_ratio(np.mean(np.abs(s - c)), np.mean(np.abs(np.diff(c)))),
            largest_difference=float(np.max(difference)),
            largest_step=steps[np.argmax(difference)],
            correlation=float(np.corrcoef(s, c)[0, 1]),
            diverged_step=_first_divergence(steps, smooth(s), smooth(c)),
        )


def _first_divergence(steps: list[Step], s: np.ndarray, c: np.ndarray) -> Step | None:
    agrees = np.abs(s - c) <= DIVERGENCE * np.abs(c)  # False where either is NaN
    return None if agrees.all() else steps[np.argmin(agrees)]


def _ratio(a: float, b: float) -> float:
    """Return a / b, 0 for 0 / 0."""
    return float(a / b) if a else 0.0


def _renumber(
    candidate: LossLog, reference: LossLog, same_epochs: bool, iterations: int | None
) -> tuple[LossLog, str]:
    """Return the candidate with the reference's numbers, if one log counts from 1 and the other from 0 and
    all numbers fit then, and a phrase that says so.
    """
    firsts = list(zip(("epochs", "iterations"), min(candidate.losses), min(reference.losses), strict=True))
    shift = [theirs - ours for _, ours, theirs in firsts]
    if not any(shift) or any({ours, theirs} != {0, 1} for _, ours, theirs in firsts if ours != theirs):
        return candidate, ""
    if shift[0] and (same_epochs or iterations):  # a part may be of a later epoch
        return candidate, ""
    moved = candidate.moved(*shift)
    if sorted(moved.losses)[:iterations] != sorted(reference.losses)[:iterations]:
        return candidate, ""
    return moved, ", ".join(
        f"{candidate.path} counts {what} from {ours}, {reference.path} from {theirs}"
        for what, ours, theirs in firsts
        if ours != theirs
    )


def _refuse_other_epoch_count(candidate: LossLog, reference: LossLog) -> None:
    """Raise LogError if the logs would have more iterations in common with their first epochs aligned."""
    (first, _), (other, _) = min(candidate.losses), min(reference.losses)
    common = len(candidate.losses.keys() & reference.losses.keys())
    aligned = len(candidate.from_epoch_0().losses.keys() & reference.from_epoch_0().losses.keys())
    if first != other and aligned > common:
        raise LogError(
            f"{candidate.path} begins with epoch {first}, {reference.path} with epoch {other}; if these are "
            f"the same epoch, count each log's from its first one with --align_epochs ({aligned} iterations "
            f"in common), else say so with --no-align_epochs ({common} in common)"
        )


def _gap(log: LossLog, missing: list[Step]) -> str:
    last = max(log.losses)
    if missing[0] > last:
        return f"{log.path} ends at {log.at(last)}"
    return f"{log.path} has no loss for {counted(missing, 'iteration')}, the first at {log.at(missing[0])}"


def _extent(log: LossLog) -> str:
    return f"{log.at(min(log.losses))} to {log.at(max(log.losses))}"
