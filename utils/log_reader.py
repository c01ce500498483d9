"""Read the losses of a training run from whatever its log has become: text, JSON, colours, UTF-16, gzip."""

import codecs
import gzip
import math
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from utils.logger import LogError

CHUNK_BYTES = 1 << 20
LONGEST_RECORD = 1 << 13  # bytes; one that is longer may be missed where two chunks meet

# A loss must be followed by something: one that a crash cut short is no loss.
# Each pattern starts with plain letters, which `re` finds fastest.
_NUMBER = rb"([-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|(?i:nan|inf(?:inity)?)))"
_TEXT_LINE = re.compile(
    rb"TCAPPDLL \S+ \S+ - Epoch: (\d{1,9}) Iteration: (\d{1,9}) +rank : (\d{1,9}) +train\.loss : "
    + _NUMBER
    + rb"(?=\s)"
)
_JSON_EVENT = re.compile(rb"TCAPPDLL \{[^{}\r\n]*\{[^{}\r\n]*\}[^{}\r\n]*\}")
_EPOCH_LINE = re.compile(rb"Epoch: \[(\d{1,9})\]\[(\d{1,9})/\d+\][^\r\n]{0,200}?\bLoss " + _NUMBER + rb" \(")

# Inside an event; its inner braces are those of `data`, either a string that holds a dict,
# "{'train.loss': '3.5'}", or an object, {"train.loss": 3.5}.
_STEP = re.compile(rb'"step": ?\[(\d{1,9}), ?(\d{1,9})\]')
_RANK = re.compile(rb"""rank(?<=\Wrank)\\?['"]: ?\\?['"]?(\d{1,9})""")
_LOSS = re.compile(rb"""train\.loss\\?['"]: ?\\?['"]?""" + _NUMBER)

_COLOUR = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]")

Step = tuple[int, int]  # (epoch, iteration)

# A file may hold the same iterations in several formats; the first of these that it has is used.
FORMATS = ("text", "JSON", "Epoch")


@dataclass(frozen=True)
class LossLog:
    """The training losses of one rank.

    Attributes:
        path: the file they were read from.
        format: "text" (our lines), "JSON" (the JSON stream) or "Epoch" (`Epoch: [e][i/n]` lines).
        losses: (epoch, iteration) -> loss; the last value of a repeated iteration.
        repeated: how many lines gave an iteration that an earlier line had given.
        first_nonfinite: ((epoch, iteration), loss) of the first NaN or infinity in the file, repeated
            later or not; None where all losses are finite.
    """

    path: str
    format: str
    losses: dict[Step, float]
    repeated: int
    first_nonfinite: tuple[Step, float] | None


def read_losses(path: str | Path, rank: int = 0) -> LossLog:
    """Read a training log, in a stream, and return its `LossLog`.

    Understood are our text log, the JSON stream and, in a file without losses of single iterations, the
    published `Epoch: [e][i/n] ... Loss v (avg)` lines, which name no rank. Everything else in the file
    is passed over. The file may be UTF-8, UTF-16 with a byte order mark, or gzip of either.

    Args:
        path: the log file.
        rank: the process whose losses are wanted, where several wrote into one file.

    Raises:
        LogError: the file cannot be read, is empty or binary, or holds no loss of this rank.
    """
    losses = {name: {} for name in FORMATS}
    lines = Counter()
    first_nonfinite = {}
    ranks = set()
    for name, record_rank, step, loss in _records(_chunks(path)):
        ranks.add(record_rank)
        if record_rank == rank or record_rank is None:
            losses[name][step] = loss
            lines[name] += 1
            if not math.isfinite(loss):
                first_nonfinite.setdefault(name, (step, loss))
    ranks.discard(None)
    if ranks and rank not in ranks:
        present = ", ".join(map(str, sorted(ranks)))
        raise LogError(f"{path}: no losses of rank {rank}, only of rank {present}; choose one of these")
    for name in FORMATS:
        if losses[name]:
            repeated = lines[name] - len(losses[name])
            return LossLog(str(path), name, losses[name], repeated, first_nonfinite.get(name))
    raise LogError(
        f"{path}: no losses found, neither 'TCAPPDLL ... train.loss' nor 'Epoch: [e][i/n] ... Loss' lines; "
        "give the log that the training printed"
    )


def _records(chunks: Iterable[bytes]) -> Iterator[tuple[str, int | None, Step, float]]:
    """Yield (format, rank or None, (epoch, iteration), loss) for each loss in the byte chunks."""
    rest = b""
    for chunk in chunks:
        text = rest + chunk
        if b"\x1b" in text:
            text = _COLOUR.sub(b"", text)
        end = 0
        for match in _TEXT_LINE.finditer(text):
            end = match.end()
            epoch, iteration, rank, loss = match.groups()
            yield "text", int(rank), (int(epoch), int(iteration)), float(loss)
        for match in _JSON_EVENT.finditer(text):
            end = max(end, match.end())
            yield from _json_losses(match[0])
        for match in _EPOCH_LINE.finditer(text):
            end = max(end, match.end())
            epoch, iteration, loss = match.groups()
            yield "Epoch", None, (int(epoch), int(iteration)), float(loss)
        # What follows the last record may begin the next one; a file without line ends must not pile up here.
        rest = text[max(end, len(text) - LONGEST_RECORD) :]


def _json_losses(event: bytes) -> Iterator[tuple[str, int | None, Step, float]]:
    """Yield the record of one JSON event; none for METADATA or an evaluation."""
    step, rank, loss = (pattern.search(event) for pattern in (_STEP, _RANK, _LOSS))
    if step and loss:
        yield "JSON", int(rank[1]) if rank else 0, (int(step[1]), int(step[2])), float(loss[1])


def _chunks(path: str | Path) -> Iterator[bytes]:
    """Yield the file's text as chunks of UTF-8 bytes, unpacked."""
    try:
        with open(path, "rb") as file:
            packed = file.peek(2).startswith(b"\x1f\x8b")
            with gzip.GzipFile(fileobj=file) if packed else file as unpacked:
                yield from _utf8_chunks(unpacked, path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise LogError(f"{path}: damaged gzip file ({error}); copy it again") from error
    except OSError as error:
        raise LogError(f"{path}: cannot be read ({error.strerror or error}); give a training log") from error


def _utf8_chunks(file: BinaryIO, path: str | Path) -> Iterator[bytes]:
    chunk = file.read(CHUNK_BYTES)
    if not chunk:
        raise LogError(f"{path}: the log is empty; give the log that the training printed")
    if chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        decoder = codecs.getincrementaldecoder("utf-16")(errors="replace")
        while chunk:
            yield decoder.decode(chunk).encode("utf-8")
            chunk = file.read(CHUNK_BYTES)
    elif b"\0" in chunk[:256]:  # not further down: a crash may leave zeros at the end of a log
        raise LogError(f"{path}: a binary file; give a training log, as text or as gzip of text")
    else:
        while chunk:
            yield chunk
            chunk = file.read(CHUNK_BYTES)
