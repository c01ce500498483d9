"""Decide whether evaluation B is better than A, from the predictions of both.

python run_ALM.py -e --resume a.pth.tar --predictions a.csv   writes such a file
python compare.py a.csv b.csv --labels PETA_test_list.txt     judges b.csv
python compare.py runs/a runs/b                               judges trainings

The verdict is about mA. Two directories hold runs of two trainings, each with
several seeds. Exit status: 0 if B is better than A, or the pictures or seeds
cannot tell them apart, 1 if B is worse, 2 if there is no verdict.
"""

if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from run_scripts.cli.main import run

    run("run_scripts.compare")

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from alm.errors import AlmError
from run_scripts.cli.parser import Parser, check_outputs
from utils.data.catalog import EXPERIMENTS, identities, read_names
from utils.data.list_file import read_list
from utils.evaluation.difference_plot import plot_differences
from utils.evaluation.prediction_table import (
    SCALES,
    PredictionsFile,
    in_list_order,
    predicted,
    read_predictions,
)
from utils.evaluation.results import ends, lacking, none_for_nan, undefined_draws
from utils.evaluation.seeds import SeedSet, compare_seeds, read_seeds, set_lines, set_record
from utils.evaluation.significance import DRAWS, FIGURES, LEVEL, Difference, Paired, compare, tally
from utils.io.atomic import write_json
from utils.io.phrases import counted, first_few, ma_title
from utils.io.process import tell, tell_written

STATUS = {"better": 0, "not to be told apart": 0, "worse": 1, None: 2}  # of each verdict


def main() -> int:
    options = parse_options()
    if Path(options.a).is_dir():
        return judge_seeds(options)
    files = read_predictions(options.a), read_predictions(options.b)
    spellings = choose_attributes(files, options.attributes)
    attributes = [spelling[0] for spelling in spellings]
    names, labels = read_list(options.labels, len(attributes))
    answers = []  # bool (N, K): what each file predicts
    for file, scale in zip(files, ("scale_a", "scale_b"), strict=True):
        order = in_list_order(file, names, options.labels)
        answers.append(predicted(file, spellings, getattr(options, scale), f"--{scale}")[order])
    people = identities(names)
    paired = compare(*(tally(each, labels, people) for each in answers))

    changed = int((answers[0] != answers[1]).sum())
    counts = {"pictures": len(names), "labels": labels.size, "changed": changed}
    tell(*report_lines(paired, attributes, counts, options))
    if options.json:
        write_json(options.json, comparison_record(paired, attributes, counts, options))
    if options.plot:
        plot_differences(paired, attributes, options.a, options.b, options.plot)
    tell_written(options.json, options.plot)
    return STATUS[paired.figures["ma"].verdict]


def parse_options() -> argparse.Namespace:
    parser = build_parser()
    options = parser.parse_args()
    inputs = options.a, options.b, options.labels, options.attributes
    check_outputs(parser, inputs, json=options.json, plot=options.plot)
    are_directories = [Path(path).is_dir() for path in (options.a, options.b)]
    if any(are_directories) and not all(are_directories):
        parser.error("A and B: give two directories of runs, or two files of predictions")
    if not any(are_directories) and not options.labels:
        parser.error("--labels LIST is needed: the list of the pictures, with its labels")
    for name in ("labels", "attributes", "scale_a", "scale_b", "plot"):
        if any(are_directories) and getattr(options, name) != parser.get_default(name):
            parser.error(f"--{name} is for files of predictions; leave it out")
    return options


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add("a", metavar="A", help="predictions to compare with: CSV with a header, one line per picture. Or a "
        "directory of runs that differ in --seed")  # fmt: skip
    add("b", metavar="B", help="predictions to judge, of the same pictures; or such a directory")
    add("--labels", metavar="LIST", help="the list of these pictures, with its labels; predictions need it")
    add("--attributes", metavar="FILE", help="a file of the list's attributes, in its order, one per line "
        "(default: those of PETA, RAP or PA-100K, as the columns say)")  # fmt: skip
    scale = {"choices": SCALES, "default": "auto"}
    add("--scale_a", **scale, help="what A's numbers are. auto: probabilities if predict.py wrote them, "
        "logits if one in a hundred is negative (default: auto)")  # fmt: skip
    add("--scale_b", **scale, help="the same of B")
    add("--json", metavar="FILE", help="write all figures and the verdict as JSON")
    add("--plot", metavar="FILE", help="draw the differences with their intervals")
    return parser


def judge_seeds(options: argparse.Namespace) -> int:
    """Compare two sets of runs; return the exit status."""
    sets = read_seeds(Path(options.a)), read_seeds(Path(options.b))
    differences = compare_seeds(*sets)
    tell(*seed_lines(sets, differences))
    if options.json:
        write_json(options.json, seed_record(sets, differences))
    tell_written(options.json)
    return STATUS[differences["ma"].verdict]


def seed_lines(sets: Sequence[SeedSet], differences: Mapping[str, Difference]) -> Iterator[str]:
    for name, each in zip("AB", sets, strict=True):
        first, *figures = set_lines(each)
        yield f"{name}: {first}"
        yield from figures
    yield ""
    yield f"{'Means':20}     A       B     B - A   95 % interval of B - A"
    for key, title in FIGURES.items():
        yield row(title, differences[key])
    yield ""
    yield verdict_line(differences["ma"], FIGURES["ma"])
    yield "The intervals cover other seeds of the training, but no other test pictures."


def seed_record(sets: Sequence[SeedSet], differences: Mapping[str, Difference]) -> dict:
    return {
        "level": LEVEL,
        "verdict": differences["ma"].verdict,
        "a": set_record(sets[0]),
        "b": set_record(sets[1]),
        "figures": {key: difference_record(differences[key]) for key in FIGURES},
    }


def choose_attributes(files: Sequence[PredictionsFile], names_file: str | None) -> list[tuple[str, ...]]:
    """Return the spellings of each attribute in the order of the list's labels: those of a file of names, or
    those of the data set whose attributes a file's columns are.

    Raises AlmError if neither tells the order.
    """
    if names_file:
        return [(name,) for name in read_names(names_file)]
    tables = {
        each.title: list(zip(each.attributes, each.official_names or each.attributes, strict=True))
        for each in EXPERIMENTS.values()
    }
    for spellings in tables.values():
        if any(in_order(file.columns, spellings) for file in files):
            return spellings
    raise AlmError(
        f"neither {files[0].path} nor {files[1].path} has the attributes of {', '.join(tables)} in their "
        "published order; name the list's attributes, in its order, with --attributes FILE"
    )


def in_order(columns: Sequence[str], spellings: Sequence[tuple[str, ...]]) -> bool:
    """Whether the columns have all attributes, in this order."""
    place = {name: k for k, names in enumerate(spellings) for name in names}
    return [place[column] for column in columns if column in place] == list(range(len(spellings)))


def report_lines(
    paired: Paired, attributes: Sequence[str], counts: Mapping[str, int], options: argparse.Namespace
) -> Iterator[str]:
    yield f"A: {options.a}"
    yield f"B: {options.b}"
    yield f"{counts['pictures']:,} pictures of {options.labels}, {len(attributes)} attributes"
    pairs = list(zip(attributes, paired.attributes, strict=True))
    if undefined := [name for name, each in pairs if math.isnan(each.difference)]:
        yield f"{ma_title(paired.ma_attributes, len(attributes))}: {lacking(undefined)}"
    yield f"{counts['changed']:,} of {counts['labels']:,} labels are predicted differently"
    yield ""
    yield f"{paired.units:,} {paired.resampled} drawn with replacement, {DRAWS:,} times:"
    yield f"{'':20}     A       B     B - A   95 % interval of B - A"
    for key, title in FIGURES.items():
        yield row(title, paired.figures[key])
    if rare := [name for name, each in pairs if 0 < each.interval.undefined < DRAWS]:
        draws = undefined_draws(paired.figures["ma"].interval)
        yield f"mA: {draws} ({first_few(rare)}), and are left out"
    yield ""
    yield from attribute_lines(paired, attributes)
    yield ""
    yield from verdict_lines(paired, counts["changed"])


def attribute_lines(paired: Paired, attributes: Sequence[str]) -> Iterator[str]:
    """Yield the attributes that differ, the largest gain first."""
    pairs = zip(attributes, paired.attributes, strict=True)
    differ = sorted((pair for pair in pairs if pair[1].differs), key=lambda pair: -pair[1].difference)
    rule = "Holm's method, family-wise error 5 %"
    tested = counted(sum(each.interval.is_defined for each in paired.attributes), "attribute")
    if not differ:
        yield f"None of {tested} differs in mA ({rule})."
        return
    yield f"{len(differ)} of {tested} differ in mA ({rule}):"
    for name, difference in differ:
        yield row(name, difference)


def row(title: str, difference: Difference) -> str:
    if math.isnan(difference.difference):
        return f"{title:20}   n/a"
    low, high, _ = difference.interval
    line = f"{title:20}{difference.first:.4f}  {difference.second:.4f}  {difference.difference:+.4f}   "
    line += f"{low:+.4f} to {high:+.4f}" if difference.interval.is_defined else "n/a"
    return line + (f"  {difference.verdict}" if difference.differs else "")


def verdict_lines(paired: Paired, changed: int) -> Iterator[str]:
    ma = paired.figures["ma"]
    low, high, _ = ma.interval
    if ma.verdict and not changed:
        yield f"B is {ma.verdict} from A: both predict the same labels of all pictures."
    else:
        yield verdict_line(ma, ma_title(paired.ma_attributes, len(paired.attributes)))
        if ma.verdict and not ma.differs and high > low:
            yield f"These pictures can show a difference of about {(high - low) / 2:.4f} or more."
    yield "The intervals cover other test pictures, but no other seed of the training."


def verdict_line(ma: Difference, title: str) -> str:
    if ma.verdict is None:
        return f"No verdict: the interval of B - A in {title} is undefined."
    than, contains = ("than", "does not contain") if ma.differs else ("from", "contains")
    return f"B is {ma.verdict} {than} A: the interval of B - A in {title} {contains} 0."


def comparison_record(
    paired: Paired, attributes: Sequence[str], counts: Mapping[str, int], options: argparse.Namespace
) -> dict:
    by_attribute = zip(attributes, paired.attributes, paired.p_values.tolist(), strict=True)
    return {
        "a": options.a,
        "b": options.b,
        "list": options.labels,
        **counts,
        "level": LEVEL,
        "draws": DRAWS,
        "resampled": paired.resampled,
        "units": paired.units,
        "ma_attributes": paired.ma_attributes,
        "ma_undefined_draws": paired.figures["ma"].interval.undefined,
        "verdict": paired.figures["ma"].verdict,
        "figures": {key: difference_record(paired.figures[key]) for key in FIGURES},
        "attributes": [
            {"name": name, **difference_record(difference), "p_value": none_for_nan(p_value)}
            for name, difference, p_value in by_attribute
        ],
    }


def difference_record(difference: Difference) -> dict:
    """Return one figure's difference for JSON; an undefined one is null."""
    return {
        "a": none_for_nan(difference.first),
        "b": none_for_nan(difference.second),
        "difference": none_for_nan(difference.difference),
        "interval": ends(difference.interval),
        "verdict": difference.verdict,
    }
