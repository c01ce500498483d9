"""Values on their way from an accelerator to the CPU, which goes on meanwhile."""

import torch
from torch import Tensor

from alm.devices.capabilities import abilities, pin


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
