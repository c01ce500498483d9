"""The published program's names and layout, in and out. No other file knows them."""

import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from alm.errors import AlmError

# Our module -> the published one. Backbone modules are named by block, branch and place in the branch.
STEM = {"conv1": "conv1_7x7_s2", "conv2_reduce": "conv2_3x3_reduce", "conv2": "conv2_3x3"}
BRANCHES = {
    "1x1.0": "1x1",
    "3x3.0": "3x3_reduce",
    "3x3.1": "3x3",
    "double_3x3.0": "double_3x3_reduce",
    "double_3x3.1": "double_3x3_1",
    "double_3x3.2": "double_3x3_2",
    "pool.1": "pool_proj",
}
# Our stacked parameter -> the published one of attribute {k}, and its slice's shape after the first axis.
STACKED = {
    "squeeze_weight": ("att_list.{k}.conv1.weight", (-1, 1, 1)),
    "squeeze_bias": ("att_list.{k}.conv1.bias", ()),
    "excite_weight": ("att_list.{k}.conv2.weight", (-1, 1, 1)),
    "excite_bias": ("att_list.{k}.conv2.bias", ()),
    "region_weight": ("stn_list.{k}.weight", (-1,)),
    "region_bias": ("stn_list.{k}.bias", ()),
    "logit_weight": ("fc_list.{k}.weight", (-1,)),
    "logit_bias": ("fc_list.{k}.bias", ()),
}
BACKBONE, LATERAL, CLASSIFIER, LOCALIZATION = "main_branch.", "latlayer_", "finalfc.", "st_"  # beginnings
MODULE_OF_ATTRIBUTE = re.compile(r"(st_\w+\.\w+_list\.)(\d+)(\..*)")


def reference_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the model's state dict in the published layout, without the `module.` prefix."""
    return to_reference(model.state_dict())


def to_reference(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors named as in our state dict (parameters, gradients, ...) under the published names."""
    return {
        name: piece.detach().clone(memory_format=torch.contiguous_format)
        for ours, tensor in tensors.items()
        for name, piece in _published(ours, tensor)
    }


def from_reference(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict in the published layout without the `module.` prefix, where it has one."""
    return {name.removeprefix("module."): tensor for name, tensor in state_dict.items()}


def load_reference_state(model: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Load a state dict in the published layout, with or without the `module.` prefix.

    Raises AlmError, and changes nothing, where an entry is missing (but for `num_batches_tracked`, which
    PyTorch 0.4 did not always write) or has another shape; warns of entries that the model does not have.
    """
    copy_whole(_views(model), from_reference(state_dict))


def load_backbone(model: nn.Module, state_dict: Mapping[str, Tensor]) -> tuple[list[str], list[str]]:
    """Load backbone weights (`bn_inception-52deb4733.pth`: no prefix, BatchNorm vectors (C) or (1, C)).

    Returns the names used and the names in the file that were not. Raises AlmError where the file lacks one
    of the backbone's entries, or has one of another size.
    """
    if any(name.startswith(BACKBONE) for name in from_reference(state_dict)):
        raise AlmError("this is a whole model, not backbone weights; give it to --init_from")
    own = {name.removeprefix(BACKBONE): piece for name, piece in _backbone_views(model).items()}
    given = {
        name: tensor.view_as(own[name]) if tensor.numel() == own[name].numel() else tensor
        for name, tensor in state_dict.items()
        if name in own
    }
    if not given:
        raise AlmError("the file has none of the backbone's names (conv1_7x7_s2.weight, ...)")
    copy_whole(own, given)
    return list(given), [name for name in state_dict if name not in own]


def load_what_fits(
    model: nn.Module,
    state_dict: Mapping[str, Tensor],
    names: Sequence[str],
    given_names: Sequence[str] | None = None,
) -> str:
    """Load from a state dict in the published layout what is of use to a model for other attributes.

    These are the backbone, the lateral layers, and what belongs to an attribute that both have. `names` are
    the model's K attributes and `given_names` those of the state dict; None means that it does not tell, and
    that they are the same where it has as many. The rest of the model stays. Returns what was loaded, in
    words. Raises AlmError, and changes nothing, where the backbone is not there or something does not fit.
    """
    given, own = from_reference(state_dict), _views(model)
    rows = _rows_of(names, given_names, given.get(f"{CLASSIFIER}bias"))
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
    if len(rows) == len(names) or not rows:
        return _listed([*shared, *of_attributes])
    return f"{_listed(shared)}; {_listed(of_attributes)} of {len(rows)} of {len(names)} attributes"


def has_localization(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether a state dict in the published layout is of ALM, not of the warm-up baseline."""
    return any(name.startswith(LOCALIZATION) for name in from_reference(state_dict))


def samples_with_aligned_corners(path: Path) -> bool:
    """Return the sampling convention that a published checkpoint was trained with.

    The serialization of PyTorch before 1.6 (no zip) means True, PyTorch 0.4's only behaviour; a later one
    means False, the default since 1.3.
    """
    return not zipfile.is_zipfile(path)


def copy_whole(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Copy every entry of `given` into the tensor of that name.

    Raises AlmError, and changes nothing, where one is missing (but for `num_batches_tracked`, 0 then) or is
    of another shape or type; warns of entries that are not used.
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


def _views(model: nn.Module) -> dict[str, Tensor]:
    """Return views of the model's tensors under the published names: writing to them changes the model."""
    return {
        name: piece for ours, tensor in model.state_dict().items() for name, piece in _published(ours, tensor)
    }


def _backbone_views(model: nn.Module) -> dict[str, Tensor]:
    return {name: piece for name, piece in _views(model).items() if name.startswith(BACKBONE)}


def _published(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield the published name and the piece (a view) of each entry that our entry `name` stands for.

    Raises AlmError where the published program has no such entry.
    """
    module, _, role = name.partition(".")
    level, _, parameter = role.partition(".")
    if module == "backbone":
        yield f"{BACKBONE}{_published_convolution(role)}", tensor
    elif module == "classifier":
        yield f"{CLASSIFIER}{role}", tensor
    elif module == "lateral":
        yield f"{LATERAL}{role}", tensor[..., None, None] if parameter == "weight" else tensor
    elif parameter in STACKED:
        pattern, trailing = STACKED[parameter]
        for k, piece in enumerate(tensor):
            shape = (piece.shape[0], *trailing)
            yield f"{LOCALIZATION}{level}.{pattern.format(k=k)}", piece.view(shape)
    else:
        raise AlmError(f"the published program has no entry that {name} stands for")


def _published_convolution(name: str) -> str:
    """`inception.3a.double_3x3.1.bn.weight` -> `inception_3a_double_3x3_1_bn.weight`."""
    module, layer, tensor = name.rsplit(".", 2)
    if module.startswith("inception."):
        _, block, _, branch = module.split(".", 3)
        module = f"inception_{block}_{BRANCHES[branch]}"
    else:
        module = STEM[module]
    return f"{module}{'_bn' if layer == 'bn' else ''}.{tensor}"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _first(names: Sequence[str], count: int = 3) -> str:
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")
