"""MATLAB's .mat files of version 5 (`-v6`, `-v7`) as plain values. A file is data: nothing in it is executed.

Format: "MAT-File Format", The MathWorks, chapter 1. It is read here and not by scipy, which allocates what a
file declares before it reads and follows nesting of any depth: no size is believed here before as many bytes
lie in the file.
"""

import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np

from utils.errors import DataError
from utils.io.untrusted import open_regular

DEEPEST = 16  # arrays in arrays

TAG = 8  # bytes before each element: its type and its size
MATRIX = 14  # the type of an array; the others hold numbers or text
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
CELL, STRUCT, CHAR, OPAQUE = 1, 2, 4, 17  # classes of arrays
NUMERIC = range(6, 16)
UNREAD = {3: "an object", 5: "a sparse array", 16: "a function handle", OPAQUE: "an object of a class"}


class DamageError(Exception):
    """What is wrong with a file; read_matlab adds its name."""


class Unread:
    """An array that is of no use here, and what it is."""

    def __init__(self, kind: str):
        self.kind = kind


class Reader:
    """Reads the arrays that lie in `data`; all positions are bytes of it."""

    def __init__(self, data: memoryview, order: str):
        self.data, self.order = data, order
        self.tag_format = struct.Struct(order + "II")

    def element(self, position: int, end: int) -> tuple[int, int, int, int]:
        """Return type, start and stop of the element at `position`, and where the next one is."""
        if position + TAG > end:
            raise DamageError("is cut short within an array")
        kind, size = self.tag_format.unpack_from(self.data, position)
        start = position + TAG
        after = start + (size + 7) // 8 * 8
        if kind >> 16:  # up to four bytes lie in the tag itself
            kind, size, start, after = kind & 0xFFFF, kind >> 16, position + 4, start
            if size > 4:
                raise DamageError("is damaged: a small element of more than 4 bytes")
        stop = start + size
        if stop > end:
            raise DamageError(f"declares {size} bytes where {end - start} are left")
        return kind, start, stop, min(after, end)

    def numbers(self, position: int, end: int) -> tuple[np.ndarray, int]:
        """Return the numbers of an element, (n,), and where the next one is."""
        kind, start, stop, after = self.element(position, end)
        if kind not in NUMBERS:
            raise DamageError(f"is damaged: an element of type {kind} where numbers are expected")
        dtype = np.dtype(self.order + NUMBERS[kind])
        if (stop - start) % dtype.itemsize:
            raise DamageError("is damaged: half a number at the end of an array")
        return np.frombuffer(self.data[start:stop], dtype), after

    def text(self, position: int, end: int) -> tuple[str, int]:
        """Return an element's text and where the next one is; what is not in its encoding becomes U+FFFD."""
        kind, start, stop, after = self.element(position, end)
        if kind not in TEXTS:
            raise DamageError(f"is damaged: an element of type {kind} where text is expected")
        encoding = TEXTS[kind]
        if encoding in ("utf-16", "utf-32"):
            encoding += "-le" if self.order == "<" else "-be"
        return str(self.data[start:stop], encoding, "replace"), after

    def array(self, position: int, end: int, depth: int):
        """Return name and value of the array between two positions."""
        if depth > DEEPEST:
            raise DamageError(f"nests arrays more than {DEEPEST} deep, as no annotation does")
        if position == end:
            return "", np.empty((0, 0))
        flags, position = self.numbers(position, end)
        if not len(flags):
            raise DamageError("is damaged: an array without a class")
        kind = int(flags[0]) & 0xFF
        if kind == OPAQUE:
            return self.text(position, end)[0], Unread(UNREAD[kind])
        shape, position = self.numbers(position, end)
        shape = tuple(int(length) for length in shape)
        if len(shape) < 2 or min(shape) < 0:
            raise DamageError(f"is damaged: an array of shape {shape}")
        name, position = self.text(position, end)
        return name, self.value(kind, shape, position, end, depth)

    def value(self, kind: int, shape: tuple[int, ...], position: int, end: int, depth: int):
        """Return the value of an array of this class and shape."""
        count = math.prod(shape)
        if kind == CELL:
            return self.children(count, position, end, depth)
        if kind == STRUCT:
            return self.structs(count, position, end, depth)
        if kind == CHAR:
            return self.rows_of_text(shape, position, end)
        if kind not in NUMERIC:
            return Unread(UNREAD.get(kind, f"an array of class {kind}"))
        values, _ = self.numbers(position, end)
        if len(values) != count:
            raise DamageError(f"declares {count} numbers and holds {len(values)}")
        return values.reshape(shape, order="F")

    def children(self, count: int, position: int, end: int, depth: int) -> list:
        """Return the values of `count` arrays that lie one behind the other."""
        if count * TAG > end - position:
            raise DamageError(f"declares {count} cells where {end - position} bytes are left")
        values = []
        for _ in range(count):
            kind, start, stop, position = self.element(position, end)
            if kind != MATRIX:
                raise DamageError(f"is damaged: an element of type {kind} where an array is expected")
            values.append(self.array(start, stop, depth + 1)[1])
        return values

    def structs(self, count: int, position: int, end: int, depth: int) -> dict | list[dict]:
        """Return a struct as a dict, several as a list of dict."""
        lengths, position = self.numbers(position, end)
        length = int(lengths[0]) if len(lengths) else 0
        _, start, stop, position = self.element(position, end)
        if length < 1 or (stop - start) % length:
            raise DamageError("is damaged: field names that are cut short")
        raw = bytes(self.data[start:stop])
        names = [
            raw[at : at + length].partition(b"\0")[0].decode("latin-1") for at in range(0, len(raw), length)
        ]
        values = self.children(count * len(names), position, end, depth)
        width = max(len(names), 1)
        structs = [
            dict(zip(names, values[at : at + width], strict=True)) for at in range(0, len(values), width)
        ]
        return structs[0] if len(structs) == 1 else structs

    def rows_of_text(self, shape: tuple[int, ...], position: int, end: int) -> str | list[str]:
        """Return a row of characters as text, several as a list; they lie in the file columns first."""
        if not math.prod(shape):
            return ""
        text, _ = self.text(position, end)
        if shape[0] == 1:
            return text
        if len(text) != math.prod(shape):
            raise DamageError(f"declares {math.prod(shape)} characters and holds {len(text)}")
        return [text[row :: shape[0]] for row in range(shape[0])]


MOST_BYTES = 2**29  # unpacked; RAPv2's annotation, the largest of those known, has 0.1 GB
MOST_RATIO = 1040  # of zlib: it packs nothing tighter than 1032 to 1
HEADER, COMPRESSED = 128, 15
HEAD = 4096  # bytes that tell what a file is

# What people are handed instead: its first bytes, what it is, what to do.
OTHERS = (
    (b"PK\x03\x04", "a zip archive", "unpack it"),
    (b"\x1f\x8b", "packed by gzip", "unpack it"),
    (b"Rar!", "a rar archive", "unpack it"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it"),
    (b"\x80", "a pickle of Python, which is not opened", "get the official .mat file"),
)


def read_matlab(path: str | Path) -> dict:
    """Return a .mat file's variables by name.

    Numbers are arrays as they lie in the file, (rows, columns); a row of text is a str, several are a list
    of str; cells are a list, columns first; a struct is a dict, an array of structs a list of dict. Raises
    DataError naming what the file is instead, or where it is damaged or declares more than it holds.
    """
    try:
        with open_regular(path) as file:
            head = file.read(HEAD)
            order = byte_order(path, head)
            size = os.fstat(file.fileno()).st_size
            data = head + file.read() if size <= MOST_BYTES else b""
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}); check the path") from error
    if not data:
        raise DataError(
            f"{path} has more than {MOST_BYTES >> 20} MB, as no annotation has; get the file anew"
        )
    try:
        return read_variables(data, order)
    except DamageError as damage:
        raise DataError(f"{path} {damage}; get the file anew") from None


def byte_order(path, head: bytes) -> str:
    """Return "<" or ">"; DataError naming what the file is where it is no .mat file of version 5."""
    if head.startswith((b"MATLAB 7.3", b"\x89HDF")):
        raise DataError(
            f"{path} is a MATLAB 7.3 file, which is HDF5; convert it in MATLAB: s = "
            f"load('{Path(path).name}'); save('converted.mat', '-struct', 's', '-v7')"
        )
    order = {b"IM": "<", b"MI": ">"}.get(head[126:128])
    if order and head[124:126] in (b"\x00\x01", b"\x01\x00"):
        return order
    what, way = what_it_is(head)
    raise DataError(f"{path} is {what}, not a MATLAB file; {way}")


def what_it_is(head: bytes) -> tuple[str, str]:
    """Return what a file is that is no .mat file, from its first bytes, and what to do."""
    anew = "get the official .mat file"
    if not head:
        return "empty", anew
    for start, what, way in OTHERS:
        if head.startswith(start):
            return what, way
    if b"\0" in head:
        return "of an unknown kind", anew
    if head.decode("utf-8-sig", "replace").lstrip().startswith("<"):
        return "a web page", "download the file itself"
    return "text", anew


def read_variables(data: bytes, order: str) -> dict:
    """Return name -> value of a file's arrays."""
    variables, position, unpacked = {}, HEADER, 0
    while position + TAG <= len(data):
        kind, size = struct.unpack_from(order + "II", data, position)
        start = position + TAG
        position = start + size
        if position > len(data):
            raise DamageError(f"is cut short: {size} bytes declared, {len(data) - start} there")
        element = memoryview(data)[start:position]
        if kind == COMPRESSED:
            element, kind = unpack(element, order, MOST_BYTES - unpacked)
            unpacked += len(element)
        if kind == MATRIX:
            name, value = Reader(element, order).array(0, len(element), 0)
            variables[name] = value
    return variables


def unpack(packed: memoryview, order: str, most: int) -> tuple[memoryview, int]:
    """Return the one element that a compressed one holds, and its type. The size that it declares is checked
    before anything of it is unpacked.
    """
    stream = zlib.decompressobj()
    try:
        tag = stream.decompress(packed, TAG)
        if len(tag) < TAG:
            raise DamageError("is cut short in a compressed array")
        kind, size = struct.unpack(order + "II", tag)
        if size > min(most, MOST_RATIO * len(packed)):
            raise DamageError(
                f"declares an array of {size} bytes, more than it can hold or than is read here"
            )
        content = stream.decompress(stream.unconsumed_tail, size) if size else b""
        rest = stream.decompress(stream.unconsumed_tail, 1)  # reaches the checksum, which must be right
    except zlib.error as error:
        raise DamageError(f"is damaged ({error})") from None
    if len(content) < size:
        raise DamageError(f"is cut short: {size} bytes declared, {len(content)} there")
    if rest or not stream.eof:
        raise DamageError("is damaged: a compressed array that does not end where it says")
    return memoryview(content), kind
