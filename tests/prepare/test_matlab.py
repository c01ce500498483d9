"""MATLAB's files as plain values, what else people are handed, and sizes that nobody has to believe."""

import contextlib
import io
import struct
import tempfile
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.io import loadmat, savemat
from scipy.sparse import eye_array
from support.official import cells

from utils.errors import DataError
from utils.prepare import matlab
from utils.prepare.matlab import Unread, read_matlab

NUMBERS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")


def saved(path, variables, compressed=False):
    savemat(path, variables, do_compression=compressed)
    return path


@pytest.fixture
def mat(tmp_path):
    return tmp_path / "a.mat"


@pytest.mark.parametrize("compressed", [False, True])
def test_values_are_plain(mat, compressed):
    variables = {
        "number": np.arange(6.0).reshape(2, 3),
        "text": "some text",
        "lines": np.array(["one  ", "three"]),
        "names": cells(["a.jpg", "", "日.png", "longer than others"]),
        "flag": np.array([[True, False]]),
        "nested": {
            "part": cells([{"train": np.array([[1, 2]])}, {"train": np.array([[3]])}]),
            "empty": cells([]),
        },
        "records": np.array([(1, 2), (3, 4)], [("x", "u1"), ("y", "f8")]),
    }
    found = read_matlab(saved(mat, variables, compressed))
    assert found["number"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["text"] == "some text"
    assert found["lines"] == ["one  ", "three"]
    assert [name for name in found["names"] if len(name)] == ["a.jpg", "日.png", "longer than others"]
    assert found["flag"].tolist() == [[1, 0]]
    assert [part["train"].tolist() for part in found["nested"]["part"]] == [[[1, 2]], [[3]]]
    assert found["nested"]["empty"] == []
    assert [record["y"].item() for record in found["records"]] == [2, 4]


@given(
    values=st.sampled_from(NUMBERS).flatmap(
        lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=5))
    ),
    compressed=st.booleans(),
)
def test_numbers_are_what_scipy_reads(values, compressed):
    file = io.BytesIO()
    savemat(file, {"x": values}, do_compression=compressed)
    expected = loadmat(file)["x"]
    found = read_bytes(file.getvalue())["x"]
    np.testing.assert_array_equal(found, expected)
    assert found.shape == expected.shape


@given(
    names=st.lists(st.text("a1.é日 ", max_size=9), max_size=9),
    row=st.booleans(),
)
def test_text_is_what_scipy_reads(names, row):
    file = io.BytesIO()
    savemat(file, {"x": cells(names, row)})
    found = [str(name) if isinstance(name, str) else "" for name in read_bytes(file.getvalue())["x"]]
    expected = [str(cell[0]) if len(cell) else "" for cell in loadmat(file)["x"].ravel()]
    assert found == expected


def read_bytes(content):
    """Return the variables of a file with this content."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.mat")
        path.write_bytes(content)
        return read_matlab(path)


def test_what_is_not_needed_is_no_obstacle(mat):
    found = read_matlab(saved(mat, {"sparse": eye_array(3).tocsc(), "x": 1.5}))
    assert isinstance(found["sparse"], Unread)
    assert found["x"].item() == 1.5


# What people are handed instead.


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"<!DOCTYPE html><html><head><title>302</title></head>".ljust(137),
            "is a web page, not a MATLAB file",
        ),
        (b"\xef\xbb\xbf\n <html>", "is a web page"),
        (b"a.jpg 0 1 0\n" * 999, "is text, not a MATLAB file"),
        (b"", "is empty"),
        (b"PK\x03\x04\0\0", "is a zip archive, .*; unpack it"),
        (b"\x1f\x8b\x08\0", "is packed by gzip"),
        (b"Rar!\x1a\x07", "is a rar archive"),
        (b"\x80\x04\x95", "is a pickle of Python, which is not opened"),
        (b"\0\0\0\0" * 99, "is of an unknown kind"),
        (
            b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n",
            r"'-struct', 's', '-v7'",
        ),
        (b"\x89HDF\r\n\x1a\n\0", "is a MATLAB 7.3 file, which is HDF5"),
    ],
)
def test_other_files_are_named(mat, content, message):
    mat.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_matlab(mat)


def test_a_file_that_is_not_there(mat):
    with pytest.raises(DataError, match="No such file"):
        read_matlab(mat)


# Sizes that are not there: refused before memory is taken.


def element(kind, content):
    return struct.pack("<II", kind, len(content)) + content + b"\0" * (-len(content) % 8)


def array(kind, shape, *parts, name=b"x"):
    """Return an array's element: its class, its shape, its name, and what else lies in it."""
    head = element(6, struct.pack("<II", kind, 0)) + element(5, struct.pack(f"<{len(shape)}i", *shape))
    return element(14, head + element(1, name) + b"".join(parts))


def file_of(*elements):
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + b"".join(elements)


@contextlib.contextmanager
def at_most(limit):
    """Fail where more bytes than this are taken at a time."""
    tracemalloc.start()
    try:
        yield
    finally:
        taken = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        if taken > limit:
            pytest.fail(f"{taken} bytes taken")


HUGE = 2**31 - 1
FIELD = element(1, b"field\0\0\0")
NESTED = element(14, b"")
for _ in range(5000):
    NESTED = array(1, (1, 1), NESTED)
SMALL_NUMBERS = element(9, struct.pack("<2d", 1, 2))
WHOLE = zlib.compress(array(6, (1, 2), SMALL_NUMBERS))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (file_of(array(1, (HUGE, 1))), "declares 2147483647 cells where 0 bytes are left"),
        (file_of(array(1, (HUGE, HUGE))), "cells where 0 bytes"),
        (file_of(array(2, (HUGE, 1), element(5, b"\x08\0\0\0"), FIELD)), "cells where 0"),
        (file_of(array(2, (1, 1), element(5, b"\0\0\0\0"), FIELD)), "field names"),
        (file_of(array(6, (HUGE, 4), SMALL_NUMBERS)), "declares 8589934588 numbers and holds 2"),
        (file_of(array(6, (1, 3), SMALL_NUMBERS)), "declares 3 numbers and holds 2"),
        (file_of(array(4, (2, HUGE), element(16, b"ab"))), "declares 4294967294 characters and holds 2"),
        (file_of(array(6, (-1, 2), SMALL_NUMBERS)), r"an array of shape \(-1, 2\)"),
        (file_of(array(6, (2,), SMALL_NUMBERS)), r"an array of shape \(2,\)"),
        (file_of(array(6, (2, 1), element(77, b"12345678"))), "type 77 where numbers"),
        (file_of(array(4, (1, 2), element(9, b"12345678"))), "type 9 where text"),
        (file_of(array(6, (2, 1), element(9, b"123456789012"))), "half a number"),
        (file_of(array(1, (1, 1), SMALL_NUMBERS)), "type 9 where an array"),
        (file_of(array(1, (1, 1), struct.pack("<II", 14, HUGE))), "2147483647 bytes where 0 are left"),
        (file_of(element(14, element(6, b""))), "without a class"),
        (file_of(element(14, b"1234")), "cut short within an array"),
        (file_of(element(14, struct.pack("<HH4x", 6, 7) + b"1" * 8)), "small element of more than 4"),
        (file_of(NESTED), "nests arrays more than 16 deep"),
        (file_of(struct.pack("<II", 14, HUGE), b"1234"), "is cut short: 2147483647 bytes declared, 4 there"),
        (file_of(element(15, zlib.compress(struct.pack("<II", 14, HUGE)))), "2147483647 bytes, more"),
        (file_of(element(15, zlib.compress(struct.pack("<II", 14, 99) + b"1"))), "99 bytes declared, 1"),
        (file_of(element(15, zlib.compress(b"1"))), "cut short in a compressed array"),
        (file_of(element(15, b"12345678")), "is damaged .Error -3"),
        (file_of(element(15, WHOLE[:-4] + b"1234")), "is damaged .Error -3 .*incorrect data check"),
        (file_of(element(15, WHOLE[:-4])), "a compressed array that does not end where it says"),
        (file_of(element(15, zlib.compress(element(14, b"") + b"more"))), "does not end where it says"),
    ],
)  # fmt: skip
def test_absurd_sizes_take_no_memory(mat, content, message):
    mat.write_bytes(content)
    with pytest.raises(DataError, match=message) as error, at_most(2**21):
        read_matlab(mat)
    assert str(error.value).startswith(str(mat))
    assert str(error.value).endswith("; get the file anew")


def test_what_unpacks_to_too_much_is_refused_before_it_is_unpacked(mat, monkeypatch):
    """Many zeros in few bytes, in two arrays whose declared sizes are true."""
    packed = element(15, zlib.compress(array(9, (1, 2**20), element(2, bytes(2**20)))))
    mat.write_bytes(file_of(packed, packed))
    monkeypatch.setattr(matlab, "MOST_BYTES", 2**20 + 2**19)
    with pytest.raises(DataError, match="more than it can hold or than is read"), at_most(3 * 2**20):
        read_matlab(mat)


def test_a_file_that_is_too_large_is_not_read(mat, monkeypatch):
    monkeypatch.setattr(matlab, "MOST_BYTES", 2**20)
    mat.write_bytes(file_of(bytes(2**21)))
    with pytest.raises(DataError, match="has more than 1 MB"):
        read_matlab(mat)


def test_big_endian_files_are_read(mat):
    head = struct.pack(">IIII", 6, 8, 6, 0) + struct.pack(">IIii", 5, 8, 1, 2)
    head += struct.pack(">HHc3x", 1, 1, b"x") + struct.pack(">HHBBxx", 2, 2, 7, 9)
    content = struct.pack(">II", 14, len(head)) + head
    mat.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + content)
    assert read_matlab(mat)["x"].tolist() == [[7, 9]]


@given(st.data())
def test_a_damaged_file_is_an_error_or_read(data):
    """Whatever bytes are changed or cut off: never another exception, never much memory."""
    file = io.BytesIO()
    savemat(
        file, {"s": {"names": cells(["a", "b"]), "x": np.eye(2)}}, do_compression=data.draw(st.booleans())
    )
    content = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(128, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(128, len(content)))]
    with contextlib.suppress(DataError):
        read_bytes(bytes(content))
