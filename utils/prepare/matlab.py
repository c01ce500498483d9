"""MATLAB's .mat files as plain values. A file is data: nothing in it is executed."""

import io
import math
import struct
import warnings
import zlib
from pathlib import Path

from utils.errors import DataError
from utils.io.untrusted import open_regular

MOST_BYTES = 2**29  # of a file, and of its unpacked variables; RAPv2's annotation, the largest, has 0.1 GB
DEEPEST = 16  # arrays in arrays; the annotations have 5
HEADER, TAG = 128, 8  # bytes of a file's head, and those before each element: its type and its size
MATRIX, PACKED = 14, 15  # types of elements: an array, a packed one
NUMBERS = frozenset((1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 18))  # the types of numbers and of text
CELL, STRUCT, CHAR, NUMERIC, COMPLEX = 1, 2, 4, range(6, 16), 0x800  # classes of arrays, and a flag

SAVE_AGAIN = "load it in MATLAB and save it again with '-v7'"
# What people have instead: its first bytes, what it is, what to do.
OTHERS = (
    (b"MATLAB 7.3", "a MATLAB 7.3 file, which is HDF5", SAVE_AGAIN),
    (b"\x89HDF", "a MATLAB 7.3 file, which is HDF5", SAVE_AGAIN),
    (b"PK\x03\x04", "a zip archive", "unpack it"),
    (b"\x1f\x8b", "packed by gzip", "unpack it"),
    (b"Rar!", "a rar archive", "unpack it"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it"),
    (b"\x80", "a pickle of Python, which is not opened", "get the official .mat file"),
)


def read_matlab(path: str | Path) -> dict:
    """Return a .mat file's variables by name.

    Numbers are arrays (rows, columns); a row of text is a str, several are a list of str; cells are a list,
    columns first; a struct is a dict, an array of structs a list of dict. Raises DataError if the
    file is another, damaged or too large, or holds a sparse array, an object or a function handle.
    """
    from scipy.io import loadmat  # here, since most commands never need it

    try:
        with open_regular(path, MOST_BYTES) as file:
            data = file.read()
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}); check the path") from error
    order = {b"IM": "<", b"MI": ">"}.get(data[126:HEADER])
    if order is None or data.startswith(b"MATLAB 7.3"):
        what, remedy = other_kind(data)
        raise DataError(f"{path} is {what}, not a MATLAB 5 to 7 file; {remedy}")
    try:
        data = unpacked(data, order)
        check_arrays(data, order, HEADER, len(data))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a newer numpy says of scipy is no fault of the file
            warnings.filterwarnings("error", "Unreadable variable|Duplicate variable")
            encoding = "utf-16-le" if order == "<" else "utf-16-be"
            variables = loadmat(io.BytesIO(data), uint16_codec=encoding)
        return {name: plain(value) for name, value in variables.items() if not name.startswith("__")}
    except struct.error:
        raise DataError(f"{path} is cut short within an array; get the file again") from None
    except MemoryError:
        raise DataError(
            f"{path} needs more memory than there is; close other programs, or get the file again"
        ) from None
    except Exception as error:  # scipy raises errors of many kinds
        fault = str(error).partition("\n")[0] or type(error).__name__
        raise DataError(f"{path} is damaged ({fault}); get the file again") from error


def other_kind(data: bytes) -> tuple[str, str]:
    """Return what a file is that has no head of MATLAB 5, and what to do."""
    for start, what, remedy in OTHERS:
        if data.startswith(start):
            return what, remedy
    remedy = "get the official .mat file"
    if not data:
        return "empty", remedy
    if b"\0" in data[:4]:
        return "of MATLAB 4, or of an unknown kind", f"{SAVE_AGAIN}, or {remedy}"
    if b"\0" in data:
        return "of an unknown kind", remedy
    if data[:4096].decode("utf-8-sig", "replace").lstrip().startswith("<"):
        return "a web page", "download the file itself"
    return "text", remedy


def unpacked(data: bytes, order: str) -> bytes:
    """Return the file with its variables unpacked. Raises ValueError if they have more than MOST_BYTES."""
    parts, position, room = [data[:HEADER]], HEADER, MOST_BYTES
    while position < len(data):
        kind, size = struct.unpack_from(order + "2I", data, position)
        start, position = position, position + TAG + size
        part = data[start:position]
        if kind == PACKED:
            stream = zlib.decompressobj()
            part = stream.decompress(part[TAG:], room + 1)
            if not stream.eof and len(part) <= room:
                raise ValueError("a variable is cut short")
        room -= len(part)
        if room < 0:
            raise ValueError(f"its variables have more than {MOST_BYTES >> 20} MB")
        parts.append(part)
    return b"".join(parts)


def check_arrays(data: bytes, order: str, position: int, end: int, depth: int = 0) -> None:
    """Raise ValueError if what lies between two positions is not whole arrays, or more than DEEPEST deep.

    scipy believes a file: one wrong byte can make it read past its own tables, which ends the process, or
    take the memory and the stack that a file declares.
    """
    if depth > DEEPEST:
        raise ValueError(f"arrays lie more than {DEEPEST} deep in arrays")
    while position < end:
        kind, size = struct.unpack_from(order + "2I", data, position)
        start, position = position + TAG, position + TAG + size
        if kind != MATRIX or position > end:
            raise ValueError(f"no whole array at byte {start - TAG}")
        if size:
            check_array(data, order, start, position, depth)


def check_array(data: bytes, order: str, start: int, end: int, depth: int) -> None:
    """Raise ValueError if an array's class is none that is read, or its parts do not fill it."""
    *head, flags, _, shape_type, shape_size = struct.unpack_from(order + "6I", data, start)
    kind = flags & 0xFF
    if head != [6, 8] or shape_type != 5 or shape_size < 8:  # rows and columns
        raise ValueError(f"an array without a class or a shape at byte {start}")
    if kind not in NUMERIC and kind not in (CELL, STRUCT, CHAR):
        raise ValueError("it holds a sparse array, an object or a function handle: save it without")
    position = after_numbers(data, order, start + 16, end)
    position = after_numbers(data, order, position, end)  # the name
    if kind in (CELL, STRUCT):
        cells = math.prod(struct.unpack_from(f"{order}{shape_size // 4}I", data, start + 24))
        if cells * TAG > end - start:
            raise ValueError(f"it declares {cells} cells in {end - start} bytes")
        for _ in range(2 if kind == STRUCT else 0):  # the length of the fields' names, and the names
            position = after_numbers(data, order, position, end)
        check_arrays(data, order, position, end, depth + 1)
        return
    for _ in range(2 if flags & COMPLEX else 1):
        position = after_numbers(data, order, position, end)
    if position != end:
        raise ValueError(f"an array of another size than it declares at byte {start}")


def after_numbers(data: bytes, order: str, position: int, end: int) -> int:
    """Return where numbers or text end; ValueError if there are none, or they are cut short."""
    kind, size = struct.unpack_from(order + "2I", data, position)
    start = position + TAG
    after = start + (size + 7) // 8 * 8
    if kind >> 16:  # up to four bytes lie in the tag itself
        kind, size, after = kind & 0xFFFF, kind >> 16, start
    if kind not in NUMBERS or size > after - position - 4 or after > end:
        raise ValueError(f"no whole numbers at byte {position}")
    return after


def plain(value):
    """Return what scipy has read as read_matlab returns it."""
    if value.dtype.names:
        structs = [dict(zip(value.dtype.names, map(plain, one), strict=True)) for one in value.ravel("F")]
        return structs[0] if len(structs) == 1 else structs
    if value.dtype == object:
        return [plain(cell) for cell in value.ravel("F")]
    if value.dtype.kind == "U":
        return value.tolist() if value.size > 1 else "".join(value.flat)
    return value
