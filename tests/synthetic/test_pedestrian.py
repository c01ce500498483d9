"""Drawn pedestrians: every attribute visible in its box, whatever the others are."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.data.catalog import EXPERIMENTS
from utils.synthetic.pedestrian import draw_pedestrian

ATTRIBUTES = EXPERIMENTS["peta"].attributes
PLACELESS = {name for name in ATTRIBUTES if name.startswith("Age")} | {"Male", "No accessory", "No carrying"}
PLACED = sorted(set(ATTRIBUTES) - PLACELESS)

PLAIN = frozenset({"Age31-45", "Casual lower", "Casual upper", "Trousers", "Shoes"})
# These are all there is at their place: nothing else of the picture changes with them.
SEPARATE = {
    "CarryingOther", "Hat", "Logo", "Messenger Bag", "Muffler", "PlasticBags", "Sunglasses", "Backpack",
}  # fmt: skip
# An attribute replaces what it excludes.
INSTEAD_OF = {
    "Jeans": "Trousers",
    "Shorts": "Trousers",
    "Skirt": "Trousers",
    "Leather Shoes": "Shoes",
    "Sandals": "Shoes",
    "Sneaker": "Shoes",
    "Formal lower": "Casual lower",
    "Formal upper": "Casual upper",
    "Casual lower": "Formal lower",
    "Casual upper": "Formal upper",
}


def draw(wears, seed):
    picture, boxes = draw_pedestrian(wears, np.random.default_rng(seed))
    return np.asarray(picture).astype(int), boxes


def changed(attribute, seed):
    """Return by how much pixels change with `attribute`, (H, W), and the attribute's box."""
    without = (PLAIN - {attribute}) | {INSTEAD_OF.get(attribute, "Shoes")}
    before, _ = draw(without - {attribute}, seed)
    after, boxes = draw((without - {INSTEAD_OF.get(attribute)}) | {attribute}, seed)
    return np.abs(before - after).max(axis=2), boxes[attribute]


def inside(box, shape):
    x0, y0, x1, y1 = box
    mask = np.zeros(shape, dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


@pytest.mark.parametrize("attribute", PLACED)
def test_attribute_is_visible_in_its_box(attribute):
    for seed in range(2):
        difference, box = changed(attribute, seed)
        assert (difference[inside(box, difference.shape)] > 8).mean() > 0.1


@pytest.mark.parametrize("attribute", sorted(SEPARATE))
def test_separate_attribute_changes_only_its_box_and_fills_it(attribute):
    for seed in range(3):
        difference, box = changed(attribute, seed)
        assert not difference[~inside(box, difference.shape)].any()
        seen = difference > 8
        rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
        extent = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        assert np.abs(np.subtract(extent, box)).max() <= 2 + difference.shape[0] // 100


@pytest.mark.parametrize("attribute", sorted(PLACELESS - {"No accessory", "No carrying"}))
def test_age_and_gender_change_the_person(attribute):
    before, _ = draw(PLAIN - {"Age31-45"}, 0)
    after, boxes = draw((PLAIN - {"Age31-45"}) | {attribute}, 0)
    assert (np.abs(before - after).max(axis=2) > 8).mean() > 0.05
    assert attribute not in boxes


@settings(max_examples=20, deadline=None)
@given(wears=st.frozensets(st.sampled_from(ATTRIBUTES)), seed=st.integers(0, 2**32 - 1))
def test_any_combination_is_drawn_with_a_box_for_each_attribute_that_has_a_place(wears, seed):
    picture, boxes = draw_pedestrian(wears, np.random.default_rng(seed))
    footwear = {"Leather Shoes", "Sandals", "Shoes", "Sneaker"}
    assert set(boxes) <= wears - PLACELESS
    drawable = wears - PLACELESS - (footwear if len(wears & footwear) > 2 else set())  # there are two feet
    assert drawable <= set(boxes)
    for x0, y0, x1, y1 in boxes.values():
        assert 0 <= x0 < x1 <= picture.width
        assert 0 <= y0 < y1 <= picture.height


def test_seeds_give_different_sizes_and_pictures():
    shapes = {draw(PLAIN, seed)[0].shape for seed in range(20)}
    assert len(shapes) > 10
    assert all(48 <= width <= 169 and 100 <= height <= 365 for height, width, _ in shapes)


def test_the_pictures_are_those_that_there_always_were():
    """The committed baseline was trained on them: raise DRAWING_VERSION with every change."""
    random = np.random.default_rng(0)
    digest = hashlib.sha256()
    for seed in range(20):
        wears = frozenset(np.array(ATTRIBUTES)[random.random(len(ATTRIBUTES)) < 0.3].tolist())
        picture, boxes = draw_pedestrian(wears, np.random.default_rng(seed))
        digest.update(picture.tobytes() + str(sorted(boxes.items())).encode())
    assert digest.hexdigest()[:16] == "9cd622e0781d371b"
