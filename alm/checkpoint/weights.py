"""Weights into a model, all or nothing: a whole model's, the backbone's alone, or what fits of another."""

import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from alm.checkpoint.published import (
    BACKBONE,
    CLASSIFIER,
    LATERAL,
    MODULE_OF_ATTRIBUTE,
    classifier_bias,
    from_reference,
    has_localization,
    is_backbone_alone,
    views,
)
from alm.errors import AlmError


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
