"""What benchmark.py times: steps of training and inference, reading, and how two of them are compared."""

import time
from argparse import Namespace
from collections.abc import Callable

import numpy as np
import torch

from alm import WeightedBCELoss, build_model
from alm.device import autocast, choose_precision, gradient_scaler, has_fused_adam, synchronize
from alm.trainer import Trainer
from utils.dataset import MultiLabelDataset
from utils.loader import Loader

Step = Callable[[], None]
EPOCHS, ITERATIONS = 3, 5  # of the share that an iteration spends outside its step


def ratios(options: Namespace, step: Step, other: Step) -> np.ndarray:
    """Return seconds of `step` over seconds of `other` in each round, in turn, so that drift hits both."""
    pair = (step, other)
    for warm_up in pair:
        warm_up()  # the first call builds what later ones reuse
    values = []
    for _ in range(options.rounds):
        pair = pair[::-1]  # neither always runs on what the other left in caches and heap
        seconds = {}
        for timed in pair:
            start = clock(options)
            timed()
            seconds[timed] = clock(options) - start
        values.append(seconds[step] / seconds[other])
    return np.array(values)


def clock(options: Namespace) -> float:
    """Return the time in seconds, when the device has done what it was given."""
    synchronize(options.device)
    return time.perf_counter()


def images_of(options: Namespace) -> torch.Tensor:
    """Return a batch of normalized random images on the device, in channels_last memory."""
    images = torch.randn(options.batch_size, 3, 256, 128, device=options.device)
    return images.contiguous(memory_format=torch.channels_last)


def training_step(options: Namespace, num_attributes: int, precision: torch.dtype | None) -> Step:
    """Return one training step of the whole model."""
    model = build_model("inception_iccv", num_attributes).to(options.device)
    criterion = WeightedBCELoss([0.5] * num_attributes).to(options.device)
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
    precision = choose_precision(options.device, options.amp)
    return optimized(options, backbone, precision, lambda: backbone(images)["5b"].float().mean())


def optimized(
    options: Namespace,
    model: torch.nn.Module,
    precision: torch.dtype | None,
    loss: Callable[[], torch.Tensor],
) -> Step:
    """Return a step: loss, gradients, Adam."""
    model.train()
    fused = has_fused_adam(options.device)
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
    images, precision = images_of(options), choose_precision(options.device, options.amp)

    def step() -> None:
        with torch.inference_mode(), autocast(options.device, precision):
            network(images)

    return step


def reading(options: Namespace, dataset: MultiLabelDataset, workers: int) -> Step:
    """Return a pass over a data set's pictures."""
    loader = Loader(dataset, options.batch_size, shuffle=True, workers=workers)

    def read() -> None:
        for _ in loader.epoch(0):
            pass

    return read


class Silence:
    """A log that keeps nothing."""

    def line(self, text: str = "") -> None:
        """Drop a line."""

    def iteration(self, epoch: int, iteration: int, loss: float, ips: float) -> None:
        """Drop an iteration."""


def shares_outside(options: Namespace, dataset: MultiLabelDataset) -> np.ndarray:
    """Return, for some epochs, the share of the time outside forward pass, backward pass and optimizer."""
    count = dataset.labels.shape[1]
    model = build_model("inception_iccv", count).to(options.device)
    criterion = WeightedBCELoss([0.5] * count).to(options.device)
    optimizer = torch.optim.Adam(model.parameters(), fused=has_fused_adam(options.device))
    precision = choose_precision(options.device, options.amp)
    scaler = gradient_scaler(options.device, precision)
    trainer = Trainer(model, criterion, optimizer, scaler, options.device, precision, Silence())
    started, inside = [], []
    model.register_forward_pre_hook(lambda *_: started.append(clock(options)))
    optimizer.register_step_post_hook(lambda *_: inside.append(clock(options) - started[-1]))
    loader = Loader(dataset, options.batch_size, shuffle=True, mirror=True)
    trainer.train_epoch(loader, epoch=0, max_iters=2)
    shares = []
    for epoch in range(1, EPOCHS + 1):
        inside.clear()
        start = clock(options)
        trainer.train_epoch(loader, epoch, max_iters=ITERATIONS)
        shares.append(1 - sum(inside) / (clock(options) - start))
    return np.array(shares)
