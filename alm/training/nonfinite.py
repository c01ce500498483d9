"""Training steps whose loss or gradients are not finite: the end of a run, or left out and counted."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from alm.errors import AlmError
from alm.training.step_queue import Step

MOST_IN_A_ROW = 10
ADVICE = "start again with a lower --lr, or with --amp off"


class NonFiniteLossError(AlmError):
    """The loss became NaN or infinite. `before` is the number of pictures ahead of that step's, in the
    batches that were handed in, `pictures` the step's own.
    """

    def __init__(self, message: str, before: int, pictures: int):
        super().__init__(message)
        self.before, self.pictures = before, pictures


@dataclass
class NonFinite:
    """What becomes of such steps: the first one ends the run, or where it `leaves_out` these steps the
    `MOST_IN_A_ROW`-th in a row; `left_out` is how many were.

    Who leaves out waits for the device at each step, before the weights are changed.
    """

    leaves_out: bool = False
    left_out: int = field(default=0, init=False)
    _in_a_row: int = field(default=0, init=False)

    def is_good(self, loss: Tensor, parameters: Iterable[nn.Parameter]) -> Tensor:
        """Return whether a step's loss is finite, bool (); and for who leaves out, the gradients too."""
        values = [loss]
        if self.leaves_out:
            values += [parameter.grad for parameter in parameters if parameter.grad is not None]
        return torch.stack([value.isfinite().all() for value in values]).all()

    def was_left_out(self, is_good: bool, place: str, loss: float, step: Step) -> bool:
        """Return whether a step was left out, and count it; `place` says in words where it is in the run.

        Raises NonFiniteLossError where the run ends.
        """
        if is_good:
            self._in_a_row = 0
            return False
        self._in_a_row += 1
        if not self.leaves_out:
            raise NonFiniteLossError(f"the loss is {loss} at {place}; {ADVICE}", step.before, step.pictures)
        self.left_out += 1
        if self._in_a_row == MOST_IN_A_ROW:
            raise NonFiniteLossError(
                f"{MOST_IN_A_ROW} iterations in a row, up to {place}, had a loss or gradients that are not "
                f"finite; {ADVICE}",
                step.before,
                step.pictures,
            )
        return True
