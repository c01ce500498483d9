"""Calm backgrounds: light, of low contrast, and in no colour that tells an attribute."""

import numpy as np
from PIL import Image, ImageDraw

from utils.synthetic.pen import Colour, shade

# Upper and lower end of the wall's or sky's gradient, and the ground.
SCENES = (
    ((214, 224, 232), (232, 234, 232), (196, 196, 192)),  # overcast street
    ((226, 220, 208), (216, 208, 196), (190, 186, 180)),  # plaster
    ((216, 228, 222), (206, 218, 200), (184, 200, 172)),  # park
    ((222, 214, 214), (206, 200, 202), (180, 178, 182)),  # concrete
    ((208, 218, 232), (226, 228, 236), (204, 198, 188)),  # sky over sand
)
LEAVES = (196, 212, 188)


def draw_scene(canvas: Image.Image, random: np.random.Generator) -> None:
    """Fill `canvas` (RGB) with a wall or sky, something before it, and the ground."""
    light = random.uniform(0.88, 1.08)
    top, bottom, ground = (shade(colour, light) for colour in SCENES[random.integers(len(SCENES))])
    width, height = canvas.size
    horizon = round(height * random.uniform(0.68, 0.84))
    canvas.paste(_gradient(top, bottom, (width, horizon)))
    backdrops = (_draw_frieze, _draw_bricks, _draw_houses, _draw_trees)
    backdrops[random.integers(len(backdrops))](canvas, horizon, bottom, random)
    canvas.paste(_gradient(ground, shade(ground, 0.9), (width, height - horizon)), (0, horizon))
    kerb = max(2, height // 150)
    canvas.paste(shade(ground, 0.88), (0, horizon, width, horizon + kerb))


def _gradient(top: Colour, bottom: Colour, size: tuple[int, int]) -> Image.Image:
    share = np.linspace(0, 1, size[1])[:, None]
    column = np.array(top) * (1 - share) + np.array(bottom) * share
    return Image.fromarray(column.round().astype(np.uint8)[:, None]).resize(size, Image.Resampling.NEAREST)


def _draw_frieze(canvas: Image.Image, horizon: int, colour: Colour, random: np.random.Generator) -> None:
    top = round(horizon * random.uniform(0.5, 0.8))
    canvas.paste(shade(colour, 0.95), (0, top, canvas.width, horizon))


def _draw_bricks(canvas: Image.Image, horizon: int, colour: Colour, random: np.random.Generator) -> None:
    draw, mortar = ImageDraw.Draw(canvas), shade(colour, 0.95)
    course = max(6, round(horizon * random.uniform(0.05, 0.08)))
    for row, y in enumerate(range(0, horizon, course)):
        draw.line([(0, y), (canvas.width, y)], fill=mortar, width=2)
        for x in range(row % 2 * course, canvas.width, 2 * course):
            draw.line([(x, y), (x, y + course)], fill=mortar, width=2)


def _draw_houses(canvas: Image.Image, horizon: int, colour: Colour, random: np.random.Generator) -> None:
    x = 0
    while x < canvas.width:
        broad = round(canvas.width * random.uniform(0.25, 0.5))
        roof = round(horizon * random.uniform(0.1, 0.5))
        wall = shade(colour, random.uniform(0.9, 0.98))
        canvas.paste(wall, (x, roof, x + broad, horizon))
        pane, storey = broad // 6, horizon // 8
        for left in range(x + pane, x + 5 * pane, 2 * pane):
            for top in range(roof + storey // 2, horizon - storey, storey):
                canvas.paste(shade(wall, 1.35), (left, top, left + pane, top + storey // 2))
        x += broad


def _draw_trees(canvas: Image.Image, horizon: int, colour: Colour, random: np.random.Generator) -> None:
    draw = ImageDraw.Draw(canvas)
    for x in random.uniform(0, canvas.width, 3):
        crown = horizon * random.uniform(0.2, 0.45)
        draw.line([(x, crown), (x, horizon)], fill=shade(colour, 0.86), width=max(3, canvas.width // 40))
        radius, leaves = canvas.width * random.uniform(0.14, 0.26), shade(LEAVES, random.uniform(0.94, 1.04))
        draw.ellipse([x - radius, crown - radius, x + radius, crown + radius], fill=leaves)
