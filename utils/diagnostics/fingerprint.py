"""The first iterations of a training in a few numbers per output, gradient and weight.

`locate.py --compare` compares the fingerprints of two machines. A tensor's numbers are its norm, its largest
magnitude, how many of its values are not finite, and its projections on two fixed directions of random signs,
in which a difference of any element shows.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from alm.devices.capabilities import abilities
from alm.devices.device import CPU, device_name
from alm.devices.precision import precision_name
from alm.training.trainer import Trainer
from utils.diagnostics.fingerprint_comparison import FORMAT, NUMBERS, STAGES

PERIOD = 4093  # of the directions; prime, so that it has no part in any shape
FORWARD, GRADIENT, WEIGHT = STAGES


@contextmanager
def fingerprinted(trainer: Trainer, path: str | None, iterations: int, about: Mapping) -> Iterator[None]:
    """Write the fingerprint of a trainer's first iterations to a file, if one is named."""
    if path is None:
        yield
        return
    machine = {"device": trainer.device.type, "machine": device_name(trainer.device)}
    about = {"torch": torch.__version__, **machine, **about, "precision": precision_name(trainer.precision)}
    with open(path, "w", encoding="utf-8") as file:

        def write(entry: dict) -> None:
            file.write(json.dumps(entry) + "\n")
            file.flush()  # whoever stops the run early has what there is

        trainer.watch = Fingerprint(
            trainer.model, trainer.criterion, trainer.scaler, iterations, write, about
        )
        yield


class Fingerprint:
    """Watches the first `iterations` steps of a Trainer and calls `write` with each entry.

    The first entry is `about`, which describes the run, how many iterations the fingerprint is to have, and
    the digest of the starting weights.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: nn.Module,
        scaler: torch.amp.GradScaler,
        iterations: int,
        write: Callable[[dict], None],
        about: Mapping,
    ):
        self._model, self._scaler, self._write = model, scaler, write
        self._modules = {
            f"network.{name}" if name else "network": part for name, part in model.named_modules()
        }
        self._modules["loss"] = criterion
        self._iterations, self._iteration = iterations, 0
        self._entries: list[dict] = []
        self._numbers: list[Tensor] = []
        self._calls: Counter[str] = Counter()
        self._last: Tensor | None = None
        self._directions: Tensor | None = None
        weights = digest(model.state_dict().values())
        write({"type": "run", "format": FORMAT, **about, "iterations": iterations, "weights": weights})

    @contextmanager
    def __call__(self, images: Tensor, labels: Tensor, mirror: Tensor) -> Iterator[None]:
        """Watch one step, from the loader's batch to the weights after it."""
        if self._iteration == self._iterations:
            yield
            return
        batch = {"images": images, "labels": labels, "mirror": mirror}
        digests = {name: digest([tensor]) for name, tensor in batch.items()}
        self._write({"type": "batch", "iteration": self._iteration, "pictures": len(images), **digests})
        hooks = [part.register_forward_hook(self._output_of(name)) for name, part in self._modules.items()]
        for name, parameter in self._model.named_parameters():
            if parameter.requires_grad:
                hooks.append(parameter.register_post_accumulate_grad_hook(self._gradient_of(name)))
        scale = self._scaler.get_scale()
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        for name, parameter in self._model.named_parameters():
            self._note(WEIGHT, name, parameter)
        self._write_entries(scale)
        self._iteration += 1

    def _output_of(self, name: str) -> Callable:
        def note(module, inputs, output) -> None:
            if output is self._last:  # of the last part of a Sequential
                return
            self._last = output
            self._calls[name] += 1
            call = name if self._calls[name] == 1 else f"{name}, call {self._calls[name]}"
            for place, tensor in tensors_in(call, output):
                self._note(FORWARD, place, tensor)

        return note

    def _gradient_of(self, name: str) -> Callable:
        return lambda parameter: self._note(GRADIENT, name, parameter.grad)

    def _note(self, stage: str, name: str, tensor: Tensor) -> None:
        """Keep a tensor's numbers on its device: they are read when the step is done."""
        tensor = tensor.detach()
        if self._directions is None:
            signs = torch.randint(0, 2, (2, PERIOD), generator=torch.Generator().manual_seed(0)) * 2 - 1
            sum_type = torch.float64 if abilities(tensor.device).float64 else torch.float32
            self._directions = signs.to(sum_type).to(tensor.device)
        dtype = str(tensor.dtype).removeprefix("torch.")
        self._entries.append({"stage": stage, "name": name, "shape": list(tensor.shape), "dtype": dtype})
        self._numbers.append(numbers(tensor, self._directions))

    def _write_entries(self, scale: float) -> None:
        """Write a step's entries; a gradient without the scale of fp16."""
        for entry, values in zip(self._entries, torch.stack(self._numbers).to(CPU).tolist(), strict=True):
            by_name = dict(zip(NUMBERS, values, strict=True))
            if entry["stage"] == GRADIENT:
                by_name |= {name: value / scale for name, value in by_name.items() if name != "nonfinite"}
            self._write({"type": "tensor", "iteration": self._iteration, **entry, **by_name})
        self._entries.clear()
        self._numbers.clear()
        self._calls.clear()
        self._last = None


def tensors_in(name: str, output) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a module's output by names that tell their places in it."""
    if isinstance(output, Tensor):
        yield name, output
        return
    for key, value in output.items() if isinstance(output, Mapping) else enumerate(output):
        yield from tensors_in(f"{name}[{key}]", value)


def numbers(tensor: Tensor, directions: Tensor) -> Tensor:
    """Return a tensor's NUMBERS (5,), on its device. Maps (B, C, H, W) are read channels last.

    `directions` (2, PERIOD) are repeated over the values; their type is the one that sums are made in.
    """
    values = (tensor.permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor).reshape(-1)
    dtype = directions.dtype
    whole = len(values) // PERIOD * PERIOD
    folded = values[:whole].view(-1, PERIOD).sum(0, dtype=dtype)
    rest = values[whole:].to(dtype)
    projections = directions @ folded + directions[:, : len(rest)] @ rest
    norm = torch.linalg.vector_norm(values, dtype=dtype)
    largest, nonfinite = values.abs().amax().to(dtype), (~values.isfinite()).sum().to(dtype)
    return torch.stack([norm, largest, nonfinite, *projections])


def digest(tensors: Iterable[Tensor]) -> str:
    """Return the SHA-256 of tensors' bytes."""
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(tensor.detach().to(CPU).contiguous().view(-1).view(torch.uint8).numpy())
    return total.hexdigest()
