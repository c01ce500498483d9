"""The program of 2019: its names and its layout of weights, in and out. No other module spells them."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from alm.checkpoint.files import is_zip
from alm.errors import AlmError, first_few
from alm.models.network import ALM, Baseline

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
OWN_BRANCHES, OWN_STEM = ({theirs: ours for ours, theirs in table.items()} for table in (BRANCHES, STEM))
OWN_STACKED = {pattern: ours for ours, (pattern, _) in STACKED.items()}
BACKBONE, LATERAL, CLASSIFIER, LOCALIZATION = "main_branch.", "latlayer_", "finalfc.", "st_"  # beginnings
OF_CLASSIFIER = re.compile(r"(.*\.|)(?:finalfc|classifier)\.bias", re.DOTALL)  # every whole model has it
CONVOLUTION = re.compile(r"(?:inception_(\d\w)_)?(\w+?)(_bn)?\.(\w+)")  # without BACKBONE
OF_ATTRIBUTE = re.compile(r"st_(\w+?)\.(\w+_list\.)(\d{1,9})(\..+)")


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


def without_prefix(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict without the prefixes of DataParallel and torch.compile, and without what stands
    before the name of its one classifier: `model.`, say.
    """
    state = {
        name.replace("_orig_mod.", "").removeprefix("module."): tensor for name, tensor in state_dict.items()
    }
    prefixes = classifier_prefixes(state)
    return {name.removeprefix(prefixes[0]): state[name] for name in state} if len(prefixes) == 1 else state


def classifier_prefixes(names: Iterable[str]) -> list[str]:
    """Return what stands before the name of each classifier: nothing, if no module holds the model."""
    return [match[1] for name in names if (match := OF_CLASSIFIER.fullmatch(name))]


def views(model: nn.Module) -> dict[str, Tensor]:
    """Return views of the model's tensors under the published names: writing to them changes the model."""
    own = model.state_dict()
    return {name: piece for ours, tensor in own.items() for name, piece in _published(ours, tensor)}


def own_checkpoint(content: Mapping, path: Path) -> dict:
    """Return a published checkpoint, {epoch, state_dict, best_accu}, or bare weights of ours, in our layout,
    and with what they say of the network. Raises AlmError if these are not the weights of a whole one.
    """
    state = without_prefix(content["state_dict"])
    bias = state.get(f"{CLASSIFIER}bias", state.get("classifier.bias"))
    if bias is None or bias.dim() != 1 or len(bias) == 0:
        is_backbone = any(name.startswith((STEM["conv1"], "inception_")) for name in state)
        hint = "; weights of the backbone alone are for --pretrained" if is_backbone else ""
        if several := classifier_prefixes(state):
            hint = f"; if you mean one of {first_few(several)}, save its entries alone"
        raise AlmError(
            f"{path}: these are not the weights of a whole model: no classifier is among them{hint}"
        )
    is_published = any(name.startswith(LOCALIZATION) for name in state)
    is_alm = is_published or any(name.startswith("localization.") for name in state)
    accu = content.get("best_accu", 0.0)
    if isinstance(accu, Tensor) and accu.numel() == 1 and not accu.is_complex():
        accu = accu.item()
    return {
        "epoch": content.get("epoch", 0),
        "best_accu": accu,
        "approach": (ALM if is_alm else Baseline).approach,
        "backbone": "bn_inception",
        # What PyTorch before 1.6 serialized, no zip, is of 0.4, which aligned corners; 1.3 ended that.
        "align_corners": is_published and not is_zip(path),
        "state_dict": own_state(state, len(bias), path),
    }


def own_state(state: Mapping[str, Tensor], count: int, path: Path) -> dict[str, Tensor]:
    """Return weights of `count` attributes, in the published layout without the prefix, in ours.

    What the published program has no name for stays as it is. Raises AlmError if an attribute lacks an entry
    that another one has, or has it in another shape or type.
    """
    own: dict[str, Tensor] = {}
    stacks: dict[tuple[str, str], dict[int, Tensor]] = {}
    for name, tensor in state.items():
        match = OF_ATTRIBUTE.fullmatch(name)
        if match and (role := OWN_STACKED.get(f"{match[2]}{{k}}{match[4]}")) and int(match[3]) < count:
            stacks.setdefault((match[1], role), {})[int(match[3])] = tensor
        else:
            is_convolution = name.startswith(LATERAL) and tensor.shape[2:] == (1, 1)
            own[_own_name(name)] = tensor[..., 0, 0] if is_convolution else tensor
    for (level, role), pieces in stacks.items():
        names = [f"{LOCALIZATION}{level}.{STACKED[role][0].format(k=k)}" for k in range(count)]
        like = next(iter(pieces.values()))
        for k, name in enumerate(names):
            if k not in pieces:
                raise AlmError(f"{path}: the weights are not whole; missing: {name}")
            if (pieces[k].shape, pieces[k].dtype) != (like.shape, like.dtype):
                raise AlmError(f"{path}: {name} has another shape or type than those of other attributes")
        rows = torch.stack([pieces[k] for k in range(count)])
        own[f"localization.{level}.{role}"] = rows[..., 0, 0] if rows.shape[3:] == (1, 1) else rows
    return own


def _published(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield the published name and the piece (a view) of each entry that our entry `name` stands for. Raises
    AlmError if there is none.
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
    """`inception.3a.branches.double_3x3.1.bn.weight` -> `inception_3a_double_3x3_1_bn.weight`."""
    try:
        module, layer, tensor = name.rsplit(".", 2)
        if module.startswith("inception."):
            _, block, _, branch = module.split(".", 3)
            module = f"inception_{block}_{BRANCHES[branch]}"
        else:
            module = STEM[module]
    except (KeyError, ValueError) as error:
        raise AlmError(f"the published program has no entry that backbone.{name} stands for") from error
    return f"{module}{'_bn' if layer == 'bn' else ''}.{tensor}"


def _own_name(name: str) -> str:
    """Return our name of an entry that is not one attribute's; a name that is not published stays."""
    if name.startswith(BACKBONE) and (match := CONVOLUTION.fullmatch(name.removeprefix(BACKBONE))):
        block, module, norm, tensor = match.groups()
        ours = OWN_BRANCHES.get(module) if block else OWN_STEM.get(module)
        place = f"inception.{block}.branches." if block else ""
        return f"backbone.{place}{ours}.{'bn' if norm else 'conv'}.{tensor}" if ours else name
    if name.startswith(CLASSIFIER):
        return f"classifier.{name.removeprefix(CLASSIFIER)}"
    return f"lateral.{name.removeprefix(LATERAL)}" if name.startswith(LATERAL) else name
