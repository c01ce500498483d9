"""Reading a file of tensors that may come from anyone: nothing in it is executed."""

import codecs
import pickle
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from alm.errors import AlmError


def safe_load(path: Path):
    """Return what `torch.save` wrote, in the old serialization or the new, on the CPU.

    Tensors, plain containers and numbers, and numpy's float64 scalar, which the published checkpoints hold.
    Raises AlmError where there is no such file, it is damaged, or it wants anything else.
    """
    if not path.is_file():
        raise AlmError(f"{path}: no such file")
    try:
        with numpy_scalar_allowed(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks on odd files; ours are errors
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in every way that a pickle or a zip can
        raise AlmError(f"{path}: {reason(error)}") from error


@contextmanager
def numpy_scalar_allowed() -> Iterator[None]:
    """Let the weights-only loader build numpy's scalar, dtype and Float64DType, and put it back after."""
    before = torch.serialization.get_safe_globals()
    # The loader goes by names: those that numpy 1 and numpy 2 write.
    scalars = [scalar_named("numpy.core.multiarray"), scalar_named("numpy._core.multiarray")]
    allowed = [*scalars, np.dtype, np.dtypes.Float64DType]
    allowed.append(codecs.encode)  # how pickle spells the scalar's bytes; torch's own list has it from 2.5 on
    torch.serialization.add_safe_globals(allowed)
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def scalar_named(module: str) -> Callable:
    """Return numpy's `scalar` for float64 alone, under the name that `module` gives it."""

    def scalar(dtype: np.dtype, data: bytes) -> np.float64:
        if dtype != np.float64:
            raise pickle.UnpicklingError(f"a numpy scalar of type {dtype}")
        return np.frombuffer(data, np.float64)[0]

    scalar.__module__ = module
    scalar.__qualname__ = "scalar"
    return scalar


def reason(error: Exception) -> str:
    """Return why a file was not loaded, as a sentence for the user."""
    wanted = re.search(r"GLOBAL (\S+)", str(error))
    if wanted:
        return f"refused: it asks for {wanted[1]}, and nothing but tensors and numbers is taken from a file"
    if isinstance(error, pickle.UnpicklingError):
        return "refused: it is damaged, or asks for more than tensors and numbers"
    return "it is damaged, or no file of tensors"
