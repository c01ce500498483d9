"""The network as it is deployed: uint8 pictures in; probabilities, regions, winning levels, evidence out."""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from alm.constants import EVIDENCE, GLOBAL, HEIGHT, WIDTH
from alm.errors import AlmError
from alm.models.folding import folded, relu_early

OPSET = 17  # the newest that every supported torch writes
INPUT = "images"


class Deployed(nn.Module):
    """A folded copy of a network, with the normalization of its pictures.

    `outputs` are the names of what it returns: `probabilities`, `regions` and `levels`; for a network without
    regions, `probabilities` alone. With `evidence`, that of each branch follows.
    """

    def __init__(self, model: nn.Module, evidence: bool = False):
        super().__init__()
        self.network, self.evidence = folded(model), evidence
        relu_early(self.network)
        self.outputs = ("probabilities", *(("regions", "levels") if model.levels else ()))
        if evidence:
            self.outputs += tuple(map(EVIDENCE.format, (*model.levels, GLOBAL)))
        for name, values in (("mean", model.mean), ("std", model.std)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return, for images uint8 (N, 3, 256, 128), probabilities (N, K), the largest of the branches';
        regions (N, 3, K, 4), those of `model.localize` for the levels 3b, 4d and 5b; and levels (N, K), the
        branch of each probability: 0 to 2, or 3 for the global branch. With `evidence`, a map (N, K, h, w) of
        each branch follows.
        """
        logits, regions, *evidence = self.explain(images)
        logits = torch.stack(logits)
        outputs = [logits.amax(dim=0).sigmoid()]
        if regions:
            outputs += [torch.stack(list(regions.values()), dim=1), logits.argmax(dim=0)]
        return (*outputs, *(values for maps in evidence for values in maps.values()))

    def explain(self, images: Tensor) -> tuple:
        """Return the network's `predict`, or with `evidence` its `explain`, of images uint8
        (N, 3, 256, 128).
        """
        images = (images.float() / 255 - self.mean) / self.std
        return self.network.explain(images) if self.evidence else self.network.predict(images)


def write_onnx(deployed: Deployed, path: str | Path, about: dict[str, str]) -> None:
    """Write a network as one ONNX file for batches of any size, with texts as its metadata.

    Raises AlmError if the package onnx is missing.
    """
    onnx_package()  # before the exporter misses it in its own words
    # The exporter by tracing: every supported torch has it, it needs onnx alone, and keeps weights inside.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its remarks about itself
        torch.onnx.export(
            deployed,
            (example(),),
            str(path),
            opset_version=OPSET,
            dynamo=False,
            input_names=[INPUT],
            output_names=list(deployed.outputs),
            dynamic_axes={name: {0: "batch"} for name in (INPUT, *deployed.outputs)},
        )
    describe_onnx(path, about)


def describe_onnx(path: str | Path, about: dict[str, str]) -> None:
    """Make texts the metadata of an .onnx file. Raises AlmError if the package onnx is missing."""
    onnx = onnx_package()
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, about)
    onnx.save(model, str(path))


def onnx_package():
    """Return the optional package onnx. Raises AlmError if it is missing."""
    try:
        import onnx
    except ImportError as error:
        raise AlmError(f"onnx does not work here ({error}); pip install onnx onnxruntime") from error
    return onnx


def write_torch_export(deployed: Deployed, path: str | Path, about: dict[str, str]) -> None:
    """Write a network by `torch.export` for batches of any size, with texts beside it in the file."""
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings(), torch.no_grad():  # or torch 2.4 keeps the change of mode, unreadably
        warnings.simplefilter("ignore")
        # Not strict, as newer ones by default: torch 2.4's strict way fails at weights that are used twice.
        program = torch.export.export(deployed, (example(),), dynamic_shapes=({0: batch},), strict=False)
        with open(path, "wb") as file:  # whose name may end in anything
            torch.export.save(program, file, extra_files=about)


def example() -> Tensor:
    """Return a batch to trace with; the exporters would take a batch size of 1 for a constant."""
    return torch.zeros(2, 3, HEIGHT, WIDTH, dtype=torch.uint8)
