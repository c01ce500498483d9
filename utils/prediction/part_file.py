"""FILE.part: what is written of each picture, as it comes. If a run is ended, --resume goes on with it."""

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain, cycle, islice
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple

from alm.inference.prediction import Prediction
from utils.errors import DataError
from utils.io.atomic import naming, whole_file
from utils.io.phrases import counted
from utils.io.process import lock, tell
from utils.io.untrusted import open_regular, parsed
from utils.prediction.batched import Ranks
from utils.prediction.sources import Source
from utils.prediction.tally import Tally
from utils.prediction.writers import Output, Writer


class Record(NamedTuple):
    """What stays of a picture: which file it was, its title, its sheet's place, its size, and the text of it
    in each output. One that could not be read has no size and no text.
    """

    file: str
    title: str
    place: str
    size: tuple[int, int] | None = None
    texts: Sequence[str] = ()


class Records(Writer):
    """Writes a line per picture: a digest of the rest of it, because a crash of the machine may leave
    anything, and the Record as JSON.
    """

    def __init__(self, file: IO, outputs: Sequence[Output]):
        self.file, self.outputs = file, outputs

    def write(self, source: Source, prediction: Prediction) -> None:
        self.add(source, prediction.size, [output.text(source, prediction) for output in self.outputs])

    def leave_out(self, source: Source) -> None:
        self.add(source)

    def add(self, source: Source, *about) -> None:
        text = json.dumps(Record(identity(source), source.title, source.place, *about))
        self.file.write(f"{short_digest(text)} {text}\n")

    def finish(self) -> None:
        """Let other processes read all of it."""
        self.file.flush()
        os.fsync(self.file.fileno())


class PartFile:
    """The records of a run, or of one of several processes that share a run, behind a line of JSON, which
    says what they follow from.
    """

    def __init__(self, target: str, basis: Mapping[str, object], ranks: Ranks):
        """`target` is the file to write, and `basis` what its contents follow from, by the options that say
        it.
        """
        self.target, self.basis, world = Path(target), json.dumps(basis), ranks.world
        names = (
            [f"{target}.part.{k}of{world}" for k in range(1, world + 1)] if world > 1 else [f"{target}.part"]
        )
        self.paths = list(map(Path, names))  # of all processes
        self.path = self.paths[ranks.rank]
        self._end: int | None = None  # of the records that stay

    def is_begun(self, may_resume: bool) -> bool:
        """Whether an ended run is there to go on with. Raises DataError if it is there and may not be, or if
        it is of another number of processes.
        """
        name = re.compile(re.escape(self.target.name) + r"\.part(\.\d+of\d+)?")
        begun = [path for path in self.target.parent.iterdir() if name.fullmatch(path.name)]
        begun = sorted(filter(has_records, begun))
        if begun and not may_resume:
            raise DataError(f"{begun[0]} is of a run that was ended; go on with --resume, or remove the file")
        if others := [path for path in begun if path not in self.paths]:
            raise DataError(
                f"{others[0]} is of a run on another number of processes; start as many, or remove the file"
            )
        return bool(begun)

    def resume(self, pictures: Iterator[Source], batch_size: int) -> tuple[int, Iterator[Source]]:
        """Return how many pictures' records stay, and the pictures that remain. Records behind the last whole
        batch are dropped, so that each batch is computed as if nothing had happened.

        Raises DataError if the records follow from anything else, or are of other pictures.
        """
        if not has_records(self.path):
            return 0, pictures
        number, behind = 0, []
        with open_regular(self.path) as file:
            self.check_basis(parsed(file.readline().decode(errors="replace")))
            end = file.tell()
            for record in whole_records(file):
                number += 1
                behind.append(self.next_picture(pictures, number, record))
                if number % batch_size == 0:
                    end, behind = file.tell(), []
        self._end = end
        return number - len(behind), chain(behind, pictures)

    def check_basis(self, theirs) -> None:
        ours = json.loads(self.basis)
        if not isinstance(theirs, dict) or theirs.keys() != ours.keys():
            raise DataError(f"{self.path} is not a file that this predict.py writes; remove it")
        for option, value in ours.items():
            if theirs[option] != value:
                other = f"{option} ({str(theirs[option])[:60]})"
                raise DataError(f"{self.path} was begun with another {other}; give that, or remove the file")

    def next_picture(self, pictures: Iterator[Source], number: int, record: Record) -> Source:
        source = next(pictures, None)
        if source is None or source.title != record.title:
            here = "none" if source is None else source.title
            raise DataError(
                f"{self.path}: picture {number} is {record.title} there and {here} here; give the same "
                "PATHs, or remove the file"
            )
        if identity(source) != record.file:
            raise DataError(
                f"{self.path}: picture {number}, {record.title}, is another file now, or has changed; give "
                f"the one that was read, or remove {self.path}"
            )
        return source

    @contextmanager
    def opened(self) -> Iterator[IO]:
        """Give the file, to write behind its last record. If an error or a signal comes, it stays, unless it
        has no prediction. Otherwise `finish` is to follow. Raises AlmError if another process is writing it.
        """
        with naming(self.path), open(self.path, "ab") as locked:
            lock(locked, f"{self.path}: another predict.py is writing it at this moment; let that end first")
            if self._end is not None:
                locked.truncate(self._end)
            try:
                with open(self.path, "a", encoding="utf-8") as file:
                    if not file.tell():
                        file.write(f"{self.basis}\n")
                        file.flush()
                    yield file
            except BaseException:
                with suppress(OSError):
                    self.leave()
                raise

    def leave(self) -> None:
        if number := sum(record.size is not None for record in records_of(self.path)):
            line = f"{self.path}: {counted(number, 'picture')}; the same command with --resume goes on"
            tell(line, to=sys.stderr)
        else:
            self.path.unlink()

    def records(self, batch_size: int) -> Iterator[Record]:
        """Yield the records of all processes, which took the batches in turn, as one process has them."""
        for records in cycle(map(records_of, self.paths)):
            batch = list(islice(records, batch_size))
            if not batch:
                return
            yield from batch

    def check_shared(self) -> None:
        """Raise DataError if this process does not see the files of all others."""
        if missing := [path for path in self.paths if not path.exists()]:
            raise DataError(
                f"{missing[0]} is not to be seen by all processes; name files on a file system that their "
                "machines share"
            )

    def finish(self, outputs: Sequence[Output], batch_size: int, number: int, tally: Tally) -> Tally:
        """Make the outputs of what all processes have done, `number` pictures; return the tally of them.

        Raises DataError if no picture was predicted: then no file is replaced.
        """
        for record in self.records(batch_size):
            tally.add(record.title, record.place, record.size)
        if tally.number != number:
            raise DataError(
                f"{self.path}: {tally.number} of {number} pictures are there; the same command with --resume "
                "computes the others anew"
            )
        if tally.predicted:
            write_outputs(outputs, self.records(batch_size))
        for path in self.paths:
            path.unlink()
        tally.check()
        return tally


def records_of(path: Path) -> Iterator[Record]:
    with open_regular(path) as file:
        file.readline()
        yield from whole_records(file)


def has_records(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def write_outputs(outputs: Sequence[Output], records: Iterable[Record]) -> None:
    """Write the files from the texts of their records."""
    with ExitStack() as stack:
        files = [stack.enter_context(whole_file(output.path, "w")) for output in outputs]
        for file, output in zip(files, outputs, strict=True):
            file.write(output.head)
        for record in records:
            for file, text in zip(files, record.texts, strict=False):  # none if it could not be read
                file.write(text)


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
    return short_digest(json.dumps([os.path.realpath(source.file), state.st_size, state.st_mtime_ns]))


def short_digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def whole_records(file: BinaryIO) -> Iterator[Record]:
    """Yield records up to the first that is not as it was written. `file` stands behind each as it comes."""
    for line in iter(file.readline, b""):
        seal, _, text = line.decode("ascii", "replace").partition(" ")
        if not text.endswith("\n") or seal != short_digest(text[:-1]):
            return
        yield Record(*json.loads(text))
