"""From options to what a run needs: data, model, optimizer."""

import warnings
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from alm import AlmError, build_model, checkpoint
from alm.device import has_fused_adam
from utils.cache import cache_directory
from utils.dataset import MultiLabelDataset
from utils.experiments import Experiment, custom_experiment, find_root, get_experiment, resolve_paths
from utils.list_file import DataError, positive_ratio, read_list
from utils.loader import Loader
from utils.synthetic import ensure_dataset

EVALUATION_BATCH = 64  # at least; nothing is kept for gradients, so it may be larger than the training batch

COMPILE_NOTE = "Compile: the first iteration compiles the network, which took 3 minutes on 2 CPU cores"


@dataclass
class Data:
    """The lists and pictures of a run; no training pictures when only evaluating, no `val` without a list."""

    train_list: Path | None
    train: MultiLabelDataset | None
    val: MultiLabelDataset | None


def choose_experiment(options: Namespace) -> Experiment:
    """Return the data set that the options name; `synthetic` is drawn where it is not there yet."""
    if options.experiment == "custom":
        return custom_experiment(options.attributes)
    experiment = get_experiment(options.experiment)
    if options.experiment == "synthetic":
        ensure_dataset(find_root(experiment, options.data_root))
    return experiment


def open_data(options: Namespace, experiment: Experiment) -> Data:
    """Return the lists and pictures that the options name. Raises DataError where one must be and is not."""
    root, train_list, val_list = resolve_paths(
        experiment,
        options.data_root,
        options.train_list,
        options.val_list,
        train_required=not options.evaluate,
    )
    if val_list is None:
        absence = f"no evaluation list in {root} (looked for {', '.join(experiment.val_lists)})"
        if options.evaluate:
            raise DataError(f"{absence}; name one with --val_list")
        warnings.warn(f"{absence}; training goes on without evaluation", stacklevel=1)

    def pictures(label: Path, skip_missing: bool) -> MultiLabelDataset:
        cache = cache_directory(options.cache, root)
        count = len(experiment.attributes)
        return MultiLabelDataset(root, label, num_attributes=count, skip_missing=skip_missing, cache=cache)

    data = Data(train_list, None, None)
    if val_list:
        data.val = pictures(val_list, options.allow_missing)
    if not options.evaluate:
        data.train = pictures(train_list, skip_missing=True)
        if data.train.missing:
            warnings.warn(f"{data.train.missing_summary()}; training goes on without them", stacklevel=1)
    return data


def build_loader(
    options: Namespace, dataset: MultiLabelDataset, device: torch.device, training: bool
) -> Loader:
    """Return the batches of a data set: shuffled and mirrored for training, in order for evaluation."""
    return Loader(
        dataset,
        options.batch_size if training else max(options.batch_size, EVALUATION_BATCH),
        shuffle=training,
        mirror=training,
        seed=options.seed,
        workers=options.workers,
        pin_memory=device.type != "cpu",
    )


def choose_ratio(options: Namespace, experiment: Experiment, data: Data, resumed: dict | None) -> list[float]:
    """Return each attribute's positive ratio: published, the checkpoint's or the training list's."""
    if options.ratios == "published":
        return list(experiment.positive_ratio)
    if resumed and "positive_ratio" in resumed:
        return resumed["positive_ratio"]
    if data.train_list is None:
        raise DataError("the loss needs the training list's positive ratios; name it with --train_list")
    ratio = positive_ratio(read_list(data.train_list, len(experiment.attributes))[1]).tolist()
    constant = [name for name, share in zip(experiment.attributes, ratio, strict=True) if share in (0, 1)]
    if constant:
        alone = f"{data.train_list} has positives alone or none of: {', '.join(constant)}"
        warnings.warn(f"{alone}; what is learned of them says nothing", stacklevel=1)
    return ratio


def start_model(
    options: Namespace, experiment: Experiment, resumed: dict | None
) -> tuple[nn.Module, list[str]]:
    """Return the model with the weights to start from, on the CPU, and lines that say which these are."""
    if options.align_corners != "auto":
        align_corners = options.align_corners == "true"
    else:
        align_corners = resumed is not None and checkpoint.align_corners_of(options.resume, resumed)
    torch.manual_seed(options.seed)  # drawn on the CPU: the same start on every device
    model = build_model(options.approach, len(experiment.attributes), align_corners)
    source = options.resume or options.pretrained or options.init_from
    try:
        if options.resume:
            checkpoint.restore_model(model, resumed)
            weights = f"from {source}"
        elif options.pretrained:
            used, unused = checkpoint.load_backbone(model, checkpoint.load_checkpoint(source)["state_dict"])
            weights = f"{len(used)} backbone tensors from {source}, the rest from scratch"
            weights += f"; not used: {', '.join(unused)}" if unused else ""
        elif options.init_from:
            checkpoint.load_warm_start(model, checkpoint.load_checkpoint(source))
            weights = f"backbone and global classifier from {source}, the rest from scratch"
        else:
            weights = "from scratch (--pretrained FILE starts the backbone from published ones)"
    except AlmError as error:
        raise AlmError(f"{source}: {error}") from error
    return model, [
        f"Weights: {weights}",
        f"Sampling: align_corners {align_corners} ({options.align_corners})",
    ]


def compile_network(options: Namespace, model: nn.Module) -> Callable | None:
    """Return the model's compiled form, where --compile asks for it and there is training; else None.

    It is compiled for full batches; an epoch's smaller last one runs as it is, because compiling for its
    size would cost another start. Calling it raises AlmError where torch cannot compile here.
    """
    if options.evaluate or not options.compile:
        return None
    from torch._dynamo.exc import TorchDynamoException  # more than a second, for those who compile

    compiled = torch.compile(model, dynamic=False)

    def forward(images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if len(images) != options.batch_size:
            return model(images)
        try:
            return compiled(images)
        except TorchDynamoException as error:
            reason = str(error).strip().splitlines()[0]
            raise AlmError(
                f"--compile: torch cannot compile here ({reason}); leave the option out"
            ) from error

    return forward


def build_optimizer(options: Namespace, model: nn.Module, device: torch.device) -> torch.optim.Optimizer:
    """Return the optimizer that the options name, over the parameters of a model already on its device."""
    common = {"lr": options.lr, "weight_decay": options.weight_decay}
    if options.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), momentum=options.momentum, **common)
    return torch.optim.Adam(model.parameters(), fused=has_fused_adam(device), **common)


def restore_optimizer(
    options: Namespace, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, resumed: dict
) -> str:
    """Load the state of optimizer and scaler from a checkpoint that has it; return what to tell the user."""
    if not checkpoint.is_own(resumed):
        return f"Optimizer: {options.optimizer} starts anew; a published checkpoint holds no state of it"
    if resumed["options"]["optimizer"] != options.optimizer:
        name = resumed["options"]["optimizer"]
        raise AlmError(f"{options.resume}: it was trained with {name}; go on with --optimizer {name}")
    optimizer.load_state_dict(resumed["optimizer"])
    if scaler.is_enabled() and resumed["scaler"]:
        scaler.load_state_dict(resumed["scaler"])
    return f"Optimizer: {options.optimizer} goes on from {options.resume}"
