"""Legs and what is worn on them, attribute by attribute, so that any labels can be drawn."""

from collections.abc import Set

from utils.synthetic.body import Figure, Look
from utils.synthetic.pen import Pen
from utils.synthetic.shapes import Colour, around, between, choose, mirrored, shade

SUIT = (44, 46, 58)
CREASE = (150, 154, 176)
DENIM = (44, 98, 196)
TROUSERS = ((150, 118, 82), (122, 128, 84), (168, 146, 112))
SHORTS = ((206, 190, 150), (190, 196, 170))
SKIRTS = ((178, 30, 92), (150, 36, 128), (198, 50, 66))
LEGGINGS = (110, 84, 110)
STITCHES = (240, 170, 60)

GARMENTS = {"Trousers", "Jeans", "Shorts", "Skirt"}


def draw_lower(pen: Pen, body: Figure, wears: Set[str], look: Look) -> None:
    """Draw legs and garments, formal ones dark and creased; without a label for their kind, leggings."""
    formal = "Formal lower" in wears
    with pen.marking(*({"Formal lower", "Casual lower"} & wears)):
        if {"Shorts", "Skirt"} & wears:
            _draw_long(pen, body, body.skin, slack=-1.5)
        if not GARMENTS & wears:
            _draw_long(pen, body, SUIT if formal else LEGGINGS, slack=-1.2)
        if "Trousers" in wears:
            with pen.marking("Trousers"):
                _draw_long(pen, body, SUIT if formal else choose(TROUSERS, look.lower))
        if "Jeans" in wears:
            with pen.marking("Jeans"):
                _draw_jeans(pen, body, shade(DENIM, 0.6) if formal else DENIM)
        if "Shorts" in wears:
            with pen.marking("Shorts"):
                _draw_shorts(pen, body, SUIT if formal else choose(SHORTS, look.lower))
        if "Skirt" in wears:
            with pen.marking("Skirt"):
                _draw_skirt(
                    pen, body, SUIT if formal else choose(SKIRTS, look.lower), flare=0 if formal else 4
                )
        if formal:
            _draw_creases(pen, body, end=0.7 if {"Shorts", "Skirt"} & wears else 2.0)


def _draw_long(pen: Pen, body: Figure, colour: Colour, slack: float = 0.0) -> None:
    """Trousers, or bare legs: hips and both legs down to the ankles, `slack` units wider than a thigh."""
    wide = body.thigh + slack
    for leg in body.legs:
        pen.limb(leg, [wide + 0.6, wide - 0.8, wide - 1.6], colour)
    _draw_hips(pen, body, colour)


def _draw_hips(pen: Pen, body: Figure, colour: Colour) -> None:
    pen.polygon(mirrored((body.waist, 45), (body.hip, 56), (1.2, 60)), colour, outline=0)


def _draw_jeans(pen: Pen, body: Figure, colour: Colour) -> None:
    """Washed on the thighs, rolled up at the ankles."""
    _draw_long(pen, body, colour)
    for hip, knee, ankle in body.legs:
        pen.line([between(hip, knee, 0.35), between(hip, knee, 0.85)], 2.2, shade(colour, 1.4))
        pen.line(around(between(knee, ankle, 0.92), [(-2.2, 0), (2.2, 0)]), 2.4, shade(colour, 1.65))
    pen.line([(0, 52), (0, 58)], 0.6, STITCHES)


def _draw_shorts(pen: Pen, body: Figure, colour: Colour) -> None:
    for hip, knee, _ in body.legs:
        pen.limb([hip, between(hip, knee, 0.82)], [body.thigh + 1, body.thigh + 1.6], colour)
    _draw_hips(pen, body, colour)


def _draw_skirt(pen: Pen, body: Figure, colour: Colour, flare: float) -> None:
    hem = body.hip + flare
    pen.polygon(mirrored((body.waist, 45), (body.hip, 53), (hem, 72)), colour)
    for share in (-0.5, 0.0, 0.5):
        pen.line([(share * body.hip, 56), (share * hem, 71)], 0.5, shade(colour, 0.75))


def _draw_creases(pen: Pen, body: Figure, end: float) -> None:
    """`end` counts from the hip, 0, by the knee, 1, to the ankle, 2."""
    for hip, knee, ankle in body.legs:
        pen.line([hip, between(hip, knee, end)] if end < 1 else [hip, knee, ankle], 1.0, CREASE)
