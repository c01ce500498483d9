"""Charts of curves over epochs: the places of lines, marks and ticks, for the page to draw."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 640, 260  # in the chart's own units
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 34  # margins
FRAME = {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": WIDTH - RIGHT}
TICKS = 5  # along each axis, more or less
FLAT = 0.01  # of a curve's height: one that moves by less is drawn nearly level
MOST_MARKS = 30  # on a curve; one with more points is a line alone

Point = tuple[float, float]


class Chart(NamedTuple):
    """A chart to draw."""

    title: str
    curves: list[tuple[str, str, list[Point]]]  # name, the `d` of an SVG path, places of marks
    x_ticks: list[tuple[float, str]]  # place and label
    y_ticks: list[tuple[float, str]]


def chart(title: str, curves: Mapping[str, Sequence[Point]]) -> Chart | None:
    """Return a chart of curves over epochs, which begin at 0; None if no curve has a point. The points of a
    short curve are marked.
    """
    curves = {name: points for name, points in curves.items() if points}
    if not curves:
        return None
    xs, ys = zip(*(point for points in curves.values() for point in points), strict=True)
    x_ticks = [tick for tick in ticks(0, max(1, *xs)) if tick == int(tick)]
    y_ticks = ticks(min(ys), max(ys))
    right, low, high = max(x_ticks[-1], *xs), min(y_ticks[0], *ys), max(y_ticks[-1], *ys)

    def across(x: float) -> float:
        return round(LEFT + x / right * (WIDTH - LEFT - RIGHT), 1)

    def down(y: float) -> float:
        return round(TOP + (high - y) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    drawn = []
    for name, points in curves.items():
        places = [(across(x), down(y)) for x, y in points]
        path = "M" + "L".join(f"{x} {y}" for x, y in places)
        drawn.append((name, path, places if len(places) <= MOST_MARKS else []))
    x_labels, y_labels = [(across(x), f"{x:g}") for x in x_ticks], [(down(y), f"{y:g}") for y in y_ticks]
    return Chart(title, drawn, x_labels, y_labels)


def ticks(low: float, high: float) -> list[float]:
    """Return about TICKS round numbers that enclose `low` and `high`."""
    missing = max(FLAT * max(abs(low), abs(high), 1) - (high - low), 0)
    low, high = low - missing / 2, high + missing / 2
    span = high - low
    step = 10 ** math.floor(math.log10(span / TICKS))
    step *= next(factor for factor in (1, 2, 5, 10) if factor * step * TICKS >= span)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(i * step, 10) for i in range(first, last + 1)]
