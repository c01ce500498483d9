"""Read the losses of a training run from whatever its log has become: text, JSON, colours, UTF-16, gzip."""

import gzip
import math
import os
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from utils.errors import LogError
from utils.io.untrusted import UTF16_MARKS, open_regular
from utils.runs import log_text

MOST_BYTES = 256 << 20  # unpacked: two million iterations

# A number is read whole or not at all: 2,15 and 1 000 and 2 x 10^3 are not 2, 1 and 2. Something must stand
# behind a loss: a crash may have cut it short. What separates a record's parts may be a bar or a comma.
_MORE = rb"(?:[.,']?\d|[xX](?![A-Za-z])|[eE][-+]?\d|[*/^%]|\xc3\x97|\\u00d7)"  # of a number, behind a blank
_DIGITS = rb"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|(?i:nan|inf(?:inity)?))"
_ENDING = rb"""(?=[\r\n\v\f|;)\]}]|[ \t]+(?![ \t]|""" + _MORE + rb""")|(?:,|\\?['"])(?!\d))"""
_NUMBER = rb"(" + _DIGITS + rb")" + _ENDING
_COLON, _GAP = rb"[ \t]*:[ \t]*", rb"[ \t|,;]+"
_EPOCH = rb"[Ee](?i:poch)[ \t]*:?[ \t]*"
_TEXT_HEAD = re.compile(
    _EPOCH
    + rb"(\d{1,9})"
    + _GAP
    + rb"(?i:iteration|iter|step)[ \t]*:?[ \t]*"
    + rb"(\d{1,9})(?!\w|[.,']\d|[ \t]+\d)"
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
    rb"[Ee](?i:poch):? ?\[(\d{1,9})\]\[(\d{1,9})/\d+\][^\r\n]{0,200}?\b(?i:loss)[ \t:]+(?:" + _NUMBER + rb")?"
)

# How long an epoch is, in the file's own words: its number and its iterations, or those that were asked for.
_LENGTHS = (
    re.compile(_EPOCH + rb"\[(\d{1,9})\]\[\d{1,9}/(\d{1,9})\]"),
    re.compile(_TEXT_HEAD.pattern + rb"/(\d{1,9})"),
    re.compile(log_text.note("max_iters", epoch=r"(\d{1,9})", iterations=r"(\d{1,9})", of=r"\d+").encode()),
)
_ALL_LENGTHS = re.compile(rb"Early stopping at iteration (\d{1,9})")
_ERROR = "error: "  # what a command prints as it fails
_LAST_LINE = re.compile(
    f"(?:^|\r)({log_text.RUN}|{log_text.FAILURE}|{log_text.INTERRUPTION}|{_ERROR})[^\r\n]*".encode(),
    re.MULTILINE,
)

# Inside an event; its inner braces are those of `data`, either a string that holds a dict,
# "{'train.loss': '3.5'}", or an object, {"train.loss": 3.5}.
_STEP = re.compile(rb'"step": ?\[(\d{1,9}), ?(\d{1,9})\]')
_RANK = re.compile(rb"""rank(?<=\Wrank)\\?['"]: ?\\?['"]?(\d{1,9})""")
_LOSS = re.compile(rb"""train\.loss(?:_avg)?\\?['"]: ?\\?['"]?(?:""" + _NUMBER + rb")?")

QUOTED = 120  # characters of a line in an error
_NEAREST = (  # to a loss, by preference: the word and a number, the word alone
    re.compile(rb"(?i:loss)[^\r\n]{0,%d}?\d[^\r\n]{0,%d}" % (QUOTED, QUOTED)),
    re.compile(rb"(?i:loss)[^\r\n]{0,%d}" % QUOTED),
)

_COLOUR = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]")

Step = tuple[int, int]  # (epoch, iteration)
# An iteration's rank, None if the format does not name it, and its loss, None if that is no whole number.
Record = tuple[int | None, Step, float | None]


@dataclass(frozen=True)
class LossLog:
    """The training losses of one rank.

    Attributes:
        path: the file they were read from.
        format: "text" (our lines), "JSON" (the JSON stream) or "Epoch" (`Epoch: [e][i/n]` lines).
        losses: (epoch, iteration) -> loss; the last value of a repeated iteration.
        repeated: how many lines repeat an earlier line's iteration.
        nonfinite: (epoch, iteration) -> "nan" or "inf", and of which rank if of another one, even if a later
            line repeats the iteration.
        unread: iterations whose loss is in no line a whole number.
        rank, ranks: whose losses these are, and how many ranks the file has.
        early_end: how the training ended before it was done, if the file says so; else "".
        moved_by: what was added to the file's own epochs and iterations.
    """

    path: str
    format: str
    losses: dict[Step, float]
    repeated: int = 0
    nonfinite: dict[Step, str] = field(default_factory=dict)
    unread: frozenset[Step] = frozenset()
    rank: int = 0
    ranks: int = 1
    early_end: str = ""
    moved_by: Step = (0, 0)

    def moved(self, epochs: int, iterations: int) -> "LossLog":
        """Return the log with these numbers added to its epochs and iterations."""

        def moved(step: Step) -> Step:
            return step[0] + epochs, step[1] + iterations

        return replace(
            self,
            losses={moved(step): loss for step, loss in self.losses.items()},
            nonfinite={moved(step): loss for step, loss in self.nonfinite.items()},
            unread=frozenset(map(moved, self.unread)),
            moved_by=moved(self.moved_by),
        )

    def from_epoch_0(self) -> "LossLog":
        """Return the log with its first epoch counted as 0."""
        return self.moved(-min(self.losses)[0], 0)

    def until(self, last: Step) -> "LossLog":
        """Return the log without what is behind an iteration, and so without its end."""
        return replace(
            self,
            losses={step: loss for step, loss in self.losses.items() if step <= last},
            nonfinite={step: loss for step, loss in self.nonfinite.items() if step <= last},
            unread=frozenset(step for step in self.unread if step <= last),
            early_end="",
        )

    def at(self, step: Step) -> str:
        """Name an iteration as the file numbers it."""
        epoch, iteration = self.moved_by
        return f"epoch {step[0] - epoch} iteration {step[1] - iteration}"


def read_losses(path: str | Path, rank: int = 0) -> LossLog:
    """Return the losses that a training log has of one process, its `rank`.

    The log may be text, ours or another port's, the JSON stream or, without losses of single iterations, the
    published `Epoch: [e][i/n] ... Loss v (avg)` lines, which name no rank; the first of FORMATS that is there
    counts. The file may be UTF-8, UTF-16 with a byte order mark, or gzip of either.

    Raises LogError if it cannot be read, is too large, empty or binary, or holds no loss of this rank.
    """
    text = _COLOUR.sub(b"", _read_text(path))
    others = set()  # ranks
    for name, records in FORMATS.items():
        losses, unread, nonfinite = [], set(), {}
        for record_rank, step, loss in records(text):
            if loss is not None and not math.isfinite(loss):
                of_rank = "" if record_rank in (rank, None) else f" on rank {record_rank}"
                nonfinite.setdefault(step, f"{loss}{of_rank}")
            if record_rank not in (rank, None):
                others.add(record_rank)
            elif loss is None:
                unread.add(step)
            else:
                losses.append((step, loss))
        if losses and not (others and name == "Epoch"):  # whose lines, naming no rank, may be another's
            by_step = dict(losses)
            steps = sorted(by_step.keys() | unread)
            return LossLog(
                str(path),
                name,
                by_step,
                repeated=len(losses) - len(by_step),
                nonfinite=nonfinite,
                unread=frozenset(unread - by_step.keys()),
                rank=rank,
                ranks=1 + len(others),
                early_end=_failure(text, records) or _short_epoch(text, steps),
            )
    if others:
        present = ", ".join(map(str, sorted(others)))
        raise LogError(f"{path}: no losses of rank {rank}, only of rank {present}; choose one of these")
    raise LogError(
        f"{path}: no losses found, neither lines 'Epoch: e Iteration: i ... train.loss : v' nor "
        f"'Epoch: [e][i/n] ... Loss v' with v such as 2.15{_nearest_line(text)}; give the log that the "
        "training printed"
    )


def _read_text(path: str | Path) -> bytes:
    """Return a file's text as bytes of UTF-8, unpacked."""
    try:
        with open_regular(path) as file:
            packed = file.peek(2).startswith(b"\x1f\x8b")
            with gzip.GzipFile(fileobj=file) if packed else file as unpacked:
                too_large = os.fstat(file.fileno()).st_size > MOST_BYTES
                text = b"" if too_large else unpacked.read(MOST_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise LogError(f"{path}: damaged gzip file ({error}); copy it again") from error
    except OSError as error:
        raise LogError(f"{path}: cannot be read ({error.strerror or error}); give a training log") from error
    if too_large or len(text) > MOST_BYTES:
        raise LogError(
            f"{path}: the log has more than {MOST_BYTES >> 20} MB unpacked; give the lines with losses "
            "alone, as from `zgrep -a -i loss LOG > SMALLER`"
        )
    if not text:
        raise LogError(f"{path}: the log is empty; give the log that the training printed")
    if text.startswith(UTF16_MARKS):
        return text.decode("utf-16", errors="replace").encode("utf-8")
    if b"\0" in text[:256]:  # not further down: a crash may leave zeros at the end of a log
        raise LogError(f"{path}: a binary file; give a training log, as text or as gzip of text")
    return text


def _text_records(text: bytes) -> Iterator[Record]:
    before = 0  # where the text ahead of a record begins
    for head in _TEXT_HEAD.finditer(text):
        tail = _TEXT_TAIL.match(text, head.end(), head.end() + LONGEST_TAIL)
        name = next(filter(None, (pattern.search(tail[0]) for pattern in _TEXT_LOSSES)), None)
        if name:
            loss = _TEXT_NUMBER.match(tail[0], name.end())
            start = max(before, head.start() - LONGEST_TAIL)
            rank = _TEXT_RANK.search(tail[0]) or _RANK_BEFORE.search(text, start, head.start())
            step = int(head[1]), int(head[2])
            yield int(rank[1]) if rank else 0, step, float(loss[1]) if loss else None
        before = tail.end()


def _json_records(text: bytes) -> Iterator[Record]:
    for event in _JSON_EVENT.finditer(text):
        step, rank, loss = (pattern.search(event[0]) for pattern in (_STEP, _RANK, _LOSS))
        if step and loss:  # else METADATA or an evaluation
            number = float(loss[1]) if loss[1] else None
            yield int(rank[1]) if rank else 0, (int(step[1]), int(step[2])), number


def _epoch_records(text: bytes) -> Iterator[Record]:
    for match in _EPOCH_LINE.finditer(text):
        epoch, iteration, loss = match.groups()
        yield None, (int(epoch), int(iteration)), float(loss) if loss else None


def _failure(text: bytes, records: Callable[[bytes], Iterator[Record]]) -> str:
    """Return in words which line ended the training early, "" if it went on behind that or there is none."""
    line = max(_LAST_LINE.finditer(text), key=re.Match.start, default=None)
    if line is None or line[1] == log_text.RUN.encode() or any(records(text[line.end() :])):
        return ""
    return f"ends with {_quoted(line[0])}"


def _short_epoch(text: bytes, steps: list[Step]) -> str:
    """Return in words which epoch has fewer iterations than the file says, "" if none has; steps ascend."""
    lengths = {
        int(found[1]): int(found[found.lastindex]) for each in _LENGTHS for found in each.finditer(text)
    }
    asked = min((int(found[1]) for found in _ALL_LENGTHS.finditer(text)), default=math.inf)
    # A log may have every tenth iteration alone.
    stride = min((b - a for (epoch, a), (other, b) in pairwise(steps) if epoch == other), default=math.inf)
    for epoch, last in dict(steps).items():
        if last + stride < (length := min(lengths.get(epoch, 0), asked)):
            return f"ends epoch {epoch} at iteration {last} of {length}"
    return ""


FORMATS = {"text": _text_records, "JSON": _json_records, "Epoch": _epoch_records}  # by preference


def _nearest_line(text: bytes) -> str:
    """Return a hint at the line that is nearest to a loss, cut and without what a terminal would obey."""
    match = next(filter(None, (pattern.search(text) for pattern in _NEAREST)), None)
    if not match:
        return ""
    start = max(text.rfind(b"\n", 0, match.start()) + 1, match.start() - QUOTED // 2)
    return f"; the nearest to one is the line {_quoted(text[start : match.end()])}"


def _quoted(line: bytes) -> str:
    words = line.decode("utf-8", errors="backslashreplace").strip()
    return repr(words if len(words) <= QUOTED else f"{words[:QUOTED]}...")
