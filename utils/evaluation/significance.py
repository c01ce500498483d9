"""What other test pictures could have changed: intervals of the figures, and two evaluations compared.

The bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3): 1,000 times,
as many pictures as the list has are drawn from it with replacement. The figures of these draws scatter as
those of other lists would. If identities are known, whole identities are drawn: pictures of one person are
not independent. The intervals do not contain what another seed of the training would change.

A draw may have no positives or no negatives of an attribute that the list has rarely. Its mA would be of
fewer attributes than the list's, so it counts as undefined, and has no part in mA's interval. If more than 5
in 100 draws are undefined, there is no interval, and no verdict.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from alm.constants import UNKNOWN
from alm.errors import AlmError

FIGURES = {  # name -> title in tables
    "ma": "mA", "accuracy": "Accuracy", "precision": "Precision", "recall": "Recall", "f1": "F1_Score"
}  # fmt: skip
LEVEL = 0.95  # of the intervals; 1 - LEVEL is the chance that Holm's method lists any attribute wrongly
DRAWS, SEED = 1000, 1
AT_ONCE = 50  # draws in memory
FEWEST = 30  # pictures or identities; the draws of fewer say too little


class Interval(NamedTuple):
    """The 95 % interval of a figure, or of a difference; NaN if there is none. `undefined` is the number of
    draws in which the figure is.
    """

    low: float
    high: float
    undefined: int = 0

    @property
    def is_defined(self) -> bool:
        return not math.isnan(self.low)

    @property
    def excludes_zero(self) -> bool:
        """Whether it is defined, and 0 is not in it."""
        return self.low > 0 or self.high < 0


class Tally(NamedTuple):
    """An evaluation, summed over each of the U units that a draw takes: pictures, or identities.

    Attributes:
        labels: float32 (U, 4, K): true positives, true negatives, positives, negatives.
        pictures: float64 (U, 4): sums of the pictures' accuracy, precision and recall, and their number.
        resampled: what the units are, "pictures" or "identities".
    """

    labels: np.ndarray
    pictures: np.ndarray
    resampled: str

    @property
    def units(self) -> int:
        return len(self.pictures)


class Figures(NamedTuple):
    """The figures of D draws: `overall` float64 (D, 5) in the order of FIGURES, `attribute_ma` (D, K)."""

    overall: np.ndarray
    attribute_ma: np.ndarray


@dataclass(frozen=True)
class Difference:
    """A figure of two evaluations, or its means over two sets of them, the interval of second - first, and
    whether the two differ.
    """

    first: float
    second: float
    interval: Interval
    differs: bool

    @property
    def difference(self) -> float:
        return self.second - self.first

    @property
    def verdict(self) -> str | None:
        """The second is "better", "worse" or "not to be told apart"; None without an interval."""
        if not self.interval.is_defined:
            return None
        if not self.differs:
            return "not to be told apart"
        return "better" if self.difference > 0 else "worse"


@dataclass(frozen=True)
class Paired:
    """Two evaluations of the same pictures.

    Attributes:
        figures: the Difference of each of FIGURES; it differs if its interval does not contain 0.
        attributes: the Difference of each attribute's mA; it differs by Holm's method over all attributes.
        p_values: float64 (K,), NaN if the attribute's interval is undefined.
        units, resampled: their number, and whether they are "pictures" or "identities".
    """

    figures: dict[str, Difference]
    attributes: list[Difference]
    p_values: np.ndarray
    units: int
    resampled: str

    @property
    def ma_attributes(self) -> int:
        """The number of attributes that mA is of."""
        return sum(not math.isnan(each.difference) for each in self.attributes)


def tally(predicted: np.ndarray, labels: np.ndarray, identities: Sequence[str] | None = None) -> Tally:
    """Sum an evaluation over pictures, or over `identities` if they are known.

    Args:
        predicted: bool (N, K), logit > 0.
        labels: (N, K), 0, 1, or 2 (unknown), which counts neither way.
        identities: the person on each of the N pictures.
    """
    known, truth = labels != UNKNOWN, labels == 1
    guess = predicted & known
    hit = guess & truth
    counts = np.stack([hit, known & ~guess & ~truth, truth, known & ~truth], axis=1).astype(np.float32)
    hits, truths, guesses = hit.sum(1), truth.sum(1), guess.sum(1)
    shares = [share(hits, whole) for whole in (truths + guesses - hits, guesses, truths)]
    pictures = np.stack([*shares, np.ones(len(labels))], axis=1)
    if identities is None:
        return Tally(counts, pictures, "pictures")
    _, unit = np.unique(identities, return_inverse=True)
    order = np.argsort(unit, kind="stable")
    starts = np.flatnonzero(np.diff(unit[order], prepend=-1))
    counts, pictures = (np.add.reduceat(values[order], starts, axis=0) for values in (counts, pictures))
    return Tally(counts, pictures, "identities")


def figures_of(evaluation: Tally, times: np.ndarray | None = None) -> Figures:
    """Return the figures of D draws that take each unit `times`, (D, U); by default, each once.

    They are defined as in `alm.AttributeMetrics`: an undefined rate is NaN and has no part in mA, an empty
    denominator adds 0.
    """
    units = evaluation.units
    times = np.ones((1, units)) if times is None else times
    _, kinds, attributes = evaluation.labels.shape
    flat = evaluation.labels.reshape(units, kinds * attributes)
    counts = (times.astype(np.float32) @ flat).reshape(-1, kinds, attributes).astype(float)  # whole: exact
    true_positive, true_negative, positive, negative = counts.transpose(1, 0, 2)
    with np.errstate(invalid="ignore"):
        attribute_ma = (true_positive / positive + true_negative / negative) / 2
        defined = ~np.isnan(attribute_ma)
        ma = np.where(defined, attribute_ma, 0).sum(1) / defined.sum(1)
    *sums, pictures = (times.astype(float) @ evaluation.pictures).T
    accuracy, precision, recall = (share(total, pictures) for total in sums)
    f1 = share(2 * precision * recall, precision + recall)
    return Figures(np.stack([ma, accuracy, precision, recall, f1], axis=1), attribute_ma)


def intervals(evaluation: Tally) -> dict[str, Interval] | None:
    """Return the 95 % interval of each of FIGURES; None if there are fewer than FEWEST units."""
    if evaluation.units < FEWEST:
        return None
    return dict(zip(FIGURES, map(interval, figures_of_draws(evaluation).overall.T), strict=True))


def compare(first: Tally, second: Tally) -> Paired:
    """Compare two evaluations of the same pictures; a draw takes the same units of both.

    Raises AlmError if there are fewer than FEWEST units.
    """
    if first.units < FEWEST:
        raise AlmError(
            f"{first.units} {first.resampled} are too few for a comparison; "
            f"give a list with at least {FEWEST}"
        )
    drawn_before, drawn_after = figures_of_draws(first), figures_of_draws(second)
    before, after = figures_of(first), figures_of(second)

    spans = [interval(changes) for changes in (drawn_after.overall - drawn_before.overall).T]
    values = before.overall[0].tolist(), after.overall[0].tolist()
    figures = [Difference(*row, row[-1].excludes_zero) for row in zip(*values, spans, strict=True)]

    spans = [interval(changes) for changes in (drawn_after.attribute_ma - drawn_before.attribute_ma).T]
    p_values = np.where([span.is_defined for span in spans], sign_test(first, second), math.nan)
    values = before.attribute_ma[0].tolist(), after.attribute_ma[0].tolist()
    attributes = [Difference(*row) for row in zip(*values, spans, holm(p_values).tolist(), strict=True)]

    figures = dict(zip(FIGURES, figures, strict=True))
    return Paired(figures, attributes, p_values, first.units, first.resampled)


def sign_test(first: Tally, second: Tally) -> np.ndarray:
    """Return p-values (K,): how probable so large a difference in each attribute's mA would be if chance had
    decided, for each unit, which predictions are the first's and which are the second's.

    This is McNemar's test, for mA and for units of several pictures. The difference is a sum over units, each
    as likely to have the other sign, and nearly normal. NaN if the attribute's mA is undefined.
    """
    gained = second.labels[:, :2].astype(float) - first.labels[:, :2]  # (U, 2, K): right answers
    totals = first.labels[:, 2:].sum(0, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = (gained / totals).sum(1) / 2
    spread = np.sqrt((shares**2).sum(0))
    scores = np.divide(np.abs(shares.sum(0)), spread, out=spread.copy(), where=spread > 0)
    return np.array([math.erfc(score / math.sqrt(2)) for score in scores])


def holm(p_values: np.ndarray) -> np.ndarray:
    """Return which hypotheses are rejected, bool (K,); in at most 5 % of all cases one of them is true.

    S. Holm, A simple sequentially rejective multiple test procedure, 1979: the smallest p-value must be at
    most 5 % / K, the next 5 % / (K - 1), and so on, up to the first that is not. NaN are left out.
    """
    rejected = np.zeros(len(p_values), bool)
    tested = np.flatnonzero(~np.isnan(p_values))
    for rank, k in enumerate(tested[np.argsort(p_values[tested], kind="stable")]):
        if p_values[k] > (1 - LEVEL) / (len(tested) - rank):
            break
        rejected[k] = True
    return rejected


def figures_of_draws(evaluation: Tally) -> Figures:
    """Return the figures of all draws, the same draws for every evaluation of as many units. mA is NaN in a
    draw that lacks positives or negatives of an attribute of which the list has both.
    """
    parts = [figures_of(evaluation, times) for times in draws(evaluation)]
    overall, attribute_ma = map(np.concatenate, zip(*parts, strict=True))
    lacking = np.isnan(attribute_ma) & ~np.isnan(figures_of(evaluation).attribute_ma)
    overall[lacking.any(axis=1), list(FIGURES).index("ma")] = math.nan
    return Figures(overall, attribute_ma)


def draws(evaluation: Tally) -> Iterator[np.ndarray]:
    """Yield how often a draw takes each of U units, int (D, U): 1,000 draws, AT_ONCE at a time."""
    generator = np.random.default_rng(SEED)
    units = evaluation.units
    for start in range(0, DRAWS, AT_ONCE):
        count = min(AT_ONCE, DRAWS - start)
        drawn = generator.integers(units, size=(count, units)) + units * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * units).reshape(count, units)


def interval(values: np.ndarray) -> Interval:
    """Return the percentile interval of a figure's draws (D,)."""
    defined = values[~np.isnan(values)]
    undefined = len(values) - len(defined)
    if undefined > (1 - LEVEL) * len(values):
        return Interval(math.nan, math.nan, undefined)
    tail = (1 - LEVEL) / 2
    return Interval(*np.quantile(defined, [tail, 1 - tail]).tolist(), undefined)


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
