"""FILE.part: the rows of a CSV file while they come. A run that is ended leaves it; --resume goes on."""

import csv
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, takewhile
from pathlib import Path
from typing import IO, BinaryIO

from alm.inference.prediction import Prediction
from utils.errors import DataError
from utils.io.atomic import naming, whole_file
from utils.io.phrases import counted
from utils.io.process import tell
from utils.io.untrusted import open_regular, parsed
from utils.prediction.sources import Source
from utils.prediction.writers import Writer, csv_row, storable

Earlier = tuple[Source, bool]  # a picture that has a row, and whether it could be read


class Rows(Writer):
    """Writes one row per picture, of an unreadable one its path alone: FILE lacks that row. Behind it stand
    the identity of the picture's file, and a digest of the row: a crash of the machine may leave anything.
    """

    def __init__(self, file: IO, is_full: bool):
        self.writer = csv.writer(file, lineterminator="\n")
        self.is_full = is_full

    def write(self, source: Source, prediction: Prediction) -> None:
        self.seal(source, csv_row(source, prediction, self.is_full))

    def leave_out(self, source: Source) -> None:
        self.seal(source, [storable(source.title)])

    def seal(self, source: Source, row: list) -> None:
        row = [*row, identity(source)]
        self.writer.writerow([*row, short_digest(row)])


class PartFile:
    """Rows behind a line of JSON, which says what they follow from."""

    def __init__(self, target: str, header: Sequence[str], basis: Mapping[str, object]):
        """`target` is the CSV file, `header` its first row, and `basis` what the others follow from, by the
        options that say it.
        """
        self.target, self.header, self.basis = target, header, json.dumps(basis)
        self.path = Path(f"{target}.part")

    def has_rows(self) -> bool:
        return self.path.exists() and self.path.stat().st_size > 0

    def resume(self, pictures: Iterator[Source], batch_size: int) -> tuple[list[Earlier], Iterator[Source]]:
        """Return the pictures whose rows stay, and those that remain. Rows behind the last whole batch are
        dropped, so that each batch is computed as if nothing had happened.

        Raises DataError if the rows follow from anything else, or are of other pictures.
        """
        earlier, kept = [], 0
        with open_regular(self.path) as file:
            self.check_basis(parsed(file.readline().decode(errors="replace")))
            end = file.tell()
            for row, file_then in whole_rows(file):
                source = self.next_picture(pictures, len(earlier) + 1, row[0], file_then)
                earlier.append((source, len(row) > 1))
                if len(earlier) % batch_size == 0:
                    kept, end = len(earlier), file.tell()
        os.truncate(self.path, end)
        return earlier[:kept], chain((source for source, _ in earlier[kept:]), pictures)

    def check_basis(self, theirs) -> None:
        ours = json.loads(self.basis)
        if not isinstance(theirs, dict) or theirs.keys() != ours.keys():
            raise DataError(f"{self.path} is not a file that this predict.py writes; remove it")
        for option, value in ours.items():
            if theirs[option] != value:
                other = f"{option} ({str(theirs[option])[:60]})"
                raise DataError(f"{self.path} was begun with another {other}; give that, or remove the file")

    def next_picture(self, pictures: Iterator[Source], number: int, name: str, file_then: str) -> Source:
        source = next(pictures, None)
        if source is None or storable(source.title) != name:
            here = "none" if source is None else source.title
            raise DataError(
                f"{self.path}: picture {number} is {name} there and {here} here; give the same PATHs, or "
                "remove the file"
            )
        if identity(source) != file_then:
            raise DataError(
                f"{self.path}: picture {number}, {name}, is another file now, or has changed; give the one "
                f"that was read, or remove {self.path}"
            )
        return source

    @contextmanager
    def opened(self) -> Iterator[IO]:
        """Give the file, to write behind its last row. At the end it becomes the CSV file. If an error or a
        signal comes first, it stays, unless it has no prediction.
        """
        try:
            with naming(self.path), open(self.path, "a", encoding="utf-8", newline="") as file:
                if not file.tell():
                    file.write(f"{self.basis}\n")
                yield file
            self.finish()
        except BaseException:
            with suppress(OSError):
                self.leave()
            raise

    def finish(self) -> None:
        with whole_file(self.target, "w") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self.header)
            writer.writerows(row for row, _ in self.rows() if len(row) > 1)
        self.path.unlink()

    def leave(self) -> None:
        if number := sum(len(row) > 1 for row, _ in self.rows()):
            line = f"{self.path}: {counted(number, 'picture')}; the same command with --resume goes on"
            tell(line, to=sys.stderr)
        else:
            self.path.unlink()

    def rows(self) -> Iterator[tuple[list[str], str]]:
        with open_regular(self.path) as file:
            file.readline()
            yield from whole_rows(file)


def digest(path: str) -> str:
    """Return a digest of a file's bytes."""
    state = hashlib.sha256()
    with open_regular(path) as file:
        for block in iter(lambda: file.read(2**20), b""):
            state.update(block)
    return state.hexdigest()


def identity(source: Source) -> str:
    """Return a digest of which file a picture is: its real path, size and time. It is "" without a file."""
    try:
        state = os.stat(source.file)
    except (OSError, ValueError):  # a path may come with a NUL
        return ""
    return short_digest((os.path.realpath(source.file), state.st_size, state.st_mtime_ns))


def short_digest(cells: Iterable) -> str:
    text = json.dumps(list(map(str, cells)))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def whole_rows(file: BinaryIO) -> Iterator[tuple[list[str], str]]:
    """Yield rows, each with the identity of its file, up to the first that is not as it was written; `file`
    stands behind each when it comes.
    """
    lines = takewhile(lambda line: line.endswith(b"\n"), iter(file.readline, b""))
    with suppress(csv.Error, UnicodeDecodeError):
        for row in csv.reader((line.decode() for line in lines), strict=True):
            if row[-1:] != [short_digest(row[:-1])]:
                return
            yield row[:-2], row[-2]
