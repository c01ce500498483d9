"""MATLAB's files as plain values, what else people are handed, and damage that scipy would not survive."""

import contextlib
import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import savemat
from scipy.sparse import eye_array
from support.official import cells

from utils.errors import DataError
from utils.prepare import matlab
from utils.prepare.matlab import read_matlab


@pytest.fixture
def mat(tmp_path):
    return tmp_path / "a.mat"


@pytest.mark.parametrize("packed", [False, True])
def test_values_are_plain(mat, packed):
    variables = {
        "number": np.arange(6.0).reshape(2, 3),
        "complex": np.array([[1 + 2j]]),
        "text": "some text",
        "lines": np.array(["one  ", "three"]),
        "names": cells(["a.jpg", "", "日.png"]),
        "flag": np.array([[True, False]]),
        "nested": {
            "part": cells([{"train": np.array([[1, 2]])}, {"train": np.array([[3]])}]),
            "empty": cells([]),
        },
        "records": np.array([(1, 2), (3, 4)], [("x", "u1"), ("y", "f8")]),
    }
    savemat(mat, variables, do_compression=packed)
    values = read_matlab(mat)
    assert list(values) == list(variables)
    assert values["number"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert values["complex"].item() == 1 + 2j
    assert values["text"] == "some text"
    assert values["lines"] == ["one  ", "three"]
    assert [name for name in values["names"] if len(name)] == ["a.jpg", "日.png"]
    assert values["flag"].tolist() == [[1, 0]]
    assert [part["train"].tolist() for part in values["nested"]["part"]] == [[[1, 2]], [[3]]]
    assert values["nested"]["empty"] == []
    assert [record["y"].item() for record in values["records"]] == [2, 4]


# What people are handed instead.


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html><head><title>302</title></head>".ljust(137), "a web page, not a MATLAB"),
        (b"\xef\xbb\xbf\n <html>", "is a web page"),
        (b"a.jpg 0 1 0\n" * 999, "is text, not a MATLAB"),
        (b"", "is empty"),
        (b"PK\x03\x04\0\0", "is a zip archive, .*; unpack it"),
        (b"\x1f\x8b\x08\0", "is packed by gzip"),
        (b"Rar!\x1a\x07", "is a rar archive"),
        (b"\x80\x04\x95", "is a pickle of Python, which is not opened"),
        (struct.pack("<5i", 0, 1, 1, 0, 2) + b"x\0" + bytes(8), "is of MATLAB 4, .* with '-v7'"),
        (b"BM\1\2\0\0" * 99, "is of an unknown kind"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM".ljust(400) + b"\x89HDF\r\n\x1a\n", "7.3 .*'-v7'"),
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


# Damage. What scipy reads it believes: it would end the process, or take memory for hours.


def element(kind, content, order="<"):
    return struct.pack(order + "II", kind, len(content)) + content + b"\0" * (-len(content) % 8)


def array(kind, shape, *parts, order="<"):
    """Return an array's element: its class, its shape, its name, and what else lies in it."""
    head = element(6, struct.pack(order + "II", kind, 0), order)
    head += element(5, struct.pack(f"{order}{len(shape)}i", *shape), order) + element(1, b"x", order)
    return element(14, head + b"".join(parts), order)


def file_of(*elements, order="<"):
    version = b"\x00\x01IM" if order == "<" else b"\x01\x00MI"
    return b"MATLAB 5.0 MAT-file".ljust(124) + version + b"".join(elements)


@pytest.mark.parametrize("order", ["<", ">"])
def test_text_is_read_as_matlab_writes_it(mat, order):
    """In 16 bits a character, which scipy would cut to 8 unasked."""
    text = element(4, "é日".encode("utf-16-le" if order == "<" else "utf-16-be"), order)
    mat.write_bytes(file_of(array(4, (1, 2), text, order=order), order=order))
    assert read_matlab(mat) == {"x": "é日"}


def test_sparse_arrays_are_refused(mat):
    savemat(mat, {"sparse": eye_array(3).tocsc(), "x": 1.5})
    with pytest.raises(DataError, match="sparse array"):
        read_matlab(mat)


@pytest.mark.parametrize("kind", [3, 16, 17])
def test_objects_and_function_handles_are_refused(mat, kind):
    mat.write_bytes(file_of(array(1, (1, 1), array(kind, (1, 1), array(6, (1, 2), TWO)))))
    with pytest.raises(DataError, match="an object or a function handle"):
        read_matlab(mat)


HUGE = 2**31 - 1
FIELDS = struct.pack("<HHi", 5, 4, 8) + element(1, b"field\0\0\0")
NESTED = element(14, b"")
for _ in range(20):
    NESTED = array(1, (1, 1), NESTED)
TWO = element(9, struct.pack("<2d", 1, 2))
WHOLE = zlib.compress(array(6, (1, 2), TWO))
BOMB = element(15, zlib.compress(array(9, (1, 2**20), element(2, bytes(2**20)))))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (file_of(array(1, (HUGE, 1))), "declares 2147483647 cells in 48 bytes"),
        (file_of(array(1, (HUGE, HUGE))), "declares 4611686014132420609 cells"),
        (file_of(array(2, (HUGE, 1), FIELDS)), "declares 2147483647 cells"),
        (file_of(array(1, (1, 1), struct.pack("<II", 14, HUGE))), "no whole array"),
        (file_of(array(1, (1, 1), TWO)), "no whole array"),
        (file_of(array(6, (HUGE, 4), TWO)), "damaged"),
        (file_of(array(4, (2, HUGE), element(16, b"ab"))), "damaged"),
        (file_of(array(6, (HUGE, 1), struct.pack("<II", 9, HUGE))), "no whole numbers"),
        (file_of(array(6, (2, 1), element(77, b"12345678"))), "no whole numbers"),
        (file_of(array(6, (1, 1), array(6, (1, 2), TWO))), "no whole numbers"),
        (file_of(array(6, (1, 2)), array(6, (1, 2), TWO)), "cut short|no whole numbers"),
        (file_of(array(6, (1, 2), TWO, TWO)), "another size"),
        (file_of(array(6, (1, 2), TWO), array(6, (1, 2), TWO)), "Duplicate variable name"),
        (file_of(array(6, (2, 1), struct.pack("<HH4x", 6, 7) + TWO)), "no whole numbers"),
        (file_of(element(14, element(6, b"") + TWO)), "without a class"),
        (file_of(array(4, (), element(16, b"ab"))), "without a class or a shape"),
        (file_of(element(14, b"1234")), "cut short"),
        (file_of(struct.pack("<II", 14, HUGE), b"1234"), "no whole array"),
        (file_of(NESTED), "more than 16 deep"),
        (file_of(element(15, b"12345678")), "Error -3"),
        (file_of(element(15, WHOLE[:-4] + b"1234")), "incorrect data check"),
        (file_of(element(15, WHOLE[:-4])), "cut short"),
        (file_of(BOMB, BOMB), "more than 1 MB"),
    ],
)  # fmt: skip
def test_damage_is_an_error_that_takes_no_memory(mat, monkeypatch, content, message):
    monkeypatch.setattr(matlab, "MOST_BYTES", 2**20 + 2**19)
    mat.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=message) as error:
            read_matlab(mat)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()
    assert str(error.value).startswith(str(mat))
    assert str(error.value).endswith("; get the file again")


def test_a_file_that_is_too_large_is_not_read(mat, monkeypatch):
    monkeypatch.setattr(matlab, "MOST_BYTES", 2**20)
    mat.write_bytes(file_of(bytes(2**21)))
    with pytest.raises(DataError, match="more than 1 MB"):
        read_matlab(mat)


@pytest.mark.parametrize(("error", "message"), [(MemoryError(), "memory"), (KeyError("x"), "damaged .'x'")])
def test_whatever_scipy_raises_is_an_error_of_the_file(mat, monkeypatch, error, message):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(scipy.io, "loadmat", fail)
    mat.write_bytes(file_of())
    with pytest.raises(DataError, match=message):
        read_matlab(mat)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_an_error_or_read(mat, data):
    """Whatever bytes are changed or cut off; tests/nightly/test_fuzz.py damages whole annotations."""
    file = io.BytesIO()
    variables = {"s": {"names": cells(["a", "b"]), "x": np.eye(2)}}
    savemat(file, variables, do_compression=data.draw(st.booleans()))
    content = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(128, len(content) - 1))] = data.draw(st.integers(0, 255))
    mat.write_bytes(content[: data.draw(st.integers(128, len(content)))])
    with contextlib.suppress(DataError):
        read_matlab(mat)
