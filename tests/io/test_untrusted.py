"""Files, JSON and text that anyone may have made."""

import json
import math
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.printable import is_obeyed

from alm import untrusted
from alm.inference.image_io import read_picture
from utils.data.list_file import read_list
from utils.diagnostics.fingerprint_comparison import read_fingerprint
from utils.errors import DataError
from utils.evaluation.prediction_table import read_predictions
from utils.io.untrusted import (
    is_number,
    is_share,
    open_regular,
    parsed,
    printable,
    printable_block,
    read_text,
)
from utils.prepare.matlab import read_matlab
from utils.prepare.table import read_table
from utils.runs.log_reader import read_losses
from utils.synthetic.dataset import read_settings

READERS = (
    read_list,
    read_text,
    read_losses,
    read_fingerprint,
    read_predictions,
    read_matlab,
    read_table,
    read_picture,
)


@pytest.fixture(params=["zero", "pipe", "directory"])
def endless(request, tmp_path):
    """Return a path that must not be read."""
    path = tmp_path / "endless"
    if request.param == "zero":
        path.symlink_to("/dev/zero")
    elif request.param == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    return path


@pytest.mark.timeout(20)
@pytest.mark.parametrize("read", READERS)
def test_devices_pipes_and_directories(endless, read):
    with pytest.raises(ValueError, match=str(endless)) as error:
        read(endless)
    assert "fault" not in str(error.value)
    assert "\n" not in str(error.value)


def test_settings_of_a_drawn_set(endless):
    assert read_settings(endless) is None


@pytest.mark.parametrize("read", READERS)
def test_ten_gigabytes_of_zeros(tmp_path, read):
    path = tmp_path / "zeros"
    path.touch()
    os.truncate(path, 10 << 30)
    with pytest.raises(ValueError, match="zeros"):
        read(path)


def test_a_text_is_bounded(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("a.png 1\n" * 10)
    monkeypatch.setattr(untrusted, "MOST_TEXT", 79)
    with pytest.raises(DataError, match=r"cannot read .*a\.txt \(it has more than 0 MB\)"):
        read_text(tmp_path / "a.txt")
    (tmp_path / "link").symlink_to("a.txt")
    with open_regular(tmp_path / "link", 80) as file:  # a link to a file is a file
        assert file.read(7) == b"a.png 1"


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a": 1} b', "\x00"])
def test_what_is_no_json_is_none(text):
    assert parsed(text) is None


@pytest.mark.parametrize("value", [True, None, "1", [1], math.nan, -math.inf, 10**400])
def test_what_is_no_number(value):
    assert not is_number(value)
    assert not is_share(value)


@pytest.mark.parametrize(("value", "share"), [(0, True), (1, True), (0.5, True), (-1e-9, False), (2, False)])
def test_numbers_and_shares(value, share):
    assert is_number(json.loads(json.dumps(value)))
    assert is_share(value) is share


@given(st.text(st.characters(exclude_categories=())))
def test_nothing_that_is_shown_is_obeyed(text):
    shown = printable(text)
    assert not is_obeyed(shown)
    assert printable(shown) == shown
    if not is_obeyed(text) and not re.search("[\u061c\u200e\u200f]", text):  # marks, which turn a line too
        assert shown == text
    assert printable_block(text).count("\n") == text.count("\n")


def test_the_usual_is_shown_as_it_is():
    assert printable("训练\té/ä b.png 👩‍👩‍👧 \u200c") == "训练\té/ä b.png 👩‍👩‍👧 \u200c"
    hostile = "a\x1b[2J\x07\x85\x7f\u202egnp.\u2028\udcff\r\nb"
    assert printable(hostile) == r"a\x1b[2J\x07\x85\x7f\u202egnp.\u2028\udcff\x0d\x0ab"
