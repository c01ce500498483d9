"""prepare_data.py check: what is there, and whether training would fail on it."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from PIL import Image

from run_scripts import prepare_data
from utils.data.catalog import EXPERIMENTS
from utils.data.list_file import positive_ratio, read_list
from utils.prepare.check import check, open_pictures
from utils.prepare.check_report import notes, problems

ARCHIVE = "PETA_dataset/GRID/archive"
PEOPLE = {"train": range(12), "test": range(12, 18)}


@pytest.fixture
def run(start_here, tmp_path, monkeypatch):
    """Return a function that runs `check` in tmp_path."""
    monkeypatch.chdir(tmp_path)
    return partial(start_here, prepare_data, "check")


@pytest.fixture
def peta(tmp_path):
    """Return a directory with PETA's layout: 12 training and 6 test pictures, one a person."""
    root = tmp_path / "peta"
    (root / ARCHIVE).mkdir(parents=True)
    for part, people in PEOPLE.items():
        for person in people:
            draw(root / picture_of(person), person)
            add(root, part, picture_of(person), labels_of(person))
    return root


def picture_of(person):
    return f"{ARCHIVE}/{person:04}_1.png"


def labels_of(person):
    """Return 35 labels of a person: each attribute on half of the people."""
    return [(person + k) % 2 for k in range(35)]


def draw(path, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (50, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def add(root, part, name, labels):
    with open(root / f"PETA_{part}_list.txt", "a", encoding="utf-8") as file:
        file.write(f"{name} {' '.join(map(str, labels))}\n")


def read_record(root):
    return json.loads((root.parent / "check.json").read_text(encoding="utf-8"))


def lines_of(output, start):
    """Return the lines that start so, each with the lines that go on with it."""
    joined = output.replace("\n  ", " ")
    return [line for line in joined.splitlines() if line.startswith(start)]


def test_links_out_of_the_directory(run, peta, tmp_path):
    (peta / "PETA_dataset").rename(tmp_path / "elsewhere")
    (peta / "PETA_dataset").symlink_to(tmp_path / "elsewhere")
    output, errors = run(peta, status=1)
    assert output == ""
    assert f"leads out of {peta} through a link, to {tmp_path / 'elsewhere'}" in errors
    output, errors = run(peta, "--follow_links")
    assert errors == ""
    assert output.splitlines()[-1].endswith(" --follow_links")


def test_a_sound_data_set(run, peta):
    Image.new("L", (300, 700)).save(peta / ARCHIVE / "0000_1.png")
    Image.new("RGB", (31, 41)).save(peta / ARCHIVE / "0001_1.png", format="JPEG")
    output, errors = run("peta", "--json", "check.json")
    assert errors == ""
    assert max(map(len, output.splitlines())) <= 80
    lines = [" ".join(line.split()) for line in output.splitlines()]
    for line in (
        "peta in peta", "train list: peta/PETA_train_list.txt", "train test", "rows 12 6",
        "pictures found 12 6", "missing 0 0", "unreadable 0 0", "identities 12 6", "unknown labels 0 0",
        "width 20 to 300 pixels, median 20", "height 41 to 700 pixels, median 50",
        "mode RGB 17, L 1", "format PNG 17, JPEG 1",
        "Hat 6 0.5000 3 0.5000 0.1014", "published: in the first 9,500 lines of the training list",
        "Next: python run_scripts/run_ALM.py --experiment peta --data_root peta",
    ):  # fmt: skip
        assert line in lines
    (note,) = lines_of(output, "note: far")  # as if the labels were in another order
    assert "in the train list" in note
    assert "Age46-60 0.5000, published 0.1023, AgeAbove61 0.5000, published 0.0597" in note
    record = read_record(peta)
    assert (record["experiment"], record["training_can_start"], record["problems"]) == ("peta", True, [])
    assert record["lists"]["test"] == {
        "path": "peta/PETA_test_list.txt", "rows": 6, "found": 6, "missing": [], "unreadable": [],
        "identities": 6, "unknown_labels": 0,
    }  # fmt: skip
    assert record["pictures"]["width"] == {"least": 20, "median": 20, "most": 300}
    assert record["attributes"][10] == {
        "name": "Hat", "published": 0.1014, "train": {"positive": 6, "ratio": 0.5, "unknown": 0},
        "test": {"positive": 3, "ratio": 0.5, "unknown": 0},
    }  # fmt: skip


def test_a_missing_picture_is_a_problem_in_the_test_list_alone(run, peta):
    """Training goes on without some of its own, and does not start without some of the evaluation's."""
    (peta / ARCHIVE / "0002_1.png").unlink()
    output, errors = run("peta")
    assert errors == ""
    (note,) = lines_of(output, "note: missing")
    assert f"of the train list: 1 ({ARCHIVE}/0002_1.png)" in note
    (peta / ARCHIVE / "0013_1.png").unlink()
    output, errors = run("peta", status=1)
    assert errors == "error: training would fail; see the problems above\n"
    (problem,) = lines_of(output, "problem")
    assert f"of the test list: 1 ({ARCHIVE}/0013_1.png)" in problem
    assert "--allow_missing" in problem


def test_no_picture_is_where_it_should_be(run, peta):
    output, _ = run("peta", "--data_root", ".", status=1)
    assert "--data_root" in lines_of(output, "problem: no picture of the train list is in . (")[0]
    assert "mode" not in output


@pytest.mark.parametrize(("person", "part"), [("0003", "train"), ("0017", "test")])
def test_an_unreadable_picture_is_a_problem_in_both_lists(run, peta, person, part):
    path = peta / ARCHIVE / f"{person}_1.png"
    path.write_bytes(path.read_bytes()[:-1200])
    run(peta, "--json", "check.json", status=1)
    record = read_record(peta)
    assert record["training_can_start"] is False
    assert record["problems"] == record["lists"][part]["unreadable"]
    (problem,) = record["problems"]
    assert problem.startswith(f"cannot read picture {path}")


def test_many_unreadable_pictures_are_counted(run, peta):
    for path in (peta / ARCHIVE).iterdir():
        path.write_text("<html>not found</html>")
    output, _ = run("peta", status=1)
    assert len(lines_of(output, "problem: cannot read")) == 10
    assert lines_of(output, "problem: pictures of the test list that cannot be read: 6;")


def test_pictures_that_are_there_twice(run, peta):
    """Equal by pixels, in whatever format; listed twice; in both lists; with two labels."""
    for person, other in (("0000_1.png", "0900_1.bmp"), ("0004_1.png", "0901_1.tiff")):
        with Image.open(peta / ARCHIVE / person) as picture:
            picture.save(peta / ARCHIVE / other)
    add(peta, "test", f"{ARCHIVE}/0900_1.bmp", labels_of(0))
    add(peta, "train", f"{ARCHIVE}/0901_1.tiff", labels_of(5))
    add(peta, "train", f"{ARCHIVE}/0006_1.png", labels_of(7))
    add(peta, "test", "PETA dataset/GRID/archive/0008_1.png", labels_of(8))
    output, _ = run("peta", "--json", "check.json")
    listed = [[f"{ARCHIVE}/0006_1.png"], [f"{ARCHIVE}/0008_1.png", "PETA dataset/GRID/archive/0008_1.png"]]
    equal = [
        [f"{ARCHIVE}/0000_1.png", f"{ARCHIVE}/0900_1.bmp"],
        [f"{ARCHIVE}/0004_1.png", f"{ARCHIVE}/0901_1.tiff"],
    ]
    notes = [line for start in ("note: p", "note: g", "note: of") for line in lines_of(output, start)]
    for note, number, groups in zip(notes, (2, 2, 1, 1), (listed, equal, listed[:1], equal[1:]), strict=True):
        assert f": {number}" in note
        assert note.endswith(f"({', '.join(map(' = '.join, groups))})")
    assert all("across the lists: 1" in note for note in notes[:2])
    record = read_record(peta)
    assert (record["listed_more_than_once"], record["equal_by_pixels"]) == (listed, equal)
    assert record["two_labels"] == [listed[0], equal[1]]


def test_identities_in_both_lists(run, peta):
    for n in (2, 3):
        draw(peta / ARCHIVE / f"0005_{n}.png", 100 + n)
        add(peta, "test", f"{ARCHIVE}/0005_{n}.png", labels_of(5))
    output, _ = run("peta")
    (note,) = lines_of(output, "note: identities")
    assert "in both lists: 1; they are on 2 of 8 test pictures" in note


def test_attributes_that_never_change_and_unknown_labels(run, peta):
    for part, people in PEOPLE.items():
        labels = np.array([labels_of(person) for person in people])
        labels[:, 3], labels[:, 4], labels[:, 5] = 0, 1, 2
        labels[0, 4] = labels[1, 10] = 2
        (peta / f"PETA_{part}_list.txt").unlink()
        for person, row in zip(people, labels, strict=True):
            add(peta, part, picture_of(person), row)
    output, _ = run("peta")
    for part, consequence in (("train", "learned"), ("test", "mA is undefined")):
        for value, name in ((0, "AgeAbove61"), (1, "Backpack"), ("unknown", "CarryingOther")):
            (note,) = lines_of(output, f"note: always {value} in the {part} list")
            assert consequence in note
            assert note.endswith(f": {name}")
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert "positives, ratio train test published unknown" in lines
    assert "unknown labels 14 8" in lines
    assert "Backpack 11 1.0000 5 1.0000 0.1986 2" in lines


def test_a_published_ratio_of_0_is_far_from_any_other(peta):
    ratio = (0.0, *EXPERIMENTS["peta"].positive_ratio[1:])
    experiment = replace(EXPERIMENTS["peta"], positive_ratio=ratio)
    list_path = peta / "list.txt"
    for label, far in ((1, True), (0, False)):
        list_path.write_text(f"{picture_of(0)} {label}{' 0 1' * 17}\n")
        note = list(notes(check(peta, experiment, {"train": list_path})))[-1]
        assert ("Age16-30 1.0000, published 0.0000" in note) == far


def test_data_of_ones_own(run, peta):
    for part, name in (("train", "train.txt"), ("test", "val.txt")):
        lines = (peta / f"PETA_{part}_list.txt").rename(peta / name).read_text().splitlines()
        (peta / name).write_text("".join(f"{' '.join(line.split()[:3])}\n" for line in lines))
    output, _ = run("peta")  # val.txt is no name that training looks for
    assert "#1" in output
    assert output.endswith(
        "Next: python run_scripts/run_ALM.py --experiment custom --data_root peta --attributes NAMES.txt "
        "--train_list peta/train.txt\n"
    )
    (peta / "names.txt").write_text("Crown\nA very long name of an attribute\n")
    output, _ = run("peta/train.txt", "peta/val.txt", "--attributes", "peta/names.txt")
    assert "published" not in output
    assert "A very long name of an …" in output
    assert output.endswith(
        "--attributes peta/names.txt --train_list peta/train.txt --val_list peta/val.txt\n"
    )
    output, _ = run("peta/val.txt", "--data_root", peta)
    assert "test list: peta/val.txt" in output
    assert output.endswith("--val_list peta/val.txt -e --resume CHECKPOINT\n")
    (peta / "train.txt").rename(peta / "train_val.txt")
    assert "train list: peta/train_val.txt" in run("peta/train_val.txt")[0]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("nowhere",), 1, "nowhere does not exist; give a data set's directory, or its lists"),
        (("peta/PETA_dataset",), 1, "no list in peta/PETA_dataset (looked for PETA_train_list.txt, "),
        (("peta", "--experiment", "rap"), 1, "no list in peta (looked for RAP_train_list.txt, train.txt, "),
        (("peta", "peta/PETA_test_list.txt"), 1, "give a directory, or a list, or the training list and the"),
        (("peta/PETA_train_list.txt",) * 3, 1, "give a directory, or a list, or the training list and the"),
        (("peta/PETA_train_list.txt", "--experiment", "rap"), 1,
         "peta/PETA_train_list.txt:1: 35 labels, expected 51; give one label for each attribute"),
        (("peta", "--json", "no/such.json"), 2, "--json no/such.json: there is no such directory"),
        (("peta", "--plot", "peta"), 2, "--plot peta: that is a directory; name a file"),
        (("peta", "--json", "peta/PETA_test_list.txt"), 2,
         "--json peta/PETA_test_list.txt: the command reads it, and it would be written over; name another"),
        (("peta", "--plot", "a.xyz"), 2, "--plot: cannot draw a.xyz: choose a suffix of"),
        (("peta", "--experiment", "peta", "--attributes", "a"), 2, "not allowed with argument --experiment"),
    ],
)  # fmt: skip
def test_wrong_input_is_told_in_one_line(run, peta, arguments, status, message):
    _, errors = run(*arguments, status=status)
    assert message in errors
    assert len(errors.splitlines()) == 1


def test_the_plot_has_both_lists_in_their_colours(run, peta):
    run("peta", "--plot", "check.png")
    with Image.open(peta.parent / "check.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24)}
    assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00), (0, 0, 0)} < colours


def test_pictures_of_other_shapes_are_not_equal(tmp_path):
    for name, size in (("wide.png", (4, 2)), ("high.png", (2, 4))):
        Image.new("RGB", size).save(tmp_path / name)
    wide, high = open_pictures([str(tmp_path / name) for name in ("wide.png", "high.png")]).values()
    assert wide.digest != high.digest


# The published lists, if they lie beside the checkout.


def test_facts_of_the_published_lists_are_notes(shared, tmp_path):
    labels = shared / "labels"
    lists = {part: labels / f"PETA_{part}_list.txt" for part in ("train", "test")}
    found = check(tmp_path, EXPERIMENTS["peta"], lists)
    assert list(notes(found)) == [
        "identities in both lists: 1,131; they are on 4,501 of 7,600 test pictures, so expect lower figures "
        "on new people"
    ]
    assert len(list(problems(found))) == 2  # no picture is there
    found = check(tmp_path, EXPERIMENTS["rap"], {"test": labels / "RAP_test_list.txt"})
    (note,) = notes(found)
    assert "in the test list: 1 (Skirt 0.0642, published 0.0006); " in note


def test_published_ratios_of_peta_are_those_of_its_first_9500_lines(shared):
    _, labels = read_list(shared / "labels" / "PETA_train_list.txt")
    np.testing.assert_allclose(
        positive_ratio(labels[:9500]), EXPERIMENTS["peta"].positive_ratio, atol=5.1e-5, rtol=0
    )
