"""Checkpoints, read with care: ours, and the published program's; and whatever they are restored into."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from alm.checkpoint.files import save_checkpoint
from alm.checkpoint.published import (
    BACKBONE,
    CLASSIFIER,
    LATERAL,
    MODULE_OF_ATTRIBUTE,
    classifier_bias,
    from_reference,
    has_localization,
    is_backbone_alone,
    reference_state,
    samples_with_aligned_corners,
    to_reference,
    views,
)
from alm.checkpoint.safe_load import safe_load
from alm.checkpoint.schema import FORMERLY, check_parts, is_own, is_state_dict
from alm.errors import AlmError
from alm.models.network import build_model


class Taken(NamedTuple):
    """What a model was given of another's weights: in words; whether that is all it has; and whether the
    attributes, which a published checkpoint does not name, were taken to be the same.
    """

    words: str
    whole: bool
    assumed: bool


def load_reference_state(model: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Load a state dict in the published layout, with or without the `module.` prefix.

    Raises AlmError, and changes nothing, where an entry is missing (but for `num_batches_tracked`, which
    PyTorch 0.4 did not always write) or has another shape; warns of entries that the model does not have.
    """
    copy_whole(views(model), from_reference(state_dict))


def load_backbone(model: nn.Module, state_dict: Mapping[str, Tensor]) -> tuple[list[str], list[str]]:
    """Load backbone weights (`bn_inception-52deb4733.pth`: BatchNorm vectors (C) or (1, C); `module.` before
    the names or not).

    Returns the names used and the names in the file that were not. Raises AlmError where the file lacks one
    of the backbone's entries, or has one of another size.
    """
    state_dict = from_reference(state_dict)
    if any(name.startswith(BACKBONE) for name in state_dict):
        raise AlmError("this is a whole model, not backbone weights; give it to --init_from")
    own = {name.removeprefix(BACKBONE): piece for name, piece in _backbone_views(model).items()}
    given = {
        name: tensor.view_as(own[name]) if tensor.numel() == own[name].numel() else tensor
        for name, tensor in state_dict.items()
        if name in own
    }
    if not given:
        raise AlmError(f"the file has none of the backbone's names ({next(iter(own))}, ...)")
    copy_whole(own, given)
    return list(given), [name for name in state_dict if name not in own]


def load_what_fits(
    model: nn.Module,
    state_dict: Mapping[str, Tensor],
    names: Sequence[str],
    given_names: Sequence[str] | None = None,
) -> Taken:
    """Load from a state dict in the published layout what is of use to a model for other attributes.

    These are the backbone, the lateral layers, and what belongs to an attribute that both have. `names` are
    the model's K attributes and `given_names` those of the state dict; None means that it does not tell, and
    that they are the same where it has as many. The rest of the model stays. Raises AlmError, and changes
    nothing, where the backbone is not there or something does not fit.
    """
    if is_backbone_alone(state_dict):
        raise AlmError("these are weights of the backbone alone; give the file to --pretrained")
    given, own = from_reference(state_dict), views(model)
    rows = _rows_of(names, given_names, classifier_bias(given))
    localized = has_localization(given)
    backbone = {name: (piece, given.get(name)) for name, piece in _backbone_views(model).items()}
    lateral = {
        name: (piece, given[name])
        for name, piece in own.items()
        if name.startswith(LATERAL) and name in given
    }
    classifier = {
        f"{name}[{k}]": (own[name][k], given[name][row] if row < len(given.get(name, ())) else None)
        for k, row in rows.items()
        for name in (f"{CLASSIFIER}weight", f"{CLASSIFIER}bias")
    }
    localization = {
        name: (piece, given.get(f"{match[1]}{rows[int(match[2])]}{match[3]}"))
        for name, piece in own.items()
        if localized and (match := MODULE_OF_ATTRIBUTE.fullmatch(name)) and int(match[2]) in rows
    }
    pairs = backbone | lateral | classifier | localization
    copy_whole(
        {name: piece for name, (piece, _) in pairs.items()},
        {name: tensor for name, (_, tensor) in pairs.items() if tensor is not None},
    )
    shared = ["backbone", *(["lateral layers"] if lateral else [])]
    parts = {"global classifier": classifier, "localization": localization}
    of_attributes = [part for part, found in parts.items() if found]
    words = _listed([*shared, *of_attributes])
    if 0 < len(rows) < len(names):
        words = f"{_listed(shared)}; {_listed(of_attributes)} of {len(rows)} of {len(names)} attributes"
    whole = len(rows) == len(names) and {name.partition("[")[0] for name in pairs} == own.keys()
    return Taken(words, whole, assumed=given_names is None and len(rows) > 0)


def copy_whole(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Copy every entry of `given` into the tensor of that name.

    Raises AlmError, and changes nothing, where one is missing (but for `num_batches_tracked`, 0 then), is of
    another shape or type, or is not finite; warns of entries that are not used.
    """
    given = dict(given)
    for name, tensor in own.items():
        if name.endswith("num_batches_tracked"):
            given.setdefault(name, torch.zeros_like(tensor))
    missing = [name for name in own if name not in given]
    misshapen = [
        f"{name} {tuple(given[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in given and given[name].shape != tensor.shape
    ]
    mistyped = [
        f"{name} {given[name].dtype} instead of {tensor.dtype}"
        for name, tensor in own.items()
        if name in given and given[name].is_floating_point() != tensor.is_floating_point()
    ]
    extra = [name for name in given if name not in own]
    problems = [
        f"{len(names)} {what}: {_first(names)}"
        for names, what in (
            (missing, "missing"),
            (misshapen, "of another shape"),
            (mistyped, "of another type"),
            (extra, "not in this model"),
        )
        if names
    ]
    if missing or misshapen or mistyped:
        raise AlmError(f"the weights do not fit this model; entries {'; '.join(problems)}")
    if infinite := [name for name in own if not given[name].isfinite().all()]:
        raise AlmError(
            f"the weights are not finite: {_first(infinite)}; nothing can be computed with them, take others"
        )
    if extra:
        warnings.warn(f"entries {problems[0]}; they are not used", stacklevel=3)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(given[name])


def _rows_of(
    names: Sequence[str], given_names: Sequence[str] | None, given_bias: Tensor | None
) -> dict[int, int]:
    """Return, for each attribute of the model that the given weights have too, its place there: k -> row."""
    if given_bias is None:
        return {}
    if given_names is None:
        given_names = names if len(given_bias) == len(names) else []
    place = {name: row for row, name in enumerate(given_names)}
    return {k: place[name] for k, name in enumerate(names) if name in place}


def _backbone_views(model: nn.Module) -> dict[str, Tensor]:
    return {name: piece for name, piece in views(model).items() if name.startswith(BACKBONE)}


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _first(names: Sequence[str], count: int = 3) -> str:
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


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
