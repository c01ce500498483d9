"""What is random about a person, and the body that follows from it and from age and gender."""

import colorsys
from collections.abc import Set
from dataclasses import dataclass

import numpy as np

from utils.synthetic.shapes import Colour, Point, choose

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
        """Draw a look."""
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
        legs=_legs(
            hip - thigh / 2, spread=(4.4 if male else 3.4) + 3.4 * look.stride, lift=2.6 * look.stride
        ),
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
