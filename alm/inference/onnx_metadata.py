"""The texts that an exported network carries about itself: written and checked here."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from alm.constants import GLOBAL, HEIGHT, LEVELS, MAX_ATTRIBUTES, STRIDES, WIDTH
from alm.errors import DataError
from alm.untrusted import is_share, parsed

FORMAT = "alm-deployed-1"
IMAGES = (
    f"images[n] are the red, green and blue of picture n, uint8, resized to {HEIGHT} x {WIDTH} (height x "
    "width) by Pillow's bilinear filter, which averages if it shrinks a picture; other filters change "
    "some labels"
)
REGIONS = (
    "regions[n, l, k] = [s_x, s_y, t_x, t_y] of picture n, level l ({levels}), attribute k: a box with the "
    "centre (t_x, t_y) and the half-size (s_x, s_y), to be cut at the picture's border. -1 and 1 are the "
    "picture's edges, left and right, top and bottom; if align_corners is true, the centres of the outer "
    "cells of the level's map ({strides} pixels of the input). levels[n, k] is the level whose "
    "probability it is, 0 to 2, or 3: the global branch, which has no region"
).replace("{strides}", ", ".join(map(str, STRIDES)))
ABOUT_EVIDENCE = (
    "evidence_...[n, k] is a map over picture n: how much each place counts in that branch's logit for "
    "attribute k. Its mean over the region, of main over the whole map, is the logit less a constant"
)


@dataclass(frozen=True)
class Metadata:
    """The attributes' names, their data set, a threshold for each, the sampling convention, and the levels
    that have regions, fine to coarse.
    """

    attributes: tuple[str, ...]
    dataset: str
    thresholds: tuple[float, ...]
    align_corners: bool
    levels: tuple[str, ...] = LEVELS

    def texts(self) -> dict[str, str]:
        """Return the texts by their names in the file."""
        return {
            "format": FORMAT,
            "attributes": json.dumps(self.attributes),
            "dataset": self.dataset,
            "thresholds": json.dumps(self.thresholds),
            "align_corners": json.dumps(self.align_corners),
            "levels": json.dumps(self.levels),
            "images": IMAGES,
            "regions": REGIONS.replace("{levels}", ", ".join(self.levels)),
            "evidence": ABOUT_EVIDENCE,
        }


def read_metadata(texts: Mapping[str, str]) -> Metadata:
    """Return a file's metadata; one without `levels` has the published ones. Raises DataError."""
    if texts.get("format") != FORMAT:
        raise DataError("it does not say that export.py wrote it; export it with export.py --to onnx")
    attributes, thresholds, align_corners = (
        parsed(texts.get(name, "")) for name in ("attributes", "thresholds", "align_corners")
    )
    levels = parsed(texts["levels"]) if "levels" in texts else list(LEVELS)
    if not is_names(attributes) or not attributes:
        raise DataError(f"its `attributes` are not 1 to {MAX_ATTRIBUTES} names, each once; export it anew")
    if not is_shares(thresholds, len(attributes)):
        raise DataError("its `thresholds` are not a number from 0 to 1 per attribute; export it anew")
    if not isinstance(align_corners, bool):
        raise DataError("its `align_corners` is neither true nor false; export it anew")
    if not is_names(levels) or len(levels) not in (0, len(STRIDES)) or GLOBAL in levels:
        raise DataError(f"its `levels` are not {len(STRIDES)} names, each once, or none; export it anew")
    return Metadata(
        tuple(attributes), texts.get("dataset", ""), tuple(thresholds), align_corners, tuple(levels)
    )


def is_names(value) -> bool:
    """Whether this is a list of at most MAX_ATTRIBUTES names, each once."""
    return (
        isinstance(value, list)
        and len(value) <= MAX_ATTRIBUTES
        and all(isinstance(name, str) and name for name in value)
        and len(set(value)) == len(value)
    )


def is_shares(value, count: int) -> bool:
    """Whether this is a list of `count` numbers from 0 to 1."""
    return isinstance(value, list) and len(value) == count and all(map(is_share, value))
