"""An exported file against its network: it must compute the same before it gets its name."""

import math
import warnings

import torch
from torch import Tensor

from alm.constants import HEIGHT, WIDTH
from alm.errors import AlmError
from alm.inference.export import Deployed
from alm.inference.onnx_predictor import open_session, read_model

LIMIT = 1e-4  # of probabilities, regions and evidence
TIE = 1e-3  # logits this near each other may win one or the other
BATCHES = (1, 3)


def compare_onnx(deployed: Deployed, path) -> float:
    """Return `compare` of an .onnx file in onnxruntime."""
    session = open_session(read_model(path))
    names = list(deployed.outputs)
    return compare(
        deployed, lambda images: list(map(torch.from_numpy, session.run(names, {"images": images.numpy()})))
    )


def compare_torch_export(deployed: Deployed, path) -> float:
    """Return `compare` of a .pt2 file, loaded back."""
    with open(path, "rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its remarks about a package of compiled code, which is none
        return compare(deployed, torch.export.load(file).module())


def compare(deployed: Deployed, exported) -> float:
    """Return the largest difference of any output, on batches of noise and of smooth pictures.

    Raises AlmError if it is beyond LIMIT, if another level wins though there is no tie, or if the network
    itself computes NaN.
    """
    largest = 0.0
    for images in samples():
        with torch.inference_mode():
            logits = torch.stack(deployed.explain(images)[0])
            expected, outputs = (
                dict(zip(deployed.outputs, network(images), strict=True)) for network in (deployed, exported)
            )
        if not logits.isfinite().all():
            raise AlmError(
                "the network's own predictions are not finite, so nothing can be compared with them; use an "
                "earlier checkpoint"
            )
        for name in expected.keys() - {"levels"}:
            difference = largest_difference(outputs[name], expected[name])
            if not difference <= LIMIT:
                raise AlmError(
                    f"what was exported differs from PyTorch by {difference:.3g}, more than {LIMIT:g}; "
                    "nothing was written. This is a fault of the exporter's: try another version of torch"
                )
            largest = max(largest, difference)
        if "levels" in expected and (clear_winners(logits) & (outputs["levels"] != expected["levels"])).any():
            raise AlmError("what was exported names other levels than PyTorch; nothing was written")
    return largest


def largest_difference(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference, in units of the largest of `theirs` if that is over 1; NaN if the shapes
    differ.
    """
    if ours.shape != theirs.shape:
        return math.nan
    return ((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1)).item()


def clear_winners(logits: Tensor) -> Tensor:
    """Return whether the largest of the branches' logits (branches, N, K) is no tie, bool (N, K)."""
    first, second = logits.topk(2, dim=0).values
    return first - second > TIE


def samples() -> list[Tensor]:
    """Return batches of noise, and of that noise smoothed, uint8 (N, 3, 256, 128)."""
    generator, batches = torch.Generator().manual_seed(1), []
    for size in BATCHES:
        batches.append(
            torch.randint(0, 256, (size, 3, HEIGHT, WIDTH), generator=generator, dtype=torch.uint8)
        )
        coarse = torch.rand(size, 3, 8, 4, generator=generator) * 255
        smooth = torch.nn.functional.interpolate(coarse, (HEIGHT, WIDTH), mode="bilinear")
        batches.append(smooth.to(torch.uint8))
    return batches
