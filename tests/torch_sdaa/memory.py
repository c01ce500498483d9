"""How much memory the stand-in's tensors hold, and what counts as pinned for it."""

import weakref
from collections import Counter

import torch
from torch import Tensor

users: Counter[int] = Counter()  # by storage: how many tensors see it
held = peak = 0
pinned: set[int] = set()  # addresses


def count(wrapper: Tensor, data: Tensor) -> None:
    """Count a tensor's memory for as long as it lives; views of one storage count once."""
    global held, peak
    storage = data.untyped_storage()
    key, size = storage._cdata, storage.nbytes()
    if not users[key]:
        held += size
        peak = max(peak, held)
    users[key] += 1
    weakref.finalize(wrapper, forget, key, size)


def forget(key: int, size: int) -> None:
    """Count a tensor's memory no longer."""
    global held
    users[key] -= 1
    if not users[key]:
        del users[key]
        held -= size


def pin(tensor: Tensor, device=None) -> Tensor:
    """Return a copy on the CPU that counts as pinned for as long as it lives."""
    copy = torch.empty_like(tensor).copy_(tensor)
    storage = copy.untyped_storage()
    pinned.add(storage.data_ptr())
    weakref.finalize(storage, pinned.discard, storage.data_ptr())
    return copy


def is_pinned(tensor: Tensor, device=None) -> bool:
    """Whether `pin` has made a tensor."""
    return tensor.untyped_storage().data_ptr() in pinned
