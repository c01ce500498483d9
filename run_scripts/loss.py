"""Decide from training logs whether one device trains as another does.

python loss.py --sdaa-log sdaa.log --cuda-log cuda.log   judges sdaa by cuda
python loss.py --compare reference.log a.log b.log       judges a and b

Exit status: 0 if the logs agree, 1 if they do not, 2 if there is no verdict.
"""

if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from run_scripts.cli.main import run

    run("run_scripts.loss")

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from run_scripts.cli.parser import Parser, not_negative, refuse_inputs_as_outputs, whole_number
from utils.io.atomic import write_json
from utils.io.phrases import counted
from utils.io.process import tell
from utils.runs.log_reader import Step, read_losses
from utils.runs.loss_comparison import (
    ABSOLUTE_LIMIT,
    DIVERGENCE,
    MEAN_LIMIT,
    P95_LIMIT,
    RELATIVE_LIMIT,
    LossComparison,
    compare_losses,
)
from utils.runs.loss_plot import plot_losses

PASS, FAIL = 0, 1


def main() -> int:
    options = parse_options()
    comparisons = compare_logs(options)
    report(comparisons, options)
    write_results(comparisons, options)
    return PASS if all(decide(comparison, options) for comparison in comparisons) else FAIL


def parse_options() -> argparse.Namespace:
    """Return the options; `options.compare` holds all logs, the reference first."""
    parser = build_parser()
    options = parser.parse_args()
    if options.compare is None:
        options.compare = [options.cuda_log or "cuda.log", options.sdaa_log or "sdaa.log"]
    elif options.sdaa_log or options.cuda_log:
        parser.error("--compare names all logs; leave out --sdaa-log and --cuda-log")
    elif len(options.compare) < 2:
        parser.error("--compare needs at least two logs, the reference first")
    refuse_inputs_as_outputs(parser, options.compare, json=options.json, plot=options.plot)
    return options


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--sdaa-log", metavar="FILE", help="log of the run to judge (default: sdaa.log)")
    add("--cuda-log", metavar="FILE", help="log of the run that it should agree with (default: cuda.log)")
    add("--compare", metavar="LOG", nargs="+",
        help="two logs or more, in place of these: the first one judges each of the others")  # fmt: skip
    add("--rank", metavar="N", type=whole_number(0), default=0,
        help="compare this process's losses, if several processes share a log (default: 0)")  # fmt: skip
    add("--align_epochs", action=argparse.BooleanOptionalAction,
        help="count each log's epochs from its first one, or do not. One of the two is needed if the logs "
        "begin with different epochs and would have more iterations in common with aligned ones")  # fmt: skip
    add("--strict", action="store_true", help="let the strict rule decide, not the official one")
    add("--limit", metavar="X", type=not_negative, default=MEAN_LIMIT,
        help="strict rule: largest mean of |s - c|/|c| (default: %(default)s)")  # fmt: skip
    add("--limit_p95", metavar="X", type=not_negative, default=P95_LIMIT,
        help="strict rule: largest 95th percentile of |s - c|/|c| (default: %(default)s)")  # fmt: skip
    add("--plot", metavar="FILE", default="loss.jpg", type=Path,
        help="draw the curves into FILE (default: %(default)s)")  # fmt: skip
    add("--json", metavar="FILE", type=Path, help="write all figures and verdicts to FILE, for machines")
    return parser


def compare_logs(options: argparse.Namespace) -> list[LossComparison]:
    """Read all logs and compare each later one with the first."""
    logs = [read_losses(path, options.rank) for path in options.compare]
    reference, *candidates = [log.from_epoch_0() for log in logs] if options.align_epochs else logs
    same_epochs = options.align_epochs is False
    return [compare_losses(candidate, reference, same_epochs) for candidate in candidates]


def decide(comparison: LossComparison, options: argparse.Namespace) -> bool:
    if options.strict:
        return comparison.passes_strict_rule(options.limit, options.limit_p95)
    return comparison.passes_official_rule()


def report(comparisons: list[LossComparison], options: argparse.Namespace) -> None:
    """Print the verdicts, and on standard error what they do not cover."""
    for comparison in comparisons:
        if len(comparisons) > 1:
            tell(f"{comparison.candidate.path} against {comparison.reference.path}")
        tell(*official_lines(comparison), *strict_lines(comparison, options))
        for line in notes(comparison):
            tell(f"note: {line}", to=sys.stderr)


def official_lines(comparison: LossComparison) -> Iterator[str]:
    """Yield the official four lines, which other programs read, and any loss that is not finite."""
    mean_relative_error = comparison.figures.mean_relative_error
    mean_absolute_error = comparison.figures.mean_absolute_error
    yield f"MeanRelativeError: {mean_relative_error}"
    yield f"MeanAbsoluteError: {mean_absolute_error}"
    rule = "mean_relative_error" if mean_relative_error <= mean_absolute_error else "mean_absolute_error"
    yield f"Rule,{rule} {getattr(comparison.figures, rule)}"
    verdict = "pass" if comparison.passes_official_rule() else "fail"
    yield (
        f"{verdict} {mean_relative_error=} <= {RELATIVE_LIMIT} or {mean_absolute_error=} <= {ABSOLUTE_LIMIT}"
    )
    for log in (comparison.candidate, comparison.reference):
        if log.first_nonfinite is not None:
            step, loss = log.first_nonfinite
            yield f"fail {log.path}: the loss is {loss} at {at(step)}"


def strict_lines(comparison: LossComparison, options: argparse.Namespace) -> Iterator[str]:
    """Yield the strict verdict and the figures that explain it."""
    figures = comparison.figures
    verdict = "pass" if comparison.passes_strict_rule(options.limit, options.limit_p95) else "fail"
    diverged = "never" if figures.diverged_step is None else f"first at {at(figures.diverged_step)}"
    yield (
        f"strict {verdict}: mean |s - c|/|c| {figures.mean_difference:.4g} <= {options.limit} "
        f"and 95th percentile {figures.p95_difference:.4g} <= {options.limit_p95}"
    )
    yield f"  largest |s - c|/|c|: {figures.largest_difference:.4g} at {at(figures.largest_step)}"
    yield f"  correlation of the curves: {figures.correlation:.4g}"
    yield f"  smoothed curves differ by more than {DIVERGENCE:.0%}: {diverged}"


def notes(comparison: LossComparison) -> Iterator[str]:
    """Yield a line on each part of the logs that the comparison could not use as it was."""
    candidate, reference = comparison.candidate, comparison.reference
    for log, other in ((candidate, reference), (reference, candidate)):
        missing = other.losses.keys() - log.losses.keys()
        if missing:
            yield (
                f"{log.path} lacks {len(missing)} of {other.path}'s iterations, the first at "
                f"{at(min(missing))}; compared: {len(comparison.steps)}"
            )
        if log.repeated:
            lines = counted(log.repeated, "line")
            yield f"{log.path} repeats iterations ({lines}); the last value of each is used"


def at(step: Step) -> str:
    return f"epoch {step[0]} iteration {step[1]}"


def write_results(comparisons: list[LossComparison], options: argparse.Namespace) -> None:
    """Write the JSON file if there is to be one, and draw the curves."""
    if options.json:
        content = {
            "passed": all(decide(comparison, options) for comparison in comparisons),
            "rule": "strict" if options.strict else "official",
            "limits": {
                "mean_relative_error": RELATIVE_LIMIT,
                "mean_absolute_error": ABSOLUTE_LIMIT,
                "mean_difference": options.limit,
                "p95_difference": options.limit_p95,
            },
            "comparisons": [comparison_record(comparison, options) for comparison in comparisons],
        }
        write_json(options.json, content)
    plot_losses(comparisons, options.plot)


def comparison_record(comparison: LossComparison, options: argparse.Namespace) -> dict:
    """Return one comparison for JSON, which has no NaN and no infinity: such figures are null."""
    figures = asdict(comparison.figures)
    for name, value in figures.items():
        if isinstance(value, float) and not math.isfinite(value):
            figures[name] = None
    common = len(comparison.steps)
    return {
        "candidate": comparison.candidate.path,
        "reference": comparison.reference.path,
        "common": common,
        "missing_in_candidate": len(comparison.reference.losses) - common,
        "missing_in_reference": len(comparison.candidate.losses) - common,
        "repeated_in_candidate": comparison.candidate.repeated,
        "repeated_in_reference": comparison.reference.repeated,
        "official_pass": comparison.passes_official_rule(),
        "strict_pass": comparison.passes_strict_rule(options.limit, options.limit_p95),
        **figures,
    }
