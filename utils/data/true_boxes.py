"""regions.json beside a list: the places of attributes, `{path: {attribute: [x0, y0, x1, y1]}}`.

The boxes are in pixels, from edge to edge: x1 - x0 is the width. The drawn data set has such a file, with a
box for each attribute that a picture shows and that has a place in it.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alm.inference.image_io import picture_size
from utils.errors import DataError
from utils.io.untrusted import is_number, parsed, read_text

if TYPE_CHECKING:
    from utils.data.dataset import MultiLabelDataset

REGIONS = "regions.json"
REMEDY = "correct it, or rename it to evaluate without true boxes"


def find_true_boxes(pictures: "MultiLabelDataset", attributes: Sequence[str]) -> np.ndarray | None:
    """Return the true boxes of N pictures' K attributes, (N, K, 4): left, top, right, bottom as shares of the
    picture's width and height, NaN if there is no box.

    None if no regions.json lies beside the list, or if it has no box of these. Raises DataError if it is no
    such file or a box is not within its picture, PictureError if the picture cannot be opened.
    """
    path = Path(pictures.label).parent / REGIONS
    if not path.is_file():
        return None
    content = read_regions(path)
    boxes = np.full((len(pictures), len(attributes), 4), math.nan)
    for row, name in enumerate(pictures.names):
        box_of = content.get(name, {})
        columns = [k for k, attribute in enumerate(attributes) if attribute in box_of]
        if columns:
            size = picture_size(pictures.paths[row])
            for k in columns:
                check_box(box_of[attributes[k]], size, f"{path}: {name}: {attributes[k]}")
                boxes[row, k] = box_of[attributes[k]]
            boxes[row] /= (*size, *size)
    return None if np.isnan(boxes).all() else boxes


def read_regions(path: Path) -> dict[str, dict]:
    """Return what a regions.json holds, the boxes unchecked. Raises DataError if it is no such file."""
    content = parsed(read_text(path))
    if not isinstance(content, dict) or not all(isinstance(boxes, dict) for boxes in content.values()):
        raise DataError(f"{path} is no JSON of the form {{path: {{attribute: [x0, y0, x1, y1]}}}}; {REMEDY}")
    return content


def check_box(box, size: tuple[int, int], what: str) -> None:
    """Raise DataError about `what` unless a box lies in a picture of `size`, width and height."""
    numbers = isinstance(box, list) and len(box) == 4 and all(map(is_number, box))
    if not numbers or not (0 <= box[0] < box[2] <= size[0] and 0 <= box[1] < box[3] <= size[1]):
        raise DataError(
            f"{what}: {str(box)[:60]} is no box [x0, y0, x1, y1] within the picture of {size[0]} x {size[1]} "
            f"pixels; {REMEDY}"
        )
