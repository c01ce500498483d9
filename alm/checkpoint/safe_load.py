"""Read tensors from a file that anyone may have made: nothing in it is executed."""

import codecs
import os
import pickle
import re
import tarfile
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alm.checkpoint.files import check_sums, is_zip, other_kind
from alm.devices.device import CPU
from alm.errors import AlmError

MOST_BYTES = 4 << 30  # a checkpoint of 1,000 attributes, with the optimizer's moments, has 1.3 GB
# The types that every comparison and conversion of ours is defined for; torch has others.
NUMBERS = {torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool, torch.uint8, torch.int8,
           torch.int16, torch.int32, torch.int64}  # fmt: skip
ANEW = "copy it anew, or name another"
_ALLOWING = threading.Lock()  # torch's list of what may be built is one for all threads


def safe_load(path: Path, tensors: bool = True):
    """Return what `torch.save` wrote, in the old serialization or the new, on the CPU.

    It takes tensors, plain containers and numbers, and numpy's float64 scalar, which published checkpoints
    hold. Without `tensors` their numbers are not read, if the file is in the new serialization, and damage to
    them goes unseen. Raises AlmError if there is no such file, it is damaged, has more than MOST_BYTES, would
    unpack to more than it is, or asks for anything else.
    """
    if not os.path.exists(path):  # Path.exists raises OSError for a name that is too long
        raise AlmError(f"{path}: no such file; check the path")
    if not os.path.isfile(path):
        raise AlmError(f"{path}: it is a directory, a device or a pipe; name a file")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise AlmError(f"it has more than {MOST_BYTES >> 30} GB, which no checkpoint of ALM has")
        if kind := other_kind(path):
            raise AlmError(f"it is {kind}")
        # A map has an end: torch 2.4 reads beyond a part that is shorter than its tensor.
        mapped = is_zip(path)
        if mapped:
            check_entries(path)
        elif is_tar(path):
            raise AlmError("it is a tar archive, of PyTorch before 0.2 or of something else")
        if mapped and tensors:
            check_sums(path)
        with numpy_scalar_allowed(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks on odd files; ours are errors
            content = torch.load(str(path), map_location=CPU, weights_only=True, mmap=mapped)
        refuse_inflated(content, path.stat().st_size)
        if mapped and tensors:
            content = deepcopy(content)
    except AlmError as error:
        raise AlmError(f"{path}: refused: {error}") from error
    except OSError as error:
        raise AlmError(
            f"{path}: cannot be read ({error.strerror or error}); check its permissions, or copy it anew"
        ) from error
    except Exception as error:  # a damaged file fails in every way that a pickle or a zip can
        raise AlmError(f"{path}: {reason(error, path)}") from error
    return content


def check_entries(path: Path) -> None:
    """Raise AlmError if the entries of a zip are packed, declare more than it holds, or two have one name."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    declared = sum(entry.file_size for entry in entries)
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or declared > path.stat().st_size:
        raise AlmError(f"its entries are compressed, and would unpack to {declared / 1e6:.1f} MB")
    if len({entry.filename.lower() for entry in entries}) < len(entries):  # torch finds `DATA.PKL` too
        raise AlmError("it has two entries of one name")


def is_tar(path: Path) -> bool:
    """Whether torch would take a file for a tar archive, and unpack it into files. It opens it plain, and
    tarfile.is_tarfile would unpack a compressed one, which may have no end.
    """
    try:
        tarfile.open(path, "r:").close()
    except tarfile.TarError:
        return False
    return True


def refuse_inflated(content, size: int) -> None:
    """Raise AlmError if tensors are more than a file of `size` bytes can hold, or no plain numbers."""
    storages = {}
    for tensor in tensors_in(content):
        if tensor.layout != torch.strided or tensor.is_meta:
            raise AlmError("it holds a tensor that is not plain numbers")
        if tensor.dtype not in NUMBERS:
            raise AlmError(f"it holds numbers of type {tensor.dtype}; save them as float32")
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        if tensor.numel() * tensor.element_size() > storage.nbytes():
            raise AlmError(f"it declares a tensor of shape {tuple(tensor.shape)} without its numbers")
    if sum(storages.values()) > size:
        raise AlmError(f"its tensors declare {sum(storages.values())} bytes, and the file has {size}")


def tensors_in(content) -> Iterator[Tensor]:
    """Yield all tensors in nested plain containers, looking into each container once: a small file can hold
    the same list ten to the thirtieth times.
    """
    waiting, seen = [content], set()
    while waiting:
        part = waiting.pop()
        if isinstance(part, Tensor):
            yield part
        elif isinstance(part, (Mapping, list, tuple, set)) and id(part) not in seen:
            seen.add(id(part))
            waiting += part.values() if isinstance(part, Mapping) else part


@contextmanager
def numpy_scalar_allowed() -> Iterator[None]:
    """Let the weights-only loader build numpy's float64 scalar, and nothing new after."""
    # The loader goes by names: those that numpy 1 and numpy 2 write.
    scalars = [scalar_named("numpy.core.multiarray"), scalar_named("numpy._core.multiarray")]
    # codecs.encode is how pickle spells the scalar's bytes; torch's own list has it from 2.5 on.
    ours = [*scalars, np.dtype, type(np.dtype(np.float64)), codecs.encode]
    with _ALLOWING:
        added = [entry for entry in ours if entry not in torch.serialization.get_safe_globals()]
        torch.serialization.add_safe_globals(added)
        try:
            yield
        finally:
            kept = [entry for entry in torch.serialization.get_safe_globals() if entry not in added]
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals(kept)


def holds_module(path: Path) -> bool:
    """Whether the pickle in a file, which comes first, has the parts of an nn.Module."""
    with open(path, "rb") as file:
        head = file.read(2**20)
    return b"_parameters" in head and b"_buffers" in head


def scalar_named(module: str) -> Callable:
    """Return numpy's `scalar` for float64 alone, under the name that `module` gives it."""

    def scalar(dtype: np.dtype, data: bytes) -> np.float64:
        if dtype != np.float64:
            raise AlmError(f"it holds a numpy scalar of type {dtype}; save it as a plain Python number")
        return np.frombuffer(data, np.float64)[0]

    scalar.__module__ = module
    scalar.__qualname__ = "scalar"
    return scalar


def reason(error: Exception, path: Path) -> str:
    """Return why a file was not loaded, as a sentence for the user."""
    if match := re.search(r"numpy\.dtypes\.(\w+)DType", str(error)):
        return f"refused: it holds a numpy scalar of type {match[1].lower()}; save a plain Python number"
    if match := re.search(r"GLOBAL (\S+)", str(error)):
        if holds_module(path):
            return f"refused: it holds a whole module, {match[1][:80]}, which is code; save its state_dict()"
        return f"refused: it asks for {match[1][:80]}, and only tensors and numbers are taken from a file"
    if isinstance(error, pickle.UnpicklingError):
        return f"refused: it is damaged, or asks for more than tensors and numbers; {ANEW}"
    return f"it is damaged, or no file of tensors; {ANEW}"
