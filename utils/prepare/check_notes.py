"""What a check's findings mean: what would end a training, and what one should know all the same."""

from collections.abc import Iterator, Sequence

import numpy as np

from utils.prepare.check import TEST, TRAIN, Check

NAMED = 5  # of many pictures
FAR, FACTOR = 0.2, 10  # a ratio so far from the published one, or so many times it, is noted


def problems(check: Check) -> Iterator[str]:
    """Yield what would end a training, and how to mend it."""
    for part, each in check.lists.items():
        if len(each.missing) == len(each.names):
            yield (
                f"no picture of the {part} list is in {check.root} ({some(each.missing)}); name the "
                "directory that its paths are relative to with --data_root"
            )
        elif each.missing and part == TEST:
            yield f"{missing(check, part)}; put them there, or evaluate with run_ALM.py's --allow_missing"
        unreadable = check.unreadable(part)
        yield from map(str, unreadable[:NAMED])
        if len(unreadable) > NAMED:
            yield f"so many pictures of the {part} list cannot be read: {len(unreadable):,}"


def notes(check: Check) -> Iterator[str]:
    """Yield facts that one should know and that end no training."""
    train = check.lists.get(TRAIN)
    if train and 0 < len(train.missing) < len(train.names):
        yield f"{missing(check, TRAIN)}; training goes on without them"
    yield from constant_notes(check)
    yield from repetition_notes(check)
    if check.shared_people:
        yield identity_note(check)
    if published_ratio(check):
        yield from ratio_notes(check)


def constant_notes(check: Check) -> Iterator[str]:
    """Yield the attributes that have no positives, or nothing else."""
    consequence = {TRAIN: "nothing can be learned of it", TEST: "its mA is undefined there"}
    for part, each in check.lists.items():
        for value in (0, 1):
            names = [check.attributes[k] for k in np.flatnonzero(each.ratio == value)]
            if names:
                yield f"always {value} in the {part} list, so {consequence[part]}: {', '.join(names)}"


def repetition_notes(check: Check) -> Iterator[str]:
    """Yield the pictures that are there twice: in a list, in both, or as files with the same pixels."""
    for groups, what in (
        (check.repeated, "pictures listed more than once"),
        (check.equal, "groups of pictures that are equal by pixels"),
    ):
        if groups:
            across = sum(len({part for part, _ in group}) > 1 for group in groups)
            yield f"{what}: {len(groups):,}, across the lists: {across:,} ({shown(check, groups)})"
        if differing := [group for group in groups if check.contradicts(group)]:
            yield f"of these, with two labels for one picture: {len(differing):,} ({shown(check, differing)})"


def identity_note(check: Check) -> str:
    """Return how many people are in both lists."""
    test = check.lists[TEST]
    count = sum(person in check.shared_people for person in test.people)
    return (
        f"identities in both lists: {len(check.shared_people):,}; they are on {count:,} of "
        f"{len(test.names):,} test pictures, so the figures flatter"
    )


def ratio_notes(check: Check) -> Iterator[str]:
    """Yield the attributes whose ratio is far from the published one."""
    part, each = next(iter(check.lists.items()))
    far = [
        f"{name} {here:.4f}, published {there:.4f}"
        for name, here, there in zip(check.attributes, each.ratio, published_ratio(check), strict=True)
        if abs(here - there) > FAR or not 1 / FACTOR <= here / there <= FACTOR
    ]
    if far:
        yield (
            f"far from the published positive ratio, in the {part} list: {len(far):,} ({some(far)}); where "
            "many are, the labels may be in another order than the published one"
        )


def published_ratio(check: Check) -> tuple[float, ...] | None:
    """Return the published ratios of the data set, where there are any."""
    return check.experiment.positive_ratio if check.experiment else None


def missing(check: Check, part: str) -> str:
    """Return how many pictures of a list are missing, and the first of them."""
    names = check.lists[part].missing
    return f"missing pictures of the {part} list: {len(names):,} ({some(names)})"


def shown(check: Check, groups: Sequence) -> str:
    """Return the first of many groups of pictures."""
    return some([" = ".join(check.names_of(group)) for group in groups])


def some(names: Sequence[str]) -> str:
    """Return the first five of many names."""
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
