"""What run_ALM.py starts from. What can be wrong is found here, before the run's directory is made."""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from alm import AlmError
from alm.checkpoint.retention import Position
from alm.devices.capabilities import explain_abilities, layout
from alm.devices.device import choose_device, explain_choice
from alm.devices.precision import choose_precision, set_arithmetic
from run_scripts.training import build
from run_scripts.training.resolve import chosen, complete
from run_scripts.training.resume import check_data, find_checkpoint, reached_by
from run_scripts.training.saved_options import origin_told
from utils.data.catalog import Experiment
from utils.data.true_boxes import find_true_boxes


@dataclass
class Start:
    """What a training or an evaluation starts from.

    Attributes:
        checkpoint: what --resume names, without the weights, which the model has; {} without --resume.
        reached: how far its run is.
        ratio: each attribute's positive ratio.
        model: on the device.
        notes: lines that say what was decided.
        true_boxes: where the attributes are in the pictures that are evaluated, where that is known.
    """

    options: Namespace
    checkpoint: dict
    reached: Position
    device: torch.device
    precision: torch.dtype | None
    experiment: Experiment
    data: build.Data
    ratio: list[float]
    model: nn.Module
    notes: list[str]
    true_boxes: np.ndarray | None


def start(named: Namespace) -> Start:
    """Return what the `named` options ask for. Raises AlmError or InputError where there is no such thing."""
    found = find_checkpoint(named)
    resumed = found.checkpoint
    options, differences = complete(found.named, resumed)
    reached = reached_by(resumed, options.start_epoch)
    if not found.may_be_done:
        check_epochs(options, resumed, reached)
    elif reached.epoch >= options.epochs and reached.evaluated:
        found.notes.append(f"Resume: all {options.epochs} epochs are done")
    with origin_told(found.named, options):
        device = choose_device(options.device)
        precision = choose_precision(device, options.amp)
        experiment = build.choose_experiment(
            options.experiment, options.attributes, options.data_root, resumed
        )
        data = build.open_data(
            experiment,
            training=not options.evaluate,
            **chosen(
                options, "data_root", "train_list", "val_list", "allow_missing", "follow_links", "cache"
            ),
        )
    if options.report and data.val is None:
        raise AlmError("--report is of evaluations; name the list to evaluate with --val_list")
    if resumed and not options.evaluate and not options.force:
        check_data(options.resume, resumed, train=data.train, val=data.val)
    if resumed and "positive_ratio" in resumed and "ratios" not in found.named:
        ratio = list(resumed["positive_ratio"])
    else:
        ratio = build.choose_ratio(experiment, options.ratios, data.train_list)
    model, weights = build.start_model(
        options.approach,
        experiment.attributes,
        align_corners=None if options.align_corners == "auto" else options.align_corners == "true",
        resumed=resumed,
        **chosen(options, "seed", "resume", "pretrained", "init_from"),
    )
    machine = (
        explain_choice(options.device, device), explain_abilities(device), set_arithmetic(device, precision)
    )  # fmt: skip
    return Start(
        options,
        without_weights(resumed or {}, options.evaluate),
        reached,
        device,
        precision,
        experiment,
        data,
        ratio,
        model.to(device, memory_format=layout(device)),
        [*found.notes, *differences, *filter(None, machine), *weights],
        find_true_boxes(data.val, experiment.attributes) if data.val else None,
    )


def check_epochs(options: Namespace, resumed: Mapping | None, reached: Position) -> None:
    """Raise AlmError where there is nothing left to do, naming the option that the user may be after."""
    if options.evaluate or reached.epoch < options.epochs or not reached.evaluated:
        return
    if not resumed:
        raise AlmError(
            f"--start-epoch {options.start_epoch}: no epoch is left of {options.epochs}; lower it, or raise "
            "--epochs"
        )
    raise AlmError(
        f"{options.resume}: no epoch is left to train, {options.start_epoch} of {options.epochs} are done. "
        "To evaluate it, add -e; to start a new training from its weights, give it to --init_from instead of "
        "--resume; to go on at the learning rate that it has come down to, raise --epochs"
    )


def without_weights(checkpoint: Mapping, evaluate: bool) -> dict:
    """Return a checkpoint without what the model has by now, 60 MB, and to evaluate without the moments."""
    dropped = {"state_dict", "optimizer"} if evaluate else {"state_dict"}
    return {name: part for name, part in checkpoint.items() if name not in dropped}
