"""Neck, face and hair."""

from collections.abc import Set

from utils.synthetic.body import Figure, Look
from utils.synthetic.pen import Pen
from utils.synthetic.shapes import WHITE, around, mirrored, shade

FACE = ((-7.2, -4), (0, -9.4), (7.2, -4), (7, 3), (3.6, 9), (-3.2, 8.8), (-6.8, 3))
BEARD = ((-6.6, 2.6), (-1, 5), (1.4, 4.4), (3.6, 5), (7, 2.6), (5.2, 9), (1, 11), (-4, 9.4))
CROP = ((-7.8, 1), (-8, -5), (-2, -10.8), (5, -10), (8, -4.5), (6.6, -3.6), (3, -5.6), (-3, -5), (-5.6, -2.6))
FRINGE = ((-7, 4), (-8.6, -3), (-4, -10.4), (3, -11), (8.4, -5), (8, 3), (6.6, -2), (1, -6), (-4.6, -2))
BOB = mirrored((0, -9), (8.6, -4), (8.8, 6))
MANE = mirrored((0, -9), (8.6, -4), (10.6, 8), (11.6, 21), (0, 22))
LOCK = ((6.6, -5), (8.8, -1), (9.8, 6), (10.8, 14), (10.4, 23), (7.8, 27), (5.8, 22), (6.2, 13), (6.6, 4))

LIPS, ROUGE, SMILE = (214, 40, 70), (244, 150, 140), (156, 80, 72)
PUPIL = (36, 32, 40)


def draw_hair_behind(pen: Pen, body: Figure, wears: Set[str]) -> None:
    """Draw the hair that falls behind the head: down the back when it is long, else a woman's bob."""
    if "Long hair" in wears:
        with pen.marking("Long hair"):
            pen.blob(around(body.head, MANE), shade(body.hair, 0.86))
    elif "Male" not in wears:
        pen.blob(around(body.head, BOB), body.hair)


def draw_head(pen: Pen, body: Figure, wears: Set[str], look: Look) -> None:
    """Draw neck, face and hair."""
    x, y = body.head
    male = "Male" in wears
    pen.limb([(0.2, 24.2), (x * 0.7, y + 6)], [6.4, 5.6], shade(body.skin, 0.88))
    pen.ellipse((x - 7, y + 1.2), (1.6, 2.2), body.skin)
    pen.blob(around(body.head, FACE), body.skin)
    _draw_eyes(pen, body, brow=1.0 if male else 0.6)
    if "AgeAbove61" in wears:
        _draw_wrinkles(pen, body)
    if not male:
        _draw_made_up_mouth(pen, body)
    elif look.style < 0.45:
        pen.blob(around(body.head, BEARD), body.hair)
        pen.line(around(body.head, [(-0.6, 6.2), (1.2, 6.9), (3, 6.1)]), 0.9, shade(SMILE, 1.3))
    else:
        pen.line(around(body.head, [(-1.2, 5.4), (1, 6.5), (3.4, 5.2)]), 0.8, SMILE)
    pen.blob(around(body.head, CROP if male else FRINGE), body.hair)
    if "Long hair" in wears:
        _draw_locks(pen, body)


def _draw_eyes(pen: Pen, body: Figure, brow: float) -> None:
    x, y = body.head
    for side, eye in ((-1, x - 2.2), (1, x + 4.2)):
        pen.ellipse((eye, y + 0.4), (1.7, 1.9), WHITE, outline=0.3)
        pen.ellipse((eye + 0.4, y + 0.6), (0.9, 1.2), PUPIL, outline=0)
        pen.line(
            around((eye, y), [(side * 1.8, -2.3), (0, -3.2), (side * -1.5, -3.1)]),
            brow,
            shade(body.hair, 0.8),
        )
    pen.line(around(body.head, [(1.4, 1.4), (2.2, 3.4), (1.2, 3.6)]), 0.5, shade(body.skin, 0.72))


def _draw_wrinkles(pen: Pen, body: Figure) -> None:
    for crease in ([(-4.4, 3.2), (-2.4, 3.4)], [(4.4, 3.2), (6.4, 3.4)], [(-2.4, -5), (3, -5)]):
        pen.line(around(body.head, crease), 0.4, shade(body.skin, 0.74))


def _draw_made_up_mouth(pen: Pen, body: Figure) -> None:
    x, y = body.head
    pen.line(around(body.head, [(-0.6, 5.1), (1.4, 6.1), (3.4, 4.9)]), 1.1, LIPS)
    pen.ellipse((x + 5.2, y + 3.6), (1.2, 0.9), ROUGE, outline=0)


def _draw_locks(pen: Pen, body: Figure) -> None:
    """Two locks that fall over the shoulders in front."""
    with pen.marking("Long hair"):
        for side in (-1, 1):
            pen.blob(around(body.head, [(side * x, y) for x, y in LOCK]), body.hair)
            pen.line(around(body.head, [(side * 8, 4), (side * 8.4, 20)]), 0.5, shade(body.hair, 0.72))
