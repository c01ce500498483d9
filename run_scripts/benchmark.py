"""Measure what ALM costs, beside its goals: nearly all figures are ratios of two things timed in turn.

python benchmark.py                         the table; under 5 minutes on 2 CPU cores
python benchmark.py --device cuda --amp fp16 --json figures.json
"""

if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from run_scripts.cli.main import run

    run("run_scripts.benchmark")

import argparse
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from pathlib import Path

import numpy as np
import torch

from alm.devices.device import CPU, DEVICES, choose_device, device_name
from alm.devices.precision import PRECISIONS
from alm.errors import AlmError
from run_scripts import measure
from run_scripts.cli.parser import Parser, whole_number
from utils.io.atomic import unwritable, write_json
from utils.io.process import beyond_interrupts, tell
from utils.synthetic import ensure_dataset


@dataclass(frozen=True)
class Goal:
    """A row of the table, and what is wanted of its median."""

    what: str
    limit: float
    at_least: bool = False  # else at most

    def met(self, median: float) -> bool:
        """Whether a median meets the goal."""
        return median >= self.limit if self.at_least else median <= self.limit

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.limit:g}"


# What is measured together, in a process of its own: none runs in the heap that another one left.
GOALS = {
    measure.localization_and_format: (
        Goal("training: whole model / backbone alone", 1.06),
        Goal("training: backbone, channels_last / NCHW", 0.80),
    ),
    measure.attributes_and_precision: (
        Goal("training: {many} attributes / {few}", 1.25),
        Goal("training: bf16 / float32", 0.60),
    ),
    measure.percent_outside: (Goal("training: % of the time outside the step", 3),),
    measure.gigabytes_of_training: (Goal("training: peak memory of the process, GB", 2.0),),
    measure.folded_to_backbone: (Goal("inference: folded model / unfolded backbone", 0.85),),
    measure.warm_to_decoding: (
        Goal("reading, 0 workers: warm cache / decoding", 20, at_least=True),
        Goal("reading, 1 worker: warm cache / decoding", 5, at_least=True),
    ),
}


def main() -> None:
    """Measure, print, write."""
    options = parse_options()
    tell(machine(options), "", columns("what", "median (quartiles)", "goal"))
    figures = []
    with tempfile.TemporaryDirectory() as directory:
        options.pictures = Path(directory, "pictures")
        ensure_dataset(options.pictures, train=2 * options.batch_size * (options.rounds + 2), test=1)
        for measurement, goals in GOALS.items():
            for goal, values in zip(goals, in_own_process(measurement, options), strict=True):
                figures.append(figure_of(goal, values, options))
                tell(row(figures[-1]))
            if options.json:  # so far: a later measurement may fail
                write_json(options.json, {"machine": machine(options), "figures": figures})


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    parser = Parser("Measure what ALM costs, beside its goals.")
    add = parser.add_argument
    add("--batch_size", type=whole_number(1), default=32, metavar="N", help="pictures a step; default 32")
    add("--attributes", type=whole_number(1), default=35, metavar="K", help="attributes; default 35")
    add("--device", choices=("auto", *DEVICES), default=CPU.type, help="default %(default)s")
    add("--amp", choices=("off", *PRECISIONS), default="off", help="of all rows but its own; default off")
    add(
        "--rounds",
        type=whole_number(1),
        default=15,
        metavar="N",
        help="ratios behind each median; default 15",
    )
    add("--threads", type=whole_number(1), default=2, metavar="N", help="CPU threads; default 2")
    add("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    return parser


def parse_options() -> argparse.Namespace:
    """Return the options, the device chosen."""
    parser = build_parser()
    options = parser.parse_args()
    if options.json and (reason := unwritable(options.json)):
        parser.error(f"--json {options.json}: {reason}")
    options.device = choose_device(options.device)
    return options


def in_own_process(measurement: Callable, options: argparse.Namespace) -> list[np.ndarray]:
    """Return what a function of measure.py measures. Raises AlmError where its process dies."""
    pool = ProcessPoolExecutor(
        max_workers=1,
        mp_context=get_context("spawn"),
        initializer=torch.set_num_threads,
        initargs=(options.threads,),
    )
    try:
        with pool, ended_by_interrupts():
            with beyond_interrupts():
                measured = pool.submit(measurement, options)
            return measured.result()
    except BrokenProcessPool as error:
        raise AlmError(
            "a measuring process died, as it does when memory runs out; lower --batch_size or --threads"
        ) from error


@contextmanager
def ended_by_interrupts() -> Iterator[None]:
    """End the measuring process with Ctrl-C: it takes a minute to be done."""
    try:
        yield
    except KeyboardInterrupt:
        for process in active_children():
            process.terminate()
        raise


def figure_of(goal: Goal, values: np.ndarray, options: argparse.Namespace) -> dict:
    """Return median and quartiles beside the goal; `rounds` is 0 where nothing could be measured."""
    what = goal.what.format(few=options.attributes, many=10 * options.attributes)
    figure = {"what": what, "goal": str(goal), "rounds": len(values)}
    if len(values):
        lower, median, upper = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
        figure |= {"median": median, "lower": lower, "upper": upper, "met": goal.met(median)}
    return figure


def row(figure: dict) -> str:
    """Return a row of the table."""
    if not figure["rounds"]:
        return columns(figure["what"], "not on this device", figure["goal"])
    median = "{median:.3g}" if figure["rounds"] == 1 else "{median:.3g} ({lower:.3g}-{upper:.3g})"
    goal = figure["goal"] if figure["met"] else f"{figure['goal']} missed"
    return columns(figure["what"], median.format(**figure), goal)


def machine(options: argparse.Namespace) -> str:
    """Return what the figures hold for."""
    words = [time.strftime("%Y-%m-%d"), device_name(options.device), f"torch {torch.__version__}"]
    words += [f"Python {platform.python_version()}", f"{options.device.type}, {options.threads} threads"]
    words += [f"batch {options.batch_size}", f"{options.attributes} attributes", f"amp {options.amp}"]
    return ", ".join(words)


def columns(what: str, figures: str, goal: str) -> str:
    """Return a line of the table."""
    return f"{what:44}{figures:22}{goal}"
