"""One picture of one person: its parts in the order in which they cover each other."""

from collections.abc import Set

import numpy as np
from PIL import Image, ImageDraw

from utils.synthetic.accessories import draw_accessories
from utils.synthetic.belongings import (
    draw_backpack_behind,
    draw_backpack_straps,
    draw_carried_object,
    draw_messenger_bag,
    draw_plastic_bag,
)
from utils.synthetic.body import Look, build_figure
from utils.synthetic.clothing import draw_upper
from utils.synthetic.footwear import draw_feet
from utils.synthetic.head import draw_hair_behind, draw_head
from utils.synthetic.lower import draw_lower
from utils.synthetic.pen import ENLARGEMENT, Pen
from utils.synthetic.scenery import draw_scene
from utils.synthetic.shapes import Point

Box = list[int]  # x0, y0, x1, y1 in pixels

# Share of the pictures, and ranges of their width and height in pixels: as different as PETA's subsets.
SIZES = (
    (0.25, (48, 64), (120, 136)),
    (0.30, (64, 80), (128, 160)),
    (0.25, (72, 90), (150, 190)),
    (0.15, (90, 120), (190, 250)),
    (0.05, (130, 169), (290, 365)),
)
NARROWEST = 40  # body units that the width of a picture must show
SHADOW, SHADOW_OPACITY = (60, 60, 70), 70


def draw_pedestrian(wears: Set[str], random: np.random.Generator) -> tuple[Image.Image, dict[str, Box]]:
    """Draw a person with the attributes `wears`, names of PETA's, in any combination.

    Returns the picture (RGB) and, for each attribute that has a place in it, its box, inside the picture.
    What `random` decides (size, background, pose, colours) does not depend on the attributes.
    """
    look = Look.sample(random)
    size = _sample_size(random)
    canvas = Image.new("RGB", (size[0] * ENLARGEMENT, size[1] * ENLARGEMENT))
    draw_scene(canvas, random)
    unit = min(canvas.height * random.uniform(0.0086, 0.0093), canvas.width / NARROWEST)
    x = canvas.width * random.uniform(0.46, 0.54)
    y = (canvas.height - 100 * unit) * random.uniform(0.4, 0.7)
    _draw_shadow(canvas, unit, (x, y + 99 * unit))
    pen = Pen(canvas, unit, (x, y), look.facing)
    _draw_person(pen, wears, look)
    return canvas.reduce(ENLARGEMENT), {name: _box(extent, size) for name, extent in pen.boxes.items()}


def _sample_size(random: np.random.Generator) -> tuple[int, int]:
    shares, *_ = zip(*SIZES, strict=True)
    _, widths, heights = SIZES[random.choice(len(SIZES), p=shares)]
    return int(random.integers(*widths, endpoint=True)), int(random.integers(*heights, endpoint=True))


def _draw_shadow(canvas: Image.Image, unit: float, centre: Point) -> None:
    (x, y), wide, high = centre, 17 * unit, 2.2 * unit
    mask = Image.new("L", canvas.size)
    ImageDraw.Draw(mask).ellipse([x - wide, y - high, x + wide, y + high], fill=SHADOW_OPACITY)
    canvas.paste(SHADOW, mask=mask)


def _draw_person(pen: Pen, wears: Set[str], look: Look) -> None:
    body = build_figure(wears, look)
    if "Backpack" in wears:
        draw_backpack_behind(pen, body)
    draw_hair_behind(pen, body, wears)
    draw_lower(pen, body, wears, look)
    draw_feet(pen, body, wears)
    draw_upper(pen, body, wears)
    draw_head(pen, body, wears, look)
    if "Backpack" in wears:
        draw_backpack_straps(pen, body)
    if "Messenger Bag" in wears:
        draw_messenger_bag(pen, body)
    if "CarryingOther" in wears:
        draw_carried_object(pen, body, look)
    if "PlasticBags" in wears:
        draw_plastic_bag(pen, body)
    draw_accessories(pen, body, wears, look)


def _box(extent: np.ndarray, size: tuple[int, int]) -> Box:
    """Return the pixels of the reduced picture that an extent on the canvas touches."""
    corners = np.concatenate([np.floor(extent[:2] / ENLARGEMENT), np.ceil(extent[2:] / ENLARGEMENT)])
    return np.clip(corners, 0, [*size, *size]).astype(int).tolist()
