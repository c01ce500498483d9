"""Predict the attributes of pictures, and show where each was looked for.

python predict.py --checkpoint 60.pth.tar person.jpg folder 'more/*.png' list.txt
find . -name '*.jpg' | python predict.py --checkpoint 60.pth.tar --json - -
"""

if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from run_scripts.cli.main import run

    run("run_scripts.predict")

import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches

from tqdm import tqdm

from alm.errors import PictureError
from alm.inference.prediction import PicturePredictor, Prediction
from run_scripts.predict_options import parse_options
from utils.errors import DataError
from utils.evaluation.thresholds import read_thresholds
from utils.io.process import tell
from utils.prediction.batched import predictions
from utils.prediction.load import load_predictor
from utils.prediction.sheets import Sheets
from utils.prediction.sources import Source, count, outside, sources
from utils.prediction.writers import STANDARD_OUTPUT, Csv, JsonLines, Table, Writer, opened

NAMED = 3  # of many pictures that cannot be read


def main() -> None:
    """Find what is asked for, then predict picture by picture."""
    options = parse_options()
    if options.benchmark:
        from utils.deployment.benchmark import benchmark  # which few ask for

        benchmark(options)
        return
    places = options.paths, options.data_root, options.follow_links
    total = count(*places)  # whatever is not there is told before the checkpoint is read
    predictor, notes = load_predictor(
        options.checkpoint,
        device=options.device,
        experiment=options.experiment,
        names=options.names,
        align_corners=options.align_corners,
        threads=options.threads,
    )
    check_regions(options, predictor)
    thresholds = chosen_thresholds(options.threshold, predictor)
    for note in notes:
        tell(f"note: {note}", to=sys.stderr)
    pictures = sources(*places)
    found = predictions(
        predictor,
        outside(options.regions, pictures) if options.regions else pictures,
        batch_size=options.batch_size,
        workers=options.workers,
        as_trained=options.as_trained,
    )
    found = tqdm(found, "Predict", total, unit=" pictures", leave=False, disable=None)
    with opened_outputs(options, predictor, thresholds) as outputs:
        given, unread = write(found, outputs, thresholds)
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


def chosen_thresholds(given: float | str | None, predictor: PicturePredictor) -> float | Sequence[float]:
    """Return the number that is given, what the file that is named says, or the predictor's own."""
    if isinstance(given, str):
        return read_thresholds(given, predictor.attributes)
    return predictor.thresholds if given is None else given


@contextmanager
def opened_outputs(
    options: Namespace, predictor: PicturePredictor, thresholds: float | Sequence[float]
) -> Iterator[list[Writer]]:
    """Give what predictions are written to. Files are whole at the end, or not there at all."""
    outputs: list[Writer] = []
    with ExitStack() as files:
        if options.csv:
            file = files.enter_context(opened(options.csv))
            outputs.append(Csv(file, predictor.attributes, predictor.levels))
        if options.json:
            outputs.append(JsonLines(files.enter_context(opened(options.json))))
        if not outputs:
            outputs.append(Table())
        if options.regions:
            outputs.append(Sheets(options.regions, options.attributes, thresholds, options.as_trained))
        yield outputs


def write(
    found: Iterable[tuple[Source, Prediction | PictureError]],
    outputs: Sequence[Writer],
    thresholds: float | Sequence[float],
) -> tuple[int, list[str]]:
    """Write each prediction; return how many pictures were given, and which could not be read.

    Raises DataError, and no file takes another's place, where none was given or none could be read.
    """
    given, unread = 0, []
    for source, result in found:
        given += 1
        try:
            if isinstance(result, PictureError):
                raise result
            for output in outputs:
                output.write(source, result, result.positive(thresholds))
        except PictureError as error:  # as of a picture that has gone before its sheet was drawn
            unread.append(source.name)
            with tqdm.external_write_mode(sys.stderr):
                tell(f"warning: {error}", to=sys.stderr)
    if not given:
        raise DataError("no paths came on standard input")
    if len(unread) == given:
        raise unreadable(given, unread)
    return given, unread


def unreadable(given: int, unread: Sequence[str]) -> DataError:
    """Return the error that some of the pictures could not be read."""
    first = ", ".join(unread[:NAMED]) + (", ..." if len(unread) > NAMED else "")
    return DataError(f"{len(unread)} of {given} pictures could not be read: {first}")


def conclude(options: Namespace, given: int, unread: Sequence[str]) -> None:
    """Say what was written. Raises DataError where a picture could not be read."""
    told_on = sys.stderr if STANDARD_OUTPUT in (options.csv, options.json) else sys.stdout
    good = given - len(unread)
    for path in (options.csv, options.json, options.regions):
        if path and path != STANDARD_OUTPUT:
            tell(f"{path}: {good} picture{'s' if good != 1 else ''}", to=told_on)
    if unread:
        raise unreadable(given, unread)
