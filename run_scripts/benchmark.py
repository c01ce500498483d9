"""Measure what ALM costs, beside its goals.

python benchmark.py                       the table, within 5 minutes on 2 cores
python benchmark.py --device cuda --amp fp16 --json figures.json
python benchmark.py --deploy 60.pth.tar   the forms of a trained network
python benchmark.py --ranks 2             what two processes exchange in a step

Nearly all figures are ratios of two things that are timed in turn.

Exit status: 0 if everything is measured, whether the goals are met or missed,
1 on bad input or a fault, 2 on a wrong option.
"""

if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from run_scripts.cli.main import run

    run("run_scripts.benchmark")

import argparse
import platform
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch.distributed import GradBucket, all_reduce
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.futures import Future

from alm import WeightedBCELoss, build_model
from alm.constants import HEIGHT, WIDTH
from alm.devices import device as devices
from alm.devices.capabilities import layout
from alm.devices.device import choose_device
from alm.devices.host import HOST, keep_freed_memory
from alm.devices.precision import PRECISIONS, autocast, choose_precision, gradient_scaler
from alm.errors import AlmError
from alm.models.folding import folded
from alm.training import distributed
from alm.training.trainer import Trainer
from run_scripts.cli.parser import Parser, check_outputs, device_name, whole_number
from run_scripts.training.setup import build_optimizer
from utils.data.dataset import MultiLabelDataset
from utils.data.loader import Loader
from utils.deployment.benchmark import Step, benchmark, in_turn
from utils.io.atomic import write_json
from utils.io.process import beyond_interrupts, tell, temporary_directory
from utils.synthetic import LISTS, ensure_dataset


def main() -> None:
    options = parse_options()
    if options.deploy:
        measure_forms(options)
        return
    tell(machine(options), "", columns("what", "median (quartiles)", "" if options.ranks else "goal"))
    figures = []
    with temporary_directory("timing") as directory:
        options.pictures, options.meeting = directory / "pictures", directory / "ranks"
        if not options.ranks:
            ensure_dataset(options.pictures, train=2 * options.batch_size * (options.rounds + 2), test=1)
        for measurement, goals in (RANKS if options.ranks else GOALS).items():
            for goal, values in zip(goals, in_own_process(measurement, options), strict=True):
                figures.append(figure_of(goal, values, options))
                tell(row(figures[-1]))
            if options.json:  # now, because a later measurement may fail
                write_json(options.json, {"machine": machine(options), "figures": figures})


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--batch_size", type=whole_number(1), default=32, metavar="N", help="pictures per step (default: 32)")
    add("--backbone", default="bn_inception", metavar="NAME",
        help="bn_inception, whose goals these are, or one of timm's (default: %(default)s)")  # fmt: skip
    add("--attributes", type=whole_number(1), default=35, metavar="K", help="attributes (default: 35)")
    add("--device", type=device_name, default=HOST, metavar="NAME",
        help="where to compute: auto, sdaa, cuda or cpu, or one of several, as in cuda:1 (default: "
        "%(default)s)"
    )  # fmt: skip
    add("--amp", choices=("off", *PRECISIONS), default="off",
        help="precision of all rows but the one that compares bf16 with float32 (default: off)")  # fmt: skip
    add("--rounds", type=whole_number(1), default=15, metavar="N",
        help="ratios behind each median (default: 15)")  # fmt: skip
    add("--threads", type=whole_number(1), default=2, metavar="N",
        help="CPU threads, which --ranks shares out (default: 2)")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    add("--deploy", metavar="CHECKPOINT",
        help="time a trained network instead, by PyTorch, onnxruntime and in 8-bit integers: a checkpoint, "
        "ours or a published one, or an .onnx file. Only --device and --threads go with it")  # fmt: skip
    add("--ranks", type=whole_number(2), metavar="N",
        help="time the exchange between N processes of this machine instead, in a training step whose "
        "batch they share out")  # fmt: skip
    return parser


def parse_options() -> argparse.Namespace:
    parser = build_parser()
    options = parser.parse_args()
    for name in ("batch_size", "backbone", "attributes", "amp", "rounds", "json", "ranks"):
        if options.deploy and getattr(options, name) != parser.get_default(name):
            parser.error(f"--{name} has no meaning for --deploy; leave it out")
    if options.ranks and options.ranks > options.batch_size:
        parser.error(
            f"--ranks {options.ranks}: --batch_size {options.batch_size} is of all of them together, and "
            "some would have no picture; lower one, or raise the other"
        )
    check_outputs(parser, [options.deploy], json=options.json)
    options.device = choose_device(options.device)
    return options


@dataclass(frozen=True)
class Goal:
    """A row of the table, and the goal of its median, if it has one."""

    what: str
    limit: float | None = None
    at_least: bool = False  # else at most

    def met(self, median: float) -> bool | None:
        if self.limit is None:
            return None
        return median >= self.limit if self.at_least else median <= self.limit

    def __str__(self) -> str:
        return "" if self.limit is None else f"{'>=' if self.at_least else '<='} {self.limit:g}"


def in_own_process(measurement: Callable, options: argparse.Namespace) -> list[np.ndarray]:
    """Measure in a process with a heap of its own, or in one for each rank, and return what the first says.

    Raises AlmError if a process dies.
    """
    places = [(rank,) for rank in range(options.ranks)] if options.ranks else [()]
    threads = max(options.threads // len(places), 1)
    with ProcessPoolExecutor(len(places), get_context("spawn"), begin_process, (threads,)) as pool:
        try:
            with beyond_interrupts():
                measured = [pool.submit(measurement, options, *place) for place in places]
            for ended in as_completed(measured):
                ended.result()  # the first error is the cause of the others'
            return measured[0].result()
        except (KeyboardInterrupt, SystemExit):  # without their end the processes go on for a minute
            for process in active_children():
                process.terminate()
            raise
        except BrokenProcessPool as error:
            raise AlmError(
                "a measuring process died, as it does when memory runs out; lower --batch_size or --threads"
            ) from error


def begin_process(threads: int) -> None:
    """Let this process compute as run_ALM.py and predict.py do."""
    keep_freed_memory()
    torch.set_num_threads(threads)


def figure_of(goal: Goal, values: np.ndarray, options: argparse.Namespace) -> dict:
    """Return median and quartiles beside the goal; `rounds` is 0 if nothing could be measured."""
    what = goal.what.format(few=options.attributes, many=10 * options.attributes)
    figure = {"what": what, "goal": str(goal), "rounds": len(values)}
    if len(values):
        lower, median, upper = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
        figure |= {"median": median, "lower": lower, "upper": upper, "met": goal.met(median)}
    return figure


def row(figure: dict) -> str:
    if not figure["rounds"]:
        return columns(figure["what"], "not on this device", figure["goal"])
    median = "{median:.3g}" if figure["rounds"] == 1 else "{median:.3g} ({lower:.3g} to {upper:.3g})"
    goal = f"{figure['goal']} missed" if figure["met"] is False else figure["goal"]
    return columns(figure["what"], median.format(**figure), goal)


def columns(what: str, figures: str, goal: str) -> str:
    return f"{what:44}{figures:26}{goal}".rstrip()


def machine(options: argparse.Namespace) -> str:
    words = [time.strftime("%Y-%m-%d"), devices.device_name(options.device), f"torch {torch.__version__}"]
    words += [f"Python {platform.python_version()}", f"{options.device.type}, {options.threads} threads"]
    words += [options.backbone, f"batch {options.batch_size}", f"{options.attributes} attributes"]
    words += [f"amp {options.amp}"] + ([f"{options.ranks} ranks"] if options.ranks else [])
    return ", ".join(words)


def measure_forms(options: argparse.Namespace) -> None:
    """Time the forms of a trained network on drawn people, as predict.py --benchmark does on any pictures."""
    keep_freed_memory()
    benchmark(options.deploy, device=str(options.device), threads=options.threads)


def localization_and_format(options: argparse.Namespace) -> list[np.ndarray]:
    """Return how localization multiplies a training step's time, and channels_last the backbone's."""
    whole = training_step(options)
    backbone = training_step(options, "baseline")
    nchw = training_step(options, "baseline", nchw=True)
    return ratios(options, (whole, backbone), (backbone, nchw))


def attributes_and_precision(options: argparse.Namespace) -> list[np.ndarray]:
    """Return how ten times the attributes multiply a training step's time, and bfloat16 float32's; for
    bfloat16 nothing if the CPU would emulate it.
    """
    many, few = training_step(options, scale=10), training_step(options)
    if not devices.has_bfloat16(options.device) and not devices.is_accelerator(options.device):
        return [*ratios(options, (many, few)), np.array([])]
    half = training_step(options, amp="bf16")
    full = few if options.amp == "off" else training_step(options, amp="off")
    return ratios(options, (many, few), (half, full))


def percent_outside(options: argparse.Namespace) -> list[np.ndarray]:
    """Return the share of each training iteration outside forward pass, backward pass and optimizer."""
    dataset = drawn(options, cached=True)
    trainer = trainer_of(options, "alm", dataset.labels.shape[1], options.amp)
    started, ended = [], []
    update = trainer.scaler.update  # what a step ends with, also one that fp16 skips

    def timed_update() -> None:
        update()
        ended.append(clock(options))

    trainer.scaler.update = timed_update
    trainer.model.register_forward_pre_hook(lambda *_: started.append(clock(options)))
    loader = Loader(dataset, options.batch_size, shuffle=True, mirror=True)
    trainer.train(loader.epoch(0, count=options.rounds + 2), 0, 0, len(loader))
    whole = np.diff(started)[1:]  # the first iteration warms up, the last one's end is unknown
    inside = np.subtract(ended, started)[1:-1]
    return [100 * (1 - inside / whole)]


def gigabytes_of_training(options: argparse.Namespace) -> list[np.ndarray]:
    """Return the peak memory (GB) of five training steps; nothing if the system does not tell."""
    step = training_step(options)
    for _ in range(5):
        step()
    with suppress(OSError):
        return [np.array([devices.peak_memory(options.device) / 1e9])]
    return [np.array([])]


def folded_to_backbone(options: argparse.Namespace) -> list[np.ndarray]:
    """Return the time of the whole model in inference, folded, over that of its backbone, not folded."""
    model = build_model("alm", options.attributes, backbone=options.backbone).to(options.device).eval()
    return ratios(options, (inference_step(options, folded(model)), inference_step(options, model.backbone)))


def warm_to_decoding(options: argparse.Namespace) -> list[np.ndarray]:
    """Return how much faster the loader reads its cache than it decodes, in the main process and with one
    worker.
    """
    decoding, warm = drawn(options, cached=False), drawn(options, cached=True)
    pairs = ((reading(options, decoding, workers), reading(options, warm, workers)) for workers in (0, 1))
    return ratios(options, *pairs)


def exchange(options: argparse.Namespace, rank: int) -> list[np.ndarray]:
    """Return the seconds of a step without the exchange of gradients, how the exchange multiplies them, its
    megabytes, its seconds alone, and how much of these (%) the backward pass hides.
    """
    with distributed.ranks_of_a_command(options.meeting, rank, options.ranks):
        options.device = distributed.own_device(str(options.device))
        options.batch_size = len(distributed.slices([torch.arange(options.batch_size)])[0])
        trainer = trainer_of(options, "alm", options.attributes, options.amp)
        network, group, buckets = trainer.network, distributed.group_of(options.device), {}

        def note(_, bucket: GradBucket) -> Future[torch.Tensor]:
            buckets[bucket.index()] = bucket.buffer()
            return allreduce_hook(group, bucket)  # as without this hook

        network.register_comm_hook(None, note)
        step = step_of(options, trainer, options.attributes)

        def step_without() -> None:
            with network.no_sync():
                step()

        def exchange_alone() -> None:
            works = [all_reduce(bucket, group=group, async_op=True) for bucket in buckets.values()]
            for work in works:
                work.wait()

        step()  # DistributedDataParallel forms other buckets by what it sees in the first step
        buckets.clear()
        steps = step, step_without, exchange_alone
        seconds = in_turn(steps, options.rounds, lambda: clock(options))
        whole, without, alone = (np.array(seconds[step]) for step in steps)
        megabytes = np.array([sum(bucket.nbytes for bucket in buckets.values()) / 1e6])
        return [without, whole / without, megabytes, alone, 100 * (1 - (whole - without) / alone)]


# The rows that are measured together, in a process of their own.
GOALS = {
    localization_and_format: (
        Goal("training: whole model / backbone alone", 1.10),
        Goal("training: backbone, channels_last / NCHW", 0.82),
    ),
    attributes_and_precision: (
        Goal("training: {many} attributes / {few}", 1.35),
        Goal("training: bf16 / float32", 0.60),
    ),
    percent_outside: (Goal("training: % of the time outside the step", 3),),
    gigabytes_of_training: (Goal("training: peak memory of the process, GB", 2.2),),
    folded_to_backbone: (Goal("inference: folded model / unfolded backbone", 1.05),),
    warm_to_decoding: (
        Goal("reading, 0 workers: warm cache / decoding", 12, at_least=True),
        Goal("reading, 1 worker: warm cache / decoding", 5, at_least=True),
    ),
}
RANKS = {  # the same, with a process for each rank
    exchange: (
        Goal("step without the exchange, seconds"),
        Goal("step with the exchange / without it"),
        Goal("exchange: MB of gradients in a step"),
        Goal("exchange: seconds alone"),
        Goal("exchange: % that the backward pass hides"),
    ),
}


def ratios(options: argparse.Namespace, *pairs: tuple[Step, Step]) -> list[np.ndarray]:
    """Return, for each pair, the seconds of its first step over those of its second in each round.

    All steps are timed in turn; a step of several pairs is timed once a round.
    """
    steps = [step for pair in pairs for step in pair]
    seconds = in_turn(steps, options.rounds, lambda: clock(options))
    return [np.divide(seconds[one], seconds[other]) for one, other in pairs]


def clock(options: argparse.Namespace) -> float:
    """Return the time in seconds when the device has done all its work."""
    devices.synchronize(options.device)
    return time.perf_counter()


def training_step(
    options: argparse.Namespace, approach: str = "alm", *, scale=1, amp: str = "", nchw=False
) -> Step:
    """Return a Trainer's step over a batch of random pictures, with `scale` times the attributes; with `nchw`
    the weights and the maps have their channels first in memory.
    """
    count = scale * options.attributes
    trainer = trainer_of(options, approach, count, amp or options.amp)
    if nchw:
        trainer.model.to(memory_format=torch.contiguous_format)
        trainer.model.register_forward_pre_hook(lambda _, inputs: inputs[0].contiguous())
    return step_of(options, trainer, count)


def step_of(options: argparse.Namespace, trainer: Trainer, count: int) -> Step:
    """Return a step over a batch of random pictures with `count` labels."""
    images = torch.randint(0, 256, (options.batch_size, 3, HEIGHT, WIDTH), dtype=torch.uint8)
    labels = torch.randint(0, 2, (options.batch_size, count), dtype=torch.uint8)
    batch = images, labels, torch.zeros(options.batch_size, dtype=torch.bool)
    return lambda: trainer.train([batch], 0, 0, 1)


def trainer_of(options: argparse.Namespace, approach: str, attributes: int, amp: str) -> Trainer:
    """Return a Trainer with the settings of run_ALM.py, and without a log."""
    device, precision = options.device, choose_precision(options.device, amp)
    model = build_model(approach, attributes, backbone=options.backbone)
    model.to(device, memory_format=layout(device))
    settings = {"optimizer": "adam", "lr": 1e-4, "weight_decay": 5e-4, "momentum": 0.9}
    optimizer = build_optimizer(model, device=device, **settings)
    criterion, scaler = WeightedBCELoss([0.5] * attributes), gradient_scaler(device, precision)
    network = distributed.parallel(model, device)
    log = SimpleNamespace(iteration=lambda *_: None, note=lambda *_, **__: None)
    return Trainer(model, criterion, optimizer, scaler, device, precision, log, network=network)


def inference_step(options: argparse.Namespace, network: torch.nn.Module) -> Step:
    images = torch.randn(options.batch_size, 3, HEIGHT, WIDTH, device=options.device)
    images = images.contiguous(memory_format=torch.channels_last)
    precision = choose_precision(options.device, options.amp)

    def step() -> None:
        with torch.inference_mode(), autocast(options.device, precision):
            network(images)

    return step


def drawn(options: argparse.Namespace, cached: bool) -> MultiLabelDataset:
    cache = options.pictures / "cache" if cached else None
    return MultiLabelDataset(options.pictures, options.pictures / LISTS["train"], cache=cache)


def reading(options: argparse.Namespace, dataset: MultiLabelDataset, workers: int) -> Step:
    loader = Loader(dataset, options.batch_size, shuffle=True, workers=workers)

    def read() -> None:
        for _ in loader.epoch(0):
            pass

    return read
