"""A file that anyone may have made comes in, a model goes out; a run comes in, a file goes out."""

from alm.checkpoint.files import save_checkpoint
from alm.checkpoint.published import reference_state, to_reference
from alm.checkpoint.restore import load_checkpoint, load_model, load_reference_state

__all__ = [
    "load_checkpoint",
    "load_model",
    "load_reference_state",
    "reference_state",
    "save_checkpoint",
    "to_reference",
]
