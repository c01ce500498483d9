"""Find the first operator that a device computes wrong, or where machines part.

python locate.py --device sdaa               operators of a training step
python locate.py --compare a.jsonl b.jsonl   files of run_ALM.py --fingerprint

Each operator is computed again on the CPU. The options below, and run_ALM.py's,
say what a step is. By default it is a step of ALM on four drawn people.

Exit status: 0 if everything is within its limits, 1 if something is not, or is
missing from a fingerprint, 2 if there is no verdict.
"""

if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from run_scripts.cli.main import run

    run("run_scripts.locate")

import argparse
import time
from pathlib import Path

from alm.devices.host import keep_freed_memory
from alm.errors import AlmError
from run_scripts.cli.parser import Parser, check_outputs, whole_number
from utils.diagnostics.fingerprint_comparison import (
    compare_fingerprints,
    fingerprint_lines,
    fingerprint_record,
    plot_fingerprints,
    read_fingerprint,
)
from utils.diagnostics.operator_report import operator_lines, operator_record, verdict
from utils.io.atomic import write_json
from utils.io.phrases import counted
from utils.io.process import tell, tell_written, temporary_directory

STATUS = {True: 0, False: 1, None: 2}
BATCH = 4


def main() -> int:
    options, step = parse_options()
    return compare(options) if options.compare else check(options, step)


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--iterations", type=whole_number(1), default=1, metavar="N", help="steps to check (default: 1)")
    add("--compare", nargs=2, metavar="FILE", help="compare two fingerprints instead")
    add("--plot", metavar="FILE", help="with --compare: draw the difference along the network")
    add("--json", metavar="FILE", help="write all findings to FILE, for machines")
    return parser


def parse_options() -> tuple[argparse.Namespace, argparse.Namespace | None]:
    """Return this command's options and run_ALM.py's; with --compare, which takes none of these, None."""
    parser = build_parser()
    options, others = parser.parse_known_args()
    if options.compare and others:
        parser.error(f"{others[0]} has no meaning for --compare, which reads files; leave it out")
    step = None if options.compare else parse_step(parser, others)
    if options.plot and not options.compare:
        parser.error("--plot goes with --compare")
    check_outputs(parser, options.compare or [], json=options.json, plot=options.plot)
    return options, step


def parse_step(parser: argparse.ArgumentParser, words: list[str]) -> argparse.Namespace:
    """Return run_ALM.py's options among the words; they must all be about a single step."""
    from run_scripts.training import options  # torch

    step = options.build_parser().parse_args(words)
    for name in vars(step).keys() & options.OPTIONS.keys() - set(options.names(options.Trait.STEP)):
        parser.error(f"--{name} has no meaning for single steps; leave it out")
    if getattr(step, "resume", None) == options.AUTO:
        parser.error("--resume auto has no meaning for single steps; name a checkpoint")
    if "experiment" not in step and "resume" not in step:
        for name in sorted({"data_root", "train_list", "attributes"} & vars(step).keys()):
            reason = "say which data set it is of with --experiment; without it people are drawn"
            parser.error(f"--{name}: {reason}")
    step.start_epoch = 0  # a run that is finished has weights to take a step from, too
    return step


def check(options: argparse.Namespace, step: argparse.Namespace) -> int:
    from run_scripts.training.setup import build_loader, build_trainer, set_up
    from utils.diagnostics.operator_check import OperatorCheck
    from utils.diagnostics.operator_origin import OperatorOrigin
    from utils.runs.training_log import TrainingLog
    from utils.synthetic import ensure_dataset

    keep_freed_memory()
    with temporary_directory("a training step of drawn people") as directory:
        step.batch_size = getattr(step, "batch_size", BATCH)
        if "experiment" not in step and "resume" not in step:
            step.experiment, step.data_root = "peta", str(directory)  # drawn, in its format
            ensure_dataset(directory, train=options.iterations * step.batch_size, test=1)
        setup = set_up(step)
        tell(*setup.notes)
        trainer, loader = build_trainer(setup, TrainingLog()), build_loader(setup, training=True)
        if len(loader) < options.iterations:
            raise AlmError(
                f"--iterations {options.iterations}: an epoch has {counted(len(loader), 'iteration')}; lower "
                "it, or lower --batch_size"
            )
        origin = OperatorOrigin({"": trainer.model, "loss": trainer.criterion}, trainer.optimizer)
        since = time.perf_counter()
        with OperatorCheck(origin, trainer.device) as checked:
            trainer.train(loader.epoch(0, count=options.iterations), 0, 0, len(loader))
        seconds = time.perf_counter() - since
    tell("", f"{seconds:.0f} s:", *operator_lines(checked))
    if options.json:
        write_json(options.json, operator_record(checked))
    tell_written(options.json)
    return STATUS[verdict(checked)]


def compare(options: argparse.Namespace) -> int:
    comparison = compare_fingerprints(*map(read_fingerprint, options.compare))
    tell(*fingerprint_lines(comparison))
    if options.json:
        write_json(options.json, fingerprint_record(comparison))
    if options.plot:
        plot_fingerprints(comparison, options.plot)
    tell_written(options.json, options.plot)
    return STATUS[comparison.passed]
