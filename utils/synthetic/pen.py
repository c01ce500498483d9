"""A pen that draws in body units on an enlarged canvas and remembers the place of each attribute.

A person is 100 units high: the crown is at y = 0, the ground at y = 100, the middle of the body at x = 0.
Everybody is drawn facing right; the pen mirrors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

Point = tuple[float, float]
Colour = tuple[int, int, int]

WHITE, BLACK = (252, 252, 252), (24, 24, 28)

ENLARGEMENT = 3  # drawn three times as large and averaged down: Pillow's shapes are not anti-aliased
INK = 0.6  # outlines are this dark a shade of what they enclose
STEPS = 6  # of a smooth curve between two of its points
CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 33)), np.sin(np.linspace(0, 2 * np.pi, 33))], axis=1)


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


def smooth(points: Sequence[Point]) -> np.ndarray:
    """Return the closed Catmull-Rom curve through n points, (n * STEPS, 2)."""
    p = np.asarray(points, dtype=float)[:, None]
    before, after, beyond = (np.roll(p, shift, axis=0) for shift in (1, -1, -2))
    t = (np.arange(STEPS) / STEPS)[None, :, None]
    slope, bend = after - before, 2 * before - 5 * p + 4 * after - beyond
    curve = p + t / 2 * (slope + t * (bend + t * (3 * (p - after) + beyond - before)))
    return curve.reshape(-1, 2)


class Pen:
    """Draws shapes given in body units; `boxes` maps each marked attribute to its extent in canvas pixels."""

    def __init__(self, canvas: Image.Image, unit: float, origin: Point, facing: int = 1):
        """Draw on `canvas`; `unit` is in canvas pixels, `origin` the pixel of (0, 0), `facing` 1 or -1."""
        self.canvas = canvas
        self.unit = unit
        self.origin = origin
        self.facing = facing
        self.boxes: dict[str, np.ndarray] = {}
        self._marked: tuple[str, ...] = ()
        self._draw = ImageDraw.Draw(canvas)

    @contextmanager
    def marking(self, *attributes: str) -> Iterator[None]:
        """Count all that is drawn inside the block as showing `attributes`."""
        outer = self._marked
        self._marked = outer + attributes
        try:
            yield
        finally:
            self._marked = outer

    def polygon(self, points: Sequence[Point], colour: Colour, outline: float = 0.5) -> None:
        """Fill a polygon and draw its outline, `outline` units wide, 0 for none."""
        pixels = self._pixels(points)
        self._extend(pixels, outline / 2)
        corners = [tuple(pixel) for pixel in pixels]
        self._draw.polygon(corners, fill=colour)
        if outline:
            width = max(1, round(outline * self.unit))
            self._draw.line([*corners, *corners[:2]], fill=shade(colour, INK), width=width, joint="curve")

    def blob(self, points: Sequence[Point], colour: Colour, outline: float = 0.5) -> None:
        """Fill the smooth closed curve through `points`."""
        self.polygon(smooth(points), colour, outline)

    def ellipse(self, centre: Point, radii: Point, colour: Colour, outline: float = 0.5) -> None:
        self.polygon(CIRCLE * radii + centre, colour, outline)

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Draw a line with rounded joints and ends."""
        pixels = self._pixels(points)
        self._extend(pixels, width / 2)
        thickness = max(1, round(width * self.unit))
        self._draw.line([tuple(pixel) for pixel in pixels], fill=colour, width=thickness, joint="curve")
        for end in pixels[[0, -1]]:
            self._draw.ellipse([*(end - thickness / 2), *(end + thickness / 2)], fill=colour)

    def limb(self, points: Sequence[Point], widths: Sequence[float], colour: Colour) -> None:
        """Draw a tapering limb through `points`, `widths` units wide at each of them."""
        for margin, tone in ((0.5, shade(colour, INK)), (0.0, colour)):  # its outline, then itself
            radii = [width / 2 + margin for width in widths]
            joints = list(zip(points, radii, strict=True))
            for (start, wide), (end, narrow) in pairwise(joints):
                along = np.subtract(end, start)
                across = np.array([-along[1], along[0]]) / np.hypot(*along)
                left = start + across * wide, end + across * narrow
                right = end - across * narrow, start - across * wide
                self.polygon([*left, *right], tone, outline=0)
            for point, radius in joints:
                self.ellipse(point, (radius, radius), tone, outline=0)

    def pattern(self, silhouette: Callable[[Pen, Colour], None], texture: Callable[[Pen], None]) -> None:
        """Draw `texture` on the pixels that `silhouette` covers."""
        mask = Pen(Image.new("RGB", self.canvas.size), self.unit, self.origin, self.facing)
        silhouette(mask, WHITE)
        layer = Pen(self.canvas.copy(), self.unit, self.origin, self.facing)
        texture(layer)
        self.canvas.paste(layer.canvas, mask=mask.canvas.convert("L"))
        self._extend(np.reshape(mask.canvas.getbbox(), (2, 2)), margin=0)

    def _pixels(self, points: Sequence[Point]) -> np.ndarray:
        return np.asarray(points, dtype=float) * (self.facing * self.unit, self.unit) + self.origin

    def _extend(self, pixels: np.ndarray, margin: float) -> None:
        reach = margin * self.unit + 1  # Pillow rounds to whole pixels
        low, high = pixels.min(axis=0) - reach, pixels.max(axis=0) + reach
        for attribute in self._marked:
            known = self.boxes.get(attribute, np.concatenate([low, high]))
            self.boxes[attribute] = np.concatenate([np.minimum(known[:2], low), np.maximum(known[2:], high)])
