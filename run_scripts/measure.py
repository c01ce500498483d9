"""What benchmark.py measures: the rows of its table, and how two steps are compared."""

import time
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from itertools import islice

import numpy as np
import torch

from alm import WeightedBCELoss, build_model
from alm.devices.capabilities import abilities
from alm.devices.device import has_bfloat16, is_accelerator, peak_memory, synchronize
from alm.devices.precision import autocast, choose_precision, gradient_scaler
from alm.training.trainer import Trainer
from utils.data.dataset import MultiLabelDataset
from utils.data.loader import Loader
from utils.deployment.benchmark import Step, in_turn
from utils.synthetic import LISTS


def localization_and_format(options: Namespace) -> list[np.ndarray]:
    """Return what localization makes of a training step's time, and channels_last of the backbone's."""
    whole = training_step(options, options.attributes, precision_of(options))
    backbone = backbone_step(options, torch.channels_last)
    nchw = backbone_step(options, torch.contiguous_format)
    return ratios(options, (whole, backbone), (backbone, nchw))


def attributes_and_precision(options: Namespace) -> list[np.ndarray]:
    """Return what ten times the attributes make of a training step's time, and bfloat16 of float32's; for
    bfloat16 nothing where the CPU would emulate it.
    """
    precision = precision_of(options)
    many, few = (training_step(options, scale * options.attributes, precision) for scale in (10, 1))
    if not has_bfloat16(options.device) and not is_accelerator(options.device):
        return [*ratios(options, (many, few)), np.array([])]
    half = training_step(options, options.attributes, torch.bfloat16)
    full = training_step(options, options.attributes, None) if precision else few
    return ratios(options, (many, few), (half, full))


def percent_outside(options: Namespace) -> list[np.ndarray]:
    """Return the share of each training iteration outside forward pass, backward pass and optimizer."""
    dataset = drawn(options, cached=True)
    count = dataset.labels.shape[1]
    model = build_model("inception_iccv", count).to(options.device)
    criterion = WeightedBCELoss([0.5] * count)
    optimizer = torch.optim.Adam(model.parameters(), fused=abilities(options.device).fused_adam)
    precision = precision_of(options)
    scaler = gradient_scaler(options.device, precision)
    trainer = Trainer(model, criterion, optimizer, scaler, options.device, precision, Silence())
    started, ended = [], []
    update = scaler.update  # what a step ends with, also one that fp16 skips

    def timed_update() -> None:
        update()
        ended.append(clock(options))

    scaler.update = timed_update
    model.register_forward_pre_hook(lambda *_: started.append(clock(options)))
    loader = Loader(dataset, options.batch_size, shuffle=True, mirror=True)
    trainer.train(islice(loader.epoch(0), options.rounds + 2), 0, 0, len(loader))
    whole = np.diff(started)[1:]  # the first iteration warms up, the last one's end is unknown
    inside = np.subtract(ended, started)[1:-1]
    return [100 * (1 - inside / whole)]


def gigabytes_of_training(options: Namespace) -> list[np.ndarray]:
    """Return the most memory (GB) that this process held while it took five training steps; nothing where
    the system does not tell.
    """
    step = training_step(options, options.attributes, precision_of(options))
    for _ in range(5):
        step()
    with suppress(OSError):
        return [np.array([peak_memory(options.device) / 1e9])]
    return [np.array([])]


def folded_to_backbone(options: Namespace) -> list[np.ndarray]:
    """Return the time of the whole model in inference, folded, over that of its backbone, not folded."""
    model = build_model("inception_iccv", options.attributes).to(options.device).eval()
    return ratios(options, (inference_step(options, model.folded()), inference_step(options, model.backbone)))


def warm_to_decoding(options: Namespace) -> list[np.ndarray]:
    """Return the pictures a second that the reader gives from its cache over those that it decodes, in the
    main process and with one worker.
    """
    decoding, warm = drawn(options, cached=False), drawn(options, cached=True)
    pairs = ((reading(options, decoding, workers), reading(options, warm, workers)) for workers in (0, 1))
    return ratios(options, *pairs)


def ratios(options: Namespace, *pairs: tuple[Step, Step]) -> list[np.ndarray]:
    """Return, for each pair, the seconds of its first step over those of its second in each round.

    All steps are timed in turn, one that is in several pairs once a round.
    """
    steps = [step for pair in pairs for step in pair]
    seconds = in_turn(steps, options.rounds, lambda: clock(options))
    return [np.divide(seconds[one], seconds[other]) for one, other in pairs]


def clock(options: Namespace) -> float:
    """Return the time in seconds, when the device has done what it was given."""
    synchronize(options.device)
    return time.perf_counter()


def precision_of(options: Namespace) -> torch.dtype | None:
    """Return autocast's type, None for float32."""
    return choose_precision(options.device, options.amp)


def images_of(options: Namespace) -> torch.Tensor:
    """Return a batch of normalized random images on the device, in channels_last memory."""
    images = torch.randn(options.batch_size, 3, 256, 128, device=options.device)
    return images.contiguous(memory_format=torch.channels_last)


def training_step(options: Namespace, num_attributes: int, precision: torch.dtype | None) -> Step:
    """Return one training step of the whole model."""
    model = build_model("inception_iccv", num_attributes).to(options.device)
    criterion = WeightedBCELoss([0.5] * num_attributes)
    images = images_of(options)
    labels = torch.randint(0, 2, (options.batch_size, num_attributes), device=options.device)

    def loss() -> torch.Tensor:
        return sum(criterion(prediction, labels) for prediction in model(images))

    return optimized(options, model, precision, loss)


def backbone_step(options: Namespace, memory_format: torch.memory_format) -> Step:
    """Return one training step of the backbone alone."""
    backbone = build_model("bn_inception", 1).backbone
    backbone = backbone.to(options.device, memory_format=memory_format)
    images = images_of(options).contiguous(memory_format=memory_format)
    return optimized(options, backbone, precision_of(options), lambda: backbone(images)["5b"].float().mean())


def optimized(
    options: Namespace,
    model: torch.nn.Module,
    precision: torch.dtype | None,
    loss: Callable[[], torch.Tensor],
) -> Step:
    """Return a step: loss, gradients, Adam."""
    model.train()
    fused = abilities(options.device).fused_adam
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=5e-4, fused=fused)
    scaler = gradient_scaler(options.device, precision)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(options.device, precision):
            value = loss()
        scaler.scale(value).backward()
        scaler.step(optimizer)
        scaler.update()

    return step


def inference_step(options: Namespace, network: torch.nn.Module) -> Step:
    """Return one forward pass without gradients."""
    images, precision = images_of(options), precision_of(options)

    def step() -> None:
        with torch.inference_mode(), autocast(options.device, precision):
            network(images)

    return step


def drawn(options: Namespace, cached: bool) -> MultiLabelDataset:
    """Return the drawn training set."""
    cache = options.pictures / "cache" if cached else None
    return MultiLabelDataset(options.pictures, options.pictures / LISTS["train"], cache=cache)


def reading(options: Namespace, dataset: MultiLabelDataset, workers: int) -> Step:
    """Return a pass over a data set's pictures."""
    loader = Loader(dataset, options.batch_size, shuffle=True, workers=workers)

    def read() -> None:
        for _ in loader.epoch(0):
            pass

    return read


class Silence:
    """A log that keeps nothing."""

    def iteration(self, *_) -> None:
        """Drop an iteration."""

    def note(self, *_, **__) -> None:
        """Drop a note."""
