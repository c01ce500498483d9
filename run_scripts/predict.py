"""Predict the attributes of pictures, and show where each was looked for.

python predict.py person.jpg
python predict.py --checkpoint 60.pth.tar person.jpg folder 'more/*.png' list.txt
find . -name '*.jpg' | python predict.py --checkpoint 60.pth.tar --json - -
torchrun --nproc_per_node 4 predict.py --checkpoint 60.pth.tar --csv people.csv 'shards/*.tar'
"""

if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from run_scripts.cli.main import run

    run("run_scripts.predict")

import argparse
import csv
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import IO

import numpy as np
from tqdm import tqdm

from alm.constants import TORCHRUN
from alm.devices.host import default_threads, keep_freed_memory
from alm.errors import PictureError
from alm.inference.prediction import BATCH_SIZE, PicturePredictor
from alm.inference.predictor import is_onnx
from alm.inference.thresholds import thresholds_of
from run_scripts.cli.parser import (
    Parser,
    check_outputs,
    positive,
    refuse_other_launchers,
    share_or_file,
    whole_number,
)
from utils.data.catalog import EXPERIMENTS
from utils.errors import DataError
from utils.io.phrases import counted, nearest
from utils.io.process import tell
from utils.prediction.batched import Ranks, Result, in_turn, predictions
from utils.prediction.load import COMES_ALONG, load_predictor
from utils.prediction.part_file import PartFile, Records, digest
from utils.prediction.sheets import Sheets, new_directory, with_places, write_index
from utils.prediction.sources import (
    STANDARD_INPUT,
    Source,
    count,
    from_boxes,
    is_picture,
    outside,
    passed_over,
    sources,
)
from utils.prediction.tally import UPRIGHT, Tally
from utils.prediction.writers import STANDARD_OUTPUT, Csv, JsonLines, Output, Table, Votes, Writer, opened

WORKERS = 2
MINUTES = 1440  # a day: a process on a faster device may be done much earlier
MOST_THREADS = 1024
CONVENTIONS = {"auto": None, "true": True, "false": False}


def main() -> None:
    if TORCHRUN not in os.environ:
        options = parse_options()
        refuse_other_launchers()
        predict(options, Ranks())
        return
    from alm.training import distributed  # torch, which an .onnx file does without

    with distributed.hushed():
        options = parse_options()
    with distributed.ranks(options.timeout):
        if not is_onnx(options.checkpoint):
            options.device = str(distributed.own_device(options.device))
        predict(options, Ranks(distributed.rank(), distributed.world(), distributed.gather))


def predict(options: argparse.Namespace, ranks: Ranks) -> None:
    keep_freed_memory()
    names = ("device", "experiment", "names", "align_corners", "threads")
    network = {name: getattr(options, name) for name in names}
    places = options.paths, options.data_root, options.follow_links, options.boxes
    if ranks.rank == 0:
        tell_notes(passed_over(*places[:3]))
        if options.checkpoint == str(COMES_ALONG):
            card = COMES_ALONG.with_suffix(".md")
            tell_notes([f"{COMES_ALONG.name} was trained on PETA, so it is for research only: {card}"])
    if ranks.world > 1 and (options.benchmark or STANDARD_INPUT in options.paths):
        what = "--benchmark" if options.benchmark else "paths on standard input"
        raise DataError(f"{what}: that is for one process; start it without torchrun")
    if options.benchmark:
        from utils.deployment.benchmark import benchmark  # few need it

        benchmark(options.checkpoint, *places[:3], as_trained=options.as_trained, **network)
        return
    total = count(*places)  # a missing picture is reported before the checkpoint is read
    evidence = bool(options.json or options.regions)
    predictor, notes = load_predictor(options.checkpoint, evidence=evidence, **network)
    check_regions(options, predictor)
    if options.threshold is not None:
        predictor.thresholds = thresholds_of(predictor.attributes, options.threshold)
    if ranks.rank == 0:
        tell_notes(notes)
    predict_all(options, predictor, sources(*places), total, ranks)


def tell_notes(notes: Iterable[str]) -> None:
    for note in notes:
        tell(f"note: {note}", to=sys.stderr)


def predict_all(
    options: argparse.Namespace,
    predictor: PicturePredictor,
    pictures: Iterator[Source],
    total: int | None,
    ranks: Ranks,
) -> None:
    """Predict the `total` pictures, write what is asked for, and say what was written."""
    is_tracked = bool(options.boxes and next(from_boxes(options.boxes, options.data_root)).person)
    for name in ("resume", "csv_full"):
        if is_tracked and getattr(options, name):
            raise DataError(f"--{name} has no meaning for votes, and {options.boxes} has ids; leave one out")
    tables = tables_of(options, predictor, is_tracked)
    part = None if is_tracked or STANDARD_OUTPUT in tables else part_file(options, predictor, tables, ranks)
    if ranks.world > 1 and not part:
        raise DataError(
            "several processes write files alone, and count no votes: give --csv FILE or --json FILE, and "
            "boxes without ids; or start it without torchrun"
        )
    if options.regions:
        pictures = with_places(outside(options.regions, pictures))
    pictures = in_turn(pictures, options.batch_size, ranks)
    is_begun = bool(part and part.is_begun(options.resume))
    if options.regions and not is_begun:
        new_directory(options.regions)
    ranks.gather(None)  # all have looked before any writes
    number, pictures = part.resume(pictures, options.batch_size) if is_begun else (0, pictures)
    results = predictions(
        predictor,
        pictures,
        batch_size=options.batch_size,
        workers=options.workers,
        as_trained=options.as_trained,
    )
    shown = {"total": total and -(-total // ranks.world), "disable": True if ranks.rank else None}
    results = tqdm(results, "Predict", unit=" pictures", leave=False, initial=number, **shown)
    has_sheets = bool(options.regions)
    with opened_writers(options, tables, part, is_tracked) as writers:
        if part:
            ranks.gather(None)  # all have a part file
            part.check_shared()
        tally = write(results, writers, Tally(has_sheets))
        for writer in writers:
            writer.finish()
        if not part:
            tally.check()
        numbers = ranks.gather(number + tally.number)  # all are done
    fault = None
    if ranks.rank == 0:
        if part:
            tally = part.finish(outputs_of(tables), options.batch_size, sum(numbers), Tally(has_sheets))
        fault = conclude(options, tally)
    fault, *_ = ranks.gather(fault)
    if fault:
        raise fault


def check_regions(options: argparse.Namespace, predictor: PicturePredictor) -> None:
    """Raise DataError if there are no regions to draw, or an attribute to draw is not predicted."""
    if options.regions and not predictor.levels:
        raise DataError(f"{options.checkpoint} has no regions to draw; leave out --regions")
    for name in options.attributes or ():
        if name not in predictor.attributes:
            similar = nearest(name, predictor.attributes, cutoff=0.6)
            hint = f"; did you mean {similar!r}?" if similar else ""
            raise DataError(f"--attributes: {options.checkpoint} does not predict {name!r}{hint}")


def tables_of(
    options: argparse.Namespace, predictor: PicturePredictor, is_tracked: bool
) -> dict[str, Callable[[IO], Writer]]:
    """Return by its path what writes each table; that of a person who `is_tracked` begins with the id."""
    tables: dict[str, Callable[[IO], Writer]] = {}
    if options.csv:
        levels = predictor.levels if options.csv_full else None
        first = "id" if is_tracked else "path"
        tables[options.csv] = partial(Csv, attributes=predictor.attributes, levels=levels, first=first)
    if options.json:
        tables[options.json] = JsonLines
    return tables


def part_file(
    options: argparse.Namespace, predictor: PicturePredictor, tables: Mapping, ranks: Ranks
) -> PartFile | None:
    if not tables:
        return None
    basis = {
        "--checkpoint": digest(options.checkpoint),
        "--experiment or --names": predictor.attributes,
        "--threshold": np.asarray(predictor.thresholds).tolist(),
        "--device": str(getattr(predictor, "device", options.device)),  # an .onnx file's has none
        "--csv": bool(options.csv),
        "--json": bool(options.json),
    }
    names = ("align_corners", "as_trained", "batch_size", "threads", "regions", "attributes", "csv_full")
    basis |= {f"--{name}": getattr(options, name) for name in names}
    return PartFile(next(iter(tables)), basis, ranks)


@contextmanager
def opened_writers(
    options: argparse.Namespace,
    tables: Mapping[str, Callable[[IO], Writer]],
    part: PartFile | None,
    is_tracked: bool,
) -> Iterator[list[Writer]]:
    """Give what writes each prediction. If each person `is_tracked`, tables are of the votes of each id."""
    with ExitStack() as files:
        if part:
            writers = [Records(files.enter_context(part.opened()), outputs_of(tables))]
        else:
            writers = [make(files.enter_context(opened(path))) for path, make in tables.items()] or [Table()]
        if is_tracked:
            writers = [Votes(writers)]
        if options.regions:  # before the others, so that a picture with a row has its sheet
            writers.insert(0, Sheets(options.regions, options.attributes, options.as_trained))
        yield writers


def outputs_of(tables: Mapping[str, Callable[[IO], Writer]]) -> list[Output]:
    return [Output(path, make) for path, make in tables.items()]


def write(results: Iterable[Result], writers: Sequence[Writer], tally: Tally) -> Tally:
    """Write each prediction, count it, and return the tally."""
    for source, result in results:
        size = None
        try:
            if isinstance(result, PictureError):
                raise result
            for writer in writers:
                writer.write(source, result)
            size = result.size
        except PictureError as error:  # a picture may also vanish before its sheet is drawn
            for writer in writers:
                writer.leave_out(source)
            with tqdm.external_write_mode(sys.stderr):
                tell(f"warning: {error}", to=sys.stderr)
        tally.add(source.title, source.place, size)
    return tally


def conclude(options: argparse.Namespace, tally: Tally) -> DataError | None:
    """Say what was written; return the error if a picture could not be read."""
    if options.regions:
        write_index(options.regions, tally.sheets)
    number, first = tally.wide
    if number and not options.boxes:
        tell(
            f"warning: {counted(number, 'picture')} less than {UPRIGHT:g} times as tall as wide, such as "
            f"{first}: probably not one person, whom the network needs. Give the box of each, from any "
            "detector, with --boxes",
            to=sys.stderr,
        )
    stream = sys.stderr if STANDARD_OUTPUT in (options.csv, options.json) else sys.stdout
    for path in (options.csv, options.json, options.regions):
        if path and path != STANDARD_OUTPUT:
            tell(f"{path}: {counted(tally.predicted, 'picture')}", to=stream)
    return tally.error() if tally.unreadable else None


def parse_options() -> argparse.Namespace:
    parser = build_parser()
    options = parser.parse_args()
    if not options.paths and not options.benchmark and not options.boxes:
        parser.error("name at least one PATH: a picture, a folder or a list; or boxes with --boxes")
    if options.paths and options.boxes:
        parser.error("--boxes names the pictures itself; leave out the PATHs, or the option")
    names = ("batch_size", "workers", "threshold", "csv", "json", "regions", "attributes", "resume", "boxes")
    for name in names:
        if options.benchmark and getattr(options, name) != parser.get_default(name):
            parser.error(f"--{name} has no meaning for --benchmark; leave one of them out")
    options.align_corners = CONVENTIONS[options.align_corners]
    if options.experiment and options.names:
        parser.error("--experiment and --names both name the attributes: give one of them")
    if options.attributes and not options.regions:
        parser.error("--attributes says what --regions draws: give both, or neither")
    if options.csv == options.json == STANDARD_OUTPUT:
        parser.error("--csv and --json cannot both go to standard output: name a file for one of them")
    if options.csv_full and not options.csv:
        parser.error("--csv_full says what --csv writes: give both, or neither")
    tables = [path for path in (options.csv, options.json) if path]
    if options.resume and (not tables or STANDARD_OUTPUT in tables):
        parser.error("--resume is for --csv FILE and --json FILE: no other table can be gone on with")
    outputs = {"csv": options.csv, "json": options.json}
    outputs = {name: path for name, path in outputs.items() if path not in (None, STANDARD_OUTPUT)}
    threshold_file = options.threshold if isinstance(options.threshold, str) else None
    inputs = [options.checkpoint, options.names, options.boxes, threshold_file, *options.paths]
    check_outputs(parser, inputs, **outputs)
    for name, path in outputs.items():
        if is_picture(path):
            parser.error(f"--{name} {path}: that is a picture's name; name another file")
    return options


def build_parser() -> Parser:
    parser = Parser(
        "Predict the attributes of pictures, and show where each was looked for.",
        epilog="Without --csv and --json, the attributes of each picture are printed by part of the body.",
    )
    add = parser.add_argument
    add("paths", metavar="PATH", nargs="*",
        help="pictures, folders or .tar and .zip archives with all the pictures in them, patterns such as "
        "'*.jpg', lists with or without labels, or - to read paths from standard input, one per line"
    )  # fmt: skip
    add("--checkpoint", metavar="FILE", default=str(COMES_ALONG),
        help="the model: a checkpoint of run_ALM.py, a published one, or an .onnx file of export.py "
        "(default: models/peta.onnx, which comes along, for PETA's 35 attributes)")  # fmt: skip
    add("--benchmark", action="store_true",
        help="do not predict: time the forms of the checkpoint (PyTorch, ONNX, 8-bit integers) side by side, "
        "on these pictures, or on drawn ones if no PATH is given")  # fmt: skip

    add = parser.add_argument_group("input").add_argument
    add("--experiment", metavar="NAME", choices=tuple(EXPERIMENTS),
        help="the data set whose attributes a published checkpoint predicts: %(choices)s. Such a checkpoint "
        "does not name them. Default: the data set that has as many")  # fmt: skip
    add("--names", metavar="FILE", help="the same for your own attributes: a file of names, one per line")
    add("--data_root", metavar="DIR",
        help="the folder that paths in lists and on standard input are relative to. Default: the list's "
        "folder, or the working directory")  # fmt: skip
    add("--boxes", metavar="FILE",
        help="predict the parts of pictures that a detector found, instead of PATHs. A line has a picture's "
        "path, left, top, right and bottom in pixels, with commas between, and a person's id if there is "
        "one. Then the pictures of each id vote")  # fmt: skip
    add("--follow_links", action="store_true",
        help="read the linked folders of a folder too, and allow a list to name pictures that links lead to "
        "outside of --data_root")  # fmt: skip
    add("--as_trained", action="store_true",
        help="use pictures as they are stored, as training does. By default they are turned as their EXIF "
        "orientation says")  # fmt: skip
    add("--align_corners", choices=tuple(CONVENTIONS), default="auto",
        help="how regions are sampled. auto: as the checkpoint was trained (default: auto)")  # fmt: skip
    add("--device", metavar="NAME", default="auto",
        help="sdaa, cuda or cpu, or one of several, as in cuda:1. auto: the first that works here "
        "(default: auto)")  # fmt: skip
    add("--batch_size", metavar="N", type=whole_number(1), default=BATCH_SIZE,
        help="pictures per batch (default: %(default)s)")  # fmt: skip
    add("--workers", metavar="N", type=whole_number(1), default=WORKERS,
        help="threads that read pictures (default: %(default)s)")  # fmt: skip
    add("--timeout", metavar="MINUTES", type=positive, default=MINUTES,
        help="how long a process of torchrun waits for the others, once it is done (default: %(default)s)"
    )  # fmt: skip
    add("--threads", metavar="N", type=whole_number(1, MOST_THREADS), default=default_threads(),
        help="threads that compute on the CPU, in torch or onnxruntime. Default: OMP_NUM_THREADS, else the "
        "number of usable cores; here %(default)s")  # fmt: skip

    add = parser.add_argument_group("output").add_argument
    add("--threshold", metavar="X|FILE", type=share_or_file,
        help="a picture has an attribute if its probability is above X. A FILE has one threshold per "
        "attribute; run_ALM.py -e --calibrate writes it. Default: 0.5, or an .onnx file's own")  # fmt: skip
    add("--csv", metavar="FILE",
        help="write each attribute's probability and whether it is found, one row per picture; - for "
        "standard output")  # fmt: skip
    add("--csv_full", action="store_true", help="with --csv: write the levels and the regions too")
    add("--resume", action="store_true",
        help="with --csv FILE or --json FILE: go on with what a run left in FILE.part when it was ended. "
        "Give the same options and paths. The first run may have it too")  # fmt: skip
    add("--json", metavar="FILE", help="write all that is predicted as JSON, one object per line")
    add("--regions", metavar="DIR",
        help="draw for each picture where its attributes were looked for, into a new directory")  # fmt: skip
    add("--attributes", metavar="NAMES", type=split_names,
        help="the attributes that --regions draws, separated by commas; a name with a comma stands in double "
        "quotes. Default: those that a picture has")  # fmt: skip
    return parser


def split_names(text: str) -> list[str]:
    parts = next(csv.reader([text], skipinitialspace=True), [])
    names = [name for part in parts if (name := " ".join(part.split()))]
    if not names:
        raise argparse.ArgumentTypeError("give names, separated by commas")
    return list(dict.fromkeys(names))
