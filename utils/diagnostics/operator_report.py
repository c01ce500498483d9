"""The findings of an `OperatorCheck`, in lines of 100 columns and as JSON. Needs no torch."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from statistics import median
from textwrap import wrap
from typing import TYPE_CHECKING

from utils.io.phrases import counted

if TYPE_CHECKING:
    from utils.diagnostics.operator_check import OperatorCheck, OperatorResult

WORST = 10
COLUMNS = 100
RESULTS = ("error/limit", 11), ("operator", 38), ("pass", 9), ("where", 0)
KINDS = ("operator", 38), ("type", 9), ("results", 7), ("largest", 11), ("median", 11)


def operator_lines(check: OperatorCheck) -> Iterator[str]:
    results, unchecked = check.results, check.unchecked
    yield (
        f"{_count_operators(results)} operators computed again in float64, {len(results)} results compared; "
        f"{sum(check.ignored.values())} left out by rule"
    )
    yield from ("", f"The {WORST} nearest to their limits, or beyond:", table_head(RESULTS))
    for result in _worst(results):
        yield table_row(RESULTS, ratio_text(result.excess), result.operator, result.stage, result.place)
    yield from ("", "By kind of operator, error/limit:", table_head(KINDS))
    exact = set()
    for (operator, dtype), most, middle, count in _kinds(results):
        if most:
            yield table_row(KINDS, operator, dtype, str(count), ratio_text(most), ratio_text(middle))
        else:
            exact.add(operator.removeprefix("aten::"))
    if exact:
        yield from wrap(f"Exact: {', '.join(sorted(exact))}", COLUMNS, subsequent_indent="  ")
    if unchecked:
        yield from ("", f"Could not be computed again, so not checked: {len(unchecked)}")
        reasons = Counter((entry.operator, entry.reason) for entry in unchecked)
        yield from (f"  {count} x {operator}: {reason}" for (operator, reason), count in reasons.items())
    yield from ("", *_verdict_lines(check))


def operator_record(check: OperatorCheck) -> dict:
    """Return the findings for JSON: an infinite ratio is null, and so is `passed` without a verdict."""
    wrong = wrong_results(check.results)
    return {
        "passed": verdict(check),
        "operators": _count_operators(check.results),
        "results": len(check.results),
        "first_over_limit": _result_record(wrong[0]) if wrong else None,
        "over_limit": [_result_record(result) for result in wrong],
        "worst": [_result_record(result) for result in _worst(check.results)],
        "kinds": [
            {"operator": operator, "dtype": dtype, "results": count}
            | {"largest": finite(most), "median": finite(middle)}
            for (operator, dtype), most, middle, count in _kinds(check.results)
        ],
        "not_checked": [asdict(entry) for entry in check.unchecked],
        "left_out": dict(check.ignored),
    }


def wrong_results(results: Sequence[OperatorResult]) -> list[OperatorResult]:
    """Return the results over their limits, in order of execution."""
    return [result for result in results if result.excess > 1]


def verdict(check: OperatorCheck) -> bool | None:
    """Return whether every result is within its limit; None if all that could be checked is, and that is not
    every operator.
    """
    if wrong_results(check.results):
        return False
    return None if check.unchecked or not check.results else True


def _verdict_lines(check: OperatorCheck) -> Iterator[str]:
    wrong = wrong_results(check.results)
    if not wrong:
        largest = max((result.excess for result in check.results), default=0.0)
        within = f"every result is within its limit, the largest at {ratio_text(largest)} of it"
        if verdict(check):
            yield f"pass: {within}"
        else:
            unchecked = counted(check.unchecked, "operator")
            yield f"no verdict: {unchecked} could not be checked; of the others {within}"
        return
    first = wrong[0]
    yield f"fail: {len(wrong)} results are over their limits. The first, in order of execution:"
    yield f"  {first.operator}, {first.stage}, {first.place}"
    yield (
        f"  {first.dtype} {first.shape}, sums of {first.terms}: largest error {first.error:.3g}, "
        f"{ratio_text(first.excess)} times its limit"
    )


def _count_operators(results: Sequence[OperatorResult]) -> int:
    return len({result.order for result in results})


def _worst(results: Sequence[OperatorResult]) -> list[OperatorResult]:
    return sorted(results, key=lambda result: -result.excess)[:WORST]


def _kinds(results: Sequence[OperatorResult]) -> list[tuple]:
    """Return (operator, type), largest and median ratio, and count of each kind, the largest first."""
    groups = defaultdict(list)
    for result in results:
        groups[result.operator, result.dtype].append(result.excess)
    rows = [(kind, max(values), median(values), len(values)) for kind, values in groups.items()]
    return sorted(rows, key=lambda row: (-row[1], row[0]))


def _result_record(result: OperatorResult) -> dict:
    return asdict(result) | {"error": finite(result.error), "excess": finite(result.excess)}


def finite(value: float) -> float | None:  # None for JSON, which has no infinity
    return value if abs(value) < float("inf") else None


def ratio_text(value: float) -> str:
    return f"{value:.3g}" if value < 1e6 else f"{value:.1e}"


def table_head(columns: Sequence[tuple[str, int]]) -> str:
    """Return the line of titles; a column is a title and a width."""
    return table_row(columns, *(title for title, _ in columns))


def table_row(columns: Sequence[tuple[str, int]], *values: str) -> str:
    """Return a line of a table, with two blanks between its columns."""
    return "  ".join(f"{value:<{width}}" for (_, width), value in zip(columns, values, strict=True)).rstrip()
