"""Clothes of torso, legs and feet, attribute by attribute, so that any labels can be drawn."""

from collections.abc import Callable, Sequence, Set
from functools import partial

from utils.synthetic.body import Figure, Look
from utils.synthetic.pen import BLACK, WHITE, Colour, Pen, Point, around, between, choose, mirrored, shade

WAIST, THIGH = 51.0, 62.0  # how far down a garment reaches
COLLARED = {"Tshirt", "V-Neck", "Jacket", "Formal upper", "UpperOther"}
CREAM = (250, 236, 206)
ZIP = (250, 196, 30)
LOGO, BOLT = (255, 226, 20), (220, 20, 40)
SUIT, CREASE = (44, 46, 58), (150, 154, 176)

GARMENTS = {"Trousers", "Jeans", "Shorts", "Skirt"}
TROUSERS = ((150, 118, 82), (122, 128, 84), (168, 146, 112))
DENIM, STITCHES = (44, 98, 196), (240, 170, 60)
SHORTS = ((206, 190, 150), (190, 196, 170))
SKIRTS = ((178, 30, 92), (150, 36, 128), (198, 50, 66))
LEGGINGS = (110, 84, 110)

GLOSS = (226, 230, 240)
STRAP = (255, 140, 30)
SUEDE, LACE = (146, 84, 36), (240, 206, 140)
SNEAKER = (232, 30, 40)
RUBBER = (112, 132, 140)


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
    return (shoulder, elbow, between(elbow, hand, 0.85)), (6.2, 5.6, 5.0)


def _short_sleeve(shoulder: Point, elbow: Point, hand: Point) -> tuple[Sequence[Point], Sequence[float]]:
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
            hem = [(side * 5.6, WAIST - 0.4), (side * (body.hip + 0.2), WAIST - 0.4)]
            pen.line(hem, 2.2, shade(colour, 0.6))


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
                colour, flare = (SUIT, 0) if formal else (choose(SKIRTS, look.lower), 4)
                _draw_skirt(pen, body, colour, flare)
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


def draw_feet(pen: Pen, body: Figure, wears: Set[str]) -> None:
    """Draw both feet; without a label, in rubber boots; with two labels, one on each foot."""
    worn = [kind for kind in KINDS if kind in wears]
    if not worn:
        for _, _, ankle in body.legs:
            _draw_boot(pen, ankle)
        return
    for (_, _, ankle), kind in zip(body.legs, (worn[0], worn[-1]), strict=True):
        with pen.marking(kind):
            KINDS[kind](pen, ankle, body.skin)


def _foot(ankle: Point, length: float, height: float) -> list[Point]:
    """Return the outline of a shoe whose sole is 5 units below the ankle."""
    toe = length - 3.2
    back = [(-3.2, 5), (-3.5, 5 - 0.6 * height), (-2.4, 5 - height), (2.6, 5 - height)]
    front = [(4.6, 5 - 0.6 * height), (toe - 1, 5 - 0.45 * height), (toe, 4.2), (toe - 0.4, 5)]
    return around(ankle, back + front)


def _draw_leather_shoe(pen: Pen, ankle: Point, skin: Colour) -> None:
    pen.blob(_foot(ankle, 12.5, 4.6), BLACK)
    pen.polygon(around(ankle, [(-3.2, 3.8), (0.2, 3.8), (-0.2, 6), (-3.2, 6)]), BLACK, outline=0)
    pen.line(around(ankle, [(3.4, 1.9), (6.4, 3)]), 0.9, GLOSS)


def _draw_sandal(pen: Pen, ankle: Point, skin: Colour) -> None:
    pen.line(around(ankle, [(0, -4), (0, 2)]), 4.8, skin)
    pen.blob(_foot(ankle, 11.4, 4.4), skin)
    pen.polygon(around(ankle, [(-3.8, 4.2), (8.6, 4.2), (8.6, 5.8), (-3.8, 5.8)]), STRAP, outline=0)
    for strap in ([(4, 4.6), (5.6, 1.8)], [(-2.8, 1), (2.8, 0.4)], [(1.4, 4.6), (3.2, 0.8)]):
        pen.line(around(ankle, strap), 1.2, STRAP)


def _draw_shoe(pen: Pen, ankle: Point, skin: Colour) -> None:
    pen.blob(_foot(ankle, 11, 6.2), SUEDE)
    pen.line(around(ankle, [(-3, 5), (7.4, 5)]), 1.3, shade(SUEDE, 0.5))
    pen.line(around(ankle, [(2.2, 0.6), (4.6, 2)]), 1.0, LACE)


def _draw_sneaker(pen: Pen, ankle: Point, skin: Colour) -> None:
    pen.blob(_foot(ankle, 12.4, 6.4), SNEAKER)
    pen.polygon(around(ankle, [(-3.9, 3.2), (9.6, 3.4), (9.6, 6), (-3.9, 6)]), WHITE, outline=0.3)
    pen.line(around(ankle, [(0.2, 2.4), (2.8, -0.2)]), 1.3, WHITE)


def _draw_boot(pen: Pen, ankle: Point) -> None:
    pen.limb(around(ankle, [(0, -9), (0, 1)]), [6.6, 6.2], RUBBER)
    pen.blob(_foot(ankle, 11, 6), RUBBER)
    pen.line(around(ankle, [(-3.3, -9.5), (3.3, -9.5)]), 1.4, shade(RUBBER, 1.5))


KINDS = {
    "Leather Shoes": _draw_leather_shoe,
    "Sandals": _draw_sandal,
    "Shoes": _draw_shoe,
    "Sneaker": _draw_sneaker,
}
