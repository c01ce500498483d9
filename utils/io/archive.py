"""Archives that anyone may have made, .tar and .zip: what they hold, read in place and never unpacked."""

import errno
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from io import BufferedReader
from typing import NamedTuple

from utils.errors import DataError
from utils.io.untrusted import open_regular

SUFFIXES = (".tar", ".zip")
COMPRESSED = (".7z", ".bz2", ".gz", ".rar", ".tbz2", ".tgz", ".txz", ".xz", ".zst")
INSIDE = re.compile(r"\.(?:tar|zip)/", re.IGNORECASE)  # where a path may leave an archive's own name
LINK = "link"
MOST_HEADER = 2**20  # bytes that a tar may say of one member; tarfile would read 8 GB
LOCAL_HEADER = 30  # bytes in front of the name of a zip's member
ENCRYPTED = 0x41  # a zip's flags: encrypted, weakly or strongly
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others cannot be unpacked within a bound
INDICES = 8  # archives whose names are kept at a time


class Member(NamedTuple):
    """A file in an archive: its name there, which may be any text, and where its `size` bytes stand.

    In a tar they begin at `offset`. In a zip a header does; `packed` bytes are behind it, whose checksum is
    `crc` when they are unpacked. `kind` is "link" for what has no bytes of its own. `fault` says why it
    cannot be read; without a name it is the archive's.
    """

    archive: str
    name: str = ""
    offset: int = 0
    size: int = 0
    packed: int | None = None
    is_deflated: bool = False
    crc: int = 0
    kind: str = ""
    fault: str = ""

    def read(self, most: int) -> bytes:
        """Return the bytes. Raises DataError if they are more than `most`, or cannot be read; OSError."""
        if self.fault:
            raise DataError(self.fault)
        if max(self.size, self.packed or 0) > most:
            raise DataError(f"more than {most // 10**6} MB")
        with open_regular(self.archive) as file:
            file.seek(self.offset)
            content = file.read(self.size) if self.packed is None else self.unpacked(file)
        if len(content) != self.size or (self.packed is not None and zlib.crc32(content) != self.crc):
            raise DataError("it is damaged or cut off in the archive")
        return content

    def unpacked(self, file: BufferedReader) -> bytes:
        header = file.read(LOCAL_HEADER)
        file.seek(sum(int.from_bytes(header[k : k + 2], "little") for k in (26, 28)), os.SEEK_CUR)
        content = file.read(self.packed)
        if not self.is_deflated:
            return content
        try:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, self.size + 1)
        except zlib.error:
            return b""


def is_archive(path: str) -> bool:
    return path.lower().endswith(SUFFIXES)


def members(path: str) -> Iterator[Member]:
    """Yield the files of an archive in its order, with its links and devices, without hidden ones. If it is
    damaged or cut off, the last that comes has no name, and its fault says so. Raises OSError.
    """
    suffix, last = path[-4:].lower(), ""
    read = zip_members if suffix == ".zip" else tar_members
    try:
        with open_regular(path) as file:
            for member in read(path, file):
                last = member.name
                if not is_hidden(last):
                    yield member
    except Exception as error:  # tarfile and zipfile let many types pass
        number = getattr(error, "errno", None)
        if isinstance(error, MemoryError) or number not in (None, errno.EINVAL):
            raise
        where = f" behind {last}" if last else f", or no {suffix} archive"
        yield Member(path, fault=f"it is damaged or cut off{where}")


def is_hidden(name: str) -> bool:
    return any(part.startswith(".") and part.strip(".") for part in name.split("/"))


def tar_members(path: str, file: BufferedReader) -> Iterator[Member]:
    with tarfile.TarFile(fileobj=Headers(file), encoding="utf-8", errors="surrogateescape") as archive:
        before = -1
        while member := archive.next():
            archive.members.clear()  # else it keeps all of them
            if archive.offset <= before:  # a negative size would lead in a circle
                raise tarfile.ReadError
            before = archive.offset
            if not member.isdir():
                kind = "" if member.isreg() and member.sparse is None else LINK
                yield Member(path, plain(member.name), member.offset_data, member.size, kind=kind)
        file.seek(archive.offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # tarfile stops there without a word
            raise tarfile.ReadError


class Headers:
    """The file of a tar for tarfile, which is to read no more than headers."""

    def __init__(self, file: BufferedReader):
        self.seek, self.tell, self._read = file.seek, file.tell, file.read

    def read(self, count: int) -> bytes:
        if not 0 <= count <= MOST_HEADER:
            raise tarfile.ReadError
        return self._read(count)


def zip_members(path: str, file: BufferedReader) -> Iterator[Member]:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if member.header_offset < 0:
                raise zipfile.BadZipFile
            if member.is_dir():
                continue
            fault = ""
            if member.flag_bits & ENCRYPTED:
                fault = "it is encrypted"
            elif member.compress_type not in METHODS:
                fault = f"it is compressed by method {member.compress_type}, and only 0 and 8 are read"
            yield Member(
                path,
                plain(member.filename),
                member.header_offset,
                member.file_size,
                member.compress_size,
                member.compress_type == zipfile.ZIP_DEFLATED,
                member.CRC,
                LINK if stat.S_ISLNK(member.external_attr >> 16) else "",
                fault,
            )


def plain(name: str) -> str:
    """Return a member's name without the `./` that `tar -c .` puts in front, and up to a NUL."""
    return name.partition("\0")[0].removeprefix("./")


def find_member(path: str) -> Member | None:
    """Return what `archive.tar/inner/name.jpg` names, the last one of this name, or None. Raises OSError."""
    for match in INSIDE.finditer(path):
        if os.path.isfile(archive := path[: match.end() - 1]):
            return index(archive).get(path[match.end() :])
    return None


@lru_cache(INDICES)
def index(path: str) -> dict[str, Member]:
    return {member.name: member for member in members(path) if not member.kind}
