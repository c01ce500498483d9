"""Drawing: boxes that fit and are seen, text that fits and can be read."""

import numpy as np
import pytest
from PIL import Image
from support.known import BOXES

from utils.prediction.drawing import cut, draw_regions, font_for, legible, level_styles, wrapped


@pytest.mark.parametrize("size", [(40, 120), (600, 40), (1, 1), (9000, 3), (3, 3000)])
@pytest.mark.parametrize("winner", ["3b", "main"])
def test_a_picture_fits_and_shows_its_winner(size, winner):
    boxes = {level: np.array(box) * size[0] / 40 for level, box in BOXES.items()}
    panel = draw_regions(Image.new("RGB", size, "black"), boxes, winner, (216, 360))
    assert panel.width <= 216
    assert panel.height <= 360
    assert panel.width == 216 or panel.height == 360
    assert min(panel.size) >= 18
    assert colour_of(level_styles(boxes)[winner]) in colours(panel)


def test_styles_follow_a_levels_place_not_its_name():
    known, others = level_styles(BOXES), level_styles(("p2", "p3", "p4"))
    assert list(known.values()) == list(others.values())
    assert list(others) == ["p2", "p3", "p4", "main"]
    assert len(set(others.values())) == 4
    boxes = dict(zip(("p2", "p3", "p4"), BOXES.values(), strict=True))
    picture = Image.new("RGB", (40, 120))
    assert draw_regions(picture, boxes, "p3").tobytes() == draw_regions(picture, BOXES, "4d").tobytes()


def test_text_is_wrapped_and_cut_to_its_width():
    font = font_for("")
    lines = wrapped("Riding a bicycle in the rain", font, 80, 2)
    assert len(lines) == 2
    assert lines[1].endswith("...")
    assert all(font.getlength(line) <= 80 for line in lines)
    assert cut("/a/long/path/to/a/picture.jpg", font, 100, at_start=True).endswith("picture.jpg")
    assert cut("short", font, 100) == "short"


def test_signs_that_are_no_characters_are_spelt_out():
    assert legible("a\n\x1b\u202e") == r"a\n\x1b\u202e"


def colours(picture):
    return set(map(tuple, np.asarray(picture).reshape(-1, 3).tolist()))


def colour_of(style):
    return tuple(bytes.fromhex(style.colour[1:]))
