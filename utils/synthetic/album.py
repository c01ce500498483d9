"""Many pictures, drawn by several processes: the same bytes whatever their number."""

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from utils.io.process import beyond_interrupts
from utils.synthetic.pedestrian import Box, draw_pedestrian

POOL_PAYS = 200  # pictures: fewer are drawn before other processes have started


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
        processes = (os.cpu_count() or 1) if len(pages) >= POOL_PAYS else 1
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
