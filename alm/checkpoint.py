"""Checkpoints: ours and the published program's, in and out. No other file knows the published names."""

import os
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from alm.errors import AlmError
from alm.network import APPROACHES
from alm.safe_load import safe_load

OWN_FORMAT = "alm-1"  # marks our own checkpoints among the published program's

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


def save_checkpoint(path: Path, checkpoint: dict, old_serialization: bool = False) -> None:
    """Write the file whole or not at all: beside its place first, then moved there.

    `old_serialization` is what PyTorch wrote before 1.6, and still reads.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            torch.save(checkpoint, file, _use_new_zipfile_serialization=not old_serialization)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> dict:
    """Return what a checkpoint file holds, on the CPU; nothing in the file is executed.

    Ours, the published program's (PyTorch 0.4's serialization too) and a bare state dict are taken; the
    result has at least `state_dict`. Raises AlmError where there is no such file or it is something else.
    """
    content = safe_load(Path(path))
    if isinstance(content, Mapping) and "state_dict" not in content:
        content = {"state_dict": content}
    if not isinstance(content, Mapping) or not _is_state_dict(content["state_dict"]):
        raise AlmError(f"{path}: this is not a checkpoint: no `state_dict` of tensors in it")
    return dict(content)


def is_own(checkpoint: Mapping) -> bool:
    """Whether this program wrote it; otherwise it has the published layout."""
    return checkpoint.get("format") == OWN_FORMAT


def align_corners_of(path: Path, checkpoint: Mapping) -> bool:
    """Return the sampling convention that a checkpoint was trained with.

    Ours say so. A published one in the serialization of PyTorch before 1.6 (no zip) means True, PyTorch
    0.4's only behaviour; a later one means False, the default since 1.3.
    """
    if is_own(checkpoint):
        return checkpoint["align_corners"]
    return not zipfile.is_zipfile(path)


def _is_state_dict(content) -> bool:
    return (
        isinstance(content, Mapping)
        and len(content) > 0
        and all(isinstance(value, Tensor) for value in content.values())
    )


def to_reference(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors named as in our state dict (parameters, gradients, ...) under the published names."""
    return {
        name: piece.detach().clone(memory_format=torch.contiguous_format)
        for ours, tensor in tensors.items()
        for name, piece in _published(ours, tensor)
    }


def reference_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the model's state dict in the published layout, without the `module.` prefix."""
    return to_reference(model.state_dict())


def load_reference_state(model: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Load a state dict in the published layout, with or without the `module.` prefix.

    Raises AlmError, and changes nothing, where an entry is missing (but for `num_batches_tracked`, which
    PyTorch 0.4 did not always write) or has another shape; warns of entries that the model does not have.
    """
    given = {name.removeprefix("module."): tensor for name, tensor in state_dict.items()}
    own = _views(model)
    for name in own:
        if name.endswith("num_batches_tracked"):
            given.setdefault(name, torch.zeros_like(own[name]))
    missing = [name for name in own if name not in given]
    misshapen = [
        f"{name} {tuple(given[name].shape)} instead of {tuple(piece.shape)}"
        for name, piece in own.items()
        if name in given and given[name].shape != piece.shape
    ]
    extra = [name for name in given if name not in own]
    problems = [
        f"{len(names)} {what}: {_first(names)}"
        for names, what in (
            (missing, "missing"),
            (misshapen, "of another shape"),
            (extra, "not in this model"),
        )
        if names
    ]
    if missing or misshapen:
        raise AlmError(f"the weights do not fit this model; entries {'; '.join(problems)}")
    if extra:
        warnings.warn(f"entries {problems[0]}; they are not used", stacklevel=2)
    with torch.no_grad():
        for name, piece in own.items():
            piece.copy_(given[name])


def load_backbone(model: nn.Module, state_dict: Mapping[str, Tensor]) -> tuple[list[str], list[str]]:
    """Load backbone weights (`bn_inception-52deb4733.pth`: no prefix, BatchNorm vectors (C) or (1, C)).

    Returns the names used and the names in the file that were not. Raises AlmError where the file has none
    of the backbone's names, or one of another shape.
    """
    prefix = "main_branch."
    own = {
        name.removeprefix(prefix): piece for name, piece in _views(model).items() if name.startswith(prefix)
    }
    used = [name for name in state_dict if name in own]
    if not used:
        raise AlmError("the file has none of the backbone's names (conv1_7x7_s2.weight, ...)")
    for name in used:
        if state_dict[name].numel() != own[name].numel():
            shapes = f"{tuple(state_dict[name].shape)} instead of {tuple(own[name].shape)}"
            raise AlmError(f"{name} has the shape {shapes}")
    with torch.no_grad():
        for name in used:
            own[name].copy_(state_dict[name].view_as(own[name]))
    return used, [name for name in state_dict if name not in own]


def load_warm_start(model: nn.Module, checkpoint: Mapping) -> None:
    """Load the backbone and the global classifier of a checkpoint of `bn_inception`; the rest stays.

    Raises AlmError where one of their entries is missing or has another shape.
    """
    shared = ("main_branch.", "finalfc.")
    kept = {name: piece for name, piece in reference_state(model).items() if not name.startswith(shared)}
    given = {name: piece for name, piece in _entries(checkpoint).items() if name.startswith(shared)}
    load_reference_state(model, kept | given)


def published_checkpoint(checkpoint: Mapping) -> dict:
    """Return one of our checkpoints as the published program has it: its layout, the `module.` prefix.

    Raises AlmError where it is not ours.
    """
    if not is_own(checkpoint):
        raise AlmError("it has the published layout already")
    state = {f"module.{name}": piece for name, piece in _entries(checkpoint).items()}
    return {"epoch": checkpoint["epoch"], "state_dict": state, "best_accu": checkpoint["best_accu"]}


def restore_model(model: nn.Module, checkpoint: Mapping) -> None:
    """Load a checkpoint's weights, whoever wrote it.

    Raises AlmError where they are of another approach or another number of attributes.
    """
    written_by = checkpoint.get("approach") if is_own(checkpoint) else None
    if written_by and type(model) is not APPROACHES[written_by]:
        raise AlmError(
            f"this is a checkpoint of {written_by}; name it with --approach, or start with --init_from"
        )
    given = _entries(checkpoint)
    count = len(given.get("finalfc.bias", model.classifier.bias))
    if count != model.classifier.out_features:
        raise AlmError(f"it is of {count} attributes, and the experiment has {model.classifier.out_features}")
    load_reference_state(model, given)


def _entries(checkpoint: Mapping) -> dict[str, Tensor]:
    """Return a checkpoint's weights under the published names, whoever wrote it."""
    if is_own(checkpoint):
        return to_reference(checkpoint["state_dict"])
    return {name.removeprefix("module."): tensor for name, tensor in checkpoint["state_dict"].items()}


def _views(model: nn.Module) -> dict[str, Tensor]:
    """Return views of the model's tensors under the published names: writing to them changes the model."""
    return {
        name: piece for ours, tensor in model.state_dict().items() for name, piece in _published(ours, tensor)
    }


def _published(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield the published name and the piece (a view) of each entry that our entry `name` stands for."""
    module, _, role = name.partition(".")
    if module == "backbone":
        yield f"main_branch.{_published_convolution(role)}", tensor
    elif module == "classifier":
        yield f"finalfc.{role}", tensor
    elif module == "lateral":
        level, kind = role.split(".")
        yield f"latlayer_{level}.{kind}", tensor[..., None, None] if kind == "weight" else tensor
    else:
        level, parameter = role.split(".")
        pattern, trailing = STACKED[parameter]
        for k, piece in enumerate(tensor):
            shape = (piece.shape[0], *trailing)
            yield f"st_{level}.{pattern.format(k=k)}", piece.view(shape)


def _published_convolution(name: str) -> str:
    """`inception.3a.double_3x3.1.bn.weight` -> `inception_3a_double_3x3_1_bn.weight`."""
    module, layer, tensor = name.rsplit(".", 2)
    if module.startswith("inception."):
        _, block, _, branch = module.split(".", 3)
        module = f"inception_{block}_{BRANCHES[branch]}"
    else:
        module = STEM[module]
    return f"{module}{'_bn' if layer == 'bn' else ''}.{tensor}"


def _first(names: Sequence[str], count: int = 3) -> str:
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")
