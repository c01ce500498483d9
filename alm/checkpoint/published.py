"""The published program's names and layout, in and out. No other file spells them."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from alm.checkpoint.files import is_zip
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


def views(model: nn.Module) -> dict[str, Tensor]:
    """Return views of the model's tensors under the published names: writing to them changes the model."""
    return {
        name: piece for ours, tensor in model.state_dict().items() for name, piece in _published(ours, tensor)
    }


def has_localization(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether a state dict in the published layout is of ALM, not of the warm-up baseline."""
    return any(name.startswith(LOCALIZATION) for name in from_reference(state_dict))


def is_backbone_alone(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether these are weights as `bn_inception-52deb4733.pth` has them: the backbone's, without its
    prefix.
    """
    return any(name.startswith((STEM["conv1"], "inception_")) for name in from_reference(state_dict))


def classifier_bias(state_dict: Mapping[str, Tensor]) -> Tensor | None:
    """Return the bias of the global classifier in the published layout, one number an attribute, or None."""
    return from_reference(state_dict).get(f"{CLASSIFIER}bias")


def samples_with_aligned_corners(path: Path) -> bool:
    """Return the sampling convention that a published checkpoint was trained with.

    The serialization of PyTorch before 1.6 (no zip) means True, PyTorch 0.4's only behaviour; a later one
    means False, the default since 1.3.
    """
    return not is_zip(path)


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
