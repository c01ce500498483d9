"""What a check has found: tables for an 80-column terminal, and the same for machines."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap

import numpy as np

from utils.io.printable import printable
from utils.prepare.check import Check, Picture
from utils.prepare.check_notes import notes, problems, published_ratio

TITLE, CELL = 24, 14  # columns of a table
WRAPPED = {"subsequent_indent": "  ", "break_long_words": False, "break_on_hyphens": False}
PUBLISHED_FROM = {
    "peta": "the first 9,500 lines of the training list",
    "rap": "all 41,585 rows of an older annotation, where a 2 counts as 2",
    "pa100k": "the training and the validation list together",
}


def report(check: Check) -> Iterator[str]:
    """Yield the lines that a person reads."""
    name = check.experiment.name if check.experiment else "a data set of one's own"
    yield f"{name} in {check.root}"
    for part, each in check.lists.items():
        yield f"{part} list: {each.path}"
    yield ""
    yield from overview(check)
    yield ""
    yield from attribute_table(check)
    yield ""
    for kind, told in (("note", notes(check)), ("problem", problems(check))):
        for text in told:
            yield from wrap(printable(f"{kind}: {text}"), 80, **WRAPPED)


def overview(check: Check) -> Iterator[str]:
    """Yield a table of the lists, then what the pictures are."""
    parts = check.lists.values()
    yield row("", check.lists)
    yield row("rows", (f"{len(each.names):,}" for each in parts))
    yield row("pictures found", (f"{len(each.names) - len(each.missing):,}" for each in parts))
    yield row("missing", (f"{len(each.missing):,}" for each in parts))
    yield row("unreadable", (f"{len(check.unreadable(part)):,}" for part in check.lists))
    if all(each.people for each in parts):
        yield row("identities", (f"{len(set(each.people)):,}" for each in parts))
    yield row("unknown labels", (f"{each.unknown.sum():,}" for each in parts))
    if check.readable:
        yield ""
        for side, sizes in sizes_of(check.readable).items():
            yield f"{side:8} {sizes['least']} to {sizes['most']} pixels, median {sizes['median']:g}"
        for name in ("mode", "format"):
            counts = counts_of(check.readable, name)
            yield f"{name:8} " + ", ".join(f"{value} {count:,}" for value, count in counts.items())


def attribute_table(check: Check) -> Iterator[str]:
    """Yield each attribute's positives and their ratio in each list, beside the published ratio."""
    published = published_ratio(check)
    unknown = sum(each.unknown for each in check.lists.values())
    heads = [*check.lists, *(["published"] if published else []), *(["unknown"] if unknown.any() else [])]
    yield row("positives, ratio", heads)
    for k, name in enumerate(check.attributes):
        cells = [f"{each.positive[k]:,}  {each.ratio[k]:.4f}" for each in check.lists.values()]
        cells += [f"{published[k]:.4f}"] if published else []
        cells += [f"{unknown[k]:,}"] if unknown.any() else []
        yield row(name, cells)
    if published:
        yield f"published: in {PUBLISHED_FROM[check.experiment.name]}"


def row(title: str, cells: Iterable[str]) -> str:
    """Return a line of a table."""
    title = printable(title)
    shown = title if len(title) <= TITLE else f"{title[: TITLE - 1]}…"
    return f"{shown:{TITLE}}" + "".join(f"{cell:>{CELL}}" for cell in cells)


def record(check: Check) -> dict:
    """Return everything for JSON."""
    found = list(problems(check))
    return {
        "experiment": check.experiment.name if check.experiment else None,
        "root": str(check.root),
        "training_can_start": not found,
        "problems": found,
        "notes": list(notes(check)),
        "lists": {part: list_record(check, part) for part in check.lists},
        "pictures": {
            "readable": len(check.readable),
            **sizes_of(check.readable),
            "modes": counts_of(check.readable, "mode"),
            "formats": counts_of(check.readable, "format"),
        },
        "published_from": PUBLISHED_FROM[check.experiment.name] if published_ratio(check) else None,
        "attributes": attribute_records(check),
        "listed_more_than_once": [check.names_of(group) for group in check.repeated],
        "equal_by_pixels": [check.names_of(group) for group in check.equal],
        "two_labels": [check.names_of(g) for g in (*check.repeated, *check.equal) if check.contradicts(g)],
        "identities_in_both_lists": len(check.shared_people),
    }


def list_record(check: Check, part: str) -> dict:
    """Return what is to be said of one list."""
    each = check.lists[part]
    return {
        "path": str(each.path),
        "rows": len(each.names),
        "found": len(each.names) - len(each.missing),
        "missing": each.missing,
        "unreadable": [str(error) for error in check.unreadable(part)],
        "identities": len(set(each.people)) if each.people else None,
        "unknown_labels": int(each.unknown.sum()),
    }


def attribute_records(check: Check) -> list[dict]:
    """Return what is to be said of each attribute."""
    published = published_ratio(check) or [None] * len(check.attributes)
    records = [
        {"name": name, "published": ratio} for name, ratio in zip(check.attributes, published, strict=True)
    ]
    for part, each in check.lists.items():
        columns = each.positive.tolist(), each.ratio.tolist(), each.unknown.tolist()
        for known, (positive, ratio, unknown) in zip(records, zip(*columns, strict=True), strict=True):
            known[part] = {"positive": positive, "ratio": ratio, "unknown": unknown}
    return records


def sizes_of(pictures: Sequence[Picture]) -> dict[str, dict[str, float]]:
    """Return the least, the median and the most pixels of each side."""
    sizes = {}
    for side in ("width", "height") if pictures else ():
        pixels = [getattr(picture, side) for picture in pictures]
        sizes[side] = {"least": min(pixels), "median": float(np.median(pixels)), "most": max(pixels)}
    return sizes


def counts_of(pictures: Sequence[Picture], name: str) -> dict[str, int]:
    """Return how many pictures have each mode, or each format, the most frequent first."""
    return dict(Counter(getattr(picture, name) for picture in pictures).most_common())
