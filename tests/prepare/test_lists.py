"""A prepared data set is written whole or not at all, and nothing is written over unasked."""

import errno
import os
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.official import write_picture

from utils.data.list_file import read_list
from utils.errors import DataError
from utils.io import atomic as files
from utils.prepare.lists import DataSet, Rows, find_folder, find_pictures, write_data_set

LABELS = np.array([[0, 1, 2], [1, 0, 0]], np.uint8)


def data_set(*names, test=("c.jpg",), **options):
    names = names or ("a.jpg", "b.jpg")
    lists = {"train": Rows(list(names), LABELS[: len(names)]), "test": Rows(list(test), LABELS[: len(test)])}
    places = {"list_name": "X_{part}.txt", "names_file": "X_names.txt"}
    return DataSet("custom", ("Hat", "Bag", "é"), lists, **places | options)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


EXPECTED = {
    "X_train.txt": b"a.jpg 0 1 2\nb.jpg 1 0 0\n",
    "X_test.txt": b"c.jpg 0 1 2\n",
    "X_names.txt": "Hat\nBag\né\n".encode(),
}


def test_lists_and_names_are_written(tmp_path):
    written = write_data_set(data_set(), tmp_path / "deep" / "out")
    assert content(tmp_path / "deep" / "out") == EXPECTED
    assert written == {part: tmp_path / "deep" / "out" / f"X_{part}.txt" for part in ("train", "test")}
    names, labels = read_list(written["train"], 3)
    assert names == ["a.jpg", "b.jpg"]
    assert (labels == LABELS).all()


def test_the_published_attributes_need_no_file_of_names(tmp_path):
    lists = data_set().lists
    peta = DataSet("peta", ("Hat", "Bag", "é"), lists, "X_{part}.txt", "X_names.txt", line_end=" \n")
    write_data_set(peta, tmp_path)
    assert content(tmp_path) == {
        "X_train.txt": b"a.jpg 0 1 2 \nb.jpg 1 0 0 \n",
        "X_test.txt": b"c.jpg 0 1 2 \n",
    }


def test_what_is_there_is_not_written_over(tmp_path):
    name = "X_test.txt"
    (tmp_path / name).write_text("mine", "utf-8")
    with pytest.raises(DataError, match=rf"^{name} already in .*; name another --output, .* --force"):
        write_data_set(data_set(), tmp_path)
    assert content(tmp_path) == {name: b"mine"}
    write_data_set(data_set(), tmp_path, force=True)
    assert content(tmp_path) == EXPECTED


def test_the_output_may_not_be_a_file(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(DataError, match="out is a file; name a directory"):
        write_data_set(data_set(), tmp_path / "out", force=True)


def test_all_files_or_none(tmp_path, monkeypatch):
    """A disk that is full at the last file leaves what was there."""
    for name in EXPECTED:
        (tmp_path / name).write_text("before", "utf-8")
    synced = []

    def full(descriptor):
        synced.append(descriptor)
        if len(synced) == len(EXPECTED):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_data_set(data_set(), tmp_path, force=True)
    assert content(tmp_path) == dict.fromkeys(EXPECTED, b"before")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            [" a.jpg", "a\nb.jpg", "a.jpg 1"],
            r"(?s)3 file names that a list's line cannot hold: .*; rename the",
        ),
        (["../a.jpg"], "1 file name outside of .*: ../a.jpg"),
        (["/a.jpg", "C:\\b.jpg"], r"2 file names outside .*: /a.jpg, C:\\b.jpg"),
        (["a\udcff.jpg"], "1 file name not in UTF-8: a\udcff.jpg"),
        (["a\ufffd.jpg"], "1 file name not in UTF-8"),
        (["a.jpg", "a.jpg"], "a.jpg is twice in the train list, with other labels"),
        (["c.jpg"], "c.jpg is in the train and the test list, with the same labels"),
    ],
)
def test_names_that_no_list_can_hold_are_refused(tmp_path, names, message):
    with pytest.raises(DataError, match=message):
        write_data_set(data_set(*names), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@given(stem=st.text("a .,;0\t\n\r\x85", max_size=6))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_name_that_is_written_is_read_as_it_was(tmp_path, stem):
    name = f"{stem}é 1.jpg{stem}"
    try:
        written = write_data_set(data_set(name, "b.jpg"), tmp_path, force=True)
    except DataError:
        assert re.search(r"[,;0\t\n\r\x85]|^ | $", name)  # blanks are no fault within a name
    else:
        assert read_list(written["train"], 3)[0] == [name, "b.jpg"]


def test_an_empty_list_is_refused(tmp_path):
    with pytest.raises(DataError, match="no picture is left for the test list"):
        write_data_set(data_set(test=()), tmp_path / "out")


# Pictures.


def test_a_link_leads_to_the_pictures(tmp_path):
    write_picture(tmp_path / "a.png")
    for _ in range(2):  # it is there already the second time
        write_data_set(data_set(), tmp_path / "out", force=True, link=("pictures", tmp_path))
        assert (tmp_path / "out" / "pictures" / "a.png").is_file()


def test_a_link_to_something_else_is_replaced_when_asked_only(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "pictures").symlink_to(tmp_path / "other")
    with pytest.raises(DataError, match="pictures is there and is not"):
        write_data_set(data_set(), tmp_path / "out", link=("pictures", tmp_path))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["pictures"]
    write_data_set(data_set(), tmp_path / "out", force=True, link=("pictures", tmp_path))
    assert (tmp_path / "out" / "pictures").samefile(tmp_path)


def test_a_directory_is_never_replaced_by_a_link(tmp_path):
    (tmp_path / "out" / "pictures").mkdir(parents=True)
    with pytest.raises(DataError, match="move it away"):
        write_data_set(data_set(), tmp_path / "out", force=True, link=("pictures", tmp_path))
    assert (tmp_path / "out" / "pictures").is_dir()


@pytest.mark.parametrize("place", [".", "data", "release_data/release_data", "images", "RAP_dataset"])
def test_pictures_are_found_where_downloads_have_them(tmp_path, place):
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    names = [f"{k}.png" for k in range(7)]
    write_picture(tmp_path / place / "0.png")
    assert find_folder(names, tmp_path).samefile(tmp_path / place)
    with pytest.raises(DataError, match=r"6 pictures of 7 not in .*: 1.png, .*5.png, \.\.\.; unpack"):
        find_pictures(names, tmp_path)
    assert find_pictures(names[:1], tmp_path).samefile(tmp_path / place)


def test_pictures_that_are_nowhere(tmp_path):
    assert find_folder(["a.png"], tmp_path) is None
    with pytest.raises(DataError, match=r"none of the pictures is in .*: no a.png there"):
        find_pictures(["a.png"], tmp_path)
