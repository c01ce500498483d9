"""Turn a file into a checkpoint in our layout, and give its weights, or what fits of them, to a model."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from alm.checkpoint.files import save_checkpoint as save_checkpoint  # they are public in this room
from alm.checkpoint.published import own_checkpoint, to_reference, views, without_prefix
from alm.checkpoint.published import reference_state as reference_state
from alm.checkpoint.safe_load import safe_load
from alm.checkpoint.schema import DEFAULTS, OWN_FORMAT, check_parts, is_own, state_dict_of
from alm.constants import MAX_ATTRIBUTES, STRIDES
from alm.devices.device import survive_forks
from alm.errors import AlmError, first_few
from alm.models.localization import REDUCTION
from alm.models.network import ALM, APPROACHES, LATERAL_CHANNELS, build_model


def load_checkpoint(path: str | Path, weights: bool = True) -> dict:
    """Return what a checkpoint file holds, on the CPU; nothing in the file is executed.

    It takes ours, the published program's (PyTorch 0.4's serialization too) and a bare state dict of either,
    also with a prefix, as DataParallel, torch.compile and Lightning have. The weights are in our layout,
    whoever wrote them. The result has at least `state_dict`, `epoch` (trained so far), `best_accu`,
    `approach`, `align_corners` and schema.DEFAULTS; `format` and the other parts of schema.PARTS only if this
    program wrote it.

    Without `weights` the numbers of the tensors are not read: it takes milliseconds, and damage to them goes
    unseen. Raises AlmError if there is no such file, or a part of it is not what it should be.
    """
    path = Path(path)
    content = safe_load(path, tensors=weights)
    try:
        state = state_dict_of(content)
    except AlmError as error:
        raise AlmError(f"{path}: {error}") from error
    if state is content:
        content = {"state_dict": state}
    if not is_own(content):
        content = DEFAULTS | own_checkpoint(content, path)
        check_parts(path, content, tuple(content.keys() - {"state_dict"}))
        return content
    if content["format"] != OWN_FORMAT:
        raise AlmError(
            f"{path}: written by a newer version of this program (format {content['format']}, this one reads "
            f"{OWN_FORMAT}); update the program"
        )
    content = DEFAULTS | dict(content) | {"state_dict": without_prefix(content["state_dict"])}
    check_parts(path, content)
    return content


def load_model(path: str | Path) -> nn.Module:
    """Return the network of a checkpoint, ours or a published one, in evaluation mode on the CPU.

    Its `attributes` are the names of its outputs, or None for a published checkpoint, which does not name
    them; its `approach` and `align_corners` say what it is. Raises AlmError as `load_checkpoint` does.
    """
    return restored_model(load_checkpoint(path), path)


def restored_model(checkpoint: Mapping, path: str | Path) -> nn.Module:
    """Return what `load_model` does, of a checkpoint that is loaded already."""
    count = count_attributes(path, checkpoint)
    approach, align_corners = checkpoint["approach"], checkpoint["align_corners"]
    width = lateral_channels(checkpoint["state_dict"]) or LATERAL_CHANNELS
    try:
        check_size(checkpoint, count, width)
        model = build_model(approach, count, align_corners, checkpoint["backbone"], width)
    except AlmError as error:
        raise AlmError(f"{path}: {error}") from error
    restore_model(model, checkpoint, path)
    if "attributes" in checkpoint:
        model.attributes = tuple(checkpoint["attributes"])
    survive_forks()
    return model.eval()


def restore_model(model: nn.Module, checkpoint: Mapping, path: str | Path = "checkpoint") -> None:
    """Load the weights of a checkpoint that `load_checkpoint` returned; `path` is what errors call it.

    Raises AlmError, and changes nothing, if they are of another approach, backbone, width or number of
    attributes.
    """
    count, approach = count_attributes(path, checkpoint), APPROACHES[checkpoint["approach"]].approach
    if approach != model.approach:
        raise AlmError(
            f"{path}: this is a checkpoint of {approach}; give --approach {approach} to go on with it, or "
            "start a new training from its weights with --init_from"
        )
    check_count(path, count, model.classifier.out_features)
    try:
        check_network(model, checkpoint)
        copy_whole(model.state_dict(), checkpoint["state_dict"])
        model.mean, model.std = tuple(checkpoint["mean"]), tuple(checkpoint["std"])
    except AlmError as error:
        raise AlmError(f"{path}: {error}") from error


def count_attributes(path: str | Path, checkpoint: Mapping) -> int:
    """Return the number of attributes of a checkpoint. Raises AlmError if it has no classifier, or one of
    another number than it names or than there may be.
    """
    bias = checkpoint["state_dict"].get("classifier.bias")
    if bias is None or bias.dim() != 1 or len(bias) == 0:
        raise AlmError(f"{path}: these are not the weights of a whole model: no classifier is among them")
    named = checkpoint.get("attributes", bias)
    if len(named) != len(bias):
        raise AlmError(
            f"{path}: it names {len(named)} attributes, and its weights are of {len(bias)}; it is damaged"
        )
    if len(bias) > MAX_ATTRIBUTES:
        raise AlmError(
            f"{path}: its weights are of {len(bias)} attributes, and a model has at most {MAX_ATTRIBUTES}; "
            "it is damaged, or of another program"
        )
    return len(bias)


def check_size(checkpoint: Mapping, count: int, width: int) -> None:
    """Raise AlmError if an ALM's largest weights are not of so many attributes and lateral channels: a file
    of 2 KB can have shapes of terabytes, and a model is only built if the file has its numbers.
    """
    channels = len(STRIDES) * width  # of the finest level's map
    shapes = {tensor.shape for tensor in checkpoint["state_dict"].values()}
    if APPROACHES[checkpoint["approach"]] is ALM and (count, channels, channels // REDUCTION) not in shapes:
        raise AlmError(
            f"its localization is not of {count} attributes and {width} lateral channels; it is damaged"
        )


def check_count(path: str | Path, theirs: int, ours: int) -> None:
    """Raise AlmError if a checkpoint is of another number of attributes."""
    if theirs != ours:
        raise AlmError(
            f"{path}: it is of {theirs} attributes, and the experiment has {ours}; "
            "--init_from takes what fits of it"
        )


def check_attributes(path: str | Path, checkpoint: Mapping, names: Sequence[str]) -> None:
    """Raise AlmError if a checkpoint's attributes are not `names`, in this order, naming the first that
    differs. A published checkpoint names none.
    """
    theirs = checkpoint.get("attributes", names)
    check_count(path, len(theirs), len(names))
    for number, (their, our) in enumerate(zip(theirs, names, strict=True), start=1):
        if their != our:
            raise AlmError(
                f"{path}: its attribute {number} is {their!r}, and the experiment's is {our!r}; give the "
                "attributes that it was trained with, in their order, or start anew with --init_from"
            )


def published_checkpoint(checkpoint: Mapping) -> dict:
    """Return one of our checkpoints as the published program has it: its layout, the `module.` prefix.

    Raises AlmError if it is not ours, or if its network is none of that program's.
    """
    if not is_own(checkpoint):
        raise AlmError("it has the published layout already")
    backbone, width = checkpoint["backbone"], lateral_channels(checkpoint["state_dict"])
    if backbone != "bn_inception":
        raise AlmError(f"its backbone is {backbone}, and the published program has BN-Inception alone")
    if width not in (None, LATERAL_CHANNELS):
        raise AlmError(
            f"its lateral layers have {width} channels; in the published program they have {LATERAL_CHANNELS}"
        )
    state = {f"module.{name}": piece for name, piece in to_reference(checkpoint["state_dict"]).items()}
    return {"epoch": checkpoint["epoch"], "state_dict": state, "best_accu": checkpoint["best_accu"]}


# Weights in the published layout.


def load_reference_state(model: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Load a state dict in the published layout, with or without the `module.` prefix.

    Raises AlmError, and changes nothing, if an entry is missing (but for `num_batches_tracked`, which
    PyTorch 0.4 did not always write) or has another shape; warns of entries that the model does not have.
    """
    copy_whole(views(model), without_prefix(state_dict))


# Weights from one model into another.

SHARED = {"backbone": "backbone", "lateral": "lateral layers"}  # part of our state dict -> in words
OF_ATTRIBUTES = {"classifier": "global classifier", "localization": "localization"}  # a row for each


class Transferred(NamedTuple):
    """What a model has of another's weights: in words; whether that is all of it; and whether the attributes,
    which a published checkpoint does not name, were assumed to be the same.
    """

    words: str
    whole: bool
    assumed: bool


def initialize(model: nn.Module, checkpoint: Mapping, names: Sequence[str], path: str | Path) -> Transferred:
    """Load from any checkpoint what is of use to a model of the attributes `names`; return what.

    These are the backbone, the lateral layers, and the rows of the classifier and of the localization modules
    of each attribute that both have, by its name. A published checkpoint names none: they count as the same
    if it has as many. The rest of the model stays. Raises AlmError, and changes nothing, if the backbone or
    another part does not fit.
    """
    own, given = model.state_dict(), checkpoint["state_dict"]
    count = count_attributes(path, checkpoint)
    try:
        check_network(model, checkpoint)
        rows = common_rows(names, checkpoint, count)
        parts = {"backbone", *map(part_of, given)} & {*SHARED, *(OF_ATTRIBUTES if rows else ())}
        expected = {name: tensor for name, tensor in own.items() if part_of(name) in parts}
        weights = {
            name: given[name] if part_of(name) in SHARED else with_rows(name, tensor, given, rows)
            for name, tensor in expected.items()
            if name in given
        }
        copy_whole(expected, weights)
        model.mean, model.std = tuple(checkpoint["mean"]), tuple(checkpoint["std"])
    except AlmError as error:
        raise AlmError(f"{path}: {error}") from error
    parts = set(map(part_of, expected))
    shared, of_attributes = (
        [words for part, words in table.items() if part in parts] for table in (SHARED, OF_ATTRIBUTES)
    )
    words = listed([*shared, *of_attributes])
    if 0 < len(rows) < len(names):
        words = f"{listed(shared)}; {listed(of_attributes)} of {len(rows)} of {len(names)} attributes"
    is_whole = len(rows) == len(names) and expected.keys() == own.keys()
    return Transferred(words, is_whole, assumed="attributes" not in checkpoint and len(rows) > 0)


def part_of(name: str) -> str:
    """Return the part of a model, such as `backbone`, that an entry of its state dict is of."""
    return name.partition(".")[0]


def check_network(model: nn.Module, checkpoint: Mapping) -> None:
    """Raise AlmError if a checkpoint is of another backbone than a model, or if both have lateral layers, and
    of another width.
    """
    theirs, ours = checkpoint["backbone"], model.backbone_name
    if theirs != ours:
        raise AlmError(f"its backbone is {theirs}, and this model's is {ours}; give --backbone {theirs}")
    theirs, ours = lateral_channels(checkpoint["state_dict"]), lateral_channels(model.state_dict())
    if theirs and ours and theirs != ours:
        raise AlmError(
            f"its lateral layers have {theirs} channels, and this model's have {ours}; give --width {theirs}"
        )


def lateral_channels(state: Mapping[str, Tensor]) -> int | None:
    """Return the number of channels of the lateral layers of a state dict, or None if it has none."""
    lateral = [tensor for name, tensor in state.items() if part_of(name) == "lateral" and tensor.dim()]
    return len(lateral[0]) if lateral else None


def common_rows(names: Sequence[str], checkpoint: Mapping, count: int) -> dict[int, int]:
    """Return the rows, here -> there, of the attributes `names` that a checkpoint of `count` has too."""
    theirs = checkpoint.get("attributes", names if count == len(names) else ())
    place = {name: row for row, name in enumerate(theirs)}
    return {row: place[name] for row, name in enumerate(names) if name in place}


def with_rows(name: str, own: Tensor, given: Mapping[str, Tensor], rows: Mapping[int, int]) -> Tensor:
    """Return a copy of one of our tensors, (K, ...), with these rows from the given one, (K', ...)."""
    count, theirs = len(given["classifier.bias"]), given[name]
    if theirs.shape != (count, *own.shape[1:]) or theirs.is_floating_point() != own.is_floating_point():
        raise AlmError(
            f"the weights do not fit this model; {name} is {theirs.dtype} {tuple(theirs.shape)} instead of "
            f"{own.dtype} {(count, *own.shape[1:])}"
        )
    own = own.clone()
    own[list(rows)] = theirs[list(rows.values())].to(own.dtype)
    return own


def copy_whole(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Copy every entry of `given` into the tensor of that name.

    Raises AlmError, and changes nothing, if one is missing (but for `num_batches_tracked`, 0 then), is of
    another shape or type, or is not finite; warns of entries that are not used.
    """
    given = dict(given)
    for name, tensor in own.items():
        if name.endswith("num_batches_tracked"):
            given.setdefault(name, torch.zeros_like(tensor))
    both = [(name, given[name], tensor) for name, tensor in own.items() if name in given]
    misfits = {
        "missing entries": [name for name in own if name not in given],
        "entries of another shape": [
            f"{name} {tuple(theirs.shape)} instead of {tuple(ours.shape)}"
            for name, theirs, ours in both
            if theirs.shape != ours.shape
        ],
        "entries of another type": [
            f"{name} {theirs.dtype} instead of {ours.dtype}"
            for name, theirs, ours in both
            if theirs.is_floating_point() != ours.is_floating_point()
        ],
    }
    surplus = [name for name in given if name not in own]
    problems = [
        f"{what} ({len(names)}): {first_few(names, 3)}"
        for what, names in {**misfits, "entries that this model does not have": surplus}.items()
        if names
    ]
    if any(misfits.values()):
        raise AlmError(f"the weights do not fit this model; {'; '.join(problems)}")
    if infinite := [name for name, theirs, _ in both if not theirs.isfinite().all()]:
        raise AlmError(f"the weights are not finite: {first_few(infinite, 3)}; take others")
    if surplus:
        warnings.warn(f"the weights are used but for {problems[0]}", stacklevel=3)
    with torch.no_grad():
        for _, theirs, ours in both:
            ours.copy_(theirs)


def listed(words: Sequence[str]) -> str:
    """Return `a, b and c`."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
