"""A check in words and pictures: problems, notes, tables of 80 columns, a record for JSON, a plot."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from textwrap import wrap

import numpy as np

from utils.data.list_file import constant_columns
from utils.io.figure import BLUE, VERMILION, drawable, drawn_figure
from utils.io.phrases import first_few
from utils.io.untrusted import printable
from utils.prepare.check import TEST, TRAIN, Check, Picture

NAMED = 5  # of many pictures
FAR, FACTOR = 0.2, 10  # a ratio so far from the published one, or so many times it, is noted
TITLE, CELL = 24, 14  # columns of a table
WRAPPED = {"subsequent_indent": "  ", "break_long_words": False, "break_on_hyphens": False}
MOST_ATTRIBUTES = 120  # that a plot can show legibly
STYLES = {
    "train": {"marker": "o", "color": BLUE, "markersize": 5},
    "test": {"marker": "o", "color": VERMILION, "markersize": 5, "fillstyle": "none"},
    "published": {"marker": "|", "color": "black", "markersize": 11, "markeredgewidth": 1.5},
}


def problems(check: Check) -> Iterator[str]:
    """Yield what would end a training, and how to fix it."""
    for part, each in check.lists.items():
        if len(each.missing) == len(each.names):
            yield (
                f"no picture of the {part} list is in {check.root} ({first_few(each.missing)}); name the "
                "directory that its paths are relative to with --data_root"
            )
        elif each.missing and part == TEST:
            yield f"{missing(check, part)}; put them there, or evaluate with run_ALM.py's --allow_missing"
        unreadable = check.unreadable(part)
        yield from map(str, unreadable[:NAMED])
        if len(unreadable) > NAMED:
            yield (
                f"pictures of the {part} list that cannot be read: {len(unreadable):,}; the first {NAMED} "
                "are named above"
            )


def notes(check: Check) -> Iterator[str]:
    """Yield facts that one should know, though training can start."""
    train = check.lists.get(TRAIN)
    if train and 0 < len(train.missing) < len(train.names):
        yield f"{missing(check, TRAIN)}; training goes on without them"
    yield from constant_notes(check)
    yield from repetition_notes(check)
    yield from identity_notes(check)
    yield from ratio_notes(check)


def constant_notes(check: Check) -> Iterator[str]:
    consequence = {TRAIN: "so nothing can be learned of it", TEST: "so its mA is undefined"}
    for part, each in check.lists.items():
        for constant, columns in constant_columns(each.labels):
            if names := ", ".join(check.attributes[k] for k in columns):
                yield f"{constant} in the {part} list, {consequence[part]}: {names}"


def repetition_notes(check: Check) -> Iterator[str]:
    for groups, kind in (
        (check.repeated, "pictures listed more than once"),
        (check.equal, "groups of pictures that are equal by pixels"),
    ):
        if groups:
            across = sum(len({part for part, _ in group}) > 1 for group in groups)
            yield f"{kind}: {len(groups):,}, across the lists: {across:,} ({first_groups(check, groups)})"
        if differing := [group for group in groups if check.contradicts(group)]:
            yield f"of these, with different labels: {len(differing):,} ({first_groups(check, differing)})"


def identity_notes(check: Check) -> Iterator[str]:
    if check.shared_people:
        people = check.lists[TEST].people
        count = sum(person in check.shared_people for person in people)
        yield (
            f"identities in both lists: {len(check.shared_people):,}; they are on {count:,} of "
            f"{len(people):,} test pictures, so expect lower figures on new people"
        )


def ratio_notes(check: Check) -> Iterator[str]:
    if not check.published_ratio:
        return
    part, each = next(iter(check.lists.items()))
    far = [
        f"{name} {here:.4f}, published {there:.4f}"
        for name, here, there in zip(check.attributes, each.ratio, check.published_ratio, strict=True)
        if abs(here - there) > FAR or not there / FACTOR <= here <= there * FACTOR
    ]
    if far:
        yield (
            f"far from the published positive ratio, in the {part} list: {len(far):,} ({first_few(far)}); if "
            "there are many, the labels may be in another order than the published one"
        )


def missing(check: Check, part: str) -> str:
    names = check.lists[part].missing
    return f"missing pictures of the {part} list: {len(names):,} ({first_few(names)})"


def first_groups(check: Check, groups: Sequence) -> str:
    return first_few([" = ".join(check.names_of(group)) for group in groups])


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
    for kind, sentences in (("note", notes(check)), ("problem", problems(check))):
        for text in sentences:
            yield from wrap(printable(f"{kind}: {text}"), 80, **WRAPPED)


def overview(check: Check) -> Iterator[str]:
    """Yield a table of the lists, then what the pictures are."""
    yield row("", check.lists)
    records = [list_record(check, part) for part in check.lists]
    for key in ("rows", "found", "missing", "unreadable", "identities", "unknown_labels"):
        counts = [len(record[key]) if isinstance(record[key], list) else record[key] for record in records]
        if None not in counts:
            title = "pictures found" if key == "found" else key.replace("_", " ")
            yield row(title, (f"{count:,}" for count in counts))
    if check.readable:
        yield ""
        for side, sizes in sizes_of(check.readable).items():
            yield f"{side:8} {sizes['least']} to {sizes['most']} pixels, median {sizes['median']:g}"
        for name in ("mode", "format"):
            counts = counts_of(check.readable, name)
            yield f"{name:8} " + ", ".join(f"{value} {count:,}" for value, count in counts.items())


def attribute_table(check: Check) -> Iterator[str]:
    """Yield each attribute's positives and their ratio in each list, beside the published ratio."""
    published = check.published_ratio
    unknown = sum(each.unknown for each in check.lists.values())
    heads = [*check.lists, *(["published"] if published else []), *(["unknown"] if unknown.any() else [])]
    yield row("positives, ratio", heads)
    for k, name in enumerate(check.attributes):
        cells = [f"{each.positive[k]:,}  {each.ratio[k]:.4f}" for each in check.lists.values()]
        cells += [f"{published[k]:.4f}"] if published else []
        cells += [f"{unknown[k]:,}"] if unknown.any() else []
        yield row(name, cells)
    if published and check.experiment.ratio_source:
        yield f"published: in {check.experiment.ratio_source}"


def row(title: str, cells: Iterable[str]) -> str:
    title = printable(title)
    title = title if len(title) <= TITLE else f"{title[: TITLE - 1]}…"
    return f"{title:{TITLE}}" + "".join(f"{cell:>{CELL}}" for cell in cells)


def record(check: Check) -> dict:
    """Return everything for JSON."""
    faults = list(problems(check))
    return {
        "experiment": check.experiment.name if check.experiment else None,
        "root": str(check.root),
        "training_can_start": not faults,
        "problems": faults,
        "notes": list(notes(check)),
        "lists": {part: list_record(check, part) for part in check.lists},
        "pictures": {
            "readable": len(check.readable),
            **sizes_of(check.readable),
            "modes": counts_of(check.readable, "mode"),
            "formats": counts_of(check.readable, "format"),
        },
        "published_from": check.experiment.ratio_source if check.published_ratio else None,
        "attributes": attribute_records(check),
        "listed_more_than_once": [check.names_of(group) for group in check.repeated],
        "equal_by_pixels": [check.names_of(group) for group in check.equal],
        "two_labels": [check.names_of(g) for g in (*check.repeated, *check.equal) if check.contradicts(g)],
        "identities_in_both_lists": len(check.shared_people),
    }


def list_record(check: Check, part: str) -> dict:
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
    published = check.published_ratio or [None] * len(check.attributes)
    records = [
        {"name": name, "published": ratio} for name, ratio in zip(check.attributes, published, strict=True)
    ]
    for part, each in check.lists.items():
        columns = each.positive.tolist(), each.ratio.tolist(), each.unknown.tolist()
        for entry, (positive, ratio, unknown) in zip(records, zip(*columns, strict=True), strict=True):
            entry[part] = {"positive": positive, "ratio": ratio, "unknown": unknown}
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


def plot_check(check: Check, path: str | Path) -> None:
    """Draw sizes above ratios.

    Raises AlmError if matplotlib is missing or the format is unknown, OSError if the picture cannot be
    written.
    """
    names = check.attributes[:MOST_ATTRIBUTES]
    text = "".join([*names, str(check.root)])
    with drawn_figure(path, (8, 4.6 + 0.17 * len(names)), text) as figure:
        sizes, ratios = figure.subplots(2, height_ratios=(3.2, 0.6 + 0.17 * len(names)))
        draw_sizes(sizes, check)
        draw_ratios(ratios, check, names)


def draw_sizes(axes, check: Check) -> None:
    """Draw a mark for each size; the more pictures have it, the larger it is."""
    counts = Counter((picture.width, picture.height) for picture in check.readable)
    if counts:
        widths, heights = zip(*counts, strict=True)
        areas = [4 + 60 * (count / max(counts.values())) for count in counts.values()]
        axes.scatter(widths, heights, areas, color=BLUE, alpha=0.4, linewidths=0)
    axes.set_title(f"sizes of {len(check.readable):,} pictures of {drawable(str(check.root))}", fontsize=9)
    axes.set_xlabel("width, pixels", fontsize=9)
    axes.set_ylabel("height, pixels", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)


def draw_ratios(axes, check: Check, names: tuple[str, ...]) -> None:
    columns = {part: each.ratio for part, each in check.lists.items()}
    columns |= {"published": check.published_ratio} if check.published_ratio else {}
    rows = range(len(names))
    for part, ratio in columns.items():
        axes.plot(ratio[: len(names)], rows, linestyle="", label=part, **STYLES[part])
    left_out = len(check.attributes) - len(names)
    more = f" (the first {len(names)} of {len(check.attributes)})" if left_out else ""
    axes.set_title(f"positive ratio of each attribute{more}", fontsize=9)
    axes.set_yticks(rows, [drawable(name) for name in names], fontsize=7.5)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(-0.02, 1.02)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")
