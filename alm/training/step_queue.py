"""The steps of an epoch: their time and values are reported when they are done; the device never waits."""

import time
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import NamedTuple

import torch
from torch import Tensor

from alm.devices.capabilities import abilities, pin
from alm.devices.device import is_accelerator


class StepValues(NamedTuple):
    """What is reported of a step: scalar tensors on the device at first, floats when it is done.

    Attributes:
        loss: the sum over the branches.
        accu: the share of known labels that are predicted right.
        scale: the factor of the loss in fp16 after a training step, 1 without it.
        is_finite: 1 if a training step's loss is finite, and its gradients if they are checked; else 0.
    """

    loss: Tensor | float
    accu: Tensor | float
    scale: Tensor | float | None = None
    is_finite: Tensor | float | None = None


class Step(NamedTuple):
    """A step over `pictures` pictures; `iteration` steps over `before` pictures came before it."""

    iteration: int
    before: int
    pictures: int


class HostCopy:
    """A copy of a tensor's values that starts now and is read later, while the device goes on. A device
    without pinned memory or events copies when the values are read.
    """

    def __init__(self, values: Tensor):
        self._event = None
        self._values = values
        able = abilities(values.device)
        if able.pinned and able.events:
            self._values = pin(torch.empty(values.shape, dtype=values.dtype), values.device)
            self._values.copy_(values, non_blocking=True)
            self._event = getattr(torch, values.device.type).Event()
            self._event.record()

    def read(self) -> list[float]:
        """Wait for these values, and not for later work of the device; return them."""
        if self._event is not None:
            self._event.synchronize()
        return self._values.tolist()


class StepQueue:
    """The steps of an epoch, as a context manager; `report(step, seconds, values)` is called once per step.

    The CPU's steps are reported at once. An accelerator's are reported one step late, so that it always has
    work; the last one is reported when the context ends, also after an error.
    """

    def __init__(self, device: torch.device, report: Callable[[Step, float, StepValues], None]):
        self.count = self.pictures = 0
        self._most_waiting = 1 if is_accelerator(device) else 0
        self._report = report
        self._waiting: deque[tuple[Step, HostCopy]] = deque()
        self._since = time.perf_counter()

    def add(self, pictures: int, values: StepValues) -> None:
        """Add the step that the device has just begun."""
        # The one tensor that leaves the device.
        copy = HostCopy(torch.stack([value for value in values if value is not None]))
        self._waiting.append((Step(self.count, self.pictures, pictures), copy))
        self.count += 1
        self.pictures += pictures
        self._report_all_but(self._most_waiting)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        with nullcontext() if kind is None else suppress(Exception):  # the error that ends the epoch counts
            self._report_all_but(0)

    def _report_all_but(self, count: int) -> None:
        while len(self._waiting) > count:
            step, copy = self._waiting.popleft()
            values = StepValues(*copy.read())
            now = time.perf_counter()
            self._since, seconds = now, now - self._since
            self._report(step, seconds, values)
