"""Drawing: boxes that fit and are seen, text that fits and can be read."""

import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw
from support.known import BOXES

from utils.io.fonts import fonts_for
from utils.prediction.drawing import cut, draw_regions, face, face_for, level_styles, wrapped


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
    english = face_for("")
    lines = wrapped("Riding a bicycle in the rain", english, 80, 2)
    assert len(lines) == 2
    assert lines[1].endswith("...")
    assert all(english.length(line) <= 80 for line in lines)
    assert " ".join(wrapped("Riding a bicycle in the rain", english, 80)) == "Riding a bicycle in the rain"
    assert cut("/a/long/path/to/a/picture.jpg", english, 100, at_start=True).endswith("picture.jpg")
    assert cut("short", english, 100) == "short"


def test_signs_that_are_no_characters_are_spelt_out():
    assert face_for("").legible("a\n\x1b\u202e") == r"a\n\x1b\u202e"


def test_each_part_of_a_text_is_drawn_in_a_font_that_has_it():
    text = "Шляпа \U0001d49c ja"  # a script A is in a font for formulas that comes with matplotlib
    mixed = face_for(text)
    assert [part for _, part in mixed.runs(text)] == ["Шляпа ", "\U0001d49c ", "ja"]
    drawn = []
    for letter in "\U0001d49cjaШ":
        image = Image.new("L", (40, 24))
        mixed.write(ImageDraw.Draw(image), (0, 0), letter, "white")
        drawn.append(image.tobytes())
        assert image.getbbox()
    assert len(set(drawn)) == 4  # none is the box that stands for a lacking character
    assert not mixed.lacking


@pytest.fixture
def anew():
    """Forget which fonts were found, before a test and after it."""
    for found in (face, fonts_for):
        found.cache_clear()
    yield
    for found in (face, fonts_for):
        found.cache_clear()


@pytest.mark.usefixtures("anew")
def test_a_character_that_no_font_has_is_spelt_out(monkeypatch):
    monkeypatch.setattr("utils.prediction.drawing.lacking", frozenset)
    assert face_for("短发").legible("短 hair") == r"\u77ed hair"
    assert face_for("短发").complaint() == (
        r"Some characters (CJK) cannot be drawn here; codes such as \u53d1 stand for them. "
        "Install a font that has them."
    )


@pytest.mark.usefixtures("anew")
def test_what_would_be_drawn_in_the_wrong_order_is_spelt_out(monkeypatch):
    monkeypatch.setattr("PIL.features.check", lambda feature: False)
    assert face_for("شعر").legible("شع a") == r"\u0634\u0639 a"
    assert face_for("شعر").complaint().endswith("Install libfribidi, which sets them from right to left.")


@pytest.mark.usefixtures("anew")
def test_without_matplotlib_what_is_not_english_is_spelt_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.ft2font", None)
    assert face_for("é").legible("é") == r"\xe9"
    assert face_for("é").complaint().endswith("Install matplotlib, which finds fonts that have them.")


def colours(picture):
    return set(map(tuple, np.asarray(picture).reshape(-1, 3).tolist()))


def colour_of(style):
    return tuple(bytes.fromhex(style.colour[1:]))
