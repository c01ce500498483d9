"""Tables of one's own labels, in every shape that is about."""

import pytest

from utils.errors import DataError
from utils.prepare.table import read_table, table_data_set

TABLE = "Image,Hat,Bag\na.jpg,0,1\nb.PNG,1,0\n"
LABELS = [[0, 1], [1, 0]]


@pytest.fixture
def read(tmp_path):
    """Read a table with this text; `names` is the text of a file of names."""

    def read(text, names=None, **options):
        content = text.encode() if isinstance(text, str) else text
        (tmp_path / "labels.csv").write_bytes(content)
        if names is not None:
            (tmp_path / "names.txt").write_text(names, "utf-8")
            options["attributes_file"] = tmp_path / "names.txt"
        return read_table(tmp_path / "labels.csv", **options)

    return read


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (TABLE, {}),
        (TABLE.replace(",", "\t"), {}),
        (TABLE.replace("\n", "\r\n"), {}),
        (TABLE.replace(",", ";"), {}),
        (TABLE.encode("utf-16"), {}),
        (TABLE.replace(",", "\t").encode("utf-16"), {}),
        ('"Image; or file","Hat",Bag\na.jpg,0,1\nb.PNG,1,0\n', {}),
        ("Image;Hat;Bag\na.jpg;0,0;1\nb.PNG;1,0;0,00\n", {}),
        ("Image;Hat;Bag\na.jpg;1;2\nb.PNG;2;1\n", {"negative": "1", "positive": "2"}),
        ("Image,Hat,Bag\na.jpg,1,2\nb.PNG,2,1.0\n", {"negative": "1", "positive": "2"}),
        ("Image,Hat,Bag\na.jpg,no,y\nb.PNG,Y,0\n", {"positive": "y"}),
        (TABLE.rstrip(), {}),
        ("\ufeff" + TABLE + "\n,,\n", {}),
        (TABLE.replace("Image", "# Image"), {}),
        (TABLE.replace("Image", "filename"), {}),
        (TABLE.replace("\n", ",\n"), {}),
        ("image,Hat,Bag\na.jpg,False,TRUE\nb.PNG,Yes,no\n", {}),
        ("image,Hat,Bag\na.jpg,0.0, 1.0\nb.PNG , 1,0\n", {}),
        ("image,Hat,Bag\na.jpg,-1,1\nb.PNG,1.0,-1.0\n", {"negative": "-1"}),
        ("image,Hat,Bag\na.jpg,absent,1\nb.PNG,yes,Absent\n", {"negative": "absent"}),
        ('image,"Hat",Bag\n"a.jpg", 0, "1"\nb.PNG,1,0\n', {}),
        ('image 5"\tHat\tBag\na.jpg\t0\t1\nb.PNG\t1\t0\n', {}),
        ("image,id,Bag,x,Hat\na.jpg,9,1,q,0\nb.PNG,8,0,,1\n", {"names": "Hat\nBag\n"}),
        ("a.jpg,0,1\nb.PNG,1,0\n", {"names": "Hat\nBag\n"}),
        ("a.jpg;0,1\nb.PNG;1,0,\n", {"names": "Hat\nBag"}),
        ("a.jpg\t0,1\nb.PNG\t1,0,\n", {"names": "Hat\n\nBag"}),
        ("Image\tlabels\na.jpg\t0, 1\nb.PNG\t1,0\n", {"names": "Hat\nBag\n"}),
        ('Image,labels\na.jpg,"0,1"\nb.PNG,"1,0"\n', {"names": "Hat\nBag\n"}),
    ],
)
def test_a_table_of_any_shape(read, text, options):
    table = read(text, **options)
    assert table.rows.names == ["a.jpg", "b.PNG"]
    assert table.rows.labels.tolist() == LABELS
    assert table.attributes == ("Hat", "Bag")
    assert table.parts is None


def test_a_2_stays_a_2(read):
    """If it is rarer than a no and than a yes, or if two words are named."""
    text = "i,Hat\na.jpg,2\nb.jpg,1\nc.jpg,0\nd.jpg,1\ne.jpg,0\n"
    assert read(text).rows.labels.tolist() == [[2], [1], [0], [1], [0]]
    for options in ({"negative": "0", "positive": "1"}, {"positive": "1", "unknown": "2"}):
        assert read("i,Hat\na.jpg,2\nb.jpg,1\n", **options).rows.labels.tolist() == [[2], [1]]
    labels = read(text, negative="1", positive="2", unknown="0").rows.labels
    assert labels.tolist() == [[1], [0], [2], [0], [2]]


@pytest.mark.parametrize("words", ["1 2", "1", "2", "0 2", "yes 2", "1.0 2.0", "0 1 2", "0 0 0 1 1 2 2"])
def test_a_column_that_does_not_tell_no_from_yes_is_refused(read, words):
    column = "".join(f"{k}.jpg,{k % 2},{word}\n" for k, word in enumerate(words.split() * 2))
    number = {word.removesuffix(".0"): 2 * words.split().count(word) for word in sorted(words.split())}
    shown = ", ".join(f"{word} on {lines} lines" for word, lines in number.items())
    with pytest.raises(DataError, match=f"labels.csv: Hat is {shown}, which does not .* --negative 1 --pos"):
        read("i,Bag,Hat\n" + column)


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("0", {}),
        ("yes", {}),
        ("no", {}),
        ("1 no", {}),
        ("0 1 2 1 0", {}),
        ("1", {"negative": "-1"}),
        ("no", {"positive": "1"}),
    ],
)
def test_a_column_that_tells_them_apart_may_lack_one(read, words, options):
    column = "".join(f"{k}.jpg,{word}\n" for k, word in enumerate(words.split()))
    assert len(read("i,Hat\n" + column, **options).rows.labels) == len(words.split())


def test_a_line_end_in_a_title_is_a_blank(read):
    assert read('i,"Long\r\nhair",Hat\na.jpg,0,0\n').attributes == ("Long hair", "Hat")


def test_a_column_may_have_any_name(read):
    """Also the word that --attributes has for all of PETA's."""
    assert read("i,Hat,all\na.jpg,5,0\n", names="all").rows.labels.tolist() == [[0]]


def test_windows_paths_become_ours(read):
    assert read("i,Hat\n.\\people\\a.JPEG,0\n").rows.names == ["people/a.JPEG"]


def test_a_split_column(read):
    table = read(
        "i,Hat,Set\na.jpg,1,Train\nb.jpg,0,valid\nc.jpg,0,testing\nd.jpg,1,train\n", split_column="Set"
    )
    assert table.attributes == ("Hat",)
    data_set = table_data_set(table)
    assert {part: rows.names for part, rows in data_set.lists.items()} == {
        "train": ["a.jpg", "d.jpg"],
        "val": ["b.jpg"],
        "test": ["c.jpg"],
    }


def test_a_data_set_of_ones_own_has_names(read):
    data_set = table_data_set(read(TABLE), {"train": [1], "test": [0]})
    assert data_set.files() == {
        "train.txt": "b.PNG 1 0\n",
        "test.txt": "a.jpg 0 1\n",
        "attributes.txt": "Hat\nBag\n",
    }


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "labels.csv is empty"),
        ("Image,Hat\n", {}, "has a header and no pictures"),
        ("Image Hat\na.jpg 0\n", {}, "no labels behind the pictures; separate the columns by commas, semi"),
        (TABLE + "c.jpg\n", {}, "labels.csv:4: c.jpg has no labels; write them"),
        (TABLE + "c.jpg,1\n", {}, "labels.csv:4: Bag is '', and a label is one of 0, false, no, 1"),
        (TABLE + "c.jpg,1,0,1\n", {}, "labels.csv:4: 4 cells, but the first line has 3"),
        (TABLE + "c.jpg,1,30\n", {}, "labels.csv:4: Bag is '30', .* choose the columns .* --attributes FILE"),
        (TABLE + "c.jpg,1,-1\n", {}, "labels.csv:4: Bag is '-1', .*; if -1 means no, add --negative -1"),
        (
            "i,Hat\na.jpg,0\n",
            {"negative": "-1"},
            r"labels.csv:2: Hat is '0', and a label is one of 1, true, yes, 2 \(unknown\), -1;",
        ),
        (TABLE + "c.txt,1,0\n", {}, "labels.csv:4: 'c.txt' is no picture"),
        (TABLE + ".\\a.jpg,0,1\n", {}, "labels.csv:4: a.jpg is on line 2 already"),
        ("i,Hat,Hat\na.jpg,1,0\n", {}, "two attributes 'Hat'"),
        ("i,,Hat\na.jpg,1,0\n", {}, "attribute 1 of .* has no name"),
        ("a.jpg,1,0\n", {}, "has no header; give the attributes' names with --attributes"),
        ("a.jpg,1,0\n", {"names": "Hat"}, "has 2 columns of labels, but .*names.txt 1 names"),
        ("a.jpg\t1,0\n", {}, "has one cell of labels; give the attributes' names with --attributes"),
        ("a.jpg\t1,0\nb.jpg\t1\n", {"names": "Hat\nBag"}, "labels.csv:2: 1 label for 2 attributes"),
        ("a.jpg\t1,0\nb.jpg\t1,,\n", {"names": "Hat\nBag"}, "labels.csv:2: Bag is ''"),
        (TABLE, {"names": "Hat\nBags"}, "the header of .* has no attribute 'Bags'; the nearest is 'Bag'"),
        (TABLE, {"split_column": "Set"}, "no column 'Set' behind the pictures; the nearest is '"),
        ("a.jpg,1,train\n", {"split_column": "Set", "names": "Hat"}, "has no header, so no column 'Set'"),
        (
            "i,Hat,Set\na.jpg,1,x\n",
            {"split_column": "Set"},
            "labels.csv:2: the split is 'x'; write train, val",
        ),
        ("i,Hat,Set\na.jpg,1\n", {"split_column": "Set"}, "labels.csv:2: the split is ''"),
        (b"i,Hat\na\xff.jpg,1\n", {}, "labels.csv is not text; give a text file in UTF-8"),
        ('i,Hat\na.jpg,"0\n', {}, "labels.csv:2: unexpected end of data; save the table again"),
        ("i,Hat\na.jpg," + "1" * 200_000 + "\n", {}, "labels.csv:2: field larger than"),
    ],
)
def test_a_bad_table_is_refused_by_line(read, text, options, message):
    with pytest.raises(DataError, match=message):
        read(text, **options)


def test_a_table_without_training_pictures_is_refused(read):
    with pytest.raises(DataError, match="no picture for training"):
        table_data_set(read("i,Hat,Set\na.jpg,0,test\n", split_column="Set"))
