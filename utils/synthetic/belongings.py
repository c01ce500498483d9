"""Bags and other things that a person carries, and accessories; each kind has a signal colour of its own."""

from collections.abc import Set

from utils.synthetic.body import Figure, Look
from utils.synthetic.pen import Colour, Pen, around, choose, mirrored, shade

PACK = (22, 160, 74)
CANVAS, CLASP = (196, 224, 24), (60, 70, 20)
PARCEL = (242, 150, 40)
METAL = (60, 52, 54)
FOIL, PRINT = (226, 250, 250), (20, 200, 210)

WOOL, FRINGE = (226, 24, 34), (255, 240, 230)
GLASS, GLINT = (12, 12, 16), (210, 230, 255)
FELT = ((92, 52, 200), (70, 60, 190), (116, 50, 186))


def draw_backpack_behind(pen: Pen, body: Figure) -> None:
    wide = body.shoulder + 6.4
    with pen.marking("Backpack"):
        outline = (0, 16.6), (wide - 4, 18), (wide, 24), (wide + 0.8, 46), (wide - 3, 51), (0, 52)
        pen.blob(mirrored(*outline), PACK)


def draw_backpack_straps(pen: Pen, body: Figure) -> None:
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


def draw_accessories(pen: Pen, body: Figure, wears: Set[str], look: Look) -> None:
    if "Muffler" in wears:
        with pen.marking("Muffler"):
            _draw_muffler(pen)
    if "Sunglasses" in wears:
        with pen.marking("Sunglasses"):
            _draw_sunglasses(pen, body)
    if "Hat" in wears:
        with pen.marking("Hat"):
            draw_hat = choose((_draw_cap, _draw_bobble_hat, _draw_sun_hat), look.item)
            draw_hat(pen, body, choose(FELT, look.style))


def _draw_muffler(pen: Pen) -> None:
    pen.polygon([(2.4, 25), (9.4, 25), (10.6, 47), (3.4, 47)], WOOL, 0.6)
    for y in (36, 41):
        pen.line([(3.6, y), (9.6, y)], 1.4, FRINGE)
    pen.blob([(-9, 22), (0, 19.8), (9.2, 21.6), (10, 27), (0.4, 31), (-9.4, 27.4)], WOOL, 0.6)
    for x in (-4.6, 0.4, 5.4):
        pen.line([(x, 22.4), (x + 0.6, 28.4)], 1.3, FRINGE)


def _draw_sunglasses(pen: Pen, body: Figure) -> None:
    x, y = body.head
    pen.line(around(body.head, [(-7, -1), (7.2, -1)]), 1.1, GLASS)
    for lens in ((x - 2.6, y), (x + 4.4, y)):
        pen.blob(around(lens, [(-3, -1.8), (3, -1.8), (2.4, 2.8), (-2.2, 2.8)]), GLASS, outline=0)
        pen.line(around(lens, [(-1.2, -0.2), (0, -0.6)]), 0.7, GLINT)


def _draw_cap(pen: Pen, body: Figure, colour: Colour) -> None:
    pen.blob(around(body.head, mirrored((0, -13), (7.2, -10), (8.3, -3.5), (0, -4.4))), colour, 0.6)
    peak = [(1, -5), (8, -5.6), (14.6, -3), (8, -2.4), (1, -3)]
    pen.blob(around(body.head, peak), shade(colour, 0.7))


def _draw_bobble_hat(pen: Pen, body: Figure, colour: Colour) -> None:
    x, y = body.head
    pen.blob(around(body.head, mirrored((0, -14), (7, -11), (8.6, -3.6), (0, -4))), colour, 0.6)
    pen.line(around(body.head, [(-7.8, -4.4), (7.8, -4.4)]), 3.0, shade(colour, 1.4))
    pen.ellipse((x, y - 14), (2.6, 2.4), shade(colour, 1.4))


def _draw_sun_hat(pen: Pen, body: Figure, colour: Colour) -> None:
    x, y = body.head
    pen.blob(around(body.head, mirrored((0, -13.4), (6.4, -12), (7.4, -4), (0, -3.6))), colour, 0.6)
    pen.ellipse((x, y - 4.6), (13, 2.6), colour, 0.6)
    pen.line(around(body.head, [(-6.8, -7), (6.8, -7)]), 1.6, shade(colour, 1.5))
