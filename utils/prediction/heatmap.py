"""Maps of evidence over the grey picture: what speaks for an attribute, from dark blue to yellow."""

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw

from alm.inference.evidence import TOGETHER, strongest_place
from utils.prediction.drawing import CASING, fitted

# Of cividis, which rises evenly in lightness and looks alike to nearly all colour-blind readers.
COLOURS = np.array([(0, 34, 78), (65, 77, 107), (124, 123, 120), (188, 175, 111), (254, 232, 56)])
OPAQUE = 0.8  # of the strongest evidence
GREY = 0.75  # of white, so that yellow shows on it
LEAST = 1.0  # evidence that has the last colour, unless a place has more: what is weak looks weak
RADIUS = 5  # pixels of the ring around the strongest place
GAP = 6  # pixels between panels


def beside_evidence(
    panel: Image.Image, picture: Image.Image, evidence: Mapping[str, np.ndarray], winner: str
) -> Image.Image:
    """Return a panel of a picture with two of half its size at its right: the evidence of the `winner`, and
    below it that of all branches together. `evidence` is an attribute's, a map (h, w) of each branch.
    """
    size = panel.width // 2, (panel.height - GAP) // 2
    above, below = (draw_evidence(picture, evidence[name], size) for name in (winner, TOGETHER))
    left = panel.width + GAP
    image = Image.new(
        "RGB", (left + above.width, max(panel.height, above.height + GAP + below.height)), CASING
    )
    image.paste(panel)
    image.paste(above, (left, 0))
    image.paste(below, (left, image.height - below.height))
    return image


def draw_evidence(picture: Image.Image, evidence: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """Return a picture in grey, scaled to fit into `size`, with an attribute's `evidence` (h, w) over it, and
    a ring around the strongest place. What speaks against the attribute is left grey.
    """
    panel = fitted(picture, size)
    grey = np.asarray(panel.convert("L"))[..., None] * GREY
    strength = Image.fromarray((evidence.clip(0) / max(evidence.max(), LEAST)).astype(np.float32))
    strength = np.asarray(strength.resize(panel.size, Image.Resampling.BILINEAR))
    mixed = grey + OPAQUE * strength[..., None] * (colours(strength) - grey)
    panel = Image.fromarray(mixed.astype(np.uint8))
    x, y = strongest_place(evidence) * panel.size
    draw = ImageDraw.Draw(panel)
    for radius, width, ink in ((RADIUS + 1, 4, "black"), (RADIUS, 2, CASING)):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=ink, width=width)
    return panel


def colours(strengths: np.ndarray) -> np.ndarray:
    """Return the colours (..., 3) of strengths in [0, 1]."""
    steps = np.linspace(0, 1, len(COLOURS))
    return np.stack([np.interp(strengths, steps, channel) for channel in COLOURS.T], axis=-1)
