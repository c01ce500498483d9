"""A person, drawn part by part in the order in which these cover each other; and many of them at once."""

import multiprocessing
from collections.abc import Sequence, Set
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

from alm.devices.host import usable_cores
from utils.io.process import beyond_interrupts
from utils.synthetic.belongings import (
    draw_accessories,
    draw_backpack_behind,
    draw_backpack_straps,
    draw_carried_object,
    draw_messenger_bag,
    draw_plastic_bag,
)
from utils.synthetic.body import Look, build_figure, draw_hair_behind, draw_head
from utils.synthetic.clothing import draw_feet, draw_lower, draw_upper
from utils.synthetic.pen import ENLARGEMENT, Pen, Point
from utils.synthetic.scenery import draw_scene

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

POOL_PAYS = 200  # pictures: fewer are drawn before other processes have started


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


@dataclass(frozen=True)
class Page:
    """One picture to draw: its path relative to the album, the attributes it shows, the seed of the rest."""

    path: str
    attributes: frozenset[str]
    seed: tuple[int, ...]


def draw_pages(
    directory: Path, pages: Sequence[Page], processes: int | None = None
) -> dict[str, dict[str, Box]]:
    """Draw all pages under `directory` and return path -> attribute -> box.

    `processes` is by default the number of cores for many pages, else 1: in this process.
    """
    for folder in {(directory / page.path).parent for page in pages}:
        folder.mkdir(parents=True, exist_ok=True)
    if processes is None:
        processes = usable_cores() if len(pages) >= POOL_PAYS else 1
    draw = partial(draw_page, directory)
    if processes == 1:
        boxes = list(_watched(map(draw, pages), len(pages)))
    else:
        boxes = _draw_in_pool(draw, pages, processes)
    return {page.path: found for page, found in zip(pages, boxes, strict=True)}


def draw_page(directory: Path, page: Page) -> dict[str, Box]:
    """Draw one page to its file and return attribute -> box."""
    picture, boxes = draw_pedestrian(page.attributes, np.random.default_rng(page.seed))
    options = {"quality": 92} if Path(page.path).suffix.lower() in (".jpg", ".jpeg") else {}
    picture.save(directory / page.path, **options)
    return boxes


def _draw_in_pool(draw, pages: Sequence[Page], processes: int) -> list[dict[str, Box]]:
    pool = ProcessPoolExecutor(
        processes,
        multiprocessing.get_context("spawn"),  # safe beside PyTorch's threads
    )
    try:
        with beyond_interrupts():
            boxes = pool.map(draw, pages, chunksize=16)
        return list(_watched(boxes, len(pages)))
    finally:
        pool.shutdown(cancel_futures=True)


def _watched(boxes, count: int):
    return tqdm(boxes, total=count, desc="drawing", unit="picture", disable=None)
