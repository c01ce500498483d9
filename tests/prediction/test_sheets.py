"""Sheets: which attributes they show, and where they are written."""

from dataclasses import replace

import pytest
from PIL import Image
from support.known import NAMES, prediction_of

from alm.errors import AlmError
from utils.prediction.drawing import TEXT_SIZE, face
from utils.prediction.sheets import Sheets, draw_sheet, new_directory, with_places, write_index
from utils.prediction.sources import Source

PICTURE = Image.new("RGB", (40, 120))


def test_sheets_never_leave_their_directory_nor_write_over_each_other(tmp_path):
    """Also if a name is that of a folder, of the page, or longer than a file system takes."""
    PICTURE.save(tmp_path / "a.png")
    places = {
        "a.jpg": "a.png", "A.png": "A_2.png", "../../a.bmp": "a_3.png", "/etc/a.jpg": "etc/a.png",
        "sub/a.jpg": "sub/a.png", "a.png/a.jpg": "a.png_2/a.png", "b.png/a.jpg": "b.png/a.png",
        "b.jpg": "b_2.png", "index.html/a.jpg": "index.html_2/a.png", "..": "_.png",
        "x/" * 99 + "a.jpg": "x/" * 8 + "a.png", "n" * 999 + "/" + "n" * 251 + ".jpg": None,
        "n" * 999 + "/" + "n" * 255: None, ("é" * 120 + "/") * 30 + "a.jpg": None,
    }  # fmt: skip
    new_directory(tmp_path / "out")
    sheets = Sheets(tmp_path / "out", None)
    sources = list(with_places(Source("a", str(tmp_path / "a.png"), place) for place in places))
    for source, expected in zip(sources, places.values(), strict=True):
        assert source.place == expected or expected is None
        sheets.write(source, prediction_of())
    assert len(list((tmp_path / "out").rglob("*.png"))) == len(places) + 1  # and a folder
    write_index(tmp_path / "out", [])
    with pytest.raises(AlmError, match="out is not empty"):
        new_directory(tmp_path / "out")


def test_a_sheet_is_of_the_picture_as_it_was_predicted(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # lying on its side
    Image.new("RGB", (120, 40)).save(tmp_path / "a.png", exif=exif)
    source, widths = Source("a.png", str(tmp_path / "a.png"), "a.png"), []
    for as_trained in (False, True):
        sheets = Sheets(tmp_path / f"{as_trained}", ["Hat"], as_trained)
        sheets.write(source, prediction_of((120, 40) if as_trained else (40, 120)))
        widths.append(Image.open(tmp_path / f"{as_trained}" / "a.png").width)
    assert widths[0] < widths[1]


def test_a_sheet_shows_the_attributes_that_it_is_asked_for():
    wide = draw_sheet(PICTURE, prediction_of(), NAMES, title="\n\x1b.jpg")
    narrow = draw_sheet(PICTURE, prediction_of(), ["Hat"])
    plain = draw_sheet(PICTURE, replace(prediction_of(), evidence={}), ["Hat"])  # an .onnx file may lack it
    assert wide.height > narrow.height
    assert narrow.width > plain.width
    assert draw_sheet(PICTURE, prediction_of(thresholds=0.99)).width > 0
    taller = draw_sheet(PICTURE, prediction_of(thresholds=0.1), ["Hat"])  # by the line with the threshold
    assert taller.height > narrow.height
    with pytest.raises(ValueError, match="not in tuple"):
        draw_sheet(PICTURE, prediction_of(), ["Cap"])


@pytest.mark.parametrize("size", [(40, 120), (70, 130), (640, 480), (1, 1)])
def test_letters_of_a_sheet_are_ten_pixels_high_on_a_phone(size):
    """A phone is 390 wide, and shows a picture as wide as itself."""
    prediction = prediction_of(size)
    sheet = draw_sheet(Image.new("RGB", size), prediction, NAMES, title="a" * 300)
    assert TEXT_SIZE * 390 / sheet.width >= 10


def test_a_sheet_says_what_its_codes_stand_for(monkeypatch):
    prediction = replace(prediction_of(), attributes=("帽子", *NAMES[1:]))
    monkeypatch.setattr("utils.prediction.drawing.lacking", frozenset)
    face.cache_clear()
    spelt, drawn = (draw_sheet(PICTURE, prediction, [name]) for name in ("帽子", "Jeans"))
    face.cache_clear()
    assert spelt.height > drawn.height
