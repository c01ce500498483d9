"""What --runs means: several runs of one command that differ in their seed, and a table of their figures."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from run_scripts.training.options import DEFAULTS, LARGEST_SEED, build_parser
from run_scripts.training.resume import check_resume
from utils.evaluation.seeds import read_runs, set_lines, set_record
from utils.io.atomic import write_json
from utils.io.process import tell
from utils.runs.directory import new_run_directory


def runs_of(typed: Namespace, place: Path) -> list[Namespace]:
    """Return the options of each run: its seed, and a directory named by it in --output_dir, by default in a
    new one in `place`. Exits with status 2 if --resume makes no sense, or if a seed is too large.
    """
    check_resume(typed)
    options = DEFAULTS | vars(typed)
    first, last = options["seed"], options["seed"] + typed.runs - 1
    if last > LARGEST_SEED:
        build_parser().error(
            f"--seed {first}: --runs {typed.runs} goes up to {last}; lower it, {LARGEST_SEED} is the largest"
        )
    together = options["output_dir"] or new_run_directory(place, options["experiment"], options["approach"])
    runs = []
    for seed in range(first, last + 1):
        own = {"seed": seed, "output_dir": str(Path(together, f"seed{seed}"))}
        if options["tensorboard"]:
            own["tensorboard"] = str(Path(options["tensorboard"], f"seed{seed}"))
        runs.append(Namespace(**vars(typed) | own))
    return runs


def report_runs(runs: Sequence[Namespace]) -> None:
    """Print mean and standard deviation of each figure of the runs' last evaluations; write --json."""
    directories = [Path(run.output_dir) for run in runs]
    together = read_runs(directories[0].parent, directories)
    tell(*set_lines(together))
    if "json" in runs[0]:
        write_json(runs[0].json, set_record(together))
