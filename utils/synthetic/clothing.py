"""Torso and arms and what is worn on them, attribute by attribute, so that any labels can be drawn."""

from collections.abc import Callable, Sequence, Set
from functools import partial

from utils.synthetic.body import Figure
from utils.synthetic.lower import CREASE, SUIT
from utils.synthetic.pen import Pen
from utils.synthetic.shapes import BLACK, WHITE, Colour, Point, around, between, mirrored, shade

CREAM = (250, 236, 206)
ZIP = (250, 196, 30)
LOGO, BOLT = (255, 226, 20), (220, 20, 40)
WAIST, THIGH = 51.0, 62.0  # how far down a garment reaches

COLLARED = {"Tshirt", "V-Neck", "Jacket", "Formal upper", "UpperOther"}


def draw_upper(pen: Pen, body: Figure, wears: Set[str]) -> None:
    """Draw torso, arms and garments; without a label for its kind, a garment is a shirt with buttons."""
    colour = SUIT if "Formal upper" in wears else body.cloth
    garment = partial(
        _draw_garment,
        body=body,
        hem=THIGH if "UpperOther" in wears else WAIST,
        sleeve=_short_sleeve if "Short Sleeve" in wears else _long_sleeve,
    )
    with pen.marking(*({"Formal upper", "Casual upper"} & wears)):
        _draw_arms(pen, body, wears)
        garment(pen, colour)
        _draw_patterns(pen, garment, wears)
        if "UpperOther" in wears:
            _draw_coat(pen, body)
        if not COLLARED & wears:
            _draw_shirt(pen, colour)
        if "Jacket" in wears:
            _draw_jacket(pen, body, colour)
        if "Formal upper" in wears:
            _draw_suit(pen, body)
        if "Tshirt" in wears:
            _draw_tshirt(pen, body)
        if "V-Neck" in wears:
            _draw_v_neck(pen, body)
    if "Logo" in wears:
        _draw_logo(pen)


def _draw_arms(pen: Pen, body: Figure, wears: Set[str]) -> None:
    """Bare arms, which sleeves then cover: all but the hands, unless they are short."""
    with pen.marking(*({"Short Sleeve"} & wears)):
        for arm in body.arms:
            pen.limb(arm, [4.8, 4.8, 4.2], body.skin)
            pen.ellipse(arm[2], (2.5, 2.9), body.skin)


def _draw_garment(pen: Pen, colour: Colour, body: Figure, hem: float, sleeve: Callable) -> None:
    for arm in body.arms:
        pen.limb(*sleeve(*arm), colour)
    flare = body.hip + (2.0 if hem > WAIST else 0.6)
    shoulder = [(2.6, 23.2), (body.shoulder - 2, 24.4), (body.shoulder, 27.4)]
    side = [(body.waist + 1.2, 37), (body.waist + 0.4, 44), (body.hip + 0.4, 50), (flare, hem)]
    pen.polygon(mirrored(*shoulder, *side), colour)


def _long_sleeve(shoulder: Point, elbow: Point, hand: Point) -> tuple[Sequence[Point], Sequence[float]]:
    """Return the points and widths of the limb that covers an arm down to the wrist."""
    return (shoulder, elbow, between(elbow, hand, 0.85)), (6.2, 5.6, 5.0)


def _short_sleeve(shoulder: Point, elbow: Point, hand: Point) -> tuple[Sequence[Point], Sequence[float]]:
    """Return the points and widths of the limb that covers the upper half of an arm."""
    return (shoulder, between(shoulder, elbow, 0.62)), (6.6, 7.8)


def _draw_patterns(pen: Pen, garment: Callable[[Pen, Colour], None], wears: Set[str]) -> None:
    for attribute, texture in (("Stripes", _draw_stripes), ("Plaid", _draw_plaid)):
        if attribute in wears:
            with pen.marking(attribute):
                pen.pattern(garment, texture)


def _draw_stripes(pen: Pen) -> None:
    for y in range(26, 66, 8):
        pen.line([(-30, y), (30, y)], 3.8, WHITE)


def _draw_plaid(pen: Pen) -> None:
    for start, width, colour in ((0.0, 2.2, BLACK), (3.5, 0.8, ZIP)):
        for step in range(8):
            offset = start + 7 * step
            pen.line([(offset - 27, 20), (offset - 27, 70)], width, colour)
            pen.line([(-30, offset + 19), (30, offset + 19)], width, colour)


def _draw_coat(pen: Pen, body: Figure) -> None:
    """A light band at the hem, which is lower than other garments', and two pockets."""
    hem = body.hip + 2
    with pen.marking("UpperOther"):
        pen.polygon(mirrored((hem - 0.5, THIGH - 6), (hem + 0.2, THIGH + 0.4)), CREAM)
        for side in (-1, 1):
            pen.line([(side * 3.4, 50.5), (side * 7.2, 49.5)], 1.4, CREAM)


def _draw_shirt(pen: Pen, colour: Colour) -> None:
    for side in (-1, 1):
        pen.polygon([(0.2, 25.4), (side * 5.4, 22.8), (side * 4.6, 28.6)], shade(colour, 1.35))
    pen.line([(0.2, 27), (0.2, 50)], 0.5, shade(colour, 0.7))
    for y in (31, 36, 41, 46):
        pen.ellipse((0.2, y), (0.7, 0.7), shade(colour, 1.7), outline=0)


def _draw_tshirt(pen: Pen, body: Figure) -> None:
    """A broad white ring around the neck."""
    with pen.marking("Tshirt"):
        pen.blob(mirrored((0, 22.4), (7.6, 23), (6.6, 29), (0, 33)), WHITE)
        pen.blob(mirrored((0, 22.4), (3.7, 23), (3.0, 25.4), (0, 26.8)), body.skin, outline=0.3)


def _draw_v_neck(pen: Pen, body: Figure) -> None:
    with pen.marking("V-Neck"):
        pen.polygon([(-6.8, 22.8), (0.2, 38), (7.2, 22.8)], body.skin, outline=0)
        pen.line([(-7, 23.2), (0.2, 38.4), (7.4, 23.2)], 3.0, WHITE)


def _draw_jacket(pen: Pen, body: Figure, colour: Colour) -> None:
    """Open in front over a light shirt, with a zip on both edges, a stand-up collar and a dark hem."""
    with pen.marking("Jacket"):
        pen.polygon(mirrored((4.6, 23), (5.4, WAIST)), WHITE, outline=0)
        for side in (-1, 1):
            collar = [(2.6, 27.4), (3.4, 20.6), (7.6, 22.2), (6.8, 28)]
            pen.line([(side * 4.7, 25), (side * 5.5, WAIST)], 2.2, ZIP)
            pen.polygon([(side * x, y) for x, y in collar], shade(colour, 0.7))
            pen.line(
                [(side * 5.6, WAIST - 0.4), (side * (body.hip + 0.2), WAIST - 0.4)], 2.2, shade(colour, 0.6)
            )


def _draw_suit(pen: Pen, body: Figure) -> None:
    """A white shirt between the lapels, and a tie in the colour of the person's clothes."""
    pen.polygon([(-7, 22.8), (0.2, 44), (7.4, 22.8)], WHITE, outline=0)
    pen.polygon([(-1.8, 25), (2.2, 25), (2.9, 37), (0.2, 41), (-2.5, 37)], body.cloth)
    for side in (-1, 1):
        lapel = [(6.6, 22.6), (9.4, 27), (8.4, 31), (0.4, 44.6)]
        pen.polygon([(side * x, y) for x, y in lapel], shade(SUIT, 1.2))
    for y in (46, 49):
        pen.ellipse((0.2, y), (0.7, 0.7), CREASE, outline=0)


def _draw_logo(pen: Pen) -> None:
    """A yellow disc with a bolt, large enough to survive in a small picture."""
    centre = (0.4, 42.6)
    with pen.marking("Logo"):
        pen.ellipse(centre, (6.4, 6.4), LOGO)
        bolt = [(1.2, -3.9), (-2.8, 0.7), (-0.4, 0.7), (-1.4, 4.3), (2.8, -0.9), (0.4, -0.9)]
        pen.polygon(around(centre, bolt), BOLT, outline=0)
