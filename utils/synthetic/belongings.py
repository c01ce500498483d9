"""What a person carries. Each kind has a signal colour of its own."""

from utils.synthetic.body import Figure, Look
from utils.synthetic.pen import Pen
from utils.synthetic.shapes import around, choose, mirrored, shade

PACK = (22, 160, 74)
CANVAS, CLASP = (196, 224, 24), (60, 70, 20)
PARCEL = (242, 150, 40)
METAL = (60, 52, 54)
FOIL, PRINT = (226, 250, 250), (20, 200, 210)


def draw_backpack_behind(pen: Pen, body: Figure) -> None:
    """Draw the pack, which is seen over the shoulders and at both sides."""
    wide = body.shoulder + 6.4
    with pen.marking("Backpack"):
        pen.blob(
            mirrored((0, 16.6), (wide - 4, 18), (wide, 24), (wide + 0.8, 46), (wide - 3, 51), (0, 52)), PACK
        )


def draw_backpack_straps(pen: Pen, body: Figure) -> None:
    """Draw both straps in front of the shoulders."""
    x = body.shoulder - 4.2
    with pen.marking("Backpack"):
        for side in (-1, 1):
            strap = [(side * x, 24.6), (side * (x + 0.6), 34), (side * (x + 2.4), 43)]
            pen.line(strap, 4.2, shade(PACK, 0.6))
            pen.line(strap, 3.2, PACK)


def draw_messenger_bag(pen: Pen, body: Figure) -> None:
    """Draw a strap from the fore shoulder across the chest to a bag at the rear hip."""
    bag = (-body.hip - 1.5, 54.0)
    strap = [(body.shoulder - 4, 25), (bag[0] + 3.5, 48)]
    with pen.marking("Messenger Bag"):
        pen.line(strap, 4.4, shade(CANVAS, 0.5))
        pen.line(strap, 3.4, CANVAS)
        pen.polygon(around(bag, mirrored((8, -8), (8.6, 7))), CANVAS, 0.7)
        pen.polygon(around(bag, mirrored((8.2, -8), (7.4, 0))), shade(CANVAS, 0.85), 0.7)
        pen.ellipse(bag, (1.2, 1.2), CLASP, outline=0.3)


def draw_plastic_bag(pen: Pen, body: Figure) -> None:
    """Draw a carrier bag that hangs from the fore hand."""
    hand = body.arms[1][2]
    with pen.marking("PlasticBags"):
        for side in (-1, 1):
            pen.line(around(hand, [(0, 0), (side * 2.6, 6)]), 1.2, PRINT)
        pen.polygon(around(hand, mirrored((6, 5), (8, 24))), PRINT, 0.8)
        pen.polygon(around(hand, mirrored((6.7, 11), (7.3, 17))), FOIL, outline=0)


def draw_carried_object(pen: Pen, body: Figure, look: Look) -> None:
    """Draw something else in or under the rear hand: a parcel, an umbrella or a suitcase."""
    with pen.marking("CarryingOther"):
        choose((_draw_parcel, _draw_umbrella, _draw_suitcase), look.item)(pen, body)


def _draw_parcel(pen: Pen, body: Figure) -> None:
    hand = body.arms[0][2]
    pen.polygon(around(hand, [(-3, -9), (12, -9), (12, 4), (-3, 4)]), PARCEL, 0.8)
    pen.line(around(hand, [(4.5, -8.6), (4.5, 3.6)]), 1.8, shade(PARCEL, 1.6))
    pen.ellipse((hand[0] - 1.4, hand[1]), (2.6, 2.4), body.skin)


def _draw_umbrella(pen: Pen, body: Figure) -> None:
    hand = body.arms[0][2]
    pen.line(around(hand, [(0, 36), (0, -5), (2, -7), (4, -5)]), 1.1, METAL)
    pen.polygon(around(hand, mirrored((0, 3), (4.4, 5), (0, 34))), PARCEL, 0.8)
    pen.line(around(hand, [(0.6, 5), (0, 32)]), 0.6, shade(PARCEL, 0.7))


def _draw_suitcase(pen: Pen, body: Figure) -> None:
    hand = body.arms[0][2]
    pen.line(around(hand, [(-2.6, 12), (-2.6, 1), (2.6, 1), (2.6, 12)]), 1.2, METAL)
    pen.polygon(around(hand, mirrored((6, 12), (6, 38))), PARCEL, 0.8)
    for y in (19, 31):
        pen.line(around(hand, [(-5.4, y), (5.4, y)]), 1.0, shade(PARCEL, 0.7))
    for x in (-4, 4):
        pen.ellipse((hand[0] + x, hand[1] + 39.2), (1.5, 1.5), METAL, outline=0)
