"""MATLAB's .mat files of version 5 (`-v6`, `-v7`) as plain values. A file is data: nothing in it is executed.

Format: "MAT-File Format", The MathWorks, chapter 1. It is read here and not by scipy, which allocates what a
file declares before it reads and follows nesting of any depth: no size is believed here before as many bytes
lie in the file.
"""

import os
import struct
import zlib
from pathlib import Path

from utils.data.list_file import DataError
from utils.io.untrusted import open_regular
from utils.prepare.matlab_array import MATRIX, TAG, DamageError, Reader

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
