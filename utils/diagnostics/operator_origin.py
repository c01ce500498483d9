"""The place in a training step that an operator comes from: its module or parameter, and the pass."""

import sys
from bisect import bisect_right
from collections.abc import Mapping
from types import FrameType

import torch
from torch import Tensor, nn
from torch._C import _current_autograd_node as current_node
from torch._C._autograd import _get_sequence_nr as next_node

FORWARD, BACKWARD, OPTIMIZER = "forward", "backward", "optimizer"


class OperatorOrigin:
    """The origin of the operator that is being dispatched.

    In the forward pass it is the nearest method of a known module among the callers. In the backward pass the
    tape tells it: each node has a number, and this class remembers what was running when it was recorded.
    """

    def __init__(self, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer):
        """`modules` are the roots by name, such as the network, "", and its loss, "loss"."""
        self._optimizer = optimizer
        self._modules: dict[int, str] = {}
        self._tensors: dict[int, str] = {}  # parameters, and the optimizer's state of each
        for root, module in modules.items():
            for name, part in module.named_modules(prefix=root):
                self._modules[id(part)] = name or "network"
            self._tensors |= {id(parameter): name for name, parameter in module.named_parameters(prefix=root)}
        self._numbers: list[int] = []  # of the tape's nodes, ascending
        self._places: list[str] = []  # what recorded the nodes up to each number
        self._states = 0

    def now(self) -> tuple[str, str]:
        node = current_node()
        if node is not None:
            return BACKWARD, self._place_of_node(node)
        stage, place = self._place_of_caller(sys._getframe(2))
        if stage == FORWARD and (not self._numbers or next_node() > self._numbers[-1]):
            self._numbers.append(next_node())
            self._places.append(place)
        return stage, place

    def name_of(self, tensor: Tensor) -> str | None:
        """Return the name of a parameter, also for a tensor of the optimizer's state of it."""
        if len(self._optimizer.state) != self._states:
            self._states = len(self._optimizer.state)
            for parameter, state in self._optimizer.state.items():
                if name := self._tensors.get(id(parameter)):
                    self._tensors |= {
                        id(value): name for value in state.values() if isinstance(value, Tensor)
                    }
        return self._tensors.get(id(tensor))

    def _place_of_caller(self, frame: FrameType | None) -> tuple[str, str]:
        """Return pass and place by the nearest frame of a known object, else by our nearest function."""
        function = None
        while frame is not None:
            owner = frame.f_locals.get("self")
            name = self._modules.get(id(owner))
            if name is not None:
                method = frame.f_code.co_name
                return FORWARD, name if method in ("forward", "_conv_forward") else f"{name}.{method}"
            if isinstance(owner, torch.optim.Optimizer):
                return OPTIMIZER, "optimizer"
            if isinstance(owner, torch.amp.GradScaler):
                return OPTIMIZER, "gradient scaler"
            if function is None and frame.f_globals.get("__name__", "").startswith("alm."):
                function = getattr(frame.f_code, "co_qualname", frame.f_code.co_name)  # from Python 3.11 on
            frame = frame.f_back
        return FORWARD, function or "outside"

    def _place_of_node(self, node) -> str:
        if hasattr(node, "variable"):
            return self.name_of(node.variable) or "gradient accumulation"
        index = bisect_right(self._numbers, node._sequence_nr())
        return self._places[index] if index < len(self._places) else "outside"
