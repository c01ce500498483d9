"""RAP: lists from RAP_annotation.mat, which is RAPv1's or RAPv2's."""

from pathlib import Path

from utils.prepare.official import Annotation, get, indices, matrix, partitions, recognize, texts

RAP = "RAP_annotation"
VERSIONS = ("RAPv1", "RAPv2")


def read_rap(path: str | Path, version: int | None = None) -> Annotation:
    """Return what RAP_annotation.mat annotates, of this version or of either.

    Raises DataError where the file is another, of the other version, or damaged.
    """
    kind, variables = recognize(path, *(VERSIONS if version is None else VERSIONS[version - 1 : version]))
    read = read_first if kind == "RAPv1" else read_second
    return read(variables[RAP], f"{path}: {RAP}", Path(path))


def read_first(rap: dict, where: str, path: Path) -> Annotation:
    """Return RAPv1: of the columns of `label`, those that `attribute_exp` names are used."""
    names = texts(get(rap, where, "imagesname"), f"{where}.imagesname")
    used = texts(get(rap, where, "attribute_exp"), f"{where}.attribute_exp")
    official = texts(get(rap, where, "attribute_eng"), f"{where}.attribute_eng")
    values = matrix(get(rap, where, "label"), len(names), len(official), f"{where}.label")
    spellings = ("partion", "partition")
    splits = partitions(get(rap, where, *spellings), len(names), f"{where}.{spellings[0]}")
    attributes = used + official[len(used) :]
    aliases = dict(zip(official, used, strict=False))
    return Annotation("RAPv1", path, names, values, attributes, list(range(len(used))), splits, aliases)


def read_second(rap: dict, where: str, path: Path) -> Annotation:
    """Return RAPv2: `selected_attribute` has the columns that are used, counted from 1."""
    names = texts(get(rap, where, "name"), f"{where}.name")
    attributes = texts(get(rap, where, "attribute"), f"{where}.attribute")
    values = matrix(get(rap, where, "data"), len(names), len(attributes), f"{where}.data")
    used = indices(
        get(rap, where, "selected_attribute"), len(attributes), f"{where}.selected_attribute"
    ).tolist()
    spellings = ("partition_attribute", "partion_attribute")
    splits = partitions(get(rap, where, *spellings), len(names), f"{where}.{spellings[0]}")
    return Annotation("RAPv2", path, names, values, attributes, used, splits)
