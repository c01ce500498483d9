"""Muffler, sunglasses and hats."""

from collections.abc import Set

from utils.synthetic.body import Figure, Look
from utils.synthetic.pen import Pen
from utils.synthetic.shapes import Colour, around, choose, mirrored, shade

WOOL, FRINGE = (226, 24, 34), (255, 240, 230)
GLASS, GLINT = (12, 12, 16), (210, 230, 255)
FELT = ((92, 52, 200), (70, 60, 190), (116, 50, 186))


def draw_accessories(pen: Pen, body: Figure, wears: Set[str], look: Look) -> None:
    """Draw the accessories among `wears`."""
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
