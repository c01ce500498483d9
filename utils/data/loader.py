"""Loader: batches in an order that depends on (seed, epoch) alone."""

import warnings
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from alm.devices.capabilities import abilities, pin
from alm.devices.device import CPU
from utils.data.dataset import MultiLabelDataset
from utils.data.reader import Read, Reader, WorkerError, workers_with_room


class Loader:
    """Batches of a data set's images, their labels, and whether to mirror each.

    With `shuffle` each epoch has its own order, otherwise the list's; with `mirror` a picture is mirrored
    with probability 0.5. Both are decided on the CPU from (seed, epoch, index) alone: number of workers,
    batch size (for mirroring) and global random state have no part in it. `seed` is not negative.

    `workers` processes read ahead, fewer where shared memory has no room for more; a warning says so, and
    where they are more than the cores. A loader that `replaces` takes for a picture that cannot be read, and
    for its labels, the next one of the list that can; `replaced` names them: picture -> the one in its place.
    """

    def __init__(
        self,
        dataset: MultiLabelDataset,
        batch_size: int,
        *,
        shuffle: bool = False,
        mirror: bool = False,
        seed: int = 1,
        workers: int = 0,
        device: torch.device = CPU,
        replaces: bool = False,
    ):
        self.dataset, self.batch_size = dataset, batch_size
        self.shuffle, self.mirror, self.seed = shuffle, mirror, seed
        self.workers = workers_with_room(workers, min(batch_size, len(dataset)))
        self.device = device
        self.replaces = replaces
        self.replaced: dict[str, str] = {}
        self._idle: list[Reader] = []  # with their workers still there

    def __len__(self) -> int:
        return self.left(0)

    def left(self, seen: int) -> int:
        """Return the number of batches of an epoch after its first `seen` pictures."""
        return -(-max(len(self.dataset) - seen, 0) // self.batch_size)

    @property
    def num_attributes(self) -> int:
        """K, the number of labels of each picture."""
        return self.dataset.labels.shape[1]

    def epoch(self, epoch: int, seen: int = 0) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield an epoch's batches, but for its first `seen` pictures; the last one is maybe smaller.

        A batch is images, uint8 (B, 3, 256, 128) in channels_last memory, labels, uint8 (B, K), and mirror,
        bool (B,), all three pinned for a `device` that has use for it. A bar on a terminal shows progress.

        Raises PictureError where a picture cannot be read, and is not replaced; WorkerError where a worker
        dies a second time in this epoch: the first time new ones read on.
        """
        order, mirror = self._decide(epoch)
        batches = order[seen:].split(self.batch_size) if self.left(seen) else ()
        whole, name = len(self), f"Epoch {epoch}" if self.shuffle else "Test"
        reads = self._read([indices.tolist() for indices in batches])
        bar = tqdm(reads, name, whole, initial=whole - len(batches), leave=False, disable=None)
        try:
            for indices, read in zip(batches, bar, strict=True):
                self._tell_of_replaced(read)
                yield (
                    read.images,
                    self._pinned(self.dataset.labels[read.indices]),
                    self._pinned(mirror[indices]),
                )
        finally:
            bar.close()

    def names(self, epoch: int, first: int, count: int) -> list[str]:
        """Return the names of `count` pictures of an epoch, from the `first` on, in its order."""
        order, _ = self._decide(epoch)
        return [self.dataset.names[index] for index in order[first : first + count].tolist()]

    def _read(self, plan: list[list[int]]) -> Iterator[Read]:
        """Yield what is read of each batch of indices. Where a worker dies all are replaced, once, and what
        has not come yet is read anew, which is the same.
        """
        reader = self._idle.pop() if self._idle else self._new_reader()
        done, is_new = 0, False
        try:
            while done < len(plan):
                try:
                    for read in reader.read(plan[done:]):
                        done += 1
                        yield read
                except WorkerError as error:
                    if is_new:
                        raise
                    warnings.warn(f"{error} (new ones read on; if one of these dies, it ends)", stacklevel=2)
                    reader, is_new = self._new_reader(), True
        finally:
            self._idle.append(reader)

    def _new_reader(self) -> Reader:
        return Reader(self.dataset, self.workers, self.device, self.replaces)

    def _tell_of_replaced(self, read: Read) -> None:
        """Warn of the pictures that others stand for, each one once, and keep their names."""
        for index, other, reason in read.replaced:
            name, stand_in = self.dataset.names[index], self.dataset.names[other]
            if name not in self.replaced:
                self.replaced[name] = stand_in
                warnings.warn(f"{reason}; {stand_in} stands for it", stacklevel=3)

    def _decide(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Return an epoch's order, a permutation (N,), and by index whether to mirror, bool (N,)."""
        mixed = np.random.SeedSequence((self.seed, epoch)).generate_state(1)  # neighbours become unrelated
        generator = torch.Generator().manual_seed(int(mixed[0]))
        count = len(self.dataset)
        order = torch.randperm(count, generator=generator)
        mirror = torch.rand(count, generator=generator) < 0.5
        return order if self.shuffle else torch.arange(count), mirror & self.mirror

    def _pinned(self, tensor: Tensor) -> Tensor:
        return pin(tensor, self.device) if abilities(self.device).pinned else tensor
