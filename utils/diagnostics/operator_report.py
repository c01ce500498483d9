"""What the check of a step's operators found, in lines of 100 columns and as JSON."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from statistics import median
from textwrap import wrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from utils.diagnostics.operator_check import Checked, Unchecked

WORST = 10
WIDTH = 100
COLUMNS = ("error/limit", 11), ("operator", 38), ("pass", 9), ("where", 0)
KINDS = ("operator", 38), ("type", 9), ("results", 7), ("largest", 11), ("median", 11)


def lines(checked: Sequence[Checked], unchecked: Sequence[Unchecked], left_out: Mapping) -> Iterator[str]:
    """Yield the report: what was checked, the worst, each kind, what was not checked, and the verdict."""
    operators = len({result.order for result in checked})
    yield (
        f"{operators} operators computed again in float64, {len(checked)} results compared; "
        f"{sum(left_out.values())} left out by rule"
    )
    yield from (
        "",
        f"The {WORST} nearest to their limits, or beyond:",
        row(COLUMNS, *(n for n, _ in COLUMNS)),
    )
    for result in sorted(checked, key=lambda result: -result.excess)[:WORST]:
        values = ratio(result.excess), result.operator, result.stage, result.place
        yield row(COLUMNS, *values)
    yield from ("", "By kind of operator, error/limit:", row(KINDS, *(name for name, _ in KINDS)))
    exact = []
    for (operator, dtype), most, middle, count in kinds(checked):
        if most:
            yield row(KINDS, operator, dtype, str(count), ratio(most), ratio(middle))
        else:
            exact.append(operator.removeprefix("aten::"))
    if exact:
        yield from wrap(f"Exact: {', '.join(sorted(set(exact)))}", WIDTH, subsequent_indent="  ")
    if unchecked:
        yield from ("", f"Could not be computed again, so not checked: {len(unchecked)}")
        reasons = Counter((entry.operator, entry.reason) for entry in unchecked)
        yield from (f"  {count} x {operator}: {reason}" for (operator, reason), count in reasons.items())
    yield from ("", *verdict(checked))


def verdict(checked: Sequence[Checked]) -> Iterator[str]:
    """Yield the verdict, and the first operator over its limit, in order of execution."""
    wrong = [result for result in checked if result.excess > 1]
    if not wrong:
        yield f"pass: every result is within its limit, the largest at {ratio(largest(checked))} of it"
        return
    first = min(wrong, key=lambda result: result.order)
    yield f"fail: {len(wrong)} results are over their limits. The first, in order of execution:"
    yield f"  {first.operator}, {first.stage}, {first.place}"
    yield (
        f"  {first.dtype} {first.shape}, sums of {first.terms}: largest error {first.error:.3g}, "
        f"{ratio(first.excess)} times its limit"
    )


def record(checked: Sequence[Checked], unchecked: Sequence[Unchecked], left_out: Mapping) -> dict:
    """Return the findings for JSON: an infinite ratio is null."""
    wrong = [result for result in checked if result.excess > 1]
    return {
        "passed": not wrong,
        "operators": len({result.order for result in checked}),
        "results": len(checked),
        "first_over_limit": entry(min(wrong, key=lambda result: result.order)) if wrong else None,
        "over_limit": [entry(result) for result in wrong],
        "worst": [entry(result) for result in sorted(checked, key=lambda result: -result.excess)[:WORST]],
        "kinds": [
            {"operator": operator, "dtype": dtype, "results": count}
            | {"largest": finite(most), "median": finite(middle)}
            for (operator, dtype), most, middle, count in kinds(checked)
        ],
        "not_checked": [asdict(entry) for entry in unchecked],
        "left_out": dict(left_out),
    }


def kinds(checked: Sequence[Checked]) -> list[tuple]:
    """Return (operator, type), largest and median ratio, and count of each kind, the largest first."""
    groups = defaultdict(list)
    for result in checked:
        groups[result.operator, result.dtype].append(result.excess)
    rows = [(kind, max(values), median(values), len(values)) for kind, values in groups.items()]
    return sorted(rows, key=lambda row: (-row[1], row[0]))


def entry(result: Checked) -> dict:
    """Return one result for JSON."""
    return asdict(result) | {"error": finite(result.error), "excess": finite(result.excess)}


def largest(checked: Sequence[Checked]) -> float:
    """Return the largest ratio of error and limit."""
    return max((result.excess for result in checked), default=0.0)


def finite(value: float) -> float | None:
    """Return a number that JSON has, else None."""
    return value if abs(value) < float("inf") else None


def ratio(value: float) -> str:
    """Return a ratio in three digits."""
    return f"{value:.3g}" if value < 1e6 else f"{value:.1e}"


def row(columns: Sequence[tuple[str, int]], *values: str) -> str:
    """Return a line of a table, two blanks between columns."""
    return "  ".join(f"{value:<{width}}" for (_, width), value in zip(columns, values, strict=True)).rstrip()
