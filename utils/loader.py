"""Loader: batches in an order that depends on (seed, epoch) alone, read ahead by worker processes."""

import os
import shutil
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from alm.abilities import abilities, pin, pinning
from alm.device import CPU
from alm.pictures import HEIGHT, WIDTH, PictureError
from utils.dataset import MultiLabelDataset

READ_AHEAD = 2  # batches that each worker reads before they are asked for
IN_USE = 2  # batches that have left the workers and still lie in shared memory
SHARED_MEMORY = Path("/dev/shm")  # where Linux keeps what processes share; a container's has 64 MB by default


class Loader:
    """Batches of a data set's images, their labels, and whether to mirror each.

    With `shuffle` each epoch has its own order, otherwise the list's; with `mirror` a picture is mirrored
    with probability 0.5. Both are decided on the CPU from (seed, epoch, index) alone: number of workers,
    batch size (for mirroring) and global random state have no part in it. `seed` is not negative.

    `workers` processes read ahead, fewer where shared memory has no room for more; a warning says so, and
    where they are more than the cores.
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
    ):
        self.dataset, self.batch_size = dataset, batch_size
        self.shuffle, self.mirror, self.seed = shuffle, mirror, seed
        self.workers = workers_with_room(workers, min(batch_size, len(dataset)))
        self.device = device
        self._idle: list[Reader] = []  # with their workers still there

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    @property
    def num_attributes(self) -> int:
        """K, the number of labels of each picture."""
        return self.dataset.labels.shape[1]

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield an epoch's batches from number `start` on, the last one maybe smaller.

        A batch is images, uint8 (B, 3, 256, 128) in channels_last memory, labels, uint8 (B, K), and mirror,
        bool (B,), all three pinned for a `device` that has use for it. Raises PictureError where a picture
        cannot be read, torch's RuntimeError where a worker dies. A bar on a terminal shows the progress.
        """
        order, mirror = self._decide(epoch)
        batches = order.split(self.batch_size)[start:]
        name = f"Epoch {epoch}" if self.shuffle else "Test"
        reader = self._idle.pop() if self._idle else Reader(self.dataset, self.workers, self.device)
        images = reader.read([indices.tolist() for indices in batches])
        bar = tqdm(images, name, len(self), initial=start, leave=False, disable=None)
        try:
            for indices, pictures in zip(batches, bar, strict=True):
                yield pictures, self._pinned(self.dataset.labels[indices]), self._pinned(mirror[indices])
        finally:
            bar.close()
            self._idle.append(reader)

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


class Reader:
    """Worker processes that read one epoch at a time."""

    def __init__(self, dataset: MultiLabelDataset, workers: int, device: torch.device):
        self._plan: list[list[int]] = []  # the indices of each batch of this epoch, filled before it is read
        self._loader = Batches(
            Images(dataset),
            batch_size=None,
            sampler=self._plan,
            num_workers=workers,
            prefetch_factor=READ_AHEAD if workers else None,
            persistent_workers=workers > 0,
            worker_init_fn=stand_apart,
            generator=torch.Generator(),  # seeds the workers; without it the global generator would move on
            **pinning(device),
        )

    def read(self, plan: list[list[int]]) -> Iterator[Tensor]:
        """Yield the images of each batch of indices."""
        self._plan[:] = plan
        try:
            for images in self._loader:
                if isinstance(images, PictureError):
                    # Anew: the local one, raised, and this frame would keep each other and the workers alive.
                    raise PictureError(*images.args)
                yield images
        except (ConnectionError, EOFError) as error:  # a worker died while it handed a batch over
            raise RuntimeError("DataLoader worker died while it handed a batch over") from error


class Batches(DataLoader):
    """A DataLoader without torch's own remark on the number of workers; ours is in workers_with_room."""

    def check_worker_number_rationality(self) -> None:
        """Say nothing."""


class Images(Dataset):
    """A data set's images in batches, addressed by their indices; labels need no worker to be read.

    A PictureError is handed over as the batch: raised in a worker, it would arrive wrapped in a traceback.
    """

    def __init__(self, dataset: MultiLabelDataset):
        self.dataset = dataset

    def __getitem__(self, indices: list[int]) -> Tensor | PictureError:
        try:
            return self.dataset.images(indices)
        except PictureError as error:
            return error


def stand_apart(_worker: int) -> None:
    """Leave signals to the process group (Ctrl-C, SIGTERM) to the main process, which ends its workers."""
    with suppress(AttributeError):  # no such groups on Windows
        os.setpgrp()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where there are no groups, or it came earlier
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


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # a container or a scheduler may give it some of the machine's
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
