"""The steps of an epoch or of an evaluation: each one's time and values, told when it is done."""

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import torch
from torch import Tensor

from alm.devices.capabilities import abilities, pin
from alm.devices.device import is_accelerator


class Readback:
    """A tensor's values: their copy starts now, is read later, and nothing waits between.

    A device without pinned memory or events is asked when the values are read.
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
        """Wait for the values, not for what the device was given after them."""
        if self._event is not None:
            self._event.synchronize()
        return self._values.tolist()


class Step(NamedTuple):
    """A step that the device was given, and the number of pictures in the steps before."""

    iteration: int
    before: int
    pictures: int
    values: Readback


class Steps:
    """The steps of an epoch: tells each one's time and values, such as its loss, when it is done.

    The CPU is done at once. An accelerator is asked one step late, so that it never waits for what to do
    next. At the end, also after an error, the last step is told too: `tell(step, seconds, *values)`.
    """

    def __init__(self, device: torch.device, tell: Callable[..., None]):
        self.count = self.pictures = 0
        self._late = 1 if is_accelerator(device) else 0
        self._tell = tell
        self._untold: deque[Step] = deque()
        self._since = time.perf_counter()

    def taken(self, pictures: int, *values: Tensor) -> None:
        """Take note of the step that the device was given last."""
        self._untold.append(Step(self.count, self.pictures, pictures, Readback(torch.stack(values))))
        self.count += 1
        self.pictures += pictures
        self._tell_all_but(self._late)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self._tell_all_but(0)
            return
        with suppress(Exception):  # of two errors the first one counts
            self._tell_all_but(0)

    def _tell_all_but(self, count: int) -> None:
        while len(self._untold) > count:
            step = self._untold.popleft()
            values = step.values.read()
            now = time.perf_counter()
            self._since, seconds = now, now - self._since
            self._tell(step, seconds, *values)
