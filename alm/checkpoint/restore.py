"""Checkpoints, read with care: ours, and the published program's; and whatever they are restored into."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from alm.checkpoint.files import save_checkpoint
from alm.checkpoint.published import (
    classifier_bias,
    from_reference,
    has_localization,
    is_backbone_alone,
    reference_state,
    samples_with_aligned_corners,
    to_reference,
)
from alm.checkpoint.safe_load import safe_load
from alm.checkpoint.schema import FORMERLY, check_parts, is_own, is_state_dict
from alm.checkpoint.weights import Taken, copy_whole, load_backbone, load_reference_state, load_what_fits
from alm.errors import AlmError
from alm.models.network import build_model

__all__ = [
    "OWN_FORMAT",
    "check_attributes",
    "initialize",
    "is_own",
    "load_backbone",
    "load_checkpoint",
    "load_model",
    "load_reference_state",
    "published_checkpoint",
    "reference_state",
    "restore_model",
    "save_checkpoint",
    "to_reference",
]

OWN_FORMAT = "alm-1"  # marks our own checkpoints among the published program's


def load_checkpoint(path: str | Path) -> dict:
    """Return what a checkpoint file holds, on the CPU; nothing in the file is executed.

    Ours, the published program's (PyTorch 0.4's serialization too) and a bare state dict are taken; the
    result has at least `state_dict`, `epoch` (trained so far), `best_accu` and `align_corners`. Raises
    AlmError where there is no such file, it is something else, or a part of it is not what it should be.
    """
    path = Path(path)
    content = safe_load(path)
    if isinstance(content, Mapping) and "state_dict" not in content:
        content = {"state_dict": content}
    if not isinstance(content, Mapping) or not is_state_dict(content["state_dict"]):
        raise AlmError(f"{path}: this is not a checkpoint: no `state_dict` of named tensors in it")
    content = dict(content)
    if not is_own(content):
        content = {"epoch": 0, "best_accu": 0.0} | content
        content["align_corners"] = has_localization(content["state_dict"]) and samples_with_aligned_corners(
            path
        )
    elif content["format"] != OWN_FORMAT:
        raise AlmError(
            f"{path}: written by a newer version of this program (format {content['format']}, this one reads "
            f"{OWN_FORMAT}); update the program"
        )
    else:
        content = FORMERLY | content
    check_parts(path, content)
    return content


def load_model(path: str | Path) -> nn.Module:
    """Return the network of a checkpoint, ours or a published one, in evaluation mode on the CPU.

    Its `attributes` are the names of its outputs, None for a published checkpoint, which does not tell;
    its `approach` and `align_corners` say what it is. Raises AlmError as `load_checkpoint` does.
    """
    checkpoint = load_checkpoint(path)
    count = count_attributes(path, checkpoint)
    model = build_model(approach_of(checkpoint), count, checkpoint["align_corners"])
    restore_model(model, checkpoint, path)
    if is_own(checkpoint):
        model.attributes = tuple(checkpoint["attributes"])
    return model.eval()


def restore_model(model: nn.Module, checkpoint: Mapping, path: str | Path = "checkpoint") -> None:
    """Load a checkpoint's weights, whoever wrote it; `path` is what errors call it.

    Raises AlmError, and changes nothing, where they are of another approach or number of attributes.
    """
    count, approach = count_attributes(path, checkpoint), approach_of(checkpoint)
    if approach != model.approach:
        raise AlmError(
            f"{path}: this is a checkpoint of {approach}; give --approach {approach} to go on with it, or "
            "start a new training from its weights with --init_from"
        )
    if count != model.classifier.out_features:
        raise AlmError(
            f"{path}: it is of {count} attributes, and the experiment has {model.classifier.out_features}; "
            "--init_from takes what fits of it"
        )
    try:
        if is_own(checkpoint):
            copy_whole(model.state_dict(), checkpoint["state_dict"])
        else:
            load_reference_state(model, checkpoint["state_dict"])
    except AlmError as error:
        raise AlmError(f"{path}: {error}") from error


def approach_of(checkpoint: Mapping) -> str:
    """Return the approach that a checkpoint's weights are of; of a published one, from its entries."""
    if is_own(checkpoint):
        return checkpoint["approach"]
    return "inception_iccv" if has_localization(checkpoint["state_dict"]) else "bn_inception"


def count_attributes(path: str | Path, checkpoint: Mapping) -> int:
    """Return the number of attributes that a checkpoint's weights are for. Raises AlmError where there is no
    classifier.
    """
    state = checkpoint["state_dict"]
    bias = state.get("classifier.bias") if is_own(checkpoint) else classifier_bias(state)
    if bias is None or bias.dim() != 1 or len(bias) == 0:
        hint = "; weights of the backbone alone are for --pretrained" if is_backbone_alone(state) else ""
        raise AlmError(f"{path}: these are not the weights of a whole model: it has no classifier{hint}")
    return len(bias)


def initialize(model: nn.Module, checkpoint: Mapping, names: Sequence[str], path: str | Path) -> Taken:
    """Load from any checkpoint what is of use to a model of the attributes `names`; return what.

    Raises AlmError where it has no backbone that fits.
    """
    entries = published_entries(path, checkpoint)
    try:
        return load_what_fits(model, entries, names, checkpoint.get("attributes"))
    except AlmError as error:
        raise AlmError(f"{path}: {error}") from error


def check_attributes(path: str | Path, checkpoint: Mapping, names: Sequence[str]) -> None:
    """Raise AlmError where a checkpoint's attributes are not `names`, in this order, naming the first that
    differs. A published checkpoint does not tell.
    """
    theirs = checkpoint.get("attributes", names)
    if len(theirs) != len(names):
        raise AlmError(
            f"{path}: it is of {len(theirs)} attributes, and the experiment has {len(names)}; "
            "--init_from takes what fits of it"
        )
    for number, (their, our) in enumerate(zip(theirs, names, strict=True), start=1):
        if their != our:
            raise AlmError(
                f"{path}: its attribute {number} is {their!r}, and the experiment's is {our!r}; give the "
                "attributes that it was trained with, in their order, or start anew with --init_from"
            )


def published_checkpoint(checkpoint: Mapping) -> dict:
    """Return one of our checkpoints as the published program has it: its layout, the `module.` prefix.

    Raises AlmError where it is not ours.
    """
    if not is_own(checkpoint):
        raise AlmError("it has the published layout already")
    state = {f"module.{name}": piece for name, piece in to_reference(checkpoint["state_dict"]).items()}
    return {"epoch": checkpoint["epoch"], "state_dict": state, "best_accu": checkpoint["best_accu"]}


def published_entries(path: str | Path, checkpoint: Mapping) -> dict[str, Tensor]:
    """Return a checkpoint's weights under the published names, without a prefix, whoever wrote it."""
    if not is_own(checkpoint):
        return from_reference(checkpoint["state_dict"])
    try:
        return to_reference(checkpoint["state_dict"])
    except (AlmError, KeyError, ValueError, IndexError, RuntimeError) as error:
        raise AlmError(f"{path}: its weights do not have this program's names and shapes") from error
