"""A body, its face and its hair, as age and gender make them; and all that is random about a person."""

import colorsys
from collections.abc import Set
from dataclasses import dataclass

import numpy as np

from utils.synthetic.pen import WHITE, Colour, Pen, Point, around, choose, mirrored, shade

SKINS = ((248, 214, 184), (238, 190, 150), (214, 160, 118), (172, 118, 80), (128, 84, 58))

# Age shows in the hair, and in the saturation and value of the clothes: bright, deep, muted, pale.
HAIR = {
    "Age16-30": ((214, 120, 28), (196, 88, 24), (228, 160, 40)),
    "Age31-45": ((44, 28, 22), (30, 26, 30), (62, 36, 24)),
    "Age46-60": ((120, 118, 118), (134, 130, 126), (108, 106, 110)),
    "AgeAbove61": ((246, 246, 248), (238, 240, 244), (250, 248, 242)),
}
TONE = {
    "Age16-30": (0.85, 0.96),
    "Age31-45": (0.85, 0.48),
    "Age46-60": (0.36, 0.60),
    "AgeAbove61": (0.24, 0.94),
}
AGELESS_HAIR = ((90, 60, 40),)
AGELESS_TONE = (0.55, 0.75)

# Gender shows in the hue of the clothes, on a circle of length 1: turquoise to blue, magenta to red.
MALE_HUES = (0.46, 0.63)
FEMALE_HUES = (0.84, 1.02)

FACE = ((-7.2, -4), (0, -9.4), (7.2, -4), (7, 3), (3.6, 9), (-3.2, 8.8), (-6.8, 3))
BEARD = ((-6.6, 2.6), (-1, 5), (1.4, 4.4), (3.6, 5), (7, 2.6), (5.2, 9), (1, 11), (-4, 9.4))
CROP = ((-7.8, 1), (-8, -5), (-2, -10.8), (5, -10), (8, -4.5), (6.6, -3.6), (3, -5.6), (-3, -5), (-5.6, -2.6))
FRINGE = ((-7, 4), (-8.6, -3), (-4, -10.4), (3, -11), (8.4, -5), (8, 3), (6.6, -2), (1, -6), (-4.6, -2))
BOB = mirrored((0, -9), (8.6, -4), (8.8, 6))
MANE = mirrored((0, -9), (8.6, -4), (10.6, 8), (11.6, 21), (0, 22))
LOCK = ((6.6, -5), (8.8, -1), (9.8, 6), (10.8, 14), (10.4, 23), (7.8, 27), (5.8, 22), (6.2, 13), (6.6, 4))

LIPS, ROUGE, SMILE = (214, 40, 70), (244, 150, 140), (156, 80, 72)
PUPIL = (36, 32, 40)

Limb = tuple[Point, Point, Point]  # shoulder, elbow, hand; or hip, knee, ankle


@dataclass(frozen=True)
class Look:
    """All that is random about a person. It does not depend on the labels: numbers are uniform in [0, 1)."""

    facing: int
    stride: float
    swing: float
    build: float
    skin: float
    hair: float
    hue: float
    lower: float
    style: float
    item: float

    @classmethod
    def sample(cls, random: np.random.Generator) -> "Look":
        return cls(1 if random.random() < 0.5 else -1, *random.random(9))


@dataclass(frozen=True)
class Figure:
    """A body that faces right: joints, half-widths and colours. Of two limbs the rear one comes first."""

    head: Point
    shoulder: float
    waist: float
    hip: float
    thigh: float  # its whole width
    arms: tuple[Limb, Limb]
    legs: tuple[Limb, Limb]
    skin: Colour
    hair: Colour
    cloth: Colour


def build_figure(wears: Set[str], look: Look) -> Figure:
    """Return the body of a person with the attributes `wears`.

    Two ages, a contradiction, show as one in the clothes and the other in the hair.
    """
    male, stout, old = ("Male" in wears, "Age46-60" in wears, "AgeAbove61" in wears)
    ages = [age for age in TONE if age in wears]
    belly = 2.6 if stout else 0.0
    shoulder = (12.0 if male else 9.6) - (0.8 if old else 0.0) + 0.8 * look.build
    hip = (8.6 if male else 9.4) + belly / 2 + 0.8 * look.build
    thigh = 7.6 if male else 7.0
    return Figure(
        head=(3.2, 14.6) if old else (0.6, 12.4),  # age stoops
        shoulder=shoulder,
        waist=(9.2 if male else 7.0) + belly + 0.8 * look.build,
        hip=hip,
        thigh=thigh,
        arms=_arms(shoulder, shoulder + 3.2 + belly / 2, swing=5 * look.swing - 2.5),
        legs=_legs(hip - thigh / 2, (4.4 if male else 3.4) + 3.4 * look.stride, 2.6 * look.stride),
        skin=choose(SKINS, look.skin),
        hair=choose(HAIR[ages[-1]] if ages else AGELESS_HAIR, look.hair),
        cloth=_cloth(MALE_HUES if male else FEMALE_HUES, look.hue, TONE[ages[0]] if ages else AGELESS_TONE),
    )


def _arms(shoulder: float, reach: float, swing: float) -> tuple[Limb, Limb]:
    joint, elbow = shoulder - 1.6, reach - 0.4
    rear = (-joint, 28.0), (-elbow, 40.6), (1.4 - reach + swing / 2, 54.0)
    fore = (joint, 28.0), (elbow, 41.0), (1.0 + reach + swing, 53.0)
    return rear, fore


def _legs(hip: float, spread: float, lift: float) -> tuple[Limb, Limb]:
    rear = (-hip, 55.0), (-0.4 - 0.8 * spread, 75.0 - 0.4 * lift), (-2.2 - spread, 94.2 - lift)
    fore = (hip, 55.0), (1.6 + 0.9 * spread, 74.4), (0.8 + spread, 94.4)
    return rear, fore


def _cloth(hues: tuple[float, float], hue: float, tone: tuple[float, float]) -> Colour:
    low, high = hues
    return tuple(round(255 * value) for value in colorsys.hsv_to_rgb((low + (high - low) * hue) % 1, *tone))


def draw_hair_behind(pen: Pen, body: Figure, wears: Set[str]) -> None:
    """Draw the hair that falls behind the head: down the back when it is long, else a woman's bob."""
    if "Long hair" in wears:
        with pen.marking("Long hair"):
            pen.blob(around(body.head, MANE), shade(body.hair, 0.86))
    elif "Male" not in wears:
        pen.blob(around(body.head, BOB), body.hair)


def draw_head(pen: Pen, body: Figure, wears: Set[str], look: Look) -> None:
    x, y = body.head
    male = "Male" in wears
    pen.limb([(0.2, 24.2), (x * 0.7, y + 6)], [6.4, 5.6], shade(body.skin, 0.88))
    pen.ellipse((x - 7, y + 1.2), (1.6, 2.2), body.skin)
    pen.blob(around(body.head, FACE), body.skin)
    _draw_eyes(pen, body, brow=1.0 if male else 0.6)
    if "AgeAbove61" in wears:
        for crease in ([(-4.4, 3.2), (-2.4, 3.4)], [(4.4, 3.2), (6.4, 3.4)], [(-2.4, -5), (3, -5)]):
            pen.line(around(body.head, crease), 0.4, shade(body.skin, 0.74))
    if not male:
        pen.line(around(body.head, [(-0.6, 5.1), (1.4, 6.1), (3.4, 4.9)]), 1.1, LIPS)
        pen.ellipse((x + 5.2, y + 3.6), (1.2, 0.9), ROUGE, outline=0)
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
        arch = [(side * 1.8, -2.3), (0, -3.2), (side * -1.5, -3.1)]
        pen.line(around((eye, y), arch), brow, shade(body.hair, 0.8))
    pen.line(around(body.head, [(1.4, 1.4), (2.2, 3.4), (1.2, 3.6)]), 0.5, shade(body.skin, 0.72))


def _draw_locks(pen: Pen, body: Figure) -> None:
    """Two locks that fall over the shoulders in front."""
    with pen.marking("Long hair"):
        for side in (-1, 1):
            pen.blob(around(body.head, [(side * x, y) for x, y in LOCK]), body.hair)
            pen.line(around(body.head, [(side * 8, 4), (side * 8.4, 20)]), 0.5, shade(body.hair, 0.72))
