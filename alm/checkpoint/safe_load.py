"""Reading a file of tensors that may come from anyone: nothing in it is executed."""

import codecs
import pickle
import pickletools
import re
import tarfile
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor
from torch.serialization import MAGIC_NUMBER

from alm.checkpoint.files import check_sums, is_zip
from alm.devices.device import CPU
from alm.errors import AlmError

MOST_STEPS = 2_000_000  # a published checkpoint of 1,000 attributes takes 1 million
MOST_IN_TUPLE = 10_000  # with the tuples within: as a key of a dict it is hashed, all of it
MOST_BITS = 64  # of a whole number: longer ones may share one hash, as keys of a dict that crawls then

TUPLES = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
PUTS_ASIDE = {"PUT", "BINPUT", "LONG_BINPUT"}
TAKES_BACK = {"GET", "BINGET", "LONG_BINGET"}


def check_steps(file: BinaryIO) -> None:
    """Read a file's next pickle to its end, and execute nothing.

    Raises AlmError where it has too many steps, or a tuple or a whole number that is too large; an error of
    Python's where it is damaged.
    """
    stack: list[int | None] = []  # how much is in what the pickle has at hand; None is a mark
    aside: dict[int, int] = {}  # and in what it has put aside, under a number
    for step, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if step == MOST_STEPS:
            raise AlmError(f"it takes more than {MOST_STEPS:,} steps to read")
        if isinstance(argument, int) and argument.bit_length() > MOST_BITS and argument != MAGIC_NUMBER:
            raise AlmError(f"it holds a whole number of more than {MOST_BITS} bits")
        if opcode.name in PUTS_ASIDE:
            aside[argument] = stack[-1]
        elif opcode.name in TAKES_BACK:
            stack.append(aside[argument])
        elif opcode.name == "MARK":
            stack.append(None)
        else:
            amount = 1 + take(stack, opcode)
            if amount > MOST_IN_TUPLE and opcode.name in TUPLES:
                raise AlmError(f"it holds a tuple with more than {MOST_IN_TUPLE:,} entries in all")
            stack += [amount if opcode.name in TUPLES else 1] * len(opcode.stack_after)


def take(stack: list[int | None], opcode: pickletools.OpcodeInfo) -> int:
    """Take off the stack what a step takes; return how much is in it."""
    amount, singly = 0, opcode.stack_before
    if pickletools.markobject in singly:
        while (top := stack.pop()) is not None:
            amount += top
        singly = singly[: singly.index(pickletools.markobject)]
    for _ in singly:
        amount += stack.pop()
    return amount


OLD_PICKLES = 5  # of a file before PyTorch 1.6: a mark, version, machine, content, names; numbers follow
MOST_BYTES = 4 << 30  # a checkpoint of 1,000 attributes, with the optimizer's moments, has 1.3 GB
ANEW = "copy it anew, or name another"
_ALLOWING = threading.Lock()  # torch's list of what may be built is one for all threads


def safe_load(path: Path):
    """Return what `torch.save` wrote, in the old serialization or the new, on the CPU.

    Tensors, plain containers and numbers, and numpy's float64 scalar, which the published checkpoints hold.
    Raises AlmError where there is no such file, it is damaged, has more than MOST_BYTES, would unpack to more
    than it is, or wants anything else.
    """
    if not path.exists():
        raise AlmError(f"{path}: no such file; check the path")
    if not path.is_file():
        raise AlmError(f"{path}: it is a directory, a device or a pipe; name a file")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise AlmError(f"it has more than {MOST_BYTES >> 30} GB, which no checkpoint of ALM has")
        refuse_packed(path)
        with numpy_scalar_allowed(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks on odd files; ours are errors
            content = torch.load(path, map_location=CPU, weights_only=True)
        refuse_inflated(content, path.stat().st_size)
    except AlmError as error:
        raise AlmError(f"{path}: refused: {error}") from error
    except OSError as error:
        raise AlmError(
            f"{path}: cannot be read ({error.strerror or error}); check its permissions, or copy it anew"
        ) from error
    except Exception as error:  # a damaged file fails in every way that a pickle or a zip can
        raise AlmError(f"{path}: {reason(error)}") from error
    return content


def refuse_packed(path: Path) -> None:
    """Raise AlmError where a file is more than it seems: entries that are compressed, declare more than the
    file holds, are there twice or are not what was written; a pickle that takes hours; or an archive of
    PyTorch before 0.2, which would be unpacked into files.
    """
    if is_zip(path):
        with zipfile.ZipFile(path) as archive:
            check_entries(archive.infolist(), path.stat().st_size)
            check_sums(path)
            for entry in filter(is_pickle, archive.infolist()):
                with archive.open(entry) as file:
                    check_steps(file)
    elif is_tar(path):
        raise AlmError("it is a tar archive, of PyTorch before 0.2 or of something else")
    else:
        with open(path, "rb") as file:
            for _ in range(OLD_PICKLES):
                check_steps(file)


def check_entries(entries: Sequence[zipfile.ZipInfo], size: int) -> None:
    """Raise AlmError where the entries of a zip of `size` bytes are packed, or not one under each name."""
    declared = sum(entry.file_size for entry in entries)
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or declared > size:
        raise AlmError(f"its entries are compressed, and would unpack to {declared / 1e6:.1f} MB")
    if len({entry.filename.lower() for entry in entries}) < len(entries):  # torch finds `DATA.PKL` too
        raise AlmError("it has two entries of one name")


def is_pickle(entry: zipfile.ZipInfo) -> bool:
    """Whether torch may take an entry of a zip for what tells of the tensors."""
    return entry.filename.lower().endswith("data.pkl")


def is_tar(path: Path) -> bool:
    """Whether torch would take a file for a tar archive, which it opens plain; tarfile.is_tarfile would look
    for one in a packed file too, which a small one can make it do for ever.
    """
    try:
        tarfile.open(path, "r:").close()
    except tarfile.TarError:
        return False
    return True


def refuse_inflated(content, size: int) -> None:
    """Raise AlmError where tensors are more than a file of `size` bytes can hold."""
    storages = {}
    for tensor in tensors_in(content):
        if tensor.layout != torch.strided or tensor.is_meta:
            raise AlmError("it holds a tensor that is not plain numbers")
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        if tensor.numel() * tensor.element_size() > storage.nbytes():
            raise AlmError(f"it declares a tensor of shape {tuple(tensor.shape)} without its numbers")
    if sum(storages.values()) > size:
        raise AlmError(f"its tensors declare {sum(storages.values())} bytes, and the file has {size}")


def tensors_in(content) -> Iterator[Tensor]:
    """Yield all tensors in nested plain containers. Each container is looked into once, however often it is
    in others: a small file can hold the same list ten to the thirtieth times.
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


def scalar_named(module: str) -> Callable:
    """Return numpy's `scalar` for float64 alone, under the name that `module` gives it."""

    def scalar(dtype: np.dtype, data: bytes) -> np.float64:
        if dtype != np.float64:
            raise AlmError(f"it holds a numpy scalar of type {dtype}; save it as a plain Python number")
        return np.frombuffer(data, np.float64)[0]

    scalar.__module__ = module
    scalar.__qualname__ = "scalar"
    return scalar


def reason(error: Exception) -> str:
    """Return why a file was not loaded, as a sentence for the user."""
    if wanted := re.search(r"numpy\.dtypes\.(\w+)DType", str(error)):
        return (
            f"refused: it holds a numpy scalar of type {wanted[1].lower()}; save it as a plain Python number"
        )
    if wanted := re.search(r"GLOBAL (\S+)", str(error)):
        return (
            f"refused: it asks for {wanted[1][:80]}, and nothing but tensors and numbers is taken from a file"
        )
    if isinstance(error, pickle.UnpicklingError):
        return f"refused: it is damaged, or asks for more than tensors and numbers; {ANEW}"
    return f"it is damaged, or no file of tensors; {ANEW}"
