"""Pictures with regions, small, as text that a page can hold."""

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np

from alm.inference.image_io import PictureError, read_picture
from utils.prediction.drawing import draw_region, fitted

SIZE = (160, 240)  # the most width and height, in pixels
QUALITY = 80  # of the JPEG: 5 to 8 kB a picture


def thumbnail(path: str, boxes: Mapping[str, Sequence[float]], winner: str) -> tuple[str, int, int] | None:
    """Return a picture as a data URI, with its width and height; None where it cannot be read any more.

    `boxes` are each level's, in shares of the picture; the `winner`'s is drawn strong. Without any, the
    picture is shown as it is.
    """
    try:
        picture = read_picture(path)
    except PictureError:
        return None
    scale = (*picture.size, *picture.size)
    pixels = {level: np.multiply(box, scale) for level, box in boxes.items()}
    panel = draw_region(picture, pixels, winner, SIZE) if boxes else fitted(picture, SIZE)
    file = io.BytesIO()
    panel.save(file, "JPEG", quality=QUALITY, subsampling=0)  # else thin lines lose their colour
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii"), *panel.size
