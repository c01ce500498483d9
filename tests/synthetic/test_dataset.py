"""The embedded data set: its files, whole or not at all; its labels; and pictures for any list."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.drawn import PETA, files, row, write_people

from alm.errors import AlmError
from utils.data.list_file import read_list
from utils.errors import DataError
from utils.io.atomic import whole_directory
from utils.synthetic import dataset as data_set
from utils.synthetic import draw_list, ensure_dataset, pedestrian
from utils.synthetic.dataset import RARE, sample_labels

COLUMN = {name: column for column, name in enumerate(PETA.attributes)}
SMALL = {"train": 6, "test": 3}


@pytest.fixture
def list_file(tmp_path):
    """A PETA-format list of three rows."""
    return write_people(tmp_path / "people.txt")


def test_data_set_has_lists_pictures_and_regions(tmp_path):
    root = tmp_path / "set"
    ensure_dataset(root, **SMALL)
    regions = json.loads((root / "regions.json").read_text(encoding="utf-8"))
    listed = []
    for name, count in (("PETA_train_list.txt", 6), ("PETA_test_list.txt", 3)):
        paths, labels = read_list(root / name, 35)
        assert len(paths) == count
        listed += paths
        for path, labels_of_one in zip(paths, labels, strict=True):
            picture = Image.open(root / path)
            assert picture.mode == "RGB"
            for attribute, (x0, y0, x1, y1) in regions[path].items():
                assert labels_of_one[COLUMN[attribute]] == 1
                assert 0 <= x0 < x1 <= picture.width
                assert 0 <= y0 < y1 <= picture.height
    assert set(listed) == set(regions)
    assert {Path(path).suffix for path in listed} == {".jpg", ".png", ".bmp"}


def test_data_set_is_drawn_once_and_other_settings_are_refused(tmp_path, monkeypatch):
    (tmp_path / "set").mkdir()  # an empty directory is filled
    ensure_dataset(tmp_path / "set", **SMALL)
    before = files(tmp_path / "set")
    ensure_dataset(tmp_path / "other", **SMALL, seed=2)
    assert before != files(tmp_path / "other") | {"settings.json": before["settings.json"]}
    monkeypatch.setattr(data_set, "draw_pages", None)
    ensure_dataset(tmp_path / "set", **SMALL)
    with pytest.raises(AlmError, match=r"seed=1, not with seed=5; .* delete"):
        ensure_dataset(tmp_path / "set", **SMALL, seed=5)
    assert files(tmp_path / "set") == before


@pytest.mark.slow
def test_pictures_do_not_depend_on_the_number_of_processes(tmp_path):
    ensure_dataset(tmp_path / "one", **SMALL, processes=1)
    ensure_dataset(tmp_path / "two", **SMALL, processes=2)
    assert files(tmp_path / "one") == files(tmp_path / "two")


@pytest.mark.parametrize("content", ["[]", '{"drawing": '])
def test_a_directory_of_something_else_is_refused(tmp_path, content):
    (tmp_path / "settings.json").write_text(content, encoding="utf-8")
    with pytest.raises(AlmError, match="something else"):
        ensure_dataset(tmp_path, **SMALL)
    assert files(tmp_path) == {"settings.json": content.encode()}


@pytest.mark.parametrize("fault", [OSError("disk full"), KeyboardInterrupt()])
def test_an_interrupted_drawing_leaves_nothing(tmp_path, monkeypatch, fault):
    drawn = []

    def draw_some(directory, page):
        if len(drawn) == 5:
            raise fault
        drawn.append(page)
        return draw_page(directory, page)

    draw_page = pedestrian.draw_page
    monkeypatch.setattr(pedestrian, "draw_page", draw_some)
    with pytest.raises(type(fault)):
        ensure_dataset(tmp_path / "set", **SMALL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_fault_in_another_process_leaves_nothing(tmp_path):
    pages = [pedestrian.Page("a.jpg", frozenset(), (0,)), pedestrian.Page("b.unknown", frozenset(), (1,))]
    with (
        pytest.raises(ValueError, match="unknown"),
        whole_directory(tmp_path / "set") as directory,
    ):
        pedestrian.draw_pages(directory, pages, processes=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("theirs", [1, 2])
def test_two_at_once_end_with_one_data_set(tmp_path, monkeypatch, theirs):
    """Another process draws its set, with the same seed or another, while this one is drawing."""

    def draw_late(directory, pages, processes):
        monkeypatch.undo()
        ensure_dataset(tmp_path / "set", **SMALL, seed=theirs)
        return draw_pages(directory, pages, processes)

    draw_pages = data_set.draw_pages
    monkeypatch.setattr(data_set, "draw_pages", draw_late)
    if theirs == 1:
        ensure_dataset(tmp_path / "set", **SMALL, seed=1)
    else:
        with pytest.raises(AlmError, match="seed=2"):
            ensure_dataset(tmp_path / "set", **SMALL, seed=1)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert json.loads((tmp_path / "set/settings.json").read_text(encoding="utf-8"))["seed"] == theirs


def test_list_is_drawn_under_its_own_names(list_file, tmp_path):
    assert draw_list(list_file, tmp_path / "out") == 3
    paths, _ = read_list(list_file, 35)
    drawn = files(tmp_path / "out")
    assert set(drawn) == {*paths, "people.txt", "regions.json"}
    assert drawn["people.txt"] == list_file.read_bytes()
    formats = [Image.open(tmp_path / "out" / path).format for path in paths]
    assert formats == ["PNG", "JPEG", "BMP"]
    assert set(json.loads(drawn["regions.json"])[paths[0]]) == {"Jeans", "Hat"}
    assert set(json.loads(drawn["regions.json"])[paths[2]]) == {"Backpack"}


def test_limit_draws_the_first_rows(list_file, tmp_path):
    assert draw_list(list_file, tmp_path / "all") == 3
    assert draw_list(list_file, tmp_path / "two", limit=2) == 2
    paths, _ = read_list(tmp_path / "two" / "people.txt", 35)
    assert len(paths) == 2
    drawn = files(tmp_path / "two")
    assert all(drawn[path] == (tmp_path / "all" / path).read_bytes() for path in paths)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.png 1 0", "2 labels, expected 35"),
        (f"../a.png {row()}", "leaves the root"),
        (f"a.png {row()[:-1]}2", "label 2, unknown"),
        (f"a.gif {row()}", "no jpg, jpeg, png or bmp"),
        (f"b.bmp {row()}", "on line 3 already"),
    ],
)
def test_bad_list_is_refused_with_file_and_line(list_file, tmp_path, line, message):
    with list_file.open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    with pytest.raises(DataError, match=message) as caught:
        draw_list(list_file, tmp_path / "out")
    assert f"{list_file}:5: " in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_list_is_not_drawn_over_anything(list_file, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(AlmError, match="something else"):
        draw_list(list_file, tmp_path / "out")
    assert files(tmp_path / "out") == {"mine": b""}


AGES = ("Age16-30", "Age31-45", "Age46-60", "AgeAbove61")
BAGS = ("Backpack", "CarryingOther", "Messenger Bag", "PlasticBags")
ACCESSORIES = ("Hat", "Muffler", "Sunglasses")


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(20, 300))
def test_sampled_labels_do_not_contradict_each_other(seed, count):
    labels = sample_labels(count, seed)

    def positives(*names):
        return labels[:, [COLUMN[name] for name in names]].sum(axis=1)

    assert labels.shape == (count, 35)
    for one_of in (
        AGES,
        ("Jeans", "Trousers", "Shorts", "Skirt"),
        ("Casual lower", "Formal lower"),
        ("Casual upper", "Formal upper"),
    ):
        assert (positives(*one_of) == 1).all()
    for at_most_one_of in (
        ("Leather Shoes", "Sandals", "Shoes", "Sneaker"),
        ("Jacket", "Tshirt", "UpperOther", "Formal upper"),
        ("Logo", "Plaid", "Stripes", "Formal upper"),
        ("Formal lower", "Shorts"),
        ("Formal upper", "Shorts"),
        ("Formal upper", "Short Sleeve"),
        ("Formal upper", "V-Neck"),
    ):
        assert (positives(*at_most_one_of) <= 1).all()
    assert (positives("Tshirt") <= positives("Short Sleeve")).all()
    assert ((positives("No carrying") == 1) == (positives(*BAGS) == 0)).all()
    assert ((positives("No accessory") == 1) == (positives(*ACCESSORIES) == 0)).all()
    assert (labels.min(axis=0) == 0).all()
    assert (labels.max(axis=0) == 1).all()


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_ratios_are_petas_with_rare_ones_raised(seed):
    found = sample_labels(1500, seed).mean(axis=0)
    aims = np.maximum(PETA.positive_ratio, RARE)
    np.testing.assert_allclose(found, aims, rtol=0.12)  # exhaustive groups sum to one, their aims to 1.11
