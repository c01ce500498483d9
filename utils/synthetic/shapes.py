"""Points and colours: small helpers for shapes given in numbers."""

from collections.abc import Iterable, Sequence

import numpy as np

Point = tuple[float, float]
Colour = tuple[int, int, int]

WHITE, BLACK = (252, 252, 252), (24, 24, 28)


def shade(colour: Colour, factor: float) -> Colour:
    """Return `colour` darkened (factor below 1, black at 0) or lightened (above 1, white at 2)."""
    if factor <= 1:
        return tuple(round(value * factor) for value in colour)
    return tuple(round(value + (255 - value) * (factor - 1)) for value in colour)


def choose(table: tuple, number: float):
    """Return the entry of `table` at `number` in [0, 1)."""
    return table[int(number * len(table))]


def between(start: Point, end: Point, share: float) -> Point:
    """Return the point at `share` of the way from `start` to `end`."""
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share


def around(centre: Point, offsets: Iterable[Point]) -> list[Point]:
    """Return `offsets` moved to `centre`."""
    return [(centre[0] + dx, centre[1] + dy) for dx, dy in offsets]


def mirrored(*right: Point) -> list[Point]:
    """Return a closed shape from its right half, listed from top to bottom or from bottom to top."""
    return [*right, *((-x, y) for x, y in reversed(right) if x)]


def smooth(points: Sequence[Point], steps: int = 6) -> np.ndarray:
    """Return the closed Catmull-Rom curve through n points, (n * steps, 2)."""
    p = np.asarray(points, dtype=float)[:, None]
    before, after, beyond = (np.roll(p, shift, axis=0) for shift in (1, -1, -2))
    t = (np.arange(steps) / steps)[None, :, None]
    slope, bend = after - before, 2 * before - 5 * p + 4 * after - beyond
    curve = p + t / 2 * (slope + t * (bend + t * (3 * (p - after) + beyond - before)))
    return curve.reshape(-1, 2)
