"""Maps of evidence over pictures."""

import numpy as np
import pytest
from PIL import Image

from utils.prediction.heatmap import GAP, beside_evidence, draw_evidence

BLACK = Image.new("RGB", (40, 120))


def test_what_speaks_for_it_is_coloured_and_the_rest_is_the_grey_picture():
    evidence = np.full((8, 4), -9.0)
    evidence[1, 2] = 5.0
    drawn = np.asarray(draw_evidence(Image.new("RGB", (40, 120), "red"), evidence, (80, 240))).astype(int)
    assert drawn.shape == (240, 80, 3)
    assert (drawn[100:] == drawn[-1, -1, 0]).all()  # grey, without a colour
    yellow = drawn[20:70, 30:70]
    assert (yellow[..., 0] - yellow[..., 2]).max() > 100
    assert yellow.min(axis=-1).max() == 255  # the ring


def test_weak_evidence_looks_weak():
    def strongest(value):
        evidence = np.zeros((8, 4))
        evidence[:4] = value
        return np.asarray(draw_evidence(BLACK, evidence, (40, 120)))[30:50].max(axis=(0, 1))[1]

    assert strongest(0.1) < strongest(0.5) < strongest(1) == strongest(8)


@pytest.mark.parametrize("size", [(216, 360), (18, 360), (216, 18)])
def test_the_winners_map_is_above_that_of_all(size):
    panel = Image.new("RGB", size, "blue")
    evidence = {"3b": np.eye(8, 4), "4d": np.ones((4, 4)), "all": np.eye(8, 4)[::-1]}
    image = beside_evidence(panel, panel, evidence, "3b")
    assert image.crop((0, 0, *size)).tobytes() == panel.tobytes()
    half = size[0] // 2, (size[1] - GAP) // 2
    above, below = (draw_evidence(panel, evidence[name], half) for name in ("3b", "all"))
    corners = (image.width - above.width, 0), (image.width - below.width, image.height - below.height)
    for corner, part in zip(corners, (above, below), strict=True):
        box = (*corner, corner[0] + part.width, corner[1] + part.height)
        assert image.crop(box).tobytes() == part.tobytes()
    assert above.height + below.height < image.height
