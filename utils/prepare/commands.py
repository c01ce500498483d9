"""The subcommands of prepare_data.py that write lists: options -> files, and the lines to print.

Each function yields its lines as the work goes on; the last ones say how to train on what was written.
"""

import os
import shlex
import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from alm.constants import UNKNOWN
from alm.errors import PictureError
from utils.io.phrases import counted
from utils.prepare.check import open_pictures
from utils.prepare.lists import DataSet, find_folder, find_pictures, write_data_set
from utils.prepare.official import Annotation, read_pa100k, read_rap
from utils.prepare.peta import FOLDER, PETA, SPELLINGS, Archive, name_rows, read_archive, read_peta
from utils.prepare.split import (
    PETA_TEST_SHARE,
    describe_people,
    group_people,
    split_at_random,
    split_by_lists,
    split_groups,
)
from utils.prepare.table import read_table, table_data_set

SEED, PARTITION, TEST_SHARE = 1, 0, 0.2  # the options' defaults
SOMEWHERE = "DIR"  # in a command, if the pictures are not found


def prepare_peta(options: Namespace) -> Iterator[str]:
    """Write PETA's lists, from its archive, PETA.mat, or both."""
    if options.source is None:
        yield from prepare_annotation(read_peta(options.annotation)[0], options)
        return
    archive = read_archive(options.source)
    people = {picture.person for picture in archive.pictures}
    yield f"{archive.folder}: {counted(archive.pictures, 'picture')} of {len(people)} identities"
    parts, suffix, notes = split_peta(archive, options)
    data_set = archive.data_set(parts, options.attributes, suffix=suffix, notes=notes)
    folder = Path(os.path.abspath(archive.folder))
    if options.link:
        yield from finish(data_set, options, options.output, link=(FOLDER, archive.folder))
    elif folder.name in SPELLINGS:
        yield from finish(data_set, options, folder.parent)
    else:
        link = ["ln", "-s", str(folder), str(options.output / FOLDER)]
        yield from finish(data_set, options, options.output, first=f"{shlex.join(link)} && ")


def split_peta(archive: Archive, options: Namespace) -> tuple[dict, str, list[str]]:
    """Return part -> indices of the archive's pictures, the end of the lists' names, and notes."""
    if options.split:
        parts, notes = split_by_lists(options.split, archive.names)
        return parts, "", notes
    if options.annotation:
        annotation = name_rows(*read_peta(options.annotation), archive)
        return annotation.parts(options.partition or PARTITION, options.separate_val), "", []
    seed = SEED if options.seed is None else options.seed
    if not options.identity_split:
        return split_at_random(archive.names, PETA_TEST_SHARE, seed), f"_seed{seed}", []
    pictures = open_pictures([str(archive.folder / picture.place) for picture in archive.pictures])
    for picture in pictures.values():
        if isinstance(picture, PictureError):
            raise picture
    identities = [picture.person for picture in archive.pictures]
    groups = group_people(identities, [picture.digest for picture in pictures.values()])
    labels = archive.labels(PETA.official_names)
    parts, difference = split_groups(groups, archive.names, labels, PETA_TEST_SHARE, seed)
    notes = [f"the share of positives differs by {difference:.3f} at most between the lists"]
    return parts, f"_identity_seed{seed}", describe_people(identities, parts) + notes


def prepare_rap(options: Namespace) -> Iterator[str]:
    return prepare_annotation(read_rap(options.annotation, options.version), options)


def prepare_pa100k(options: Namespace) -> Iterator[str]:
    return prepare_annotation(read_pa100k(options.annotation), options)


def prepare_annotation(annotation: Annotation, options: Namespace) -> Iterator[str]:
    yield f"{annotation.path}: {annotation.kind}, {counted(annotation.names, 'picture')}"
    partition = getattr(options, "partition", None) or PARTITION
    data_set = annotation.data_set(options.attributes, partition, options.separate_val)
    yield from finish(data_set, options, pictures_root(data_set, annotation.path.parent, options.source))


def prepare_csv(options: Namespace) -> Iterator[str]:
    table = read_table(
        options.table,
        options.attributes,
        negative=options.negative,
        positive=options.positive,
        unknown=options.unknown,
        split_column=options.split_column,
    )
    table = replace(table, rows=table.rows.below(options.source or options.table.parent))
    yield f"{options.table}: {counted(table.rows.names, 'picture')}"
    parts = None
    if options.split_column is None:
        seed = SEED if options.seed is None else options.seed
        parts = split_at_random(table.rows.names, options.test_share or TEST_SHARE, seed)
    data_set = table_data_set(table, parts)
    yield from finish(data_set, options, pictures_root(data_set, options.table.parent, options.source))


def pictures_root(data_set: DataSet, beside: Path, source: Path | None) -> Path | None:
    """Return the pictures' directory: under `source`, which must hold them all, or beside a file."""
    names = [name for rows in data_set.lists.values() for name in rows.names]
    if source is not None:
        return find_pictures(names, source)
    return find_folder(names, beside) or find_folder(names, beside.absolute().parent)


def finish(
    data_set: DataSet,
    options: Namespace,
    root: Path | None,
    *,
    link: tuple[str, Path] | None = None,
    first: str = "",
) -> Iterator[str]:
    """Write the data set, and say what was written and what to type next.

    `link` is the name of a link to make in the lists' directory and the pictures that it leads to; or `first`
    is the command that makes it.
    """
    paths = write_data_set(data_set, options.output, options.force, link)
    counts = sum((rows.labels == UNKNOWN).sum(axis=0) for rows in data_set.lists.values())
    if unknown := [f"{name} {n:,}" for name, n in zip(data_set.attributes, counts, strict=True) if n]:
        yield f"note: labels that are 2, unknown: {', '.join(unknown)}"
    for note in data_set.notes:
        yield f"note: {note}"
    for part, rows in data_set.lists.items():
        yield f"{paths[part]}: {counted(rows.names, 'picture')}, {len(data_set.attributes)} attributes"
    words = training_command(data_set, options.output, paths, root)
    words += ["--follow_links"] if link or first else []
    yield f"next: {first}{shlex.join(words)}"
    if root is None:
        yield f"{SOMEWHERE} stands for the directory of the pictures"


def training_script() -> str:
    """Return run_ALM.py as it is named from the directory that this command was started in."""
    return str(Path(sys.argv[0]).with_name("run_ALM.py"))


def training_command(data_set: DataSet, output: Path, paths: dict[str, Path], root: Path | None) -> list[str]:
    words = ["python", training_script(), "--experiment", data_set.experiment]
    if data_set.experiment == "custom":
        words += ["--attributes", str(output / data_set.names_file)]
    words += ["--data_root", SOMEWHERE if root is None else str(root), "--train_list", str(paths["train"])]
    evaluation = paths.get("val", paths.get("test"))
    return words + (["--val_list", str(evaluation)] if evaluation else [])
