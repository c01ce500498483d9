"""Compare the losses of two training runs: the official, signed rule and a strict one."""

from dataclasses import dataclass

import numpy as np
from scipy.signal import savgol_filter

from utils.errors import LogError
from utils.runs.log_reader import LossLog, Step

# The official rule: one of the two is enough.
RELATIVE_LIMIT = 0.05
ABSOLUTE_LIMIT = 0.0002

# The strict rule: both must hold.
MEAN_LIMIT = 0.05
P95_LIMIT = 0.15

DIVERGENCE = 0.05  # smoothed curves that differ by more, as a share of the reference, have diverged
SMOOTHING_WINDOW = 5  # iterations


@dataclass(frozen=True)
class LossDifference:
    """How losses s differ from losses c, iteration by iteration."""

    mean_relative_error: float  # mean((s - c) / c), signed
    mean_absolute_error: float  # mean(s - c), signed in spite of its official name
    mean_difference: float  # mean(|s - c| / |c|)
    p95_difference: float  # the 95th percentile of |s - c| / |c|, interpolated linearly
    largest_difference: float  # max(|s - c| / |c|)
    largest_step: Step  # the first that has the largest difference
    correlation: float  # Pearson's, of s and c; NaN if one of them is constant
    diverged_step: Step | None  # the first with |S - C| > 5 % |C|, S and C being s and c smoothed


@dataclass(frozen=True)
class LossComparison:
    """One run, judged by another over the N iterations that both logs have."""

    candidate: LossLog
    reference: LossLog
    steps: list[Step]  # of both, N, ascending
    candidate_losses: np.ndarray  # float64 (N,)
    reference_losses: np.ndarray
    figures: LossDifference

    def is_finite(self) -> bool:
        """Whether neither log has a NaN or infinity anywhere; such a log fails both rules."""
        return self.candidate.first_nonfinite is None and self.reference.first_nonfinite is None

    def passes_official_rule(self) -> bool:
        """Whether the signed mean error is small enough, relative or absolute."""
        figures = self.figures
        return self.is_finite() and (
            figures.mean_relative_error <= RELATIVE_LIMIT or figures.mean_absolute_error <= ABSOLUTE_LIMIT
        )

    def passes_strict_rule(self, limit: float = MEAN_LIMIT, limit_p95: float = P95_LIMIT) -> bool:
        """Whether |s - c| / |c| is small enough, its mean and its 95th percentile."""
        figures = self.figures
        return self.is_finite() and figures.mean_difference <= limit and figures.p95_difference <= limit_p95


def compare_losses(candidate: LossLog, reference: LossLog, same_epochs: bool = False) -> LossComparison:
    """Compare two logs by their common iterations; with `same_epochs` a number is known to mean one epoch.

    Raises LogError if they have fewer than two iterations in common; or if they begin with different epochs,
    would have more in common if these were the same epoch, and `same_epochs` is False.
    """
    steps = sorted(candidate.losses.keys() & reference.losses.keys())
    if not same_epochs:
        _refuse_other_epoch_count(candidate, reference, len(steps))
    if len(steps) < 2:
        raise LogError(
            f"{candidate.path} ({_extent(candidate)}) and {reference.path} ({_extent(reference)}) have "
            f"{len(steps)} iterations in common, which is too few; give logs of the same training"
        )
    s = np.array([candidate.losses[step] for step in steps])
    c = np.array([reference.losses[step] for step in steps])
    return LossComparison(candidate, reference, steps, s, c, _measure(steps, s, c))


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
            largest_difference=float(np.max(difference)),
            largest_step=steps[np.argmax(difference)],
            correlation=float(np.corrcoef(s, c)[0, 1]),
            diverged_step=_first_divergence(steps, smooth(s), smooth(c)),
        )


def _first_divergence(steps: list[Step], s: np.ndarray, c: np.ndarray) -> Step | None:
    agrees = np.abs(s - c) <= DIVERGENCE * np.abs(c)  # False where either is NaN
    return None if agrees.all() else steps[np.argmin(agrees)]


def _refuse_other_epoch_count(candidate: LossLog, reference: LossLog, common: int) -> None:
    """Raise LogError if the logs would have more iterations in common with their first epochs aligned."""
    (first, _), (other, _) = min(candidate.losses), min(reference.losses)
    aligned = len(candidate.from_epoch_0().losses.keys() & reference.from_epoch_0().losses.keys())
    if first != other and aligned > common:
        raise LogError(
            f"{candidate.path} begins with epoch {first}, {reference.path} with epoch {other}; if these are "
            f"the same epoch, count each log's from its first one with --align_epochs ({aligned} iterations "
            f"in common), else say so with --no-align_epochs ({common} in common)"
        )


def _extent(log: LossLog) -> str:
    first, last = min(log.losses), max(log.losses)
    return f"epoch {first[0]} iteration {first[1]} to epoch {last[0]} iteration {last[1]}"
