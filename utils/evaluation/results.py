"""An evaluation as people and machines read it: the published table, 95 % intervals, and their JSON record.

The table is to the letter what the published program prints: programs outside this project read it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from utils.evaluation.significance import DRAWS, FEWEST, FIGURES, LEVEL, Interval
from utils.io.phrases import RULE, counted, first_few, ma_title
from utils.io.untrusted import printable

if TYPE_CHECKING:  # which needs torch
    from alm.training.evaluation import Evaluation

COUNTS = (
    "true_positive", "true_negative", "positive", "negative", "predicted_positive", "predicted_negative"
)  # fmt: skip


def evaluation_table(evaluation: "Evaluation", attributes: Sequence[str], seen: int, listed: int) -> str:
    """Return the published table; `seen` of `listed` pictures were evaluated. A line of ours behind it says
    which attributes mA leaves out.
    """
    lines = [RULE, "\t     Attr              \tp_true/n_true\tp_tol/n_tol\tp_pred/n_pred\tcur_mA"]
    counts = [getattr(evaluation, name) for name in COUNTS]
    for k, name in enumerate(attributes):
        hits, misses, positive, negative, predicted, others = (f"{count[k]:4}" for count in counts)
        ma = evaluation.attribute_ma[k].item()
        pairs = f"{hits}\\{misses}", f"{positive}\\{negative}", f"{predicted}\\{others}"
        lines.append("\t".join(["", f"#{k:2}: {printable(name):18}", *pairs, with_digits(ma, 5)]))
    lines += [f"\t{title + ':':11}{getattr(evaluation, key)}" for key, title in FIGURES.items()]
    if seen < listed:
        lines.append(f"\tPictures:  {seen} of {listed}")
    lines.append(RULE)
    pairs = zip(attributes, evaluation.attribute_ma.tolist(), strict=True)
    if undefined := [name for name, ma in pairs if math.isnan(ma)]:
        title = ma_title(evaluation.ma_attributes, len(attributes))
        lines.append(f"Undefined: this is the {title}; {lacking(undefined)}")
    return "\n".join(lines)


def lacking(undefined: Sequence[str]) -> str:
    """Return why attributes have no mA, with the first of their names."""
    names = printable(first_few(undefined))
    return f"the list has no positives or no negatives of {counted(undefined, 'attribute')} ({names})"


def undefined_draws(interval: Interval) -> str:
    return f"{interval.undefined:,} of {DRAWS:,} draws have no positives or no negatives of an attribute"


def interval_lines(intervals: Mapping[str, Interval] | None, units: int, resampled: str) -> str:
    """Return the lines below the table: `significance.intervals` of so many pictures or identities."""
    if intervals is None:
        return f"95 % intervals: none; {units} {resampled} are too few, {FEWEST} are needed"
    lines = [f"95 % intervals, from {DRAWS:,} draws of the list's {units:,} {resampled} with replacement:"]
    for key, title in FIGURES.items():
        interval = intervals[key]
        span = f"{interval.low:.4f} to {interval.high:.4f}" if interval.is_defined else "n/a"
        lines.append(
            f"\t{title:10} {span}" + (f"; {undefined_draws(interval)}" if interval.undefined else "")
        )
    return "\n".join(lines)


def interval_record(intervals: Mapping[str, Interval] | None, units: int, resampled: str) -> dict:
    """Return the intervals for JSON; an undefined one is None."""
    record = {"level": LEVEL, "draws": DRAWS, "resampled": resampled, "units": units}
    if intervals is None:
        return record | dict.fromkeys(("ma_undefined_draws", *FIGURES))
    record["ma_undefined_draws"] = intervals["ma"].undefined
    return record | {key: ends(intervals[key]) for key in FIGURES}


def ends(interval: Interval) -> list[float] | None:
    """Return an interval for JSON; an undefined one is None."""
    return [interval.low, interval.high] if interval.is_defined else None


def evaluation_record(evaluation: "Evaluation", attributes: Sequence[str], seen: int, listed: int) -> dict:
    """Return the evaluation's figures for JSON; an undefined one (NaN) is None."""
    columns = {"ma": evaluation.attribute_ma} | {name: getattr(evaluation, name) for name in COUNTS}
    columns = {name: column.tolist() for name, column in columns.items()}
    return {
        "pictures": seen,
        "listed": listed,
        **{name: none_for_nan(figure) for name, figure in evaluation.figures.items()},
        "attributes": [
            {"name": name} | {column: none_for_nan(values[k]) for column, values in columns.items()}
            for k, name in enumerate(attributes)
        ],
    }


def with_digits(value: float, digits: int) -> str:
    return "n/a" if math.isnan(value) else f"{value:.{digits}f}"


def none_for_nan(value: float) -> float | None:
    """Return the value, or None for NaN, which JSON cannot say."""
    return None if math.isnan(value) else value
