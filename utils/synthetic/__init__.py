"""The embedded data set: drawn pedestrians with PETA's attributes, in PETA's format, with known regions."""

from utils.synthetic.dataset import ATTRIBUTES, LISTS, draw_list, ensure_dataset

__all__ = ["ATTRIBUTES", "LISTS", "draw_list", "ensure_dataset"]
