"""Where the evidence for an attribute lies: the strongest place of a map, and a box around it.

A map (..., h, w) is what a network's `evidence` returns of a branch; it is stretched over the picture. Needs
no torch.
"""

from collections.abc import Mapping

import numpy as np

TOGETHER = "all"  # the branches' sum, beside their names
SHARE = 0.7  # of a map's range, above which is its box: best on drawn training pictures, docs/evaluate.md


def with_sum(maps: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the branches' maps, fine to coarse, and "all": their sum, as fine as the finest."""
    finest = next(iter(maps.values())).shape[-2:]
    return {**maps, TOGETHER: sum(resampled(values, finest) for values in maps.values())}


def resampled(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return maps (..., h, w) at another size (..., H, W), bilinear between the centres of the cells."""
    rows, columns = (weights(cells, count) for cells, count in zip(maps.shape[-2:], size, strict=True))
    return rows @ maps @ columns.T


def weights(cells: int, count: int) -> np.ndarray:
    """Return float32 (count, cells): what each cell counts at places evenly spread over all of them."""
    places = (np.arange(count) + 0.5) / count * cells - 0.5
    each = (np.interp(places, np.arange(cells), cell) for cell in np.eye(cells))
    return np.stack(list(each), axis=1).astype(np.float32)


def strongest_place(maps: np.ndarray) -> np.ndarray:
    """Return the centre (..., 2) of the cell with the most evidence: x and y in shares of the picture."""
    rows, columns = np.divmod(maps.reshape(*maps.shape[:-2], -1).argmax(-1), maps.shape[-1])
    return (np.stack([columns, rows], axis=-1) + 0.5) / maps.shape[:-3:-1]


def strongest_box(maps: np.ndarray, share: float = SHARE) -> np.ndarray:
    """Return the box (..., 4) around the cells above a share of the map's range: left, top, right, bottom in
    shares of the picture.
    """
    low, high = (extreme(maps, axis=(-2, -1), keepdims=True) for extreme in (np.min, np.max))
    above = maps >= low + share * (high - low)
    spans = [span(above.any(axis)) for axis in (-2, -1)]  # along x, then y
    return np.stack([ends[side] for side in (0, 1) for ends in spans], axis=-1)


def span(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the cells that are chosen, bool (..., n), begin and end, in shares of all."""
    count = chosen.shape[-1]
    return chosen.argmax(-1) / count, 1 - chosen[..., ::-1].argmax(-1) / count
