"""Autocast on the stand-in: the operators that run in half precision."""

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

KEY = "AutocastPrivateUse1"
IN_HALF = (
    "conv1d", "conv2d", "conv3d", "convolution", "_convolution", "linear", "matmul",
    "mm", "mv", "bmm", "addmm", "addmv", "addbmm", "baddbmm",
)  # fmt: skip
LIBRARIES = []  # what is registered goes when its library does


def register() -> None:
    """Tell torch what `torch.autocast("sdaa")` does."""
    aten = torch.library.Library("aten", "IMPL")
    LIBRARIES.append(aten)
    for name in IN_HALF:
        aten.impl(name, in_half(getattr(torch.ops.aten, name).default), KEY)
    everything = torch.library.Library("_", "IMPL")
    LIBRARIES.append(everything)
    if hasattr(everything, "fallback"):
        everything.fallback(torch.library.fallthrough_kernel, KEY)
        return
    for name in torch._C._dispatch_get_all_op_names():  # older torch: one by one
        space, _, operator = name.partition("::")
        if space == "aten" and operator not in IN_HALF:
            aten.impl(operator, torch.library.fallthrough_kernel, KEY)


def in_half(operator):
    """Return an operator that casts its tensors to autocast's type first."""

    def run(*args, **kwargs):
        with torch._C._ExcludeDispatchKeyGuard(
            torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)
        ):
            dtype = torch.get_autocast_dtype("sdaa")
            cast = lambda x: x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() else x  # noqa: E731
            args, kwargs = tree_map(cast, (args, kwargs))
            return operator(*args, **kwargs)

    return run
