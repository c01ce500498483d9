"""What predict.py is made of, with a predictor that knows the answers: sources, text, files, sheets."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image
from support.known import BOXES, NAMES, Known, prediction_of

from alm.errors import AlmError, PictureError
from alm.inference.prediction import Prediction
from run_scripts import predict
from utils.data.attributes import BODY_PARTS, PETA, RAP
from utils.errors import DataError
from utils.prediction.batched import predictions
from utils.prediction.drawing import draw_regions, level_styles
from utils.prediction.sheets import Sheets, draw_sheet
from utils.prediction.sources import Source, count, outside, sources
from utils.prediction.writers import Csv, JsonLines, table_lines


@pytest.fixture
def folder(tmp_path):
    """Return a folder with pictures, and what is no picture."""
    for k, name in enumerate(("b.PNG", "a.jpg", "sub/c d.bmp", ".hidden.png")):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (10 + k, 20)).save(path)
    (tmp_path / "in" / "notes.md").write_text("nothing")
    return tmp_path / "in"


def names(*paths, **options):
    return [source.name for source in sources([str(path) for path in paths], **options)]


def test_folders_patterns_and_files(folder):
    inside = [str(folder / name) for name in ("a.jpg", "b.PNG", "sub/c d.bmp")]
    assert names(folder) == inside
    assert names(folder / "*") == inside[:2]
    elsewhere = outside(str(folder / "sub"), sources([str(folder)]))
    assert [source.name for source in elsewhere] == inside[:2]
    assert names(folder / "**" / "*.bmp", inside[0]) == [inside[2], inside[0]]
    assert count([str(folder), inside[0]]) == 4
    assert [source.place for source in sources([str(folder)])] == ["a.jpg", "b.PNG", "sub/c d.bmp"]


@pytest.mark.parametrize("line", ["{} 0 1 2", "{}"])
def test_lists_with_labels_and_without(folder, tmp_path, line):
    (folder / "list.txt").write_text(
        "\n".join(line.format(name) for name in ("a.jpg", "sub/c d.bmp", "gone.jpg"))
    )
    found = list(sources([str(folder / "list.txt")]))
    assert [source.name for source in found] == ["a.jpg", "sub/c d.bmp", "gone.jpg"]
    results = [result for _, result in predictions(Known(), found, batch_size=2, workers=1)]
    assert [result.size for result in results[:2]] == [(11, 20), (12, 20)]
    assert "there is no such file" in str(results[2])
    (folder / "list.txt").rename(tmp_path / "list.txt")
    again = list(sources([str(tmp_path / "list.txt")], data_root=str(folder)))
    assert [source.file for source in again] == [source.file for source in found]


@pytest.mark.parametrize("text", [",,\n", "sub/1.jpg 0 1\nsub/2.jpg 1 1\n", "Words.\n\nAnd others.\n"])
def test_a_list_whose_pictures_are_all_elsewhere(tmp_path, text):
    (tmp_path / "list.txt").write_text(text)
    words = r"list\.txt: none of its pictures exists, such as .*; name the folder .* with --data_root"
    with pytest.raises(DataError, match=words):
        count([str(tmp_path / "list.txt")])


def test_standard_input(folder, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("a.jpg\n\nsub/c d.bmp\r\n"))
    found = list(sources(["-"], data_root=str(folder)))
    assert [source.name for source in found] == ["a.jpg", "sub/c d.bmp"]
    assert [source.place for source in found] == ["a.jpg", "sub/c d.bmp"]
    assert found[1].file == str(folder / "sub/c d.bmp")
    assert count(["-"]) is None


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("gone.jpg", "no such file or folder"),
        ("gone*.jpg", "matches no picture"),
        ("empty", "has no pictures"),
    ],
)
def test_what_is_not_there_is_told(tmp_path, path, words):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=words):
        count([str(tmp_path / path)])


def test_one_batch_is_read_ahead(folder):
    """And no more, however many there are."""
    asked, (source, *_) = [], sources([str(folder)])

    def endless():
        while True:
            asked.append(source)
            yield source

    found = predictions(Known(), endless(), batch_size=3, workers=2)
    assert next(found)[0] == source
    assert len(asked) == 2 * 3
    found.close()


def test_a_bad_picture_among_good_ones(folder):
    (folder / "aa.png").write_bytes(b"junk")
    predictor = Known()
    results = list(predictions(predictor, sources([str(folder)]), batch_size=2, workers=2))
    assert [isinstance(result, PictureError) for _, result in results] == [False, True, False, False]
    assert predictor.batches == [1, 2]
    assert [result.size for _, result in results if isinstance(result, Prediction)] == [
        (11, 20),
        (10, 20),
        (12, 20),
    ]


def test_the_table():
    prediction = prediction_of()
    lines = table_lines("folder/\x1b[2J" + "x" * 200 + ".jpg", prediction, prediction.positive(), 80)
    assert lines == [
        "folder/\\x1b[2J" + "x" * 200 + ".jpg  40 x 120",  # whole: it is to be found again
        "  head        Hat 0.90",
        "  other       Riding a bicycle in the rain 0.75",
    ]
    assert table_lines("a", prediction, prediction.positive(0.99), 80) == ["a  40 x 120", "  nothing found"]


@pytest.mark.parametrize("width", [1, 40, 80, 120])
@pytest.mark.parametrize("attributes", [PETA, RAP])
def test_the_table_is_no_wider_than_the_terminal(attributes, width):
    names = tuple(attribute.name for attribute in attributes)
    probabilities = np.linspace(0, 1, len(names))
    prediction = Prediction(names, probabilities, ("main",) * len(names), {}, (40, 120))
    _, *lines = table_lines("a", prediction, probabilities > 0, width)
    for line in lines:
        assert len(line) <= width or "," not in line[:-1]  # one that does not fit is alone
    shown = " ".join(line[len("  lower body  ") :] for line in lines)
    assert all(f"{name} {probabilities[k]:.2f}" in shown for k, name in enumerate(names) if k)
    parts = [line[2:14].strip() for line in lines if line[2] != " "]
    assert parts == list(BODY_PARTS)


def test_csv_and_json_say_what_was_predicted():
    prediction, files = prediction_of(), (io.StringIO(), io.StringIO())
    for writer in (Csv(files[0], NAMES, tuple(BOXES)), JsonLines(files[1])):
        writer.write(Source('a, "b"\x7f.jpg', "", ""), prediction, prediction.positive())
    (row,) = csv.DictReader(io.StringIO(files[0].getvalue()))
    line = json.loads(files[1].getvalue())
    assert row["path"] == line["path"] == 'a, "b"\x7f.jpg'
    assert files[1].getvalue()[:-1].isprintable()
    assert (line["width"], line["height"]) == (40, 120)
    for k, name in enumerate(NAMES):
        found = line["attributes"][name]
        assert np.float32(row[name]) == np.float32(found["probability"]) == prediction.probabilities[k]
        assert found["positive"] == (prediction.probabilities[k] > 0.5)
        assert row[f"{name} level"] == found["level"] == prediction.level[k]
        for level, box in BOXES.items():
            assert found["regions"][level] == [round(side, 2) for side in box]
            sides = [float(row[f"{name} {level} {side}"]) for side in ("left", "top", "right", "bottom")]
            assert sides == found["regions"][level]


@pytest.mark.parametrize("size", [(40, 120), (1000, 3000), (600, 40), (1, 1), (9000, 3), (3, 3000)])
@pytest.mark.parametrize("winner", ["3b", "4d", "5b", "main"])
def test_a_panel_fits_and_shows_its_winner(size, winner):
    boxes = {level: np.array(box) * size[0] / 40 for level, box in BOXES.items()}
    panel = draw_regions(Image.new("RGB", size, "black"), boxes, winner, (216, 360))
    assert panel.width <= 216
    assert panel.height <= 360
    assert panel.width == 216 or panel.height == 360
    assert min(panel.size) >= 18
    colour = tuple(bytes.fromhex(level_styles(BOXES)[winner].colour[1:]))
    assert (np.asarray(panel) == colour).all(axis=2).any()


def test_sheets_never_leave_their_directory_nor_write_over_each_other(tmp_path):
    sheets = Sheets(tmp_path / "out", None, 0.5)
    picture = Image.new("RGB", (40, 120))
    places = ("a.jpg", "a.png", "../../a.bmp", "/etc/a.jpg", "sub/a.jpg")
    written = [sheets.draw("a", place, picture, prediction_of()) for place in places]
    shown = [str(path.relative_to(tmp_path / "out")) for path in written]
    assert shown == ["a.png", "a_2.png", "a_3.png", "etc/a.png", "sub/a.png"]
    with pytest.raises(AlmError, match="is not empty; name a new directory with --regions"):
        Sheets(tmp_path / "out", None, 0.5)


def test_sheets_of_the_longest_names_lie_beside_each_other(tmp_path):
    sheets = Sheets(tmp_path, None, 0.5)
    picture = Image.new("RGB", (40, 120))
    for suffix in (".jpg", ".png", ""):
        assert sheets.draw("a", "n" * (255 - len(suffix)) + suffix, picture, prediction_of()).is_file()
    assert len(list(tmp_path.iterdir())) == 3


class Broken:
    """Cannot write of the second picture."""

    def __init__(self):
        self.given = []

    def write(self, source, _prediction, _positive):
        self.given.append(source.name)
        if len(self.given) == 2:
            raise PictureError("cannot read picture b")


def test_a_picture_that_goes_before_its_sheet_is_named_and_left_out(capsys):
    found = [(Source(name, name, name), prediction_of()) for name in "abc"]
    broken = Broken()
    assert predict.write(found, [broken], 0.5) == (3, ["b"])
    assert broken.given == ["a", "b", "c"]
    assert capsys.readouterr().err == "warning: cannot read picture b\n"


def test_a_sheet_is_of_the_picture_as_it_was_predicted(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # lying on its side
    Image.new("RGB", (120, 40)).save(tmp_path / "a.png", exif=exif)
    source, widths = Source("a.png", str(tmp_path / "a.png"), "a.png"), []
    for as_trained in (False, True):
        sheets = Sheets(tmp_path / f"{as_trained}", ["Hat"], 0.5, as_trained)
        sheets.write(source, prediction_of((120, 40) if as_trained else (40, 120)), None)
        widths.append(Image.open(tmp_path / f"{as_trained}" / "a.png").width)
    assert widths[0] < widths[1]


def test_a_sheet_shows_the_attributes_that_are_chosen():
    picture = Image.new("RGB", (40, 120))
    wide = draw_sheet(picture, prediction_of(), NAMES, title="\n\x1b.jpg")
    narrow = draw_sheet(picture, prediction_of(), ["Hat"])
    assert wide.width > narrow.width
    assert draw_sheet(picture, prediction_of(), thresholds=0.99).width > 0
    with pytest.raises(ValueError, match="not in tuple"):
        draw_sheet(picture, prediction_of(), ["Cap"])
