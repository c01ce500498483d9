"""Decide from training logs whether one device trains as another does.

python loss.py --sdaa-log sdaa.log --cuda-log cuda.log   judges sdaa by cuda
python loss.py --compare reference.log a.log b.log       judges a and b

All iterations that either log has are compared. Exit status: 0 if both logs
are whole and agree, 1 if a log disagrees, 2 if there is no verdict: a log lacks
iterations, its training ended early, or the losses cannot show an agreement.
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

from run_scripts.cli.messages import explain
from run_scripts.cli.parser import (
    Parser,
    check_outputs,
    not_negative,
    refuse_inputs_as_outputs,
    whole_number,
)
from utils.io.atomic import write_json
from utils.io.phrases import counted
from utils.io.process import tell, tell_written
from utils.runs.log_reader import read_losses
from utils.runs.loss_comparison import (
    ABSOLUTE_LIMIT,
    DIVERGENCE,
    MEAN_LIMIT,
    P95_LIMIT,
    RELATIVE_LIMIT,
    LossComparison,
    Verdict,
    compare_losses,
    figure_text,
)
from utils.runs.loss_plot import plot_losses

PASS, FAIL, NO_VERDICT = 0, 1, 2
WORDS = {True: "pass", False: "fail", None: "none"}
PLOT = Path("loss.jpg")


def main() -> int:
    options = parse_options()
    comparisons = compare_logs(options)
    report(comparisons, options)
    if options.json:
        write_json(options.json, results_record(comparisons, options))
    draw(comparisons, options.plot)
    tell_written(options.json, options.plot)
    return {True: PASS, False: FAIL, None: NO_VERDICT}[overall(comparisons, options)]


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
    check_outputs(parser, options.compare, json=options.json, plot=options.plot)
    refuse_inputs_as_outputs(parser, options.compare, json=options.json, plot=options.plot or PLOT)
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
    add("--iterations", metavar="N", type=whole_number(1),
        help="compare the first N iterations alone, not all that either log has")  # fmt: skip
    add("--strict", action="store_true", help="let the strict rule decide, not the official one")
    add("--limit", metavar="X", type=not_negative, default=MEAN_LIMIT,
        help="strict rule: largest mean of |s - c|/|c| (default: %(default)s)")  # fmt: skip
    add("--limit_p95", metavar="X", type=not_negative, default=P95_LIMIT,
        help="strict rule: largest 95th percentile of |s - c|/|c| (default: %(default)s)")  # fmt: skip
    add("--plot", metavar="FILE", type=Path,
        help=f"draw the curves into FILE (default: {PLOT}, if it can be written)")  # fmt: skip
    add("--json", metavar="FILE", type=Path, help="write all figures and verdicts to FILE, for machines")
    return parser


def compare_logs(options: argparse.Namespace) -> list[LossComparison]:
    """Read all logs and compare each later one with the first."""
    logs = [read_losses(path, options.rank) for path in options.compare]
    reference, *candidates = [log.from_epoch_0() for log in logs] if options.align_epochs else logs
    same_epochs = options.align_epochs is False
    return [compare_losses(candidate, reference, same_epochs, options.iterations) for candidate in candidates]


def decide(comparison: LossComparison, options: argparse.Namespace, strict: bool = False) -> Verdict:
    """Return the verdict of the rule that decides, or of the strict one."""
    return comparison.verdict(strict or options.strict, options.limit, options.limit_p95)


def overall(comparisons: list[LossComparison], options: argparse.Namespace) -> bool | None:
    """Return False if a log disagrees, else None if one has no verdict, else True."""
    verdicts = [decide(comparison, options).passed for comparison in comparisons]
    return next((worse for worse in (False, None) if worse in verdicts), True)


def report(comparisons: list[LossComparison], options: argparse.Namespace) -> None:
    """Print the figures and verdicts, and on standard error which iterations were repeated."""
    for comparison in comparisons:
        if len(comparisons) > 1:
            tell(f"{comparison.candidate.path} against {comparison.reference.path}")
        tell(*official_lines(comparison), *strict_lines(comparison, options))
        tell(verdict_line(comparison, options))
        for log in (comparison.candidate, comparison.reference):
            if log.repeated:
                lines = counted(log.repeated, "line")
                tell(
                    f"note: {log.path} repeats iterations ({lines}); the last value of each is used",
                    to=sys.stderr,
                )


def official_lines(comparison: LossComparison) -> Iterator[str]:
    """Yield the official four lines, which other programs read."""
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


def strict_lines(comparison: LossComparison, options: argparse.Namespace) -> Iterator[str]:
    """Yield the strict verdict and the figures that explain it."""
    figures, at = comparison.figures, comparison.reference.at
    diverged = "never" if figures.diverged_step is None else f"first at {at(figures.diverged_step)}"
    largest = figure_text(figures.largest_difference)
    yield (
        f"strict {WORDS[decide(comparison, options, strict=True).passed]}: "
        f"{figures.strict_text(options.limit, options.limit_p95)}"
    )
    yield f"  largest |s - c|/|c|: {largest} at {at(figures.largest_step)}"
    yield f"  distance, mean |s - c| by mean step of c: {figure_text(figures.distance)}"
    yield f"  correlation of the curves: {figure_text(figures.correlation)}"
    yield f"  smoothed curves differ by more than {DIVERGENCE:.0%}: {diverged}"


def verdict_line(comparison: LossComparison, options: argparse.Namespace) -> str:
    verdict = decide(comparison, options)
    compared = f"{len(comparison.steps)} of {counted(comparison.asked, 'iteration')} compared"
    word = WORDS[verdict.passed]
    parts = (f"verdict: {word}", compared, *comparison.ranks(), comparison.renumbered, verdict.reason)
    return "; ".join(part for part in parts if part)


def draw(comparisons: list[LossComparison], plot: Path | None) -> None:
    """Draw the curves; a picture that nobody named may fail."""
    try:
        plot_losses(comparisons, plot or PLOT)
    except Exception as error:
        if plot:
            raise
        tell(f"note: {PLOT} is not drawn: {explain(error)}", to=sys.stderr)


def results_record(comparisons: list[LossComparison], options: argparse.Namespace) -> dict:
    return {
        "passed": overall(comparisons, options),
        "rule": "strict" if options.strict else "official",
        "limits": {
            "mean_relative_error": RELATIVE_LIMIT,
            "mean_absolute_error": ABSOLUTE_LIMIT,
            "mean_difference": options.limit,
            "p95_difference": options.limit_p95,
        },
        "comparisons": [comparison_record(comparison, options) for comparison in comparisons],
    }


def comparison_record(comparison: LossComparison, options: argparse.Namespace) -> dict:
    """Return one comparison for JSON, which has no NaN and no infinity: such figures are null, and so is the
    verdict if there is none.
    """
    figures = asdict(comparison.figures)
    for name, value in figures.items():
        if isinstance(value, float) and not math.isfinite(value):
            figures[name] = None
    verdict, strict = decide(comparison, options), decide(comparison, options, strict=True)
    return {
        "candidate": comparison.candidate.path,
        "reference": comparison.reference.path,
        "passed": verdict.passed,
        "reason": verdict.reason,
        "asked": len(comparison.asked),
        "compared": len(comparison.steps),
        "renumbered": comparison.renumbered,
        "repeated_in_candidate": comparison.candidate.repeated,
        "repeated_in_reference": comparison.reference.repeated,
        "official_pass": comparison.passes_official_rule(),
        "strict_pass": strict.passed,
        "distance_limit": comparison.distance_limit,
        **figures,
    }
