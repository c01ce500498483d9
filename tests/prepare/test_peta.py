"""PETA's lists from a small archive with the true one's oddities, from PETA.mat, and from both."""

import numpy as np
import pytest
from support.official import (
    PETA_NAMES,
    UNPICTURED,
    archive_rows,
    cells,
    column,
    list_lines,
    partition,
    peta_mat,
    wardrobe,
    write_archive,
    write_picture,
)

from utils.data.catalog import EXPERIMENTS
from utils.errors import DataError
from utils.prepare.lists import write_data_set
from utils.prepare.peta import (
    NEVER,
    OFFICIAL,
    name_rows,
    official_names,
    read_archive,
    read_peta,
)
from utils.prepare.split import split_by_lists


@pytest.fixture
def archive(tmp_path):
    return write_archive(tmp_path / "PETA dataset")


def lines_of(folder, tmp_path, **options):
    """Return the training list of all pictures in an archive."""
    archive = read_archive(folder)
    data_set = archive.data_set({"train": range(len(archive.pictures))}, **options)
    return write_data_set(data_set, tmp_path / "out")["train"].read_text("utf-8").splitlines(keepends=True)


def test_the_official_names_are_105_and_the_published_come_first():
    assert len(set(OFFICIAL)) == len(OFFICIAL) == 105
    assert list(OFFICIAL[:35]) == PETA_NAMES
    assert set(OFFICIAL) > NEVER


@pytest.mark.parametrize(
    "options", [{}, {"line_end": "\r\n", "last_end": False}, {"line_end": " \n\n"}, {"spell": {}}]
)
def test_the_list_is_as_the_published_ones(tmp_path, options):
    """Whatever the lines end with, and however Label.txt spells sneakers."""
    assert lines_of(write_archive(tmp_path / "other", **options), tmp_path) == list_lines(archive_rows())


def test_the_folder_may_have_any_name_and_a_folder_around_it(archive, tmp_path):
    assert read_archive(archive.parent).folder == archive
    archive = archive.rename(tmp_path / "peta (1)")
    assert lines_of(archive, tmp_path) == list_lines(archive_rows())


def test_lines_without_a_picture_are_a_note(archive):
    notes = read_archive(archive).notes
    assert f"3 lines of Label.txt without a picture: {UNPICTURED}" in notes
    assert [note for note in notes if note.startswith("no subset")] == [
        f"no subset {subset} in {archive}" for subset in ("CAVIAR4REID", "i-LID", "PRID", "VIPeR")
    ]


def test_pictures_without_a_line_are_counted_and_named(archive):
    for number in range(7):
        write_picture(archive / "MIT" / "archive" / f"0000{number + 3}_male.jpg")
    with pytest.raises(DataError, match="7 pictures without a line") as error:
        read_archive(archive)
    assert "MIT/archive/00003_male.jpg, " in str(error.value)
    assert "00007_male.jpg, ..." in str(error.value)
    assert "00008" not in str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"00003 personalMale hairLnog", r"Label.txt:3: 'hairLnog' .* nearest is 'hairLong'"),
        (b"00003", r"Label.txt:3: 00003 has no attributes"),
        (b"00001 personalMale", r"Label.txt:3: identity 00001 has a line with other attributes"),
        (b"00003 personalM\xe4le", r"Label.txt is not text"),
    ],
)
def test_a_bad_line_is_named(archive, line, message):
    path = archive / "MIT" / "archive" / "Label.txt"
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(DataError, match=message):
        read_archive(archive)


@pytest.mark.parametrize(
    ("folders", "label", "message"),
    [
        (None, None, "is not a directory"),
        (".", None, "none of PETA's subsets"),
        ("MIT/archive", None, "Label.txt .No such file"),
        ("MIT/archive", "1 personalMale\n", "no pictures in"),
    ],
)
def test_another_folder_is_refused(tmp_path, folders, label, message):
    here = tmp_path / "here"
    if folders:
        (here / folders).mkdir(parents=True)
    if label:
        (here / folders / "Label.txt").write_text(label, "utf-8")
    with pytest.raises(DataError, match=message):
        read_archive(here)


# The attributes.


def test_chosen_attributes_come_with_their_names(archive, tmp_path):
    (tmp_path / "names.txt").write_text("hairLong\npersonalFemale\naccessoryShawl\n", "utf-8")
    assert official_names([str(tmp_path / "names.txt")]) == ["hairLong", "personalFemale", "accessoryShawl"]
    lines = lines_of(archive, tmp_path, words=["hairLong,personalFemale", "accessoryShawl"])
    expected = list_lines(archive_rows(), ["hairLong", "personalFemale"])
    assert lines == [f"{line[:-2]} 1 \n" for line in expected]
    names = (tmp_path / "out" / "PETA_attributes.txt").read_text("utf-8")
    assert names == "hairLong\npersonalFemale\naccessoryShawl\n"


def test_all_attributes_are_those_of_peta_mat(archive, tmp_path):
    assert lines_of(archive, tmp_path, words=["all"]) == list_lines(archive_rows(), OFFICIAL)
    assert (tmp_path / "out" / "PETA_attributes.txt").read_text("utf-8").split() == list(OFFICIAL)


def test_the_published_attributes_need_no_names(archive, tmp_path):
    lines = lines_of(archive, tmp_path, words=PETA_NAMES)
    assert lines == list_lines(archive_rows())
    assert not (tmp_path / "out" / "PETA_attributes.txt").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hairLonk"], "no attribute 'hairLonk'; the nearest is 'hairLong'"),
        (["hairLong", "hairLong"], "'hairLong' is chosen twice"),
        ([","], "--attributes names none"),
    ],
)
def test_a_wrong_choice_is_refused(words, message):
    with pytest.raises(DataError, match=message):
        official_names(words)


def test_an_attribute_that_occurs_nowhere_is_an_error(tmp_path):
    """As footwearSneaker would be, matched exactly, in silence."""
    worn = {person: [name for name in names if name != "hairLong"] for person, names in wardrobe().items()}
    archive = read_archive(write_archive(tmp_path / "PETA dataset", worn=worn))
    with pytest.raises(DataError, match=r"'hairLong' occurs in no line .* nearest that does is '"):
        archive.data_set({"train": [0]})
    assert archive.data_set({"train": [0]}, ["hairShort", *NEVER]).attributes == ("hairShort", *NEVER)


# PETA.mat.


def test_the_matrix_alone_is_about_numbered_pictures(tmp_path):
    parts = partition(len(archive_rows()))
    labels = peta_mat(tmp_path / "PETA.mat", parts=parts)
    annotation, _ = read_peta(tmp_path / "PETA.mat")
    assert annotation.names[:2] == ["images/00001.png", "images/00002.png"]
    assert len(annotation.partitions) == 5
    data_set = annotation.data_set(partition=4)
    assert (data_set.experiment, data_set.attributes) == ("peta", EXPERIMENTS["peta"].attributes)
    rows = np.r_[parts["train"], parts["val"]] - 1
    assert data_set.lists["train"].names == [annotation.names[row] for row in rows]
    assert (data_set.lists["train"].labels == labels[rows, :35]).all()
    separate = annotation.data_set(partition=4, separate_val=True).lists
    assert {part: len(own.names) for part, own in separate.items()} == {p: len(t) for p, t in parts.items()}


def test_attributes_that_are_not_petas_are_the_selected(tmp_path):
    rows = archive_rows()
    labels = np.eye(len(rows), 3)
    peta_mat(
        tmp_path / "PETA.mat", labels=labels, attribute=cells(["a", "b", "c"], row=True),
        selected_attribute=column([5, 7]),
    )  # fmt: skip
    annotation, _ = read_peta(tmp_path / "PETA.mat")
    assert annotation.attributes == ["a", "b", "c"]
    assert annotation.default == [0, 2]


@pytest.fixture
def name(archive, tmp_path):
    """Return a function that names the rows of PETA.mat by the archive's pictures."""
    return lambda: name_rows(*read_peta(tmp_path / "PETA.mat"), read_archive(archive)).names


def test_rows_are_the_archives_pictures(name, archive, tmp_path):
    peta_mat(tmp_path / "PETA.mat")
    assert name() == read_archive(archive).names


@pytest.mark.parametrize(
    ("row", "values", "message"),
    [
        (2, {0: "CUHK"}, r"row 3 is subset 3, identity 1, but picture 3 of .*/1_4_FRAME_9_RGB.bmp"),
        (4, {1: "7"}, r"row 5 is subset 3, identity 7, but picture 5 of .*/0004.png"),
    ],
)
def test_a_row_of_another_picture_is_refused(name, tmp_path, row, values, message):
    labels = peta_mat(tmp_path / "PETA.mat")
    rows = archive_rows()
    rows[row] = tuple(values.get(field, value) for field, value in enumerate(rows[row]))
    peta_mat(tmp_path / "PETA.mat", rows, labels)
    with pytest.raises(DataError, match=message):
        name()


def test_a_row_with_other_labels_is_refused(name, tmp_path):
    labels = peta_mat(tmp_path / "PETA.mat")
    labels[6, 50] = 1 - labels[6, 50]
    peta_mat(tmp_path / "PETA.mat", labels=labels)
    words = rf"{OFFICIAL[50]} is {labels[6, 50]} in row 7, but Label.txt says otherwise"
    with pytest.raises(DataError, match=words):
        name()


def test_more_rows_than_pictures_are_refused(name, tmp_path):
    rows = archive_rows()
    peta_mat(tmp_path / "PETA.mat", [*rows, rows[-1]])
    with pytest.raises(DataError, match=rf"has {len(rows) + 1} rows, but .* {len(rows)} pictures"):
        name()


def test_a_picture_that_is_missing_is_found_at_its_row(name, archive, tmp_path):
    peta_mat(tmp_path / "PETA.mat")
    (archive / "CUHK" / "archive" / "0003.png").unlink()
    with pytest.raises(DataError, match=r"row 4 is subset 3, identity 3, but picture 4 .*is one missing"):
        name()


def test_a_table_of_numbers_with_more_columns_is_refused(tmp_path):
    peta_mat(tmp_path / "PETA.mat", attribute=cells(OFFICIAL[:50]))
    with pytest.raises(DataError, match=r"peta.data is 15 x 109, expected .* x 54 columns"):
        read_peta(tmp_path / "PETA.mat")


# The published lists, if they lie beside the checkout.


@pytest.fixture
def published(shared, tmp_path):
    """An archive drawn from every 40th line of the published lists, and these lists shortened to it."""
    lists = {}
    people = {}
    for part in ("train", "test"):
        path = shared / "labels" / f"PETA_{part}_list.txt"
        lists[part] = path.read_text("utf-8").splitlines(keepends=True)
        for line in lists[part]:
            name, *labels = line.split()
            subset, file = name.split("/")[1], name.split("/")[3]
            worn = [own for own, label in zip(PETA_NAMES, labels, strict=True) if label == "1"]
            people.setdefault((subset, file.split("_")[0].split(".")[0]), (worn, []))[1].append(file)
    kept = dict(list(people.items())[::40])
    folder = tmp_path / "PETA dataset"
    for (subset, identity), (worn, files) in kept.items():
        place = folder / subset / "archive"
        place.mkdir(parents=True, exist_ok=True)
        for file in files:
            (place / file).touch()
        line = [identity + (".png" if subset == "CUHK" else "")]
        line += ["footwearSneakers" if name == "footwearSneaker" else name for name in worn]
        with (place / "Label.txt").open("a", encoding="utf-8", newline="\n") as file:
            file.write(" ".join(line) + "\n")
    there = {f"PETA_dataset/{s}/archive/{f}" for (s, _), (_, files) in kept.items() for f in files}
    return folder, {part: [x for x in lines if x.split()[0] in there] for part, lines in lists.items()}


def test_the_published_labels_come_back(published, tmp_path):
    folder, lists = published
    files = []
    for part, lines in lists.items():
        assert len(lines) > 50
        files.append(tmp_path / f"{part}.txt")
        files[-1].write_text("".join(lines), "utf-8")
    archive = read_archive(folder)
    parts, notes = split_by_lists(files, archive.names)
    written = write_data_set(archive.data_set(parts), tmp_path / "out")
    assert notes == []
    assert {
        part: path.read_text("utf-8").splitlines(keepends=True) for part, path in written.items()
    } == lists
