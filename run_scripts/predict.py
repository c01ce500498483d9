"""Predict the attributes of pictures, and show where each was looked for.

python predict.py --checkpoint 60.pth.tar person.jpg folder 'more/*.png' list.txt
find . -name '*.jpg' | python predict.py --checkpoint 60.pth.tar --json - -
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from run_scripts.beginning import guard

if __name__ == "__main__":
    guard()  # while the rest is imported

import shutil
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches

import numpy as np
from tqdm import tqdm

from alm.picture_predictor import PicturePredictor
from alm.pictures import PictureError, read_picture
from alm.prediction import Prediction
from run_scripts.command import clear_ending, tell
from run_scripts.load_predictor import load_predictor
from run_scripts.predict_options import STANDARD_STREAM, parse_options
from utils.list_file import DataError
from utils.picture_sources import Source, count, sources
from utils.predicting import predictions
from utils.prediction_files import Csv, JsonLines, opened
from utils.prediction_text import block
from utils.report.sheets import Sheets
from utils.thresholds import read_thresholds

NAMED = 3  # of many pictures that cannot be read

Output = Callable[[Source, Prediction, np.ndarray], None]  # a picture, and which attributes are positive


def main() -> None:
    """Find what is asked for, then predict picture by picture."""
    options = parse_options()
    places = options.paths, options.data_root, options.follow_links
    total = count(*places)  # whatever is not there is told before the checkpoint is read
    predictor, notes = load_predictor(
        options.checkpoint,
        device=options.device,
        experiment=options.experiment,
        names=options.names,
        align_corners=options.align_corners,
    )
    check_regions(options, predictor)
    thresholds = options.threshold
    if isinstance(thresholds, str):
        thresholds = read_thresholds(thresholds, predictor.attributes)
    for note in notes:
        tell(f"note: {note}", to=sys.stderr)
    found = predictions(
        predictor,
        sources(*places),
        batch_size=options.batch_size,
        workers=options.workers,
        as_trained=options.as_trained,
    )
    given, unread = 0, []
    with opened_outputs(options, predictor, thresholds) as outputs:
        for source, result in tqdm(found, "Predict", total, unit=" pictures", leave=False, disable=None):
            given += 1
            if isinstance(result, PictureError):
                unread.append(source.name)
                with tqdm.external_write_mode(sys.stderr):
                    tell(f"warning: {result}", to=sys.stderr)
                continue
            for output in outputs:
                output(source, result, result.positive(thresholds))
    conclude(options, given, unread)


def check_regions(options: Namespace, predictor: PicturePredictor) -> None:
    """Raise DataError where there are no regions to draw, or an attribute of theirs is not predicted."""
    if options.regions and not predictor.levels:
        raise DataError(f"{options.checkpoint} has no regions to draw; leave out --regions")
    for name in options.attributes or ():
        if name not in predictor.attributes:
            nearest = get_close_matches(name, predictor.attributes, 1)
            hint = f"; {nearest[0]!r} is the nearest" if nearest else ""
            raise DataError(f"--attributes: {options.checkpoint} does not predict {name!r}{hint}")


@contextmanager
def opened_outputs(options: Namespace, predictor: PicturePredictor, thresholds) -> Iterator[list[Output]]:
    """Give what is done with each prediction. Files are whole at the end, or not there at all."""
    outputs: list[Output] = []
    with ExitStack() as files:
        if options.csv:
            file = files.enter_context(opened(options.csv))
            outputs.append(row_of(Csv(file, predictor.attributes, predictor.levels)))
        if options.json:
            outputs.append(row_of(JsonLines(files.enter_context(opened(options.json)))))
        if not outputs:
            outputs.append(print_block)
        if options.regions:
            outputs.append(sheet_of(Sheets(options.regions, options.attributes, thresholds), options))
        yield outputs


def print_block(source: Source, prediction: Prediction, positive: np.ndarray) -> None:
    """Print what is found in a picture, as wide as the terminal."""
    width = shutil.get_terminal_size().columns
    with tqdm.external_write_mode(sys.stdout):
        tell(*block(source.name, prediction, positive, width), "")


def row_of(writer: Csv | JsonLines) -> Output:
    """Return what writes a prediction."""
    return lambda source, prediction, positive: writer.write(source.name, prediction, positive)


def sheet_of(sheets: Sheets, options: Namespace) -> Output:
    """Return what draws a sheet. The picture is read again: whole ones of a batch could fill the memory."""

    def draw(source: Source, prediction: Prediction, _positive: np.ndarray) -> None:
        picture = read_picture(source.file, turned=not options.as_trained)
        sheets.draw(source.name, source.place, picture, prediction)

    return draw


def conclude(options: Namespace, given: int, unread: list[str]) -> None:
    """Say what was written. Raises DataError where a picture could not be read, or none was given."""
    if not given:
        raise DataError("no paths came on standard input")
    told_on = sys.stderr if STANDARD_STREAM in (options.csv, options.json) else sys.stdout
    good = f"{given - len(unread)} picture{'s' if given - len(unread) != 1 else ''}"
    for path in (options.csv, options.json, options.regions):
        if path and path != STANDARD_STREAM:
            tell(f"{path}: {good}", to=told_on)
    if unread:
        first = ", ".join(unread[:NAMED]) + (", ..." if len(unread) > NAMED else "")
        raise DataError(f"{len(unread)} of {given} pictures could not be read: {first}")


if __name__ == "__main__":
    with clear_ending():
        main()
