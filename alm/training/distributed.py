"""Ranks: the processes that torchrun started for one command. The only module that knows of them.

A command that one process runs has rank 0 of 1: then no function here does anything or costs anything. The
CPU's values are exchanged over gloo, a device's over its own library.

The ranks share out each batch. A training batch is cut into slices, one per rank, so that a step on several
ranks is the step of one process. Evaluation batches are dealt in turn and stay whole, so that each picture's
logits are those of one process to the last bit.
"""

import os
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

import torch
import torch.distributed as dist
from torch import Tensor, nn

from alm.constants import PATIENCE, TORCHRUN, UNKNOWN
from alm.devices.device import LIBRARIES, choose_device, exchange_library, is_accelerator
from alm.errors import AlmError

Value = TypeVar("Value")
Batch = tuple[Tensor, Tensor, Tensor]  # images uint8 (B, 3, 256, 128), labels (B, K), mirror bool (B,)

LONGEST_BUILD = timedelta(days=1)  # the most that ranks wait for the one that prepares its machine's files
MINUTES_OF_A_COMMAND = 10.0  # the limit of a wait among ranks that it starts itself
EXCHANGE_LIBRARIES = ("gloo", *LIBRARIES.values())  # one of them is named in what it raises

# Set by `ranks`.
_minutes = 0.0  # the limit of a wait
_store: dist.Store | None = None
_parent = 0  # the process that started this one


class PeerError(AlmError):
    """Another rank has ended, or does not answer."""

    def __init__(self):
        super().__init__(
            f"another rank has ended, or did not answer within {_minutes:g} minutes (--timeout); its "
            "output says why"
        )


@contextmanager
def hushed() -> Iterator[None]:
    """Let the first of the ranks alone print what is the same on all of them, such as a wrong option."""
    if TORCHRUN not in os.environ or os.environ["RANK"] == "0":
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        try:
            yield
        except SystemExit:
            time.sleep(PATIENCE)
            raise


@contextmanager
def ranks(minutes: float) -> Iterator[None]:
    """Meet the other ranks if torchrun started this process, and leave when all of them are done.

    No rank waits longer than so many minutes for another; then it raises PeerError. Ranks but the first give
    no warnings. An AlmError that several ranks have is raised by one of them, and SystemExit by the others,
    so that it is told once. torchrun's last words have it too.
    """
    global _minutes, _store, _parent
    if TORCHRUN not in os.environ:
        yield
        return
    _minutes, _parent, limit = minutes, os.getppid(), timedelta(minutes=minutes)
    with _explained():
        store, rank, world = next(dist.rendezvous("env://", timeout=limit))
        _store = _store_of_this_start(store, rank, world)
        dist.init_process_group("gloo", store=_store, rank=rank, world_size=world, timeout=limit)
    try:
        with warnings.catch_warnings():
            if rank:
                warnings.simplefilter("ignore")
            yield
        barrier()
    except Exception as error:
        if isinstance(error, AlmError) and _was_told(str(error)):
            raise SystemExit(1) from error
        record(error)
        raise
    dist.destroy_process_group()  # not after an error: no other rank must fail before this one has said why


@contextmanager
def ranks_of_a_command(meeting: Path, rank: int, world: int) -> Iterator[None]:
    """Meet the other ranks, which one command starts on this machine by itself, without torchrun. They find
    each other by a file that is not there yet.
    """
    global _minutes
    _minutes = MINUTES_OF_A_COMMAND
    os.environ.update(LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(world))
    store, limit = dist.FileStore(str(meeting), world), timedelta(minutes=_minutes)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world, timeout=limit)
    try:
        with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere) if rank else nullcontext():
            yield
    finally:
        dist.destroy_process_group()  # after an error too: nobody needs to wait for this rank


def record(error: Exception) -> None:
    """Leave an error for the last words of torchrun, as torch's decorator of this name does."""
    from torch.distributed.elastic.multiprocessing.errors import (
        get_error_handler,
    )  # slow, and for errors alone

    get_error_handler().record_exception(error)


def is_started() -> bool:
    """Whether this process is a rank of a group, which may be alone in it."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Return the number of this process among all, from 0 on."""
    return dist.get_rank() if is_started() else 0


def world() -> int:
    """Return the number of ranks."""
    return dist.get_world_size() if is_started() else 1


def is_main() -> bool:
    """Whether this is the rank that writes: the first one."""
    return rank() == 0


def local_rank() -> int:
    """Return the place of this rank among those of its machine."""
    return int(os.environ["LOCAL_RANK"]) if is_started() else 0


def local_world() -> int:
    """Return the number of ranks on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if is_started() else 1


def own_device(name: str) -> torch.device:
    """Return the device of that name. Of several ranks on a machine, each has its own accelerator.

    Raises AlmError if it does not work, or if the name is of a single one and there are several ranks.
    """
    device = choose_device(name)
    if not is_accelerator(device) or not is_started():
        return device
    if ":" not in name:
        return choose_device(f"{device.type}:{local_rank()}")
    if local_world() > 1:
        raise AlmError(
            f"--device {name}: {local_world()} processes of this machine would share it; name "
            f"{name.partition(':')[0]}, and each takes its own"
        )
    return device


def is_orphan() -> bool:
    """Whether the torchrun that started this process is gone."""
    return is_started() and os.getppid() != _parent


def keep_over_restarts(name: str, value: str) -> None:
    """Keep a text of this rank until its torchrun ends."""
    if is_started():
        _kept(name).write_text(value, encoding="utf-8")


def kept_over_restarts(name: str) -> str | None:
    """Return the first rank's text of that name, on all ranks; None if it kept none."""
    is_kept = is_started() and _kept(name).exists()
    return broadcast(_kept(name).read_text(encoding="utf-8") if is_kept else None)


def _store_of_this_start(store: dist.Store, rank: int, world: int) -> dist.Store:
    """Return a part of torchrun's store that the ranks of this start have for themselves: after a restart it
    still holds what the ranks before wrote. Each rank asks under a new name, and the first one answers.
    """
    own = uuid4().hex
    if rank:
        store.set(f"question of {rank}", own)
        store = dist.PrefixStore(store.get(f"answer to {own}").decode(), store)
        store.set(f"{rank} is here", "")
        return store
    new, missing, end = dist.PrefixStore(own, store), set(range(1, world)), time.monotonic() + 60 * _minutes
    while missing := {other for other in missing if not new.check([f"{other} is here"])}:
        for question in (f"question of {other}" for other in missing):
            if store.check([question]):  # it may be of a start before, until it is asked anew
                store.set(f"answer to {store.get(question).decode()}", own)
        if time.monotonic() > end:
            raise PeerError
        time.sleep(0.02)
    return new


def _kept(name: str) -> Path:
    """Return a place in the directory that torchrun has for its processes; each start has one below it."""
    return Path(os.environ["TORCHELASTIC_ERROR_FILE"]).parents[2] / name


def total(tensor: Tensor) -> Tensor:
    """Return the sum of all ranks' tensors of one shape."""
    if world() == 1:
        return tensor
    tensor = tensor.clone()
    with _explained():
        dist.all_reduce(tensor, group=group_of(tensor.device))
    return tensor


def gather(value: Any) -> list:
    """Return the value of every rank, in the order of the ranks. It is pickled, so a tensor must be the
    CPU's.
    """
    if world() == 1:
        return [value]
    values = [None] * world()
    with _explained():
        dist.all_gather_object(values, value)
    return values


def broadcast(value: Any = None) -> Any:
    """Return the first rank's value; it is pickled."""
    if world() == 1:
        return value
    values = [value]
    with _explained():
        dist.broadcast_object_list(values)
    return values[0]


def first_of(value: Value | None) -> Value | None:
    """Return the value of the first rank that has one."""
    return next((each for each in gather(value) if each is not None), None)


def any_rank(flag: bool) -> bool:
    """Return whether the flag of any rank is set."""
    return any(gather(flag))


def first_error(error: Exception | None) -> Exception | None:
    """Return the error of the first rank that has one; on all ranks in the same words."""
    if world() == 1:
        return error
    told = [f"rank {place}: {reason}" for place, reason in enumerate(gather(error and str(error))) if reason]
    return AlmError(told[0]) if told else None


def barrier() -> None:
    """Wait until all ranks are here."""
    if world() > 1:
        with _explained():
            dist.barrier()


@contextmanager
def first_on_machine() -> Iterator[None]:
    """Let one rank of each machine do this before the others do it, who wait for up to LONGEST_BUILD."""
    if world() > 1 and local_rank() > 0:
        _wait_for_builders()
    yield
    if world() > 1 and local_rank() == 0:
        _wait_for_builders()


def _wait_for_builders() -> None:
    with _explained():
        dist.monitored_barrier(timeout=LONGEST_BUILD)


def slices(batches: Sequence[Tensor]) -> list[Tensor]:
    """Return this rank's slice of each batch's indices. Some are empty if a batch has fewer than ranks."""
    return [indices.tensor_split(world())[rank()] for indices in batches]


def turns(batches: Sequence[Tensor]) -> list[Tensor]:
    """Return the batches of indices whose turn it is on this rank, as many as on the others: the last one may
    be empty.
    """
    own = list(batches[rank() :: world()])
    return own + [torch.empty(0, dtype=torch.int64)] * (-(-len(batches) // world()) - len(own))


def in_order(values: list[Value]) -> list[Value]:
    """Return what all ranks made of their turns, in the order of the batches. A tensor must be the CPU's."""
    return [value for of_round in zip(*gather(values), strict=True) for value in of_round]


class Whole(NamedTuple):
    """What all ranks have of a batch together."""

    pictures: int
    known: int | None = None  # labels; None: this rank has them all


def together(batches: Iterable[Batch]) -> Iterator[tuple[Batch, Whole]]:
    """Yield this rank's batches as long as every rank has one: if one of them stops, all do, after the same
    step.
    """
    batches = iter(batches)
    while batch := next(batches, None):
        if world() == 1:
            yield batch, Whole(len(batch[0]))
            continue
        pictures, known, ranks = total(torch.tensor([len(batch[0]), known_labels(batch[1]), 1])).tolist()
        if ranks < world():
            return
        yield batch, Whole(pictures, known)
    if world() > 1:
        total(torch.zeros(3, dtype=torch.int64))


def known_labels(labels: Tensor) -> int:
    """Return how many labels are known."""
    return int((labels != UNKNOWN).sum())


def parallel(model: nn.Module, device: torch.device) -> nn.Module:
    """Return the network that gives all ranks the mean of their gradients, and the first one's weights."""
    if not is_started():
        return model
    group = group_of(device)
    with _explained(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the option's new name is unknown to older torch
        return nn.parallel.DistributedDataParallel(model, broadcast_buffers=False, process_group=group)


@contextmanager
def exchanging(network: nn.Module, now: bool) -> Iterator[None]:
    """Let a forward and a backward pass exchange gradients, or leave that to a later one."""
    if not is_started():
        yield
        return
    with _explained(EXCHANGE_LIBRARIES), nullcontext() if now else network.no_sync():
        yield


def share_buffers(model: nn.Module) -> None:
    """Let all ranks have the first one's batch statistics, which are those that it saves."""
    if world() > 1:
        for buffer in model.buffers():
            with _explained():
                dist.broadcast(buffer, 0, group=group_of(buffer.device))


@cache
def group_of(device: torch.device) -> dist.ProcessGroup | None:
    """Return the group that exchanges tensors of this device; None is the CPU's."""
    if not is_accelerator(device):
        return None
    return dist.new_group(timeout=timedelta(minutes=_minutes), backend=exchange_library(device))


@contextmanager
def _explained(words: Sequence[str] = ("",)) -> Iterator[None]:
    """Turn what torch raises if a rank does not answer, and has one of the words in it, into a PeerError."""
    try:
        yield
    except RuntimeError as error:  # DistError is one
        if not any(word in str(error).lower() for word in words):
            raise
        time.sleep(PATIENCE)
        raise PeerError from error


def _was_told(message: str) -> bool:
    """Whether another rank has this error too, and tells it."""
    try:
        return _store.add(f"told {message}", 1) > 1
    except RuntimeError:  # the machine that keeps the store is gone
        return False
