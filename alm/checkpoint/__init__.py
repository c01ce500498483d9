"""A file that anyone may have made comes in, a model goes out; a run comes in, a file goes out.

The names below are imported when they are first asked for, so that `alm.checkpoint.retention` needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alm.checkpoint.restore import (
        load_checkpoint,
        load_model,
        load_reference_state,
        reference_state,
        save_checkpoint,
        to_reference,
    )

__all__ = [
    "load_checkpoint",
    "load_model",
    "load_reference_state",
    "reference_state",
    "save_checkpoint",
    "to_reference",
]


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("alm.checkpoint.restore"), name)
