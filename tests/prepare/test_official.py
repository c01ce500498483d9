"""RAP's and PA-100K's annotations: the lists they give, and what is refused."""

import numpy as np
import pytest
from scipy.io import savemat
from support.official import cells, column, pa100k_mat, partition, peta_mat, rap1_mat, rap2_mat

from utils.data.catalog import EXPERIMENTS
from utils.errors import DataError
from utils.prepare.lists import write_data_set
from utils.prepare.official import read_pa100k, read_rap
from utils.prepare.peta import read_peta

COUNT = 20
RANDOM = np.random.default_rng(5)
NAMES = [f"CAM{k:02d}_2014-02-20_tarid{k}_frame2893_line1.png" for k in range(COUNT)]
PARTS = partition(COUNT)
RAP_PARTS = {"train": PARTS["train"], "test": PARTS["test"]}
RAP_LABELS = RANDOM.integers(0, 2, (COUNT, 51))
RAP_LABELS[3, 0] = 2  # the one attribute that is unknown of somebody: Female
RAP2_LABELS = RANDOM.integers(0, 2, (COUNT, 152))
RAP2_LABELS[:, 111:] = RANDOM.integers(3, 900, (COUNT, 41))  # a viewpoint, occlusions, positions
SELECTED = np.r_[1:31, 40:64]
PA100K_PARTS = {
    part: (names, RANDOM.integers(0, 2, (len(names), 26)))
    for part, names in {
        "train": ["000001.jpg", "000002.jpg", "000003.jpg"],
        "val": ["080001.jpg"],
        "test": ["090001.jpg"],
    }.items()
}


@pytest.fixture
def mat(tmp_path):
    return tmp_path / "RAP_annotation.mat"


def lines(names, labels):
    """Return a list as published: one blank between, none at the end."""
    return "".join(f"{name} {' '.join(map(str, row))}\n" for name, row in zip(names, labels, strict=True))


def texts_of(data_set):
    return {part: rows.text(data_set.line_end) for part, rows in data_set.lists.items()}


# RAP.


@pytest.mark.parametrize(("row", "dtype"), [(False, float), (True, np.uint16), (False, np.int32)])
def test_rap_is_listed_in_the_order_of_its_partition(mat, tmp_path, row, dtype):
    rap1_mat(mat, NAMES, RAP_LABELS, RAP_PARTS, row, dtype)
    annotation = read_rap(mat)
    assert annotation.kind == "RAPv1"
    data_set = annotation.data_set()
    assert (data_set.experiment, data_set.attributes) == ("rap", EXPERIMENTS["rap"].attributes)
    assert texts_of(data_set) == {
        part: lines([NAMES[k - 1] for k in rows], RAP_LABELS[rows - 1]) for part, rows in RAP_PARTS.items()
    }
    assert " 2 " in "".join(texts_of(data_set).values())
    assert data_set.notes == ["2 of 20 pictures are in neither list"]
    written = write_data_set(data_set, tmp_path / "out")
    assert [path.name for path in written.values()] == ["RAP_train_list.txt", "RAP_test_list.txt"]


def test_a_label_matrix_may_lie_on_its_side(mat):
    rap1_mat(mat, NAMES, RAP_LABELS, RAP_PARTS)
    upright = texts_of(read_rap(mat).data_set())
    rap1_mat(mat, NAMES, RAP_LABELS, RAP_PARTS, label=np.pad(RAP_LABELS, ((0, 0), (0, 41))).T)
    assert texts_of(read_rap(mat).data_set()) == upright


def test_raps_attributes_are_chosen_by_either_name(mat):
    rap1_mat(mat, NAMES, RAP_LABELS, RAP_PARTS)
    data_set = read_rap(mat).data_set(["hs-Hat", "Female"])
    assert (data_set.experiment, data_set.attributes) == ("custom", ("Hat", "Female"))
    assert (data_set.lists["test"].labels == RAP_LABELS[PARTS["test"] - 1][:, [12, 0]]).all()
    with pytest.raises(DataError, match=r"low-0 is \d in row \d+, and a label is 0, 1 or 2; leave this"):
        read_rap(mat).data_set(["Female", "low-0"])


def test_rap2_has_selected_columns(mat):
    rap2_mat(mat, NAMES, RAP2_LABELS, PARTS, SELECTED)
    annotation = read_rap(mat)
    assert annotation.kind == "RAPv2"
    data_set = annotation.data_set()
    assert data_set.experiment == "custom"
    assert data_set.attributes[:2] == ("Femal", "shoes-1")
    assert len(data_set.attributes) == 54
    rows_of = {"train": np.r_[PARTS["train"], PARTS["val"]], "test": PARTS["test"]}
    assert texts_of(data_set) == {
        part: lines([NAMES[k - 1] for k in rows], RAP2_LABELS[rows - 1][:, SELECTED - 1])
        for part, rows in rows_of.items()
    }
    assert list(annotation.data_set(separate_val=True).lists) == ["train", "val", "test"]
    for words in (["Femal", "shoes-111"], ["all"]):  # the last columns are no labels
        with pytest.raises(DataError, match=r"shoes-111 is .* in row 1, and a label is 0, 1 or 2"):
            annotation.data_set(words)


# PA-100K.


@pytest.mark.parametrize(("row", "dtype"), [(False, np.uint8), (True, float)])
def test_pa100k_is_listed_as_published(mat, row, dtype):
    pa100k_mat(mat, PA100K_PARTS, row, dtype, tran_label=np.zeros((3, 26)))  # some files have it as well
    annotation = read_pa100k(mat)
    each = {part: lines(names, labels) for part, (names, labels) in PA100K_PARTS.items()}
    both = {"train": each["train"] + each["val"], "test": each["test"]}
    assert texts_of(annotation.data_set()) == both
    assert texts_of(annotation.data_set(separate_val=True)) == each
    assert annotation.data_set().experiment == "pa100k"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"val_images_name": cells([""])}, "val_images_name: row 1 is empty"),
        ({"train_images_name": cells(["a.jpg", [], "b.jpg"])}, "train_images_name: row 2 is empty"),
        ({"train_images_name": cells(["a.jpg", "b.jpg", 7.0])}, "train_images_name: row 3 is no text"),
        ({"train_images_name": np.eye(3)}, "train_images_name is not a cell array"),
        ({"train_label": np.zeros((2, 26))}, "train_label is 2 x 26, expected 3 pictures x 26 columns"),
        ({"train_label": cells(["1"])}, "train_label is no numbers"),
        ({"train_label": np.full((3, 26), 3)}, "Female is 3 in row 1"),
        ({"train_label": np.full((3, 26), np.nan)}, "Female is nan in row 1"),
        ({"train_label": np.full((3, 26), -1)}, "Female is -1 in row 1"),
        ({"attributes": cells(["a"] * 26)}, "two attributes 'a'"),
    ],
)
def test_a_faulty_annotation_is_refused(mat, variables, message):
    pa100k_mat(mat, PA100K_PARTS, **variables)
    with pytest.raises(DataError, match=message):
        read_pa100k(mat).data_set()


def test_a_misspelt_variable_alone_is_named(mat):
    names, labels = PA100K_PARTS["train"]
    variables = {"train_images_name": cells(names), "tran_label": labels, "val_label": labels}
    savemat(mat, {"attributes": cells(["a"] * 26)} | variables)
    with pytest.raises(DataError, match="train_label is missing; the nearest that is there is 'tran_label'"):
        read_pa100k(mat)


# The wrong file.


@pytest.mark.parametrize(
    ("read", "content", "message"),
    [
        (read_pa100k, "rap1", "is the annotation of RAPv1, not of PA-100K; use prepare_data.py rap"),
        (read_pa100k, "peta", "is the annotation of PETA, not of PA-100K; use prepare_data.py peta"),
        (read_peta, "rap2", "is the annotation of RAPv2, not of PETA; use prepare_data.py rap"),
        (read_rap, "pa100k", "of PA-100K, not of RAPv1 or RAPv2; use prepare_data.py pa100k"),
        (lambda path: read_rap(path, 1), "rap2", "of RAPv2, not of RAPv1; get RAPv1's file, which has"),
        (lambda path: read_rap(path, 2), "rap1", "of RAPv1, not of RAPv2; get RAPv2's file"),
        (read_rap, "other", "annotates none of PETA, RAP and PA-100K: it holds x, y; name another"),
        (read_rap, "none", "it holds no variables"),
        (read_rap, "array", "annotates none of PETA"),
    ],
)
def test_the_wrong_file_is_named_for_what_it_is(mat, read, content, message):
    {
        "rap1": lambda: rap1_mat(mat, NAMES, RAP_LABELS, RAP_PARTS),
        "rap2": lambda: rap2_mat(mat, NAMES, RAP2_LABELS, PARTS, SELECTED),
        "peta": lambda: peta_mat(mat),
        "pa100k": lambda: pa100k_mat(mat, PA100K_PARTS),
        "other": lambda: savemat(mat, {"x": 1, "y": "text"}),
        "none": lambda: savemat(mat, {}),
        "array": lambda: savemat(mat, {"RAP_annotation": np.eye(3)}),
    }[content]()
    with pytest.raises(DataError, match=message):
        read(mat)


# Partitions.


def test_what_else_a_partition_holds_is_no_obstacle(mat):
    fields = {"train_index": column([1]), "test_index": column([2]), "made": "in 2015"}
    rap1_mat(mat, NAMES, RAP_LABELS, RAP_PARTS, partion=cells([fields]))
    lists = read_rap(mat, version=1).data_set().lists
    assert {part: rows.names for part, rows in lists.items()} == {"train": NAMES[:1], "test": NAMES[1:2]}


def training(numbers):
    """Return RAPv1's field of one partition with these row numbers."""
    return {"partion": cells([{"train_index": numbers, "test_index": column([2])}])}


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (training(column([1, 99])),
         r"RAP_annotation.partion, partition 0, train_index: 99 is not the number of a row, 1 to 20"),
        (training(column([0])), "0 is not the number"),
        (training(column([1.5])), "1.5 is not the number"),
        (training("1"), "nan is not the number"),
        ({"partion": cells([{"train_index": column([1])}])}, "partition 0 has no test part"),
        ({"partion": np.eye(2)}, "holds no partitions"),
        ({"imagesname": cells(NAMES[:-1])}, "label is 20 x 92, expected 19 pictures"),
    ],
)  # fmt: skip
def test_faulty_partitions_are_refused(mat, field, message):
    rap1_mat(mat, NAMES, RAP_LABELS, RAP_PARTS, **field)
    with pytest.raises(DataError, match=message):
        read_rap(mat).data_set()


def test_what_a_partition_lacks_is_an_error(mat):
    rap1_mat(mat, NAMES, RAP_LABELS, RAP_PARTS)
    with pytest.raises(DataError, match="has 5 partitions, counted from 0; there is no partition 5"):
        read_rap(mat).data_set(partition=5)
    with pytest.raises(DataError, match="no pictures for validation"):
        read_rap(mat).data_set(separate_val=True)


# The published test lists, if they lie beside the checkout.


def test_the_published_test_list_of_rap_comes_back(shared, mat):
    text = (shared / "labels" / "RAP_test_list.txt").read_text("utf-8")
    rows = [line.split() for line in text.splitlines()[::20]]
    names, labels = [row[0] for row in rows], np.array([row[1:] for row in rows], int)
    others = [f"other{k}.png" for k in range(len(names))]
    numbers = np.arange(1, 2 * len(names) + 1)
    parts = {"train": numbers[1::2], "test": numbers[::2]}
    both = [name for pair in zip(names, others, strict=True) for name in pair]
    rap1_mat(mat, both, np.repeat(labels, 2, axis=0), parts)
    assert texts_of(read_rap(mat).data_set())["test"] == "".join(text.splitlines(True)[::20])


def test_the_published_test_list_of_pa100k_comes_back(shared, mat):
    text = "".join((shared / "labels" / "PA100K_test_list.txt").read_text("utf-8").splitlines(True)[::20])
    rows = [line.split() for line in text.splitlines()]
    test = [row[0] for row in rows], np.array([row[1:] for row in rows], int)
    pa100k_mat(mat, PA100K_PARTS | {"test": test, "train": (["1.jpg"], test[1][:1])})
    assert texts_of(read_pa100k(mat).data_set())["test"] == text
