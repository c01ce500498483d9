"""The stand-in's tensors: CPU data in a wrapper that says `sdaa` and refuses the CPU's company."""

from functools import cache

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from torch_sdaa import memory
from torch_sdaa.settings import LACKS, WRONG

BETWEEN_DEVICES = {"aten::copy_", "aten::_to_copy", "aten::_copy_from"}
THREADS = torch.get_num_threads()
LIBRARIES = []  # what is registered goes when its library does


class SdaaTensor(Tensor):
    """A tensor of the stand-in; `data_on_cpu` is what a real one has in the device's memory."""

    @staticmethod
    def __new__(cls, data: Tensor):
        return Tensor._make_wrapper_subclass(
            cls,
            data.size(),
            strides=data.stride(),
            storage_offset=data.storage_offset(),
            dtype=data.dtype,
            device=torch.device("sdaa", 0),
        )

    def __init__(self, data: Tensor):
        self.data_on_cpu = data
        memory.count(self, data)

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, operator, types, args=(), kwargs=None):
        return run(operator, args, kwargs or {})

    def tolist(self):
        """Return the values; torch asks subclasses to do it themselves."""
        return self.cpu().tolist()

    def __repr__(self):
        return f"{self.data_on_cpu!r} on sdaa"


def run(operator, args: tuple, kwargs: dict):
    """Run an operator of torch on the CPU data of its tensors."""
    name = operator._schema.name
    if is_composite(operator.name()):
        return operator.decompose(*args, **kwargs)
    given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    refuse(name, given, kwargs)
    to_cpu = kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cpu"
    if "device" in kwargs:
        kwargs = {**kwargs, "device": torch.device("cpu")}
        kwargs.pop("pin_memory", None)
    args, kwargs = tree_map(on_cpu, (args, kwargs))
    if torch.get_num_threads() != THREADS:  # DataLoader's thread that pins sets one for all new threads
        torch.set_num_threads(THREADS)  # and sums in another order round otherwise
    results = operator(*args, **kwargs)
    if to_cpu:
        return results
    if name in WRONG:
        spoil(operator, args, results, WRONG[name])
    changed = {id(on_cpu(x)): x for x in given}  # in place
    return tree_map(lambda x: changed[id(x)] if id(x) in changed else on_sdaa(x), results)


@cache
def is_composite(name: str) -> bool:
    """Whether an operator is made of others, for every device; torch mostly takes it apart before."""
    return torch._C._dispatch_has_kernel_for_dispatch_key(name, "CompositeImplicitAutograd")


def refuse(name: str, tensors: list[Tensor], kwargs: dict) -> None:
    """Raise what torch raises if an operator, a type or a layout is lacking, or if devices mix."""
    if name in LACKS or (name.startswith("aten::_fused_adam") and "fused_adam" in LACKS):
        raise NotImplementedError(f"Could not run '{name}' with arguments from the 'sdaa' backend.")
    if "float64" in LACKS and torch.float64 in [*(x.dtype for x in tensors), kwargs.get("dtype")]:
        raise TypeError("SDAA has no float64")
    if "channels_last" in LACKS and name == "aten::convolution" and not tensors[0].is_contiguous():
        raise RuntimeError("SDAA convolutions take contiguous tensors")
    if name not in BETWEEN_DEVICES:
        for x in tensors:
            if x.device.type != "sdaa" and x.dim():  # a number in a tensor may stay on the CPU
                raise RuntimeError(
                    f"Expected all tensors to be on the same device, but {name} found sdaa:0 and {x.device}"
                )


def spoil(operator, args: tuple, results, factor: float) -> None:
    """Make what an operator has written wrong by a factor."""
    written = [
        value
        for value, argument in zip(args, operator._schema.arguments, strict=False)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    once = {id(x): x for x in tree_leaves((written, results)) if isinstance(x, Tensor)}
    for x in once.values():
        if x.is_floating_point():
            x.mul_(1 + factor)


def on_cpu(x):
    """Return a tensor's data; anything else as it is."""
    return x.data_on_cpu if isinstance(x, SdaaTensor) else x


def on_sdaa(x):
    """Return CPU data as a tensor of the stand-in; anything else as it is."""
    return SdaaTensor(x) if isinstance(x, Tensor) else x


def empty(size, *, dtype=None, layout=None, device=None, pin_memory=None, memory_format=None) -> Tensor:
    """`torch.empty` on the stand-in."""
    return SdaaTensor(torch.empty(size, dtype=dtype, memory_format=memory_format or torch.contiguous_format))


def empty_strided(size, stride, *, dtype=None, layout=None, device=None, pin_memory=None) -> Tensor:
    """`torch.empty_strided` on the stand-in."""
    return SdaaTensor(torch.empty_strided(size, stride, dtype=dtype))


def copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    """Copy within the stand-in, or from or to the CPU."""
    on_cpu(target).copy_(on_cpu(source))
    return target


def register() -> None:
    """Tell torch how tensors of the stand-in are made and copied."""
    aten = torch.library.Library("aten", "IMPL")
    aten.impl("empty.memory_format", empty, "PrivateUse1")
    aten.impl("empty_strided", empty_strided, "PrivateUse1")
    aten.impl("_copy_from", copy_from, "PrivateUse1")
    if "pinned" not in LACKS:
        for key in ("CPU", "PrivateUse1"):  # newer torch asks the tensor's place, older the device's
            aten.impl("_pin_memory", memory.pin, key)
            aten.impl("is_pinned", memory.is_pinned, key)
    LIBRARIES.append(aten)
