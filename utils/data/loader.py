"""Loader: batches in an order that depends on (seed, epoch) alone."""

import os
import shutil
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from alm.constants import HEIGHT, WIDTH
from alm.devices.capabilities import abilities, pin, pinning
from alm.devices.device import CPU
from alm.devices.host import usable_cores
from alm.errors import AlmError, PictureError
from utils.data.dataset import MultiLabelDataset

READ_AHEAD = 2  # batches that each worker reads before they are asked for
IN_USE = 2  # batches that have left the workers and still lie in shared memory
SHARED_MEMORY = Path("/dev/shm")  # where Linux keeps what processes share; a container's has 64 MB by default


class WorkerError(AlmError):
    """A process that reads pictures has died."""

    def __init__(self):
        super().__init__(
            "a process that reads pictures died, as it does when memory runs out; read with fewer of them: "
            "--workers 1, or 0"
        )


class Read(NamedTuple):
    """What was read of a batch.

    Attributes:
        images: uint8 (B, 3, 256, 128).
        indices: of the pictures that they are.
        replaced: for each picture that another one stands for its index, the other's, and why.
    """

    images: Tensor
    indices: list[int]
    replaced: list[tuple[int, int, str]]


class Reader:
    """Worker processes that read one epoch at a time."""

    def __init__(self, dataset: MultiLabelDataset, workers: int, device: torch.device, replaces: bool):
        self._plan: list[list[int]] = []  # the indices of each batch of this epoch, filled before it is read
        self._loader = Batches(
            Images(dataset, replaces),
            batch_size=None,
            sampler=self._plan,
            num_workers=workers,
            prefetch_factor=READ_AHEAD if workers else None,
            persistent_workers=workers > 0,
            worker_init_fn=stand_apart,
            generator=torch.Generator(),  # seeds the workers; without it the global generator would move on
            **pinning(device),
        )

    def read(self, plan: list[list[int]]) -> Iterator[Read]:
        """Yield what is read of each batch of indices. Raises PictureError, WorkerError."""
        self._plan[:] = plan
        try:
            batches = iter(self._loader)
            find_out_of_deaths_here()
            for read in batches:
                if isinstance(read, PictureError):
                    # Anew: the local one, raised, and this frame would keep each other and the workers alive.
                    raise PictureError(*read.args)
                yield read
        except (ConnectionError, EOFError) as error:  # it died while it handed a batch over
            raise WorkerError from error
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise WorkerError from error


class Batches(DataLoader):
    """A DataLoader without torch's own remark on the number of workers; ours is in workers_with_room."""

    def check_worker_number_rationality(self) -> None:
        """Say nothing."""


class Images(Dataset):
    """A data set's images in batches, addressed by their indices; labels need no worker to be read.

    A PictureError is handed over as the batch: raised in a worker, it would arrive wrapped in a traceback.
    """

    def __init__(self, dataset: MultiLabelDataset, replaces: bool):
        self.dataset, self.replaces = dataset, replaces

    def __getitem__(self, indices: list[int]) -> Read | PictureError:
        try:
            return Read(self.dataset.images(indices), indices, [])
        except PictureError as error:
            return self._read_without(indices) if self.replaces else error

    def _read_without(self, indices: list[int]) -> Read | PictureError:
        """Return a batch with others for the pictures in it that cannot be read."""
        readable, replaced = [], []
        for index in indices:
            other, error = self._first_readable(index)
            if other is None:
                return error
            if error:
                replaced.append((index, other, str(error)))
            readable.append(other)
        return Read(self.dataset.images(readable), readable, replaced)

    def _first_readable(self, index: int) -> tuple[int | None, PictureError | None]:
        """Return the first picture from `index` on that can be read, after the last one the first of all, and
        why it is not that one.
        """
        fault = None
        for other in (*range(index, len(self.dataset)), *range(index)):
            try:
                self.dataset.images([other])
            except PictureError as error:
                fault = fault or error
            else:
                return other, fault
        return None, fault


def find_out_of_deaths_here() -> None:
    """Keep torch from raising an error at whatever point the program is when a worker dies, such as in the
    midst of a training step. Without that it is found out when the next batch is waited for.
    """
    if hasattr(signal, "SIGCHLD"):
        with suppress(ValueError):  # torch does it in the main thread alone, too
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def stand_apart(_worker: int) -> None:
    """Leave signals to the process group (Ctrl-C, SIGTERM) to the main process, which ends its workers, and
    Pillow's remarks on pictures out, as commands do.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    with suppress(AttributeError):  # no such groups on Windows
        os.setpgrp()
    for name in (
        "SIGINT",
        "SIGUSR1",
        "SIGHUP",
    ):  # where there are no groups, it came earlier, or to each process
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # by which the main process ends this one
    # The thread that hands tensors over reports here, and only here, that the main process has hung up.
    sys.excepthook = lambda *_: None


def workers_with_room(workers: int, batch_size: int) -> int:
    """Return how many workers can read ahead within half of the shared memory that is free; warn where these
    are fewer, or more than the cores. The other half is for another loader, of the evaluation.
    """
    room = workers
    if workers and SHARED_MEMORY.is_dir():
        free = shutil.disk_usage(SHARED_MEMORY).free
        batches = free // 2 // (batch_size * HEIGHT * WIDTH * 3)
        room = max((batches - IN_USE) // READ_AHEAD, 0)
    if room < workers:
        warnings.warn(
            f"shared memory has {free / 1e6:.0f} MB free, room for {room} of {workers} processes that read "
            f"pictures (batch {batch_size}); in Docker, --shm-size=1g makes more",
            stacklevel=3,
        )
    workers, cores = min(room, workers), usable_cores()
    if workers > cores:
        noun = "core" if cores == 1 else "cores"
        warnings.warn(
            f"{workers} processes read pictures on {cores} CPU {noun}, which pays only where files arrive "
            "slowly; else lower --workers, or leave it at auto",
            stacklevel=3,
        )
    return workers


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
