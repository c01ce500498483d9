"""Labels of the embedded data set: no contradictions, PETA's ratios."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.data.catalog import EXPERIMENTS
from utils.synthetic.dataset import RARE, sample_labels

PETA = EXPERIMENTS["peta"]
COLUMN = {name: column for column, name in enumerate(PETA.attributes)}

AGES = ("Age16-30", "Age31-45", "Age46-60", "AgeAbove61")
BAGS = ("Backpack", "CarryingOther", "Messenger Bag", "PlasticBags")
ACCESSORIES = ("Hat", "Muffler", "Sunglasses")


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(20, 300))
def test_sampled_labels_do_not_contradict_each_other(seed, count):
    labels = sample_labels(count, seed)

    def positives(*names):
        return labels[:, [COLUMN[name] for name in names]].sum(axis=1)

    assert labels.shape == (count, 35)
    for one_of in (
        AGES,
        ("Jeans", "Trousers", "Shorts", "Skirt"),
        ("Casual lower", "Formal lower"),
        ("Casual upper", "Formal upper"),
    ):
        assert (positives(*one_of) == 1).all()
    for at_most_one_of in (
        ("Leather Shoes", "Sandals", "Shoes", "Sneaker"),
        ("Jacket", "Tshirt", "UpperOther", "Formal upper"),
        ("Logo", "Plaid", "Stripes", "Formal upper"),
        ("Formal lower", "Shorts"),
        ("Formal upper", "Shorts"),
        ("Formal upper", "Short Sleeve"),
        ("Formal upper", "V-Neck"),
    ):
        assert (positives(*at_most_one_of) <= 1).all()
    assert (positives("Tshirt") <= positives("Short Sleeve")).all()
    assert ((positives("No carrying") == 1) == (positives(*BAGS) == 0)).all()
    assert ((positives("No accessory") == 1) == (positives(*ACCESSORIES) == 0)).all()
    assert (labels.min(axis=0) == 0).all()
    assert (labels.max(axis=0) == 1).all()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_ratios_are_petas_with_rare_ones_raised(seed):
    found = sample_labels(1500, seed).mean(axis=0)
    aims = np.maximum(PETA.positive_ratio, RARE)
    np.testing.assert_allclose(found, aims, rtol=0.12)  # exhaustive groups sum to one, their aims to 1.11


def test_seeds_give_different_labels():
    assert (sample_labels(50, 1) != sample_labels(50, 2)).any()
