"""Find what a device computes wrong: the first operator, or the first difference between two machines.

python locate.py --device sdaa               each operator of a training step, computed again on the CPU
python locate.py --compare a.jsonl b.jsonl   two runs' fingerprints (run_ALM.py --fingerprint FILE)

Beside the options below, those of run_ALM.py say what is trained; by default a few drawn people, batch 4.
Exit status: 0 all within limits; 1 something is not; 2 it could not run.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from alm import WeightedBCELoss
from alm.abilities import explain_abilities, layout
from alm.checkpoint import load_checkpoint
from alm.device import choose_device, explain_choice
from alm.operator_check import OperatorCheck
from alm.precision import choose_precision, gradient_scaler, set_arithmetic
from alm.trainer import Trainer
from alm.whereabouts import Whereabouts
from run_scripts import build
from run_scripts.argument import DEFAULTS, parse_arguments
from run_scripts.command import clear_ending, new_parser, whole_number
from run_scripts.options import chosen, complete
from utils import operator_report
from utils.files import unwritable, write_json
from utils.loader import Loader
from utils.logger import TrainingLog
from utils.synthetic import ensure_dataset

WITHIN, BEYOND, UNUSABLE = 0, 1, 2
BATCH = 4
OF_A_STEP = {
    "experiment", "approach", "batch_size", "lr", "optimizer", "momentum", "weight_decay", "resume",
    "data_root", "train_list", "attributes", "cache", "workers", "pretrained", "init_from", "loss", "ratios",
    "align_corners", "seed", "device", "amp",
}  # fmt: skip


def main() -> int:
    """Check or compare, report; return the exit status."""
    with clear_ending(bad_input=UNUSABLE):
        options, training = parse_options()
        return check_operators(options, training)


def parse_options() -> tuple[argparse.Namespace, argparse.Namespace]:
    """Return this command's options, and those of run_ALM.py that are named."""
    parser = new_parser(__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--iterations", type=whole_number(1), default=1, metavar="N", help="steps to check; default 1")
    add("--json", metavar="FILE", help="write all findings there, for machines")
    options, others = parser.parse_known_args()
    if options.json and (reason := unwritable(options.json)):
        parser.error(f"--json {options.json}: {reason}")
    training = parse_arguments(others)
    for name in vars(training).keys() & DEFAULTS.keys() - OF_A_STEP:
        parser.error(f"--{name} has no meaning for single steps; leave it out")
    return options, training


def check_operators(options: argparse.Namespace, training: argparse.Namespace) -> int:
    """Train for some iterations, check every operator on the way, report; return the exit status."""
    with tempfile.TemporaryDirectory() as directory:
        if "experiment" not in training and "resume" not in training:
            training.experiment, training.data_root = "peta", directory  # drawn, in its format
            pictures = options.iterations * getattr(training, "batch_size", BATCH)
            ensure_dataset(Path(directory), train=pictures, test=1)
        trainer, loader = prepared(training)
        roots = {"": trainer.model, "loss": trainer.criterion}
        start = time.perf_counter()
        with OperatorCheck(Whereabouts(roots, trainer.optimizer), trainer.device) as check:
            trainer.train_epoch(loader, 0, options.iterations)
        seconds = time.perf_counter() - start
    found = check.checked, check.unchecked, check.left_out
    print(f"\n{seconds:.0f} s:", *operator_report.lines(*found), sep="\n")
    if options.json:
        write_json(options.json, operator_report.record(*found))
    return WITHIN if operator_report.largest(check.checked) <= 1 else BEYOND


def prepared(named: argparse.Namespace) -> tuple[Trainer, Loader]:
    """Return what takes training steps with options of run_ALM.py, and the batches; say what both are."""
    named.batch_size = getattr(named, "batch_size", BATCH)
    resumed = load_checkpoint(named.resume) if "resume" in named else None
    options, notes = complete(named, resumed)
    device = choose_device(options.device)
    precision = choose_precision(device, options.amp)
    notes += filter(None, (explain_choice(options.device, device), explain_abilities(device)))
    notes.append(set_arithmetic(device, precision))
    experiment = build.choose_experiment(options.experiment, options.attributes, options.data_root, resumed)
    data = build.open_data(experiment, **chosen(options, "data_root", "train_list", "cache"))
    ratio = build.choose_ratio(experiment, options.ratios, data.train_list)
    model, start = build.start_model(
        options.approach,
        experiment.attributes,
        align_corners=None if options.align_corners == "auto" else options.align_corners == "true",
        resumed=resumed,
        **chosen(options, "seed", "resume", "pretrained", "init_from"),
    )
    model = model.to(device, memory_format=layout(device))
    print(*notes, *start, sep="\n")
    step = chosen(options, "optimizer", "lr", "weight_decay", "momentum")
    trainer = Trainer(
        model,
        WeightedBCELoss(ratio, options.loss),
        build.build_optimizer(model, device=device, **step),
        gradient_scaler(device, precision),
        device,
        precision,
        TrainingLog(),
    )
    reading = chosen(options, "batch_size", "seed", "workers")
    return trainer, build.build_loader(data.train, training=True, device=device, **reading)


if __name__ == "__main__":
    sys.exit(main())
