"""Read the losses of a training run from whatever its log has become: text, JSON, colours, UTF-16, gzip."""

import codecs
import gzip
import math
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from utils.errors import LogError
from utils.io.untrusted import open_regular

CHUNK_BYTES = 1 << 20
MOST_BYTES = 1 << 30  # unpacked: seven million iterations
LONGEST_RECORD = 1 << 13  # bytes; one that is longer may be missed where two chunks meet

# A loss must be followed by something: one that a crash cut short is no loss.
# Blanks and capitals are as every port has them, and what separates a record's parts may be a bar or a comma.
_DIGITS = rb"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|(?i:nan|inf(?:inity)?))"
_NUMBER = rb"(" + _DIGITS + rb")(?=[\s|,;)\]])"
_COLON, _GAP = rb"[ \t]*:[ \t]*", rb"[ \t|,;]+"
_EPOCH = rb"[Ee](?i:poch)[ \t]*:?[ \t]*"
_TEXT_HEAD = re.compile(
    _EPOCH + rb"(\d{1,9})" + _GAP + rb"(?i:iteration|iter|step)[ \t]*:?[ \t]*(\d{1,9})(?!\d)"
)
# The rest of a line, or of a torn one that another record follows.
_TEXT_TAIL = re.compile(rb"[^\r\nEeT]*(?:(?!" + _EPOCH + rb"\d|TCAPPDLL)[EeT][^\r\nEeT]*)*[\r\n]?")
_TEXT_RANK = re.compile(rb"\b(?i:rank)[ \t]*[:=][ \t]*(\d{1,9})")
_RANK_BEFORE = re.compile(rb"\b(?i:rank)[ \t]*[:=]?[ \t]*(\d{1,9})[^\r\n]*\Z")  # [rank1]: Epoch: ...
_TEXT_LOSSES = tuple(  # by preference: a line may have several
    re.compile(name + _COLON) for name in (rb"\btrain\.loss", rb"\btrain\.loss_avg", rb"(?<![\w.])(?i:loss)")
)
_TEXT_NUMBER = re.compile(_NUMBER)
LONGEST_TAIL = 400  # bytes
_JSON_EVENT = re.compile(rb"TCAPPDLL \{[^{}\r\n]*\{[^{}\r\n]*\}[^{}\r\n]*\}")
_EPOCH_LINE = re.compile(
    rb"[Ee](?i:poch):? ?\[(\d{1,9})\]\[(\d{1,9})/\d+\][^\r\n]{0,200}?\b(?i:loss)[ \t:]+" + _NUMBER
)

# Inside an event; its inner braces are those of `data`, either a string that holds a dict,
# "{'train.loss': '3.5'}", or an object, {"train.loss": 3.5}.
_STEP = re.compile(rb'"step": ?\[(\d{1,9}), ?(\d{1,9})\]')
_RANK = re.compile(rb"""rank(?<=\Wrank)\\?['"]: ?\\?['"]?(\d{1,9})""")
_LOSS = re.compile(rb"""train\.loss(?:_avg)?\\?['"]: ?\\?['"]?(""" + _DIGITS + rb")")

QUOTED = 120  # characters of a line that is shown
_NEAREST = (  # to a loss, by preference: the word and a number, the word alone
    re.compile(rb"(?i:loss)[^\r\n]{0,%d}?\d[^\r\n]{0,%d}" % (QUOTED, QUOTED)),
    re.compile(rb"(?i:loss)[^\r\n]{0,%d}" % QUOTED),
)

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

    def from_epoch_0(self) -> "LossLog":
        """Return the same log with its first epoch counted as 0."""
        first, _ = min(self.losses)

        def moved(step: Step) -> Step:
            return step[0] - first, step[1]

        losses = {moved(step): loss for step, loss in self.losses.items()}
        nonfinite = self.first_nonfinite and (moved(self.first_nonfinite[0]), self.first_nonfinite[1])
        return replace(self, losses=losses, first_nonfinite=nonfinite)


def read_losses(path: str | Path, rank: int = 0) -> LossLog:
    """Read a training log, in a stream, and return its `LossLog`.

    Understood are our text log and those of other ports, the JSON stream and, in a file without losses of
    single iterations, the published `Epoch: [e][i/n] ... Loss v (avg)` lines, which name no rank. Everything
    else in the file is passed over. The file may be UTF-8, UTF-16 with a byte order mark, or gzip of either.

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
    nearest: dict[re.Pattern, bytes] = {}
    for name, record_rank, step, loss in _records(_chunks(path), nearest):
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
    line = next((nearest[pattern] for pattern in _NEAREST if pattern in nearest), None)
    hint = f"; the nearest to one is the line {_quoted(line)}" if line else ""
    raise LogError(
        f"{path}: no losses found, neither lines 'Epoch: e Iteration: i ... train.loss : v' nor "
        f"'Epoch: [e][i/n] ... Loss v'{hint}; give the log that the training printed"
    )


def _records(
    chunks: Iterable[bytes], nearest: dict[re.Pattern, bytes]
) -> Iterator[tuple[str, int | None, Step, float]]:
    """Yield (format, rank or None, (epoch, iteration), loss) for each loss in the byte chunks; put the first
    line that each pattern of `_NEAREST` finds into `nearest`.
    """
    rest = b""
    for chunk in chain(chunks, [b""]):
        text = rest + chunk
        if b"\x1b" in text:
            text = _COLOUR.sub(b"", text)
        end = 0
        for end, rank, step, loss in _text_losses(text, is_last=not chunk):  # noqa: B007, used below
            yield "text", rank, step, loss
        for match in _JSON_EVENT.finditer(text):
            end = max(end, match.end())
            yield from _json_losses(match[0])
        for match in _EPOCH_LINE.finditer(text):
            end = max(end, match.end())
            epoch, iteration, loss = match.groups()
            yield "Epoch", None, (int(epoch), int(iteration)), float(loss)
        for pattern in _NEAREST:
            if pattern not in nearest and (match := pattern.search(text)):
                start = max(text.rfind(b"\n", 0, match.start()) + 1, match.start() - QUOTED // 2)
                nearest[pattern] = text[start : match.end()]
        # What follows the last record may begin the next one; a file without line ends must not pile up here.
        rest = text[max(end, len(text) - LONGEST_RECORD) :]


def _text_losses(text: bytes, is_last: bool) -> Iterator[tuple[int, int, Step, float]]:
    """Yield (where it ends, rank, (epoch, iteration), loss) for each text record; none that may go on in the
    text that follows, unless this is the last.
    """
    before = 0  # where what stands before a record begins
    for head in _TEXT_HEAD.finditer(text):
        tail = _TEXT_TAIL.match(text, head.end(), head.end() + LONGEST_TAIL)
        if tail.end() == len(text) and not is_last:
            return
        name = next(filter(None, (pattern.search(tail[0]) for pattern in _TEXT_LOSSES)), None)
        loss = name and _TEXT_NUMBER.match(tail[0], name.end())
        if loss:
            start = max(before, head.start() - LONGEST_TAIL)
            rank = _TEXT_RANK.search(tail[0]) or _RANK_BEFORE.search(text, start, head.start())
            yield tail.end(), int(rank[1]) if rank else 0, (int(head[1]), int(head[2])), float(loss[1])
        before = tail.end()


def _quoted(line: bytes) -> str:
    """Return a line as it can be shown: cut, and without characters that a terminal would obey."""
    text = line.decode("utf-8", errors="backslashreplace").strip()
    return repr(text if len(text) <= QUOTED else f"{text[:QUOTED]}...")


def _json_losses(event: bytes) -> Iterator[tuple[str, int | None, Step, float]]:
    """Yield the record of one JSON event; none for METADATA or an evaluation."""
    step, rank, loss = (pattern.search(event) for pattern in (_STEP, _RANK, _LOSS))
    if step and loss:
        yield "JSON", int(rank[1]) if rank else 0, (int(step[1]), int(step[2])), float(loss[1])


def _chunks(path: str | Path) -> Iterator[bytes]:
    """Yield the file's text as chunks of UTF-8 bytes, unpacked."""
    try:
        with open_regular(path, MOST_BYTES) as file:
            packed = file.peek(2).startswith(b"\x1f\x8b")
            with gzip.GzipFile(fileobj=file) if packed else file as unpacked:
                yield from _utf8_chunks(unpacked, path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise LogError(f"{path}: damaged gzip file ({error}); copy it again") from error
    except OSError as error:
        raise LogError(f"{path}: cannot be read ({error.strerror or error}); give a training log") from error


def _utf8_chunks(file: BinaryIO, path: str | Path) -> Iterator[bytes]:
    chunks = _read(file, path)
    chunk = next(chunks, b"")
    if not chunk:
        raise LogError(f"{path}: the log is empty; give the log that the training printed")
    if chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        decoder = codecs.getincrementaldecoder("utf-16")(errors="replace")
        for part in chain([chunk], chunks):
            yield decoder.decode(part).encode("utf-8")
    elif b"\0" in chunk[:256]:  # not further down: a crash may leave zeros at the end of a log
        raise LogError(f"{path}: a binary file; give a training log, as text or as gzip of text")
    else:
        yield from chain([chunk], chunks)


def _read(file: BinaryIO, path: str | Path) -> Iterator[bytes]:
    """Yield a file in chunks; LogError where a small one unpacks to more than a log has."""
    read = 0
    while chunk := file.read(CHUNK_BYTES):
        read += len(chunk)
        if read > MOST_BYTES:
            raise LogError(f"{path}: it unpacks to more than {MOST_BYTES >> 20:,} MB; give a training log")
        yield chunk
