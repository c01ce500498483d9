"""Measure what ALM costs, beside its goals: each figure is a ratio of two things timed in turn in one run.

python benchmark.py                         the table; under 5 minutes on 2 CPU cores
python benchmark.py --device cuda --amp fp16 --json figures.json
"""

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from alm import build_model
from alm.device import DEVICES, PRECISIONS, choose_device, choose_precision, cpu_has_bfloat16, peak_memory
from run_scripts import measure
from run_scripts.command import clear_ending
from utils.dataset import MultiLabelDataset
from utils.run_directory import write_json
from utils.synthetic import LISTS, ensure_dataset

PEAK_MEMORY = "--peak-memory-of-training"  # how the command asks itself, in a process of its own
PICTURES = 600  # of the reading measurements


@dataclass
class Figure:
    """A row of the table: median and quartiles of all rounds, beside what is wanted."""

    what: str
    goal: float
    median: float
    lower: float
    upper: float
    rounds: int
    at_most: bool  # lower is better

    @property
    def met(self) -> bool:
        """Whether the median meets the goal."""
        return self.median <= self.goal if self.at_most else self.median >= self.goal

    def row(self) -> str:
        """Return the row."""
        spread = f" ({self.lower:.3g} to {self.upper:.3g})" if self.rounds > 1 else ""
        goal = f"{'<=' if self.at_most else '>='} {self.goal:g}"
        return row(self.what, f"{self.median:.3g}{spread}", goal if self.met else f"{goal}  missed")


def main() -> None:
    """Measure, print, write."""
    options = parse_options()
    if options.peak_memory_of_training:
        print(peak_memory_of_training(options))
        return
    figures = []
    print(f"{machine(options)}\n\n{row('what', 'median (quartiles)', 'goal')}", flush=True)
    for measured in (training, half_precision, inference, memory, data):
        for figure in measured(options):
            figures.append(figure)
            print(figure.row(), flush=True)
    if options.json:
        record = {"machine": machine(options), "figures": [asdict(f) | {"met": f.met} for f in figures]}
        write_json(options.json, record)


def parse_options() -> argparse.Namespace:
    """Return the options, the device chosen."""
    parser = argparse.ArgumentParser(description="Measure what ALM costs, beside its goals.")
    add = parser.add_argument
    add("--batch_size", type=int, default=32, metavar="N", help="pictures a step; default 32")
    add("--attributes", type=int, default=35, metavar="K", help="attributes; default 35")
    add("--device", choices=("auto", *DEVICES), default="cpu", help="default cpu")
    add("--amp", choices=("off", *PRECISIONS), default="off", help="of all rows but its own; default off")
    add("--rounds", type=int, default=15, metavar="N", help="ratios behind each median; default 15")
    add("--threads", type=int, default=2, metavar="N", help="CPU threads; default 2")
    add("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    add(PEAK_MEMORY, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in ("batch_size", "attributes", "rounds", "threads"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} takes a whole number from 1 on")
    if options.json and not options.json.parent.is_dir():
        parser.error(f"--json {options.json}: there is no such directory")
    options.device = choose_device(options.device)
    torch.set_num_threads(options.threads)
    return options


def training(options: argparse.Namespace) -> Iterator[Figure]:
    """Measure what localization, memory format and ten times the attributes cost in a training step."""
    few, many = options.attributes, 10 * options.attributes
    precision = choose_precision(options.device, options.amp)
    whole = measure.training_step(options, few, precision)
    backbone = measure.backbone_step(options, torch.channels_last)
    what = "training step: whole model / backbone alone"
    yield at_most(1.06, what, measure.ratios(options, whole, backbone))
    nchw = measure.backbone_step(options, torch.contiguous_format)
    what = "training step of the backbone: channels_last / NCHW"
    yield at_most(0.80, what, measure.ratios(options, backbone, nchw))
    del backbone, nchw
    what = f"training step: {many} attributes / {few}"
    step = measure.training_step(options, many, precision)
    yield at_most(1.25, what, measure.ratios(options, step, whole))


def half_precision(options: argparse.Namespace) -> Iterator[Figure]:
    """Measure bfloat16 against float32, where the device computes in it by itself."""
    what = "training step: bf16 / float32"
    if options.device.type == "cpu" and not cpu_has_bfloat16():
        print(row(what, "no bf16 on this CPU", "<= 0.6"))
        return
    half = measure.training_step(options, options.attributes, torch.bfloat16)
    full = measure.training_step(options, options.attributes, None)
    yield at_most(0.60, what, measure.ratios(options, half, full))


def inference(options: argparse.Namespace) -> Iterator[Figure]:
    """Measure the whole model, folded, against its backbone alone, not folded."""
    model = build_model("inception_iccv", options.attributes).to(options.device).eval()
    folded = measure.inference_step(options, model.folded())
    backbone = measure.inference_step(options, model.backbone)
    what = "inference: whole model, folded / backbone, not folded"
    yield at_most(0.85, what, measure.ratios(options, folded, backbone))


def memory(options: argparse.Namespace) -> Iterator[Figure]:
    """Measure the peak memory of a training process, by asking one."""
    command = [sys.executable, __file__, PEAK_MEMORY, "--device", options.device.type, "--amp", options.amp]
    for name in ("threads", "batch_size", "attributes"):
        command += [f"--{name}", str(getattr(options, name))]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    yield at_most(2.0, "peak memory of a training process, GB", [float(answer.stdout)])


def peak_memory_of_training(options: argparse.Namespace) -> float:
    """Return the most memory (GB) that this process held while it took five training steps."""
    precision = choose_precision(options.device, options.amp)
    step = measure.training_step(options, options.attributes, precision)
    for _ in range(5):
        step()
    return peak_memory(options.device) / 1e9


def data(options: argparse.Namespace) -> Iterator[Figure]:
    """Measure the reader with and without its cache, and what an iteration spends outside its step."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory, "pictures")
        ensure_dataset(root, train=PICTURES, test=20)
        label = root / LISTS["train"]
        decoding = MultiLabelDataset(root, label)
        cached = MultiLabelDataset(root, label, cache=Path(directory, "cache"))
        for workers, goal in ((0, 20.0), (1, 5.0)):
            cold = measure.reading(options, decoding, workers)
            warm = measure.reading(options, cached, workers)
            what = f"pictures a second, --workers {workers}: warm cache / decoding"
            yield at_least(goal, what, measure.ratios(options, cold, warm))
        what = "share of an iteration outside its step, with the cache"
        yield at_most(0.03, what, measure.shares_outside(options, cached))


def at_most(goal: float, what: str, values) -> Figure:
    """Return the figure of a cost."""
    lower, median, upper = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    return Figure(what, goal, median, lower, upper, len(values), at_most=True)


def at_least(goal: float, what: str, values) -> Figure:
    """Return the figure of a gain."""
    figure = at_most(goal, what, values)
    figure.at_most = False
    return figure


def machine(options: argparse.Namespace) -> str:
    """Return what the figures hold for."""
    words = [time.strftime("%Y-%m-%d"), platform.machine(), f"torch {torch.__version__}"]
    words += [f"Python {platform.python_version()}", f"{options.device.type}, {options.threads} threads"]
    words += [f"batch {options.batch_size}", f"{options.attributes} attributes", f"amp {options.amp}"]
    return ", ".join(words)


def row(what: str, measured: str, goal: str) -> str:
    """Return three columns."""
    return f"{what:56}{measured:26}{goal}"


if __name__ == "__main__":
    with clear_ending():
        main()
