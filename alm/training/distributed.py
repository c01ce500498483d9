"""Ranks: the processes that torchrun started for one command. The only module that knows of them.

A command that one process runs has rank 0 of 1: then no function here does anything or costs anything. The
CPU's values are exchanged over gloo.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from torch import Tensor

from alm.errors import AlmError

LONGEST_BUILD = timedelta(days=1)  # the most that ranks wait for the one that prepares its machine's files
_minutes = 0.0  # the limit of a wait


class PeerError(AlmError):
    """Another rank has ended, or does not answer."""

    def __init__(self):
        super().__init__(
            f"another rank has ended, or did not answer within {_minutes:g} minutes (--timeout); its "
            "output says why"
        )


@contextmanager
def ranks(minutes: float) -> Iterator[None]:
    """Meet the other ranks if torchrun started this process, and leave when all of them are done.

    No rank waits longer than so many minutes for another; then it raises PeerError. An AlmError that several
    ranks have is raised by the first of them, and SystemExit by the others, so that it is told once.
    """
    global _minutes
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield
        return
    _minutes = minutes
    limit = timedelta(minutes=minutes)
    with _explained():
        store, rank, world = next(dist.rendezvous("env://", timeout=limit))
        store.set_timeout(limit)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=world, timeout=limit)
    try:
        yield
        barrier()
    except AlmError as error:
        if _was_told(store, str(error)):
            raise SystemExit(1) from error
        raise
    finally:
        dist.destroy_process_group()


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


def starts() -> int:
    """Return how often torchrun has started this group again."""
    return int(os.environ["TORCHELASTIC_RESTART_COUNT"]) if is_started() else 0


def total(tensor: Tensor) -> Tensor:
    """Return the sum of all ranks' tensors of one shape."""
    if world() == 1:
        return tensor
    tensor = tensor.clone()
    with _explained():
        dist.all_reduce(tensor)
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


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what torch raises if a rank does not answer into a PeerError."""
    try:
        yield
    except RuntimeError as error:  # DistError is one
        raise PeerError from error


def _was_told(store: dist.Store, message: str) -> bool:
    """Whether another rank has this error too, and tells it."""
    try:
        return store.add(f"told {message}", 1) > 1
    except RuntimeError:  # the machine that keeps the store is gone
        return False
