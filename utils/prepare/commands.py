"""What the subcommands of prepare_data.py do that make lists; their options are in prepare_options.py."""

import os
import shlex
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from alm.constants import UNKNOWN
from utils.data.attributes import PA100K, PETA, RAP
from utils.io.phrases import counted
from utils.io.process import tell
from utils.prepare.lists import DataSet, find_folder, find_pictures, pixel_digests, write_data_set
from utils.prepare.official import Annotation, data_set_of, read_pa100k, read_rap
from utils.prepare.peta import (
    FOLDER,
    LINE_END,
    SPELLINGS,
    Archive,
    archive_data_set,
    name_rows,
    read_archive,
    read_peta,
)
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
SOMEWHERE = "DIR"  # in a command, where the pictures are not found


def prepare_peta(options: Namespace, parser: ArgumentParser) -> None:
    """Write PETA's lists, from its archive, PETA.mat, or both."""
    check_peta_options(options, parser)
    if options.source is None:
        annotation, _ = read_peta(options.annotation)
        data_set = annotated(annotation, options, "peta", PETA, "PETA", line_end=LINE_END)
        finish(data_set, options, pictures_root(data_set, options.annotation.parent))
        return
    archive = read_archive(options.source)
    tell(f"{archive.folder}: {counted(archive.pictures, 'picture')} of {len(archive.people)} identities")
    parts, suffix, notes = split_peta(archive, options)
    data_set = archive_data_set(archive, parts, options.attributes, suffix=suffix, notes=notes)
    if options.link:
        finish(data_set, options, options.output, link=(FOLDER, archive.folder))
        return
    folder = Path(os.path.abspath(archive.folder))
    if folder.name in SPELLINGS:
        finish(data_set, options, folder.parent)
    else:
        link = ["ln", "-s", str(folder), str(options.output / FOLDER)]
        finish(data_set, options, options.output, first=f"{shlex.join(link)} && ")


def check_peta_options(options: Namespace, parser: ArgumentParser) -> None:
    """End with status 2 where options contradict each other."""
    splits = {
        "--split": options.split,
        "--annotation": options.annotation,
        "--identity-split": options.identity_split,
    }
    named = [name for name, value in splits.items() if value]
    if options.source is None and named != ["--annotation"]:
        parser.error("name the unpacked archive with --source, or PETA.mat alone with --annotation")
    if len(named) > 1:
        parser.error(f"{' and '.join(named)} are two ways to split; give one")
    if options.annotation is None and (options.partition is not None or options.separate_val):
        parser.error("--partition and --separate-val are about PETA.mat; name it with --annotation")
    if options.seed is not None and (options.split or options.annotation):
        parser.error("--seed is of a draw, and nothing is drawn here; leave it out")
    if options.link and options.source is None:
        parser.error("--link is about the archive; name it with --source")


def split_peta(archive: Archive, options: Namespace) -> tuple[dict, str, list[str]]:
    """Return part -> indices of the archive's pictures, what ends the lists' names, and notes."""
    if options.split:
        parts, notes = split_by_lists(options.split, archive.names)
        return parts, "", notes
    if options.annotation:
        annotation = name_rows(*read_peta(options.annotation), archive)
        return annotation.parts(options.partition or PARTITION, options.separate_val), "", []
    seed = SEED if options.seed is None else options.seed
    if not options.identity_split:
        return split_at_random(archive.names, PETA_TEST_SHARE, seed), f"_seed{seed}", []
    identities = [picture.person for picture in archive.pictures]
    digests = pixel_digests([archive.folder / picture.place for picture in archive.pictures])
    labels = archive.labels([attribute.official_name for attribute in PETA])
    groups = group_people(identities, digests)
    parts, difference = split_groups(groups, archive.names, labels, PETA_TEST_SHARE, seed)
    notes = [f"share of positives: {difference:.3f} apart at most between the lists"]
    return parts, f"_identity_seed{seed}", describe_people(identities, parts) + notes


def prepare_rap(options: Namespace, parser: ArgumentParser) -> None:
    """Write the lists of RAPv1 or RAPv2."""
    annotation = read_rap(options.annotation, options.version)
    prefix = "RAP" if annotation.kind == "RAPv1" else annotation.kind
    data_set = annotated(annotation, options, "rap", RAP, prefix)
    finish(data_set, options, pictures_root(data_set, options.annotation.parent, options.source))


def prepare_pa100k(options: Namespace, parser: ArgumentParser) -> None:
    """Write PA-100K's lists."""
    data_set = annotated(read_pa100k(options.annotation), options, "pa100k", PA100K, "PA100K")
    finish(data_set, options, pictures_root(data_set, options.annotation.parent, options.source))


def prepare_csv(options: Namespace, parser: ArgumentParser) -> None:
    """Write lists and names of a table."""
    if options.split_column is not None and (options.test_share, options.seed) != (None, None):
        parser.error("--test_share and --seed are of a draw; leave them out, or --split_column")
    table = read_table(
        options.table, options.attributes, negative=options.negative, split_column=options.split_column
    )
    tell(f"{options.table}: {counted(table.rows.names, 'picture')}")
    parts = None
    if options.split_column is None:
        seed = SEED if options.seed is None else options.seed
        parts = split_at_random(table.rows.names, options.test_share or TEST_SHARE, seed)
    data_set = table_data_set(table, parts)
    finish(data_set, options, pictures_root(data_set, options.table.parent, options.source))


def annotated(
    annotation: Annotation, options: Namespace, experiment: str, table, prefix: str, **more
) -> DataSet:
    """Return the data set that the options choose of an annotation, and say what it is."""
    tell(f"{annotation.path}: {annotation.kind}, {counted(annotation.names, 'picture')}")
    partition = getattr(options, "partition", None) or PARTITION
    return data_set_of(
        annotation,
        experiment,
        table,
        annotation.columns(options.attributes),
        annotation.parts(partition, options.separate_val),
        prefix,
        **more,
    )


def pictures_root(data_set: DataSet, beside: Path, source: Path | None = None) -> Path | None:
    """Return the pictures' directory: under `source`, where all of them must be, or found beside a file."""
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
) -> None:
    """Write the data set, and say what was written and what to type next.

    `link` is the name of a link to make in the lists' directory and the pictures that it leads to; or `first`
    is the command that makes it.
    """
    written = write_data_set(data_set, options.output, options.force, link)
    unknown = sum(int((rows.labels == UNKNOWN).sum()) for rows in data_set.lists.values())
    if unknown:
        tell(f"note: {unknown} label{'s are' if unknown > 1 else ' is'} 2, unknown")
    for note in data_set.notes:
        tell(f"note: {note}")
    for part, rows in data_set.lists.items():
        tell(f"{written[part]}: {counted(rows.names, 'picture')}, {len(data_set.attributes)} attributes")
    words = training_command(data_set, options.output, written, root)
    words += ["--follow_links"] if link or first else []
    tell(f"next: {first}{shlex.join(words)}")
    if root is None:
        tell(f"where {SOMEWHERE} is the directory of the pictures")


def training_command(
    data_set: DataSet, output: Path, written: dict[str, Path], root: Path | None
) -> list[str]:
    """Return the words of the command that trains on what was written."""
    words = ["python", str(Path(sys.argv[0]).with_name("run_ALM.py")), "--experiment", data_set.experiment]
    if data_set.experiment == "custom":
        words += ["--attributes", str(output / data_set.names_file)]
    words += ["--data_root", SOMEWHERE if root is None else str(root), "--train_list", str(written["train"])]
    for part in ("val", "test"):
        if part in written:
            words += ["--val_list", str(written[part])]
            break
    return words
