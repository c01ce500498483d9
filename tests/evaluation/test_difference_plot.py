"""The plot of two evaluations, in the formats that are no PNG."""

import numpy as np
import pytest

from utils.evaluation.difference_plot import plot_differences
from utils.evaluation.significance import compare, tally


@pytest.mark.parametrize(("suffix", "magic"), [("pdf", b"%PDF"), ("jpg", b"\xff\xd8\xff")])
def test_the_format_is_that_of_the_suffix(tmp_path, suffix, magic):
    labels = np.random.default_rng(0).integers(0, 2, (40, 2))
    paired = compare(tally(labels == 0, labels), tally(labels == 1, labels))
    plot_differences(paired, ("Hat", "Bag"), "a.csv", "b.csv", tmp_path / f"c.{suffix}")
    assert (tmp_path / f"c.{suffix}").read_bytes().startswith(magic)
