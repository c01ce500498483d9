"""Options come in; all that a training or an evaluation needs goes out. Nothing is written before that."""

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from alm import WeightedBCELoss, build_model
from alm.checkpoint import restore
from alm.checkpoint.backbone_weights import load_backbone, load_imagenet
from alm.checkpoint.retention import Position
from alm.devices.capabilities import abilities, explain_abilities, layout
from alm.devices.device import explain_choice
from alm.devices.host import usable_cores
from alm.devices.precision import choose_precision, gradient_scaler, set_arithmetic
from alm.errors import AlmError
from alm.inference.thresholds import read_thresholds
from alm.models.network import LATERAL_CHANNELS
from alm.training import distributed
from alm.training.average import WeightAverage
from alm.training.batch_norm import synchronize
from alm.training.step_errors import NonFiniteSteps
from alm.training.trainer import Trainer
from run_scripts.training.data import Data, choose_experiment, count_ratio, known_ratio, open_data
from run_scripts.training.options import AUTO
from run_scripts.training.resolve import checkpoint_named, chosen, resolve
from run_scripts.training.resume import DIRECTORY, after_restart, check_data, find_checkpoint, start_position
from utils.data.catalog import Experiment
from utils.data.loader import Loader
from utils.data.true_boxes import find_true_boxes
from utils.runs.training_log import TrainingLog

ASSUMED = "; it does not name its attributes, which are taken to be these, in this order"
MOST_WORKERS = 4  # of --workers auto


@dataclass
class TrainingSetup:
    """What a training or an evaluation starts from.

    Attributes:
        checkpoint: the one of --resume, without the weights, which the model has; {} without --resume.
        position: how far its run is.
        ratio: each attribute's positive ratio.
        model: on the device.
        notes: lines that say what was decided.
        true_boxes: boxes of the attributes in the evaluation pictures, if they are known.
    """

    options: Namespace
    checkpoint: dict
    position: Position
    device: torch.device
    precision: torch.dtype | None
    experiment: Experiment
    data: Data
    ratio: list[float]
    model: nn.Module
    notes: list[str]
    true_boxes: np.ndarray | None


def set_up(typed: Namespace) -> TrainingSetup:
    """Return what the options of the command line ask for. Raises AlmError if it cannot be had."""
    resume = find_checkpoint(after_restart(typed, distributed.kept_over_restarts(DIRECTORY)))
    resumed = resume.checkpoint
    options, differences = resolve(resume.typed, resumed)
    position = start_position(resumed, options.start_epoch)
    if not resume.may_be_done:
        check_epochs(options, resumed, position)
    elif position.epoch >= options.epochs and position.evaluated:
        resume.notes.append(f"Resume: all {options.epochs} epochs are done")
    with checkpoint_named(resume.typed, options):
        device = distributed.own_device(options.device)
        precision = choose_precision(device, options.amp)
        with distributed.first_on_machine():  # which draws and decodes for the others
            experiment = choose_experiment(options.experiment, options.attributes, options.data_root, resumed)
            ratio = known_ratio(experiment, options, resumed, is_chosen="ratios" in resume.typed)
            data = open_data(experiment, options, to_count=ratio is None)
    check_parts(options)
    check_ranks(options, position, data)
    if options.report and data.val is None:
        raise AlmError("--report is about evaluations; give the list to evaluate with --val_list")
    if resumed and not options.evaluate and not options.force:
        check_data(options.resume, resumed, train=data.train, val=data.val)
    ratio = ratio or count_ratio(experiment, data.train_list)
    model, weights = start_model(
        options.approach,
        experiment.attributes,
        align_corners=None if options.align_corners == "auto" else options.align_corners == "true",
        resumed=resumed,
        **chosen(options, "backbone", "width", "seed", "resume", "pretrained", "init_from"),
    )
    if options.sync_bn and distributed.world() > 1 and not options.evaluate:
        synchronize(model)
    model.freeze(options.freeze)
    machine = (
        explain_choice(options.device, device), explain_abilities(device), set_arithmetic(device, precision)
    )  # fmt: skip
    return TrainingSetup(
        options=options,
        checkpoint=without_weights(resumed or {}, options.evaluate),
        position=position,
        device=device,
        precision=precision,
        experiment=experiment,
        data=data,
        ratio=ratio,
        model=model.to(device, memory_format=layout(device)),
        notes=[*resume.notes, *differences, *filter(None, (*machine, explain_ranks(options))), *weights],
        true_boxes=find_true_boxes(data.val, experiment.attributes) if data.val else None,
    )


def build_trainer(setup: TrainingSetup, log: TrainingLog) -> Trainer:
    """Return the trainer, which takes the steps and evaluates."""
    options, device, precision = setup.options, setup.device, setup.precision
    return Trainer(
        setup.model,
        WeightedBCELoss(setup.ratio, options.loss, options.adjust),
        build_optimizer(
            setup.model,
            device=device,
            **chosen(options, "optimizer", "lr", "head_lr", "weight_decay", "momentum"),
        ),
        gradient_scaler(device, precision),
        device,
        precision,
        log,
        nonfinite=NonFiniteSteps(skip=options.on_nonfinite == "skip"),
        clip_grad=options.clip_grad,
        accumulate=options.accumulate,
        average=WeightAverage(setup.model, options.ema) if options.ema else None,
        localize=setup.true_boxes is not None or options.report is not None,
        thresholds=torch.from_numpy(read_thresholds(options.threshold, setup.experiment.attributes))
        if options.threshold
        else None,
    )


def build_loader(setup: TrainingSetup, training: bool) -> Loader:
    """Return the batches of the training list, shuffled and augmented, or of the evaluation list."""
    options = setup.options
    most = MOST_WORKERS * distributed.local_world()
    workers = min(most, usable_cores() // 2) if options.workers == "auto" else options.workers
    return Loader(
        setup.data.train if training else setup.data.val,
        options.batch_size,
        shuffle=training,
        mirror=training,
        crop=training and options.augment == "crop",
        seed=options.seed,
        workers=workers,
        device=setup.device,
        replaces=training and options.on_bad_image == "skip",
    )


def check_parts(options: Namespace) -> None:
    """Raise AlmError if a part of a whole batch, of one rank or of --accumulate, would have no picture."""
    parts = distributed.world() * options.accumulate
    if options.batch_size < parts and not options.evaluate:
        raise AlmError(
            f"--batch_size {options.batch_size} is cut into {parts} parts (--accumulate "
            f"{options.accumulate}, processes: {distributed.world()}), and some would have no picture; raise "
            "it, or let the parts be fewer"
        )


def check_ranks(options: Namespace, position: Position, data: Data) -> None:
    """Raise AlmError if the ranks cannot train together, or have different lists or checkpoints."""
    if distributed.world() == 1:
        return
    if options.compile and not options.evaluate:
        raise AlmError("--compile: several processes cannot train a compiled network yet; leave it out")
    start = position, *(pictures and pictures.digest() for pictures in (data.train, data.val))
    if any(theirs != start for theirs in distributed.gather(start)):
        raise AlmError(
            "the processes find different lists, pictures or checkpoints; let all machines have the same "
            "data, and let --output_dir be on a file system that they share"
        )


def explain_ranks(options: Namespace) -> str | None:
    """Return the line that says how many ranks there are, and what each of them does."""
    if not distributed.is_started():
        return None
    line = f"Ranks: {distributed.world()}, started with torchrun"
    if options.evaluate:
        return f"{line}; they share out the batches"
    whose = "of all pictures" if options.sync_bn else "of each rank's own pictures (--sync_bn: of all)"
    return f"{line}; they share out each batch of {options.batch_size}; batch normalization is {whose}"


def check_epochs(options: Namespace, resumed: Mapping | None, position: Position) -> None:
    """Raise AlmError if no epoch is left, naming the option that the user may be after."""
    if options.evaluate or position.epoch < options.epochs or not position.evaluated:
        return
    if not resumed:
        raise AlmError(
            f"--start-epoch {options.start_epoch}: no epoch is left of {options.epochs}; lower it, or raise "
            "--epochs"
        )
    raise AlmError(
        f"{options.resume}: no epoch is left to train, {options.start_epoch} of {options.epochs} are done. "
        "To evaluate it, add -e. To start a new training from its weights, give it to --init_from instead of "
        "--resume. To train on, raise --epochs"
    )


def without_weights(checkpoint: Mapping, evaluate: bool) -> dict:
    """Return a checkpoint without what the model has by now, 60 MB, and to evaluate without a run's state."""
    loaded = {"state_dict", *(("optimizer", "raw_weights") if evaluate else ())}
    return {name: part for name, part in checkpoint.items() if name not in loaded}


def start_model(
    approach: str,
    attributes: Sequence[str],
    *,
    backbone: str = "bn_inception",
    width: int = LATERAL_CHANNELS,
    seed: int,
    align_corners: bool | None = None,
    resume: str | None = None,
    resumed: Mapping | None = None,
    pretrained: str | None = None,
    init_from: str | None = None,
) -> tuple[nn.Module, list[str]]:
    """Return the model with the weights to start from, on the CPU, and lines that say which these are.

    `resumed` is the checkpoint at `resume`. `align_corners` None means: as the checkpoint was trained, or
    False without one.
    """
    source = restore.load_checkpoint(init_from) if init_from else resumed
    convention = align_corners
    if convention is None:
        convention = source is not None and source["align_corners"]
    torch.manual_seed(seed)  # drawn on the CPU: the same start on every device
    model = build_model(approach, len(attributes), convention, backbone, width)
    if resume:
        restore.check_attributes(resume, resumed, attributes)
        restore.restore_model(model, resumed, resume)
        weights = f"from {resume}{'' if restore.is_own(resumed) else ASSUMED}"
    elif init_from:
        transferred = restore.initialize(model, source, attributes, init_from)
        weights = f"{transferred.words} from {init_from}"
        weights += "" if transferred.whole else ", the rest from scratch"
        weights += ASSUMED if transferred.assumed else ""
    elif pretrained:
        source, names, others = (
            load_imagenet(model) if pretrained == AUTO else load_backbone(model, pretrained)
        )
        weights = f"{len(names)} backbone tensors from {source}, the rest from scratch"
        weights += f"; not used: {', '.join(others)}" if others else ""
    else:
        weights = "from scratch (--pretrained FILE starts the backbone from published ones)"
    option = "auto" if align_corners is None else str(align_corners).lower()
    return model, [f"Weights: {weights}", f"Sampling: align_corners {convention} ({option})"]


def compile_network(model: nn.Module, batch_size: int, **options) -> Callable:
    """Return the model's compiled form; `options` are torch.compile's.

    It is compiled for full batches; an epoch's smaller last one runs as it is, because compiling for its
    size would cost another start. Calling it raises AlmError if torch cannot compile here.
    """
    from torch._dynamo.exc import TorchDynamoException  # more than a second, for those who compile

    compiled = torch.compile(model, dynamic=False, **options)

    def forward(images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if len(images) != batch_size:
            return model(images)
        try:
            return compiled(images)
        except TorchDynamoException as error:
            reason = str(error).strip().splitlines()[0]
            raise AlmError(
                f"--compile: torch cannot compile here ({reason}); leave the option out"
            ) from error

    return forward


def build_optimizer(
    model: nn.Module,
    *,
    optimizer: str,
    lr: float,
    head_lr: float | None = None,
    weight_decay: float,
    momentum: float,
    device: torch.device,
) -> torch.optim.Optimizer:
    """Return an optimizer by name, over the parameters that train of a model already on its device.

    With `head_lr` what is not backbone is a group of its own; its `initial_lr` is the highest rate there.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if head_lr:
        backbone = set(model.backbone.parameters())
        parameters = [  # in the order of a single group
            {"params": [parameter for parameter in parameters if parameter in backbone]},
            {
                "params": [parameter for parameter in parameters if parameter not in backbone],
                "lr": head_lr,
                "initial_lr": head_lr,
            },
        ]
    common = {"lr": lr, "weight_decay": weight_decay}
    if optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=momentum, **common)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[optimizer]
    return kind(parameters, fused=abilities(device).fused_adam, **common)
