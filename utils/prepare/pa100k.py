"""PA-100K: lists from annotation.mat."""

from pathlib import Path

import numpy as np

from utils.prepare.official import PARTS, Annotation, get, matrix, recognize, texts


def read_pa100k(path: str | Path) -> Annotation:
    """Return what PA-100K's annotation.mat annotates: its three parts, one behind the other.

    Raises DataError where the file is another or damaged.
    """
    _, variables = recognize(path, "PA-100K")
    attributes = texts(get(variables, str(path), "attributes"), f"{path}: attributes")
    names, values, parts = [], [], {}
    for part in PARTS:
        listed = texts(get(variables, str(path), f"{part}_images_name"), f"{path}: {part}_images_name")
        labels = get(variables, str(path), f"{part}_label")
        parts[part] = np.arange(len(names), len(names) + len(listed))
        names += listed
        values.append(matrix(labels, len(listed), len(attributes), f"{path}: {part}_label"))
    default = list(range(len(attributes)))
    return Annotation("PA-100K", Path(path), names, np.concatenate(values), attributes, default, [parts])
