"""What is predicted of a picture, and where each level looked for it, in pixels of that picture.

Imports no torch: predictions are the same whatever computed them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from alm.inference.image_io import HEIGHT, WIDTH

STRIDES = {"3b": 8, "4d": 16, "5b": 32}  # level -> pixels of the network's input to a cell of its map
GLOBAL = "main"  # the branch that looks at the whole picture
THRESHOLD = 0.5  # of the paper's figures


@dataclass(frozen=True, eq=False)
class Prediction:
    """What is predicted of one picture, for K attributes.

    Attributes:
        attributes: their names.
        probabilities: float (K,): the largest of the branches' for each attribute, which is the paper's vote.
        level: whose that is, K of "3b", "4d", "5b" and "main", the branch that sees the whole picture and
            has no region.
        regions: where each level looked for each attribute, {"3b": float (K, 4), ...}, boxes left, top,
            right, bottom in pixels of the picture, cut at its border; {} of a network without localization.
        size: the picture's width and height.
    """

    attributes: tuple[str, ...]
    probabilities: np.ndarray
    level: tuple[str, ...]
    regions: Mapping[str, np.ndarray]
    size: tuple[int, int]

    def positive(self, thresholds: float | Sequence[float] = THRESHOLD) -> np.ndarray:
        """Return which attributes are above their thresholds, one for all or K of them, bool (K,)."""
        return self.probabilities > np.asarray(thresholds, dtype=np.float64)


def predictions_of(
    attributes: tuple[str, ...],
    probabilities: np.ndarray,
    winners: np.ndarray,
    regions: Mapping[str, np.ndarray],
    sizes: Sequence[tuple[int, int]],
    align_corners: bool,
) -> list[Prediction]:
    """Return the predictions of a batch from a network's outputs.

    `probabilities` (B, K) are the branches' largest, `winners` (B, K) whose they are, counted from the first;
    `regions` are what `model.localize` returns, {"3b": (B, K, 4), ...}, one for each branch but the last;
    `sizes` are the pictures' widths and heights.
    """
    branches = (*regions, GLOBAL)
    fractions = {level: boxes(region, level, align_corners) for level, region in regions.items()}
    return [
        Prediction(
            attributes,
            probabilities[i],
            tuple(branches[winner] for winner in winners[i]),
            {level: box[i] * np.tile(size, 2) for level, box in fractions.items()},
            size,
        )
        for i, size in enumerate(sizes)
    ]


def boxes(regions: np.ndarray, level: str, align_corners: bool) -> np.ndarray:
    """Return regions (..., 4) of a level, [s_x, s_y, t_x, t_y], as boxes (..., 4): left, top, right, bottom
    in [0, 1] of the picture, cut at its border.

    The box has the centre (t_x, t_y) and the half-size (s_x, s_y). -1 and 1 are the edges of the picture;
    under `align_corners` they are the centres of the outer cells of the level's map, as grid_sample has it.
    """
    regions = np.asarray(regions, dtype=np.float64)
    scale, shift = regions[..., :2], regions[..., 2:]
    corners = np.concatenate([shift - scale, shift + scale], axis=-1)
    fractions = (corners + 1) / 2
    if align_corners:
        cells = np.array([WIDTH, HEIGHT] * 2) // STRIDES[level]
        fractions = (fractions * (cells - 1) + 0.5) / cells
    return fractions.clip(0, 1)
