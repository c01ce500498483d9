"""List files: what is read, what is said of a line that is wrong, and which file a path means."""

import os
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.data.list_file import find_picture, positive_ratio, read_list, refuse_links_out
from utils.errors import DataError

WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="/\\:."), min_size=1
)
NAMES = st.lists(WORDS, min_size=1, max_size=4).map(lambda words: " ".join(words) + ".jpg")


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@settings(deadline=None, max_examples=15)
@given(data=st.data(), num_attributes=st.integers(1, 20))
def test_lists_are_read_as_written(tmp_path_factory, data, num_attributes):
    row = st.lists(st.integers(0, 2), min_size=num_attributes, max_size=num_attributes)
    rows = data.draw(st.lists(st.tuples(NAMES, row, st.sampled_from([" ", "\t", "   "]))))
    rows.append(("a.jpg", [0] * num_attributes, " "))  # a list without any 0 may have another coding
    lines = [blank.join([f"PETA dataset/{name}", *map(str, labels)]) for name, labels, blank in rows]
    path = write(tmp_path_factory.getbasetemp() / "written.txt", "\n".join(lines) + "\n")
    for count in (num_attributes, None):
        names, labels = read_list(path, count)
        assert names == [f"PETA dataset/{name}" for name, _, _ in rows]
        assert labels.dtype == np.uint8
        assert labels.tolist() == [labels for _, labels, _ in rows]


@pytest.mark.parametrize(
    "content",
    [
        b"a.jpg 0 1 2\nb c.jpg 1 0 0",
        b"\xef\xbb\xbfa.jpg 0 1 2\r\nb c.jpg 1 0 0\r\n",
        b"\n\n  a.jpg\t0  1\t2   \n \t\nb c.jpg 1 0 0 \n\n",
    ],
)
def test_white_space_blank_lines_and_byte_order_mark(tmp_path, content):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    names, labels = read_list(path, 3)
    assert names == ["a.jpg", "b c.jpg"]
    assert labels.tolist() == [[0, 1, 2], [1, 0, 0]]


@pytest.mark.parametrize(
    "line",
    [
        "b c.jpg 1,0,2,",
        "b c.jpg\t1, 0, 2, ",
        "b c.jpg, 1, 0, 2",
        "b c.jpg 1 0,2",
        "b c.jpg;1;0;2",
        "b c.jpg; 1; 0; 2;",
    ],
)
def test_labels_may_be_separated_by_commas_or_semicolons(tmp_path, line):
    for count in (3, None):
        names, labels = read_list(write(tmp_path / "list.txt", f"{line}\na.jpg 0 0 0\n"), count)
        assert names == ["b c.jpg", "a.jpg"]
        assert labels.tolist() == [[1, 0, 2], [0, 0, 0]]


@pytest.mark.parametrize("name", ["b, c.jpg", "b; c.jpg"])
def test_a_comma_in_a_name_is_part_of_it(tmp_path, name):
    assert read_list(write(tmp_path / "list.txt", f"{name} 0 1"), 2)[0] == [name]


@pytest.mark.parametrize(
    "header",
    [
        "image Hat Bag Skirt",
        "# Image,Hat,Bag,Skirt",
        "path\tlabels",
        "image;Hat/Cap;Bag;Male",
        "#Image 0 1 2",
        "image",
        "image,0,1,2",
        "img_path 0 1 2",
        '"image",0,1,2',
        "# list of 2024/05/01",
    ],
)
def test_a_header_is_called_so(tmp_path, header):
    for count in (3, None):
        with pytest.raises(DataError, match=r"list\.txt:2: .*header.*delete"):
            read_list(write(tmp_path / "list.txt", f"\n{header}\na.jpg 0 1 1\n"), count)


@pytest.mark.parametrize(
    "name",
    [
        "..a.jpg", "a../b.jpg", "a/...jpg", "1", "pictures/no extension", "é/ü.png", "#1.jpg", "#a/1",
        "image data/1.jpg", "image.jpg", "image/1", "person",
    ],
)  # fmt: skip
def test_unusual_paths_are_fine(tmp_path, name):
    assert read_list(write(tmp_path / "list.txt", f"{name} 0 1"), 2)[0] == [name]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("b.jpg 0 1", "2 labels, expected 3"),
        ("b.jpg", "0 labels, expected 3"),
        ("b.jpg;1", "1 label, expected 3"),
        ("b.jpg;0;;1;1", "nothing between two commas"),
        ("b.jpg 0 1 1 0", "4 labels, expected 3"),
        ("b.jpg 0 3 1", "label '3' is not 0, 1 or 2"),
        ("b.jpg 0 1 -1", "label '-1' is not 0, 1 or 2; write 0 for no, which -1 mostly means"),
        ("b.jpg 0,1", "2 labels, expected 3"),
        ("b.jpg 0,1,1,0,", "4 labels, expected 3"),
        (",,,", "nothing between two commas"),
        ("b.jpg 0 01 1", "label '01' is not 0, 1 or 2"),
        ("b.jpg 0 \u0661 1", "label '\u0661' is not 0, 1 or 2"),
        ("PETA dataset/b.jpg 0 x 1", "label 'x' is not 0, 1 or 2"),
        ("0 1 1", "2 labels, expected 3"),
        ("/data/b.jpg 0 1 1", "the path /data/b.jpg leaves the root"),
        ("C:\\data\\b.jpg 0 1 1", "leaves the root"),
        ("../b.jpg 0 1 1", "leaves the root"),
        ("a\\..\\b.jpg 0 1 1", "leaves the root"),
        (".. 0 1 1", "leaves the root"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, message):
    path = write(tmp_path / "list.txt", f"a.jpg 0 1 1\n\n{line}\nc.jpg 0 1 1\n")
    with pytest.raises(DataError) as error:
        read_list(path, 3)
    assert str(error.value).startswith(f"{path}:3: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@settings(deadline=None, max_examples=100)
@given(
    text=st.text(st.sampled_from("ab01234-.,/\\\t \n#é:") | st.characters(codec="utf-8")),
    num_attributes=st.none() | st.integers(0, 5),
)
def test_any_text_is_a_list_or_a_clear_error(tmp_path_factory, text, num_attributes):
    path = write(tmp_path_factory.getbasetemp() / "any.txt", text)
    with suppress(DataError):
        names, labels = read_list(path, num_attributes)
        assert len(names) == len(labels) > 0
        assert all(names)
        assert set(labels.flat) <= {0, 1, 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b" \n\t\r\n", r"list\.txt is empty"),
        (b"\xff\xd8\xff\xe0 no text", r"list\.txt is not text"),
        (b"a\0.jpg 0 1", r"list\.txt is not text"),
        (None, r"cannot read .*list\.txt"),
    ],
)
def test_files_that_are_no_lists(tmp_path, content, message):
    if content is not None:
        (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_list(tmp_path / "list.txt", 2)


@pytest.mark.parametrize("last", ["2 1", "1 1", "0 2"])
def test_a_list_of_1_and_2_alone_does_not_tell_no_from_yes(tmp_path, last):
    path = write(tmp_path / "list.txt", f"a.jpg 1 2\nb.jpg {last}\n")
    if "0" in last:
        assert len(read_list(path)[0]) == 2
    else:
        with pytest.raises(DataError, match=r"list\.txt: no label is 0, so 1 and 2 may mean .* --negative 1"):
            read_list(path)


def test_first_line_decides_the_count_and_must_have_labels(tmp_path):
    path = write(tmp_path / "list.txt", "\na.jpg 0 1\nb.jpg 0 1 1\n")
    with pytest.raises(DataError, match=r"list\.txt:3: 3 labels, expected 2"):
        read_list(path)
    with pytest.raises(DataError, match=r"list\.txt:2: 0 labels"):
        read_list(write(path, "\na.jpg\n"))


@pytest.mark.parametrize(
    ("name", "shape", "unknown"),
    [
        ("PETA_train", (11400, 35), 0),
        ("PETA_test", (7600, 35), 0),
        ("RAP_test", (8317, 51), 27),
        ("PA100K_test", (10000, 26), 0),
    ],
)
def test_the_published_lists_are_read_whole(shared, name, shape, unknown):
    names, labels = read_list(shared / "labels" / f"{name}_list.txt", shape[1])
    assert labels.shape == shape
    assert len(set(names)) == len(names) == shape[0]
    assert (labels == 2).sum() == unknown


def test_positive_ratio_is_over_known_labels():
    ratio = positive_ratio(np.array([[0, 1, 2], [1, 2, 2], [1, 2, 2]], np.uint8))
    assert ratio.dtype == np.float64
    assert ratio.tolist() == [2 / 3, 1, 0]
    assert positive_ratio(np.ones((300, 1), np.uint8)) == [1.0]  # more than a label's type can count


@pytest.mark.parametrize(
    "listed", ["PETA_dataset/MIT/a.png", "PETA dataset/MIT/a.png", "PETA_dataset\\MIT\\a.png"]
)
@pytest.mark.parametrize("folder", ["PETA_dataset", "PETA dataset"])
def test_a_picture_is_found_in_either_spelling_of_its_folder(tmp_path, listed, folder):
    (tmp_path / folder / "MIT").mkdir(parents=True)
    (tmp_path / folder / "MIT" / "a.png").touch()
    for root in (tmp_path, tmp_path / folder):
        assert find_picture(root, listed) == str(tmp_path / folder / "MIT" / "a.png")
    assert find_picture(tmp_path, "MIT/a.png") is None
    assert find_picture(tmp_path / folder / "MIT", "PETA_dataset/a.png") is None


def test_backslashes_are_slashes_unless_a_file_is_called_so(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").touch()
    assert find_picture(tmp_path, "a\\1.png") == str(tmp_path / "a" / "1.png")
    (tmp_path / "a\\1.png").touch()
    assert find_picture(tmp_path, "a\\1.png") == str(tmp_path / "a\\1.png")


@pytest.fixture
def linked(tmp_path):
    """Return a function that looks for links that lead out of `root`, in which `place` leads to `target`."""
    for directory in ("root/inner", "root-of-others/inner"):
        (tmp_path / directory).mkdir(parents=True)
        (tmp_path / directory / "a.png").touch()

    def linked(place, target, name):
        root = tmp_path / "root"
        (root / place).symlink_to(target, target_is_directory=os.path.isdir(root / target))
        refuse_links_out(root, "list.txt", [name], [find_picture(root, name)])

    return linked


@pytest.mark.parametrize(
    ("place", "target", "name"),
    [
        ("a.png", "../root-of-others/inner/a.png", "a.png"),
        ("others", "../root-of-others", "others/inner/a.png"),
        ("up", "..", "up/root-of-others/inner/a.png"),
        ("PETA dataset", "../root-of-others", "PETA_dataset\\inner\\a.png"),
    ],
)
def test_a_link_that_leads_out_of_the_root_is_refused(linked, tmp_path, place, target, name):
    """Also to a directory whose name begins with the root's."""
    with pytest.raises(DataError, match="--follow_links") as error:
        linked(place, target, name)
    for part in ("list.txt", name, str(tmp_path / "root"), str(tmp_path / "root-of-others/inner/a.png")):
        assert part in str(error.value)


def test_links_within_the_root_and_a_root_that_is_one_are_followed(linked, tmp_path):
    linked("b.png", "inner/a.png", "b.png")
    linked("c", tmp_path / "root" / "inner", "c/a.png")
    (tmp_path / "link").symlink_to(tmp_path / "root", target_is_directory=True)
    for root, name in ((tmp_path / "link", "b.png"), ("/", f"{tmp_path}/root/b.png"[1:])):
        refuse_links_out(root, "list.txt", [name], [find_picture(root, name)])
