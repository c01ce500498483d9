"""Predictions files: what is written is read back, whoever wrote it; what cannot be paired is refused."""

import csv
import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support import THOROUGH

from alm.constants import LEVELS
from alm.errors import AlmError
from alm.inference.prediction import Prediction
from utils.errors import DataError
from utils.evaluation.prediction_table import (
    PredictionsFile,
    in_list_order,
    numbers_of,
    predicted,
    read_predictions,
    write_predictions,
)
from utils.prediction.sources import Source
from utils.prediction.writers import Csv

TWO = [("Hat",), ("Male",)]


def file_of(directory, text, name="a.csv"):
    path = directory / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refusal(do, *arguments):
    with pytest.raises((AlmError, DataError)) as caught:
        do(*arguments)
    return str(caught.value)


@settings(deadline=None, max_examples=100 if THOROUGH else 30)
@given(arrays(np.float32, (3, 2), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_every_float32_comes_back(tmp_path_factory, logits):
    path = tmp_path_factory.mktemp("predictions") / "a.csv"
    names = ["a/1.png", 'b "2", with.png', "人.jpg"]
    write_predictions(path, names, ["Hat", "Long hair, blond"], logits)
    file = read_predictions(path)
    assert (file.names, file.columns) == (names, ["Hat", "Long hair, blond"])
    values = numbers_of(file, [("Hat",), ("Long hair, blond",)]).astype(np.float32)
    np.testing.assert_array_equal(values, logits)


def test_the_file_is_as_documented(tmp_path):
    write_predictions(
        tmp_path / "a.csv", ["a.png", "b.png"], ["Hat", "Male"], np.float32([[0.1, -2], [3, 0]])
    )
    assert (tmp_path / "a.csv").read_bytes() == b"path,Hat,Male\na.png,0.100000001,-2\nb.png,3,0\n"


def test_a_file_that_cannot_be_written_is_not_there(tmp_path):
    with pytest.raises(OSError, match="no/such"):
        write_predictions(tmp_path / "no/such/a.csv", ["a.png"], ["Hat"], np.zeros((1, 1), np.float32))
    with pytest.raises(ValueError, match="longer"):
        write_predictions(tmp_path / "a.csv", ["a.png"], ["Hat"], np.zeros((2, 1), np.float32))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "path,Hat,Male\na.png,1,-2\nb.png,3,4\n",
        "\ufeffImage;Male;Hat\r\na.png;-2;1\r\n\r\nb.png;4.0;3e0\r\n",
        '# file\tother\tHat\t Male\na.png\tnothing\t1\t-2\n"b.png"\t\t+3\t4',
        "path;Male;Hat\na.png;-2,0;1\nb.png;4;3,0\n".encode("utf-16"),
        '"path, or file";"Hat";Male\na.png;1;-2\n"b.png";3;4',
        "\n\npath,note,Male,Hat\na.png,nan,-2, 1\n,,,\nb.png,,4,3",
    ],
)
def test_any_programs_file(tmp_path, text):
    file = read_predictions(file_of(tmp_path, text))
    assert file.names == ["a.png", "b.png"]
    assert numbers_of(file, TWO).tolist() == [[1, -2], [3, 4]]


def test_an_attribute_may_be_spelt_in_several_ways(tmp_path):
    file = read_predictions(file_of(tmp_path, "path,personalMale,accessoryHat\na.png,1,2\n"))
    assert numbers_of(file, [("Hat", "accessoryHat"), ("Male", "personalMale")]).tolist() == [[2, 1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", " has no predictions; give a CSV with a header"),
        ("a.png,1,-0.5\nb.png,2e-3,3\n", ":1: this is no header; name the columns"),
        ("path,Hat,Hat\na.png,1,2\n", ":1: 2 columns are called 'Hat'; keep one"),
        ("path,Hat,Male\na.png,1,2\n\nb.png,1\n", ":4: 2 cells"),
        ("path,Hat,Male\n" + "a" * 200_000 + ",1,2\n", ":2: field larger than"),
        ("path,Hat,Male\na.png,1,2\nb.png,nan,\n", ":3: 'nan' in the column 'Hat' is no finite"),
        ("path,Hat,Male\na.png,1,-inf\n", ":2: '-inf' in the column 'Male' is no finite number, the"),
        ("path,Hat,Male\na.png,1,1_0\n", ":2: '1_0' in the column 'Male' is no finite number, the"),
        ("path,Hat,Male\na.png,1,yes\n", ":2: 'yes' in the column 'Male' is no finite number, the"),
        ("path,hat,Male\na.png,1,2\n", " has no column 'Hat' ('hat' is the nearest)"),
        ("path,Bag,Male\na.png,1,2\n", " has no column 'Hat'; name each column"),
        ("path,Bag\na.png,1\n", " has no column 'Hat', nor of 1 other attribute; name each column"),
        (b"\xff\xfe\x00", " is not text"),
    ],
)  # fmt: skip
def test_a_table_that_lacks_a_number_or_a_name_is_refused(tmp_path, text, message):
    path = file_of(tmp_path, text)
    error = refusal(lambda: numbers_of(read_predictions(path), TWO))
    assert error.startswith(f"{path}{message}")


def paths_of(tmp_path, *names):
    return read_predictions(file_of(tmp_path, "path,Hat\n" + "".join(f"{name},1\n" for name in names)))


def test_pictures_are_paired_however_their_paths_are_spelt(tmp_path):
    file = paths_of(tmp_path, r"PETA dataset\b.png", "./c.png", "PETA_dataset/a.png")
    listed = ["PETA dataset/a.png", "PETA_dataset/b.png", "c.png"]
    assert in_list_order(file, listed, "test.txt") == [2, 0, 1]


@pytest.mark.parametrize(
    ("given", "listed", "message"),
    [
        ("ab", "abc", "a.csv lacks 1 picture of test.txt; give the list that was evaluated, or .* LIST: c"),
        ("abcd", "ab", "a.csv has 2 pictures that test.txt lacks; give the list .* LIST: c, d"),
        ("abcdefab", "abcdef", "a.csv has 2 pictures more than once; keep one line of each: a, b"),
        ("ab", "aab", "test.txt has 1 picture more than once; keep one line of each: a"),
        ("xy", "ay", "a.csv has paths such as x, and lacks 1 picture of test.txt; .*: a"),
        ("a", "abcdefg", "a.csv lacks 6 pictures of test.txt; .*: b, c, d, e, f, [.]{3}"),
    ],
)  # fmt: skip
def test_pictures_that_cannot_be_paired(tmp_path, given, listed, message):
    error = refusal(in_list_order, paths_of(tmp_path, *given), list(listed), "test.txt")
    assert re.fullmatch(f".*{message}", error)


def numbers(*rows, columns=("Hat", "Male")):
    return PredictionsFile("a.csv", [*columns], [], [], [[*map(str, row)] for row in rows])


def test_logits_and_probabilities():
    logits, shares = numbers((-1, 0.0), (1e-30, 0.7)), numbers((0.2, 0.5), (0.500001, 1))
    expected = [[False, False], [True, True]]
    assert predicted(logits, TWO, "auto", "--scale_a").tolist() == expected
    assert predicted(logits, TWO, "logits", "--scale_a").tolist() == expected
    assert predicted(shares, TWO, "probabilities", "--scale_a").tolist() == expected
    assert predicted(shares, TWO, "logits", "--scale_a").all()


@pytest.mark.parametrize(("levels", "is_full"), [((), True), (LEVELS, True), (LEVELS, False)])
def test_the_probabilities_of_predict_are_known_for_what_they_are(levels, is_full):
    file, attributes, shares = io.StringIO(), ("Hat", "Male"), np.float32([0.4, 0.6])
    regions = {level: np.zeros((2, 4)) for level in levels}
    prediction = Prediction(attributes, shares, np.full(2, 0.5), ("main", "main"), regions, (4, 4))
    Csv(file, attributes, levels if is_full else None).write(Source("a", "a", "a"), prediction)
    header, row = csv.reader(io.StringIO(file.getvalue()))
    ours = numbers(row[1:], columns=header[1:])
    assert predicted(ours, TWO, "auto", "--scale_a").tolist() == [[False, True]]
    assert predicted(ours, TWO, "logits", "--scale_a").all()


def test_one_odd_number_does_not_make_logits_of_probabilities():
    """Neither one beyond 0 or 1 by rounding, nor a mark such as -1."""
    shares = numbers((-1e-9, 0.5), (0.7, 1.0000001))
    for either in (shares, numbers((-1, 0.5), *[(0.2, 0.7)] * 60)):
        error = refusal(predicted, either, TWO, "auto", "--scale_a")
        assert "say which with --scale_a probabilities or --scale_a logits" in error
    assert predicted(shares, TWO, "probabilities", "--scale_a").tolist() == [[False, False], [True, True]]


def test_what_may_be_either_is_never_guessed():
    beside = ("Hat", "Male", "Male level")  # which may be an attribute
    for values in ((0.2, 0.9, 0.1), (20, 90, 1), (0, 1, 1)):
        error = refusal(predicted, numbers(values, columns=beside), TWO, "auto", "--scale_a")
        assert "say which with --scale_a probabilities or --scale_a logits" in error
    error = refusal(predicted, numbers((0.2, 1.5), (-3, 1)), TWO, "probabilities", "--scale_b")
    assert re.fullmatch(r"a.csv: 1.5 is no probability, the first of 2 such .* --scale_b logits", error)
