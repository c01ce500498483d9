"""Damaged files without end, made of whole ones: cut, flipped, spliced; the seed decides all."""

import io
import random
import tempfile
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from support import THOROUGH

CASES = 30_000 if THOROUGH else 400  # for each reader
TOGETHER = 50  # cases of one draw: drawing takes longer than reading
MEMORY = Path("/dev/shm")  # a disk would take longer than both
SECONDS = 10  # that no file of a few thousand bytes may take
EDITS = ("flip", "byte", "cut", "insert", "splice", "repeat", "end")
PIECES = (b"\0", b"\xff" * 4, b"\n", b" ", b",", b"-1", b"nan", b"1e999", b"9" * 30, b"\x1b[2J", b"[" * 2000,
          b'"', b"\xe2\x80\xae", b"\xed\xa0\x80", b"\x7f\xff\xff\xff", b"\x80", b"(", b".")  # fmt: skip

fuzzed = settings(
    max_examples=-(-CASES // TOGETHER),
    derandomize=not THOROUGH,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


class Whole(NamedTuple):
    """A file to damage: the bytes that are edited, and what makes a file of them, such as right checksums."""

    content: bytes
    seal: Callable[[bytes], bytes] = bytes


def fuzz(corpus: Sequence[bytes | Whole], read: Callable[[Path], object], documented) -> None:
    """Give damaged forms of a corpus to `read`, which may raise `documented` and nothing else, nor warn."""
    wholes = [entry if isinstance(entry, Whole) else Whole(entry) for entry in corpus]
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        path = Path(directory, "file")

        @fuzzed
        @given(st.integers(0, 2**64 - 1))
        def run(seed):
            for case in range(seed, seed + TOGETHER):
                path.write_bytes(damaged(wholes, case))
                since = time.perf_counter()
                with warnings.catch_warnings(), suppress(documented):
                    warnings.simplefilter("error")
                    read(path)
                assert time.perf_counter() - since < SECONDS, f"seed {case} takes too long"

        run()


def damaged(wholes: Sequence[Whole], seed: int) -> bytes:
    """Return one of the files after up to five edits; the seed decides all."""
    draw = random.Random(seed)
    whole = draw.choice(wholes)
    content = bytearray(whole.content)
    for _ in range(draw.randrange(6)):
        edit(content, draw.choice(wholes).content, draw)
    return whole.seal(bytes(content))


def edit(content: bytearray, other: bytes, draw: random.Random) -> None:
    """Damage a file's bytes at one place."""
    kind, number = draw.choice(EDITS), draw.randrange(2**16)
    at = draw.randrange(len(content) + 1)
    size = number % 64 + 1
    if kind == "flip" and at < len(content):
        content[at] ^= 1 << number % 8
    elif kind == "byte" and at < len(content):
        content[at] = number % 256
    elif kind == "cut":
        del content[at : at + size]
    elif kind == "insert":
        content[at:at] = PIECES[number % len(PIECES)]
    elif kind == "splice":
        content[at : at + size] = other[at % (len(other) + 1) :][:size]
    elif kind == "repeat":
        content[at:at] = content[at : at + size] * (number % 20)
    elif kind == "end":
        del content[at:]


def part_of_zip(file: bytes, name: str) -> Whole:
    """Return a zip of which one part is damaged, and its checksums are right."""
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        parts = {entry: archive.read(entry) for entry in archive.namelist()}
    place = next(entry for entry in parts if entry.endswith(name))

    def seal(content: bytes) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for entry, part in (parts | {place: content}).items():
                archive.writestr(entry, part)
        return out.getvalue()

    return Whole(parts[place], seal)


def with_right_sums(png: bytes) -> Whole:
    """Return a PNG that is damaged, and its checksums are right."""

    def seal(content: bytes) -> bytes:
        out, at = content[:8], 8
        while at + 12 <= len(content):
            end = at + 8 + int.from_bytes(content[at : at + 4], "big")
            out += content[at:end] + zlib.crc32(content[at + 4 : end]).to_bytes(4, "big")
            at = end + 4
        return out

    return Whole(png, seal)


def within_compressed(mat: bytes) -> list[Whole]:
    """Return a .mat file of compressed variables, once for each: what is damaged is what it unpacks to."""
    wholes, at = [], 128
    while at < len(mat):
        end = at + 8 + int.from_bytes(mat[at + 4 : at + 8], "little")
        before, after = mat[:at], mat[end:]

        def seal(content: bytes, before=before, after=after) -> bytes:
            packed = zlib.compress(content)
            return before + (15).to_bytes(4, "little") + len(packed).to_bytes(4, "little") + packed + after

        wholes.append(Whole(zlib.decompress(mat[at + 8 : end]), seal))
        at = end
    return wholes
