"""Labels of the embedded data set: PETA's attributes and ratios, without PETA's contradictions.

`GROUPS` is the whole rule. Groups are drawn from top to bottom; of the attributes of a group a picture gets
at most one. Each attribute aims at PETA's positive ratio, raised to `RARE` where it is lower, so that every
attribute has examples. A picture that a group does not suit gets none of it; the others get its attributes
more often in return, so that the ratio over the whole list stays as aimed at.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from utils.data.attributes import PETA

RARE = 0.12


@dataclass(frozen=True)
class Group:
    """Attributes that exclude each other, and the pictures that can have one of them."""

    attributes: tuple[str, ...]
    only_with: tuple[str, ...] = ()  # all of these
    not_with: tuple[str, ...] = ()  # none of these
    exhaustive: bool = False  # every such picture has one: the ratios are renormalized to sum to one


GROUPS = (
    Group(("Age16-30", "Age31-45", "Age46-60", "AgeAbove61"), exhaustive=True),
    Group(("Jeans", "Trousers", "Shorts", "Skirt"), exhaustive=True),
    Group(("Male",), not_with=("Skirt",)),
    Group(("Long hair",), not_with=("Male",)),
    Group(("Formal lower",), not_with=("Jeans", "Shorts")),
    Group(("Casual lower",), not_with=("Formal lower",), exhaustive=True),
    Group(("Formal upper",), not_with=("Shorts",)),
    Group(("Casual upper",), not_with=("Formal upper",), exhaustive=True),
    Group(("Short Sleeve",), only_with=("Casual upper",)),
    Group(("Tshirt",), only_with=("Short Sleeve",)),
    Group(("Jacket",), only_with=("Casual upper",), not_with=("Short Sleeve",)),
    Group(("UpperOther",), only_with=("Casual upper",), not_with=("Jacket", "Tshirt")),
    Group(("V-Neck",), only_with=("Casual upper",), not_with=("Jacket",)),
    Group(("Logo", "Plaid", "Stripes"), only_with=("Casual upper",)),
    Group(("Leather Shoes", "Sandals", "Shoes", "Sneaker")),
    Group(("Backpack", "CarryingOther", "Messenger Bag", "PlasticBags", "No carrying"), exhaustive=True),
    Group(("Hat", "Muffler", "Sunglasses", "No accessory"), exhaustive=True),
)


def sample_labels(count: int, seed: int | Sequence[int]) -> np.ndarray:
    """Return labels of `count` pictures, uint8 (count, 35), columns in PETA's order.

    An attribute's number of positives is as near to its aim as whole numbers allow, so that from 20 pictures
    up every attribute has positives and negatives.
    """
    random = np.random.default_rng(seed)
    aim = {attribute.name: max(attribute.positive_ratio, RARE) for attribute in PETA}
    wears = {attribute.name: np.zeros(count, dtype=bool) for attribute in PETA}
    for group in GROUPS:
        suits = np.ones(count, dtype=bool)
        for name in group.only_with:
            suits &= wears[name]
        for name in group.not_with:
            suits &= ~wears[name]
        rows = np.flatnonzero(suits)
        ratios = np.array([aim[name] for name in group.attributes]) * count / max(len(rows), 1)
        total = ratios.sum()
        if group.exhaustive or total > 1:
            ratios /= total
        for name, chosen in zip(group.attributes, _allot(ratios, rows, random), strict=True):
            wears[name][chosen] = True
    return np.stack([wears[attribute.name] for attribute in PETA], axis=1).astype(np.uint8)


def _allot(ratios: np.ndarray, rows: np.ndarray, random: np.random.Generator) -> list[np.ndarray]:
    """Return disjoint random parts of `rows`, each of its ratio's size rounded down or up."""
    ends = np.floor(np.cumsum(ratios) * len(rows) + random.random() + 1e-9).astype(int)
    return np.split(random.permutation(rows), np.minimum(ends, len(rows)))[: len(ratios)]
