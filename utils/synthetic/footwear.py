"""Feet and what is worn on them. All pictures of a foot point right and are larger than life."""

from collections.abc import Set

from utils.synthetic.body import Figure
from utils.synthetic.pen import Pen
from utils.synthetic.shapes import BLACK, WHITE, Colour, Point, around, shade

GLOSS = (226, 230, 240)
STRAP = (255, 140, 30)
SUEDE = (146, 84, 36)
LACE = (240, 206, 140)
SNEAKER = (232, 30, 40)
RUBBER = (112, 132, 140)


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
