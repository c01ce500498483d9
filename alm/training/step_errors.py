"""What can go wrong in a step: its loss or its gradients are not finite, or the device lacks something."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from alm.errors import AlmError
from alm.training.step_queue import Step, StepValues

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")  # as the devices put it
NO_OPERATOR = re.compile(r"Could not run '([\w:.]+)' with arguments from the '(\w+)' backend")


class NonFiniteLossError(AlmError):
    """A step over `pictures` pictures is not finite; `before` pictures of the call came before it."""

    def __init__(self, message: str, before: int, pictures: int):
        super().__init__(message)
        self.before, self.pictures = before, pictures


@dataclass
class NonFiniteSteps:
    """Policy for steps whose loss or gradients are not finite.

    By default the first one raises. With `skip=True` such steps change nothing and are counted in `skipped`,
    and MOST_IN_A_ROW in a row raise; each step then waits for the device.
    """

    MOST_IN_A_ROW = 10
    ADVICE = "start again with a lower --lr, or with --amp off"

    skip: bool = False
    skipped: int = field(default=0, init=False)
    _in_a_row: int = field(default=0, init=False)

    def is_finite(self, loss: Tensor, parameters: Iterable[nn.Parameter]) -> Tensor:
        """Return whether a step's loss is finite, and with `skip` also the gradients, bool ()."""
        values = [loss]
        if self.skip:
            values += [parameter.grad for parameter in parameters if parameter.grad is not None]
        return torch.stack([value.isfinite().all() for value in values]).all()

    def check(self, step: Step, values: StepValues, place: str) -> bool:
        """Return whether a step was skipped, and count it; `place` is its epoch and iteration in words.

        Raises NonFiniteLossError.
        """
        if values.is_finite:
            self._in_a_row = 0
            return False
        self._in_a_row += 1
        if not self.skip:
            reason = f"the loss is {values.loss} at {place}"
        else:
            self.skipped += 1
            if self._in_a_row < self.MOST_IN_A_ROW:
                return True
            reason = (
                f"the loss or the gradients of {self.MOST_IN_A_ROW} iterations in a row, up to {place}, are "
                "not finite"
            )
        raise NonFiniteLossError(f"{reason}; {self.ADVICE}", step.before, step.pictures)


@contextmanager
def explain_step_errors(pictures: int) -> Iterator[None]:
    """Turn a lack of memory or of an operator, in a step over so many pictures, into an AlmError."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # NotImplementedError is a RuntimeError
        if isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY):
            raise AlmError(
                f"out of memory in a step over {pictures} pictures; lower --batch_size, "
                "compute it in parts with --accumulate, or use less for each picture with --amp bf16 or fp16"
            ) from error
        if missing := NO_OPERATOR.search(str(error)):
            operator, device = missing.groups()
            raise AlmError(
                f"{device} has no {operator}; locate.py --device {device} shows what needs it"
            ) from error
        raise
