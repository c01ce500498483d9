"""Loader: the batches of an epoch, in an order that depends on (seed, epoch) alone, read ahead by workers."""

import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Listener
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from alm.constants import HEIGHT, WIDTH
from alm.devices.capabilities import abilities, pin, pinning
from alm.devices.device import CPU
from alm.devices.host import usable_cores
from alm.errors import AlmError, PictureError
from alm.training import distributed
from utils.data.dataset import MultiLabelDataset
from utils.io.phrases import counted

PADDING = 10  # black pixels on each side of a picture, before it is cropped
READ_AHEAD = 2  # batches that each worker reads before they are asked for
IN_USE = 2  # batches that have left the workers and still lie in shared memory
SHARED_MEMORY = Path("/dev/shm")  # of Linux; a container's has 64 MB by default


class WorkerError(AlmError):
    """A process that reads pictures has died."""

    def __init__(self):
        super().__init__(
            "a process that reads pictures died, which happens when memory runs out; start again with fewer "
            "of them (--workers 1 or 0); with --resume a training goes on from its last checkpoint"
        )


class Loader:
    """Batches of a data set's images, their labels, and whether to mirror each.

    With `shuffle` each epoch has its own order, otherwise the list's. With `mirror` a picture is mirrored
    with probability 0.5. With `crop` it is moved by up to PADDING pixels each way. All is decided on the CPU
    from (seed, epoch, index) alone. It does not depend on the number of workers, on global random state or,
    but for the order, on the batch size. `seed` is not negative.

    Of several ranks, each reads its part: with `shuffle` its slice of every batch, otherwise the batches
    whose turn it is. Numbers of pictures and batches are of the whole.

    `workers` processes read ahead, shared out among the ranks of this machine. If shared memory has no room
    for so many, there are fewer, and none if they could hand nothing over. A warning says so, and also if
    there are more than cores.

    With `replaces` an unreadable picture and its labels are replaced by the next readable ones of the list.
    `replaced` maps the name of each unreadable picture to that of its substitute.
    """

    def __init__(
        self,
        dataset: MultiLabelDataset,
        batch_size: int,
        *,
        shuffle: bool = False,
        mirror: bool = False,
        crop: bool = False,
        seed: int = 1,
        workers: int = 0,
        device: torch.device = CPU,
        replaces: bool = False,
    ):
        self.dataset, self.batch_size = dataset, batch_size
        self.shuffle, self.mirror, self.crop, self.seed = shuffle, mirror, crop, seed
        most = -(-batch_size // distributed.world()) if shuffle else batch_size
        self.workers = workers_with_room(workers, min(most, len(dataset)))
        self.device = device
        self.replaces = replaces
        self.replaced: dict[str, str] = {}
        self._plan: list[list[int]] = []  # the indices of each batch, filled before an epoch is read
        self._reader: DataLoader | None = None  # keeps its workers from one epoch to the next
        self._epochs = 0  # that were begun

    def __len__(self) -> int:
        return self.left(0)

    def left(self, seen: int) -> int:
        """Return the number of batches of an epoch after its first `seen` pictures."""
        return -(-max(len(self.dataset) - seen, 0) // self.batch_size)

    @property
    def num_attributes(self) -> int:
        """K, the number of labels of each picture."""
        return self.dataset.labels.shape[1]

    def epoch(
        self, epoch: int, seen: int = 0, count: int | None = None
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield an epoch's batches after its first `seen` pictures, at most `count`; the last may be smaller.

        A batch is images, uint8 (B, 3, 256, 128) in channels_last memory, labels, uint8 (B, K), and mirror,
        bool (B,). All three are pinned if the device can make use of it. A bar on a terminal shows progress.

        Raises PictureError if a picture cannot be read and is not replaced, and WorkerError if a worker dies.
        One epoch is read at a time: RuntimeError if another one was begun since.
        """
        order, mirror, corners = self._decide(epoch)
        whole = order[seen:].split(self.batch_size)[:count] if self.left(seen) else ()
        batches = (distributed.slices if self.shuffle else distributed.turns)(whole)
        done, name = len(self) - self.left(seen), f"Epoch {epoch}" if self.shuffle else "Test"
        reads = self._read([indices.tolist() for indices in batches])
        hidden = None if distributed.is_main() else True  # None: if there is no terminal
        bar = tqdm(reads, name, done + len(batches), initial=done, leave=False, disable=hidden)
        try:
            for indices, read in zip(batches, bar, strict=True):
                self._note_replaced(read)
                labels = self.dataset.labels[read.indices]
                images = self._pinned(cropped(read.images, corners[indices])) if self.crop else read.images
                yield images, self._pinned(labels), self._pinned(mirror[indices])
        finally:
            bar.close()

    def names(self, epoch: int, first: int, count: int) -> list[str]:
        """Return the names of `count` pictures of an epoch, from the `first` on, in its order."""
        order, _, _ = self._decide(epoch)
        return [self.dataset.names[index] for index in order[first : first + count].tolist()]

    def _decide(self, epoch: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return an epoch's order, a permutation (N,), and by index whether to mirror, bool (N,), and the top
        left corner of the crop, (N, 2).
        """
        mixed = np.random.SeedSequence((self.seed, epoch)).generate_state(1)  # neighbours become unrelated
        generator = torch.Generator().manual_seed(int(mixed[0]))
        count = len(self.dataset)
        order = torch.randperm(count, generator=generator)
        mirror = torch.rand(count, generator=generator) < 0.5
        corners = torch.randint(2 * PADDING + 1, (count, 2), generator=generator)
        return order if self.shuffle else torch.arange(count), mirror & self.mirror, corners

    def _read(self, plan: list[list[int]]) -> Iterator["Read"]:
        self._epochs += 1
        own = self._epochs
        self._plan[:] = plan
        try:
            self._reader = self._reader or self._new_reader()
            batches = iter(self._reader)
            find_deaths_at_the_next_batch()
            for read in batches:
                if isinstance(read, PictureError):
                    # Anew: the one read, raised, and this frame would keep each other and the workers alive.
                    raise PictureError(*read.args)
                yield read
                if own != self._epochs:
                    raise RuntimeError("another epoch of this loader was begun; read one at a time")
        except (ConnectionError, EOFError, RuntimeError) as error:  # the first two in a batch's midst
            if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
                raise
            self._reader = None
            raise WorkerError from error

    def _new_reader(self) -> DataLoader:
        return Batches(
            Images(self.dataset, self.replaces),
            batch_size=None,
            sampler=self._plan,
            num_workers=self.workers,
            prefetch_factor=READ_AHEAD if self.workers else None,
            persistent_workers=self.workers > 0,
            worker_init_fn=set_up_worker,
            generator=torch.Generator(),  # seeds the workers; without it the global generator would move on
            **pinning(self.device),
        )

    def _note_replaced(self, read: "Read") -> None:
        """Keep the names of replaced pictures, and warn once of each."""
        for index, substitute, reason in read.replaced:
            name, other = self.dataset.names[index], self.dataset.names[substitute]
            if name not in self.replaced:
                self.replaced[name] = other
                warnings.warn(f"{reason}; {other} stands for it", stacklevel=3)

    def _pinned(self, tensor: Tensor) -> Tensor:
        return pin(tensor, self.device) if abilities(self.device).pinned else tensor


def cropped(images: Tensor, corners: Tensor) -> Tensor:
    """Return images (B, 3, H, W), padded with black and cut to their size again at `corners` (B, 2)."""
    height, width = images.shape[2:]
    padded = pad(images, [PADDING] * 4)
    result = torch.empty_like(images)
    for image, source, (top, left) in zip(result, padded, corners.tolist(), strict=True):
        image.copy_(source[:, top : top + height, left : left + width])
    return result


class Read(NamedTuple):
    """What a worker read for a batch."""

    images: Tensor  # uint8 (B, 3, 256, 128)
    indices: list[int]
    replaced: list[tuple[int, int, str]]  # an unreadable picture's index, its substitute's, and the reason


class Images(Dataset):
    """A data set's images in batches, addressed by their indices.

    A PictureError is handed over as the batch: raised in a worker, it would arrive wrapped in a traceback.
    """

    def __init__(self, dataset: MultiLabelDataset, replaces: bool):
        self.dataset, self.replaces = dataset, replaces

    def __getitem__(self, indices: list[int]) -> Read | PictureError:
        try:
            return Read(self.dataset.images(indices), indices, [])
        except PictureError as error:
            return self._read_with_substitutes(indices) if self.replaces else error

    def _read_with_substitutes(self, indices: list[int]) -> Read | PictureError:
        readable, replaced = [], []
        for index in indices:
            substitute, error = self._first_readable(index)
            if substitute is None:
                return error
            if error:
                replaced.append((index, substitute, str(error)))
            readable.append(substitute)
        return Read(self.dataset.images(readable), readable, replaced)

    def _first_readable(self, index: int) -> tuple[int | None, PictureError | None]:
        """Return the first readable picture from `index` on, round the end, and the error at `index`."""
        fault = None
        for other in (*range(index, len(self.dataset)), *range(index)):
            try:
                self.dataset.images([other])
            except PictureError as error:
                fault = fault or error
            else:
                return other, fault
        return None, fault


class Batches(DataLoader):
    """A DataLoader without torch's own remark on the number of workers; ours is in workers_with_room."""

    def check_worker_number_rationality(self) -> None:
        pass


def set_up_worker(_worker: int) -> None:
    """Make a worker leave signals to the main process, and show nothing on the terminal itself."""
    warnings.filterwarnings("ignore", module=r"PIL\.")  # as commands do
    with suppress(AttributeError):  # no process groups on Windows
        os.setpgrp()  # Ctrl-C and SIGTERM of a scheduler go to a group
    # They may have come earlier, or be sent to each process.
    for name in ("SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # by which the main process ends this one
    # The thread that hands tensors over reports here, and only here, that the main process has hung up.
    sys.excepthook = lambda *_: None


def find_deaths_at_the_next_batch() -> None:
    """Keep torch from raising an error in the midst of a training step if a worker dies at that moment.

    Without torch's handler of SIGCHLD, the death is noticed when the next batch is waited for.
    """
    if hasattr(signal, "SIGCHLD"):
        with suppress(ValueError):  # torch sets it in the main thread alone, too
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def obstacle_to_workers() -> str | None:
    """Return why no process could hand pictures over, or None. That is found by trying."""
    try:
        multiprocessing.Lock()
    except OSError as error:
        return f"shared memory cannot be used ({error.strerror})"
    try:
        Listener().close()
    except OSError as error:
        place = f"the temporary directory {tempfile.gettempdir()} (TMPDIR)"
        return f"no socket can be made in {place} ({error.strerror or error})"
    return None


def workers_with_room(workers: int, batch_size: int) -> int:
    """Return how many workers can read ahead within half of the free shared memory, `workers` at most.

    The other half is for another loader, of the evaluation. Several ranks of a machine each have their share
    of workers and memory, and one worker at least. Warns if there are fewer than asked for, or more than
    cores.
    """
    ranks = distributed.local_world()
    workers = min(workers, max(workers // ranks, 1))
    if workers and (obstacle := obstacle_to_workers()):
        warnings.warn(f"{obstacle}, so no processes read pictures ahead", stacklevel=3)
        return 0
    room = workers
    if workers and SHARED_MEMORY.is_dir():
        free = shutil.disk_usage(SHARED_MEMORY).free
        batches = free // 2 // ranks // (batch_size * HEIGHT * WIDTH * 3)
        room = max((batches - IN_USE) // READ_AHEAD, 0)
    if room < workers:
        warnings.warn(
            f"shared memory has {free / 1e6:.0f} MB free, room for {room} of {workers} processes that read "
            f"pictures (batch {batch_size}); in Docker, --shm-size=1g makes more",
            stacklevel=3,
        )
    workers, cores = min(room, workers), max(usable_cores() // ranks, 1)
    if workers > cores:
        warnings.warn(
            f"{workers} processes read pictures on {counted(cores, 'CPU core')}, which pays only if files "
            "arrive slowly; otherwise lower --workers, or leave it at auto",
            stacklevel=3,
        )
    return workers
