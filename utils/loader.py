"""Loader: batches in an order that depends on (seed, epoch) alone, read ahead by worker processes."""

import signal
import sys
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from utils.dataset import MultiLabelDataset, PictureError


class Loader:
    """Batches of a data set's images, their labels, and whether to mirror each.

    With `shuffle` each epoch has its own order, otherwise the list's; with `mirror` a picture is mirrored
    with probability 0.5. Both are decided on the CPU from (seed, epoch, index) alone: number of workers,
    batch size (for mirroring) and global random state have no part in it. `seed` is not negative.
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
        pin_memory: bool = False,
    ):
        self.dataset, self.batch_size = dataset, batch_size
        self.shuffle, self.mirror, self.seed = shuffle, mirror, seed
        self._plan: list[list[int]] = []  # the indices of each batch of this epoch, filled before it is read
        self._reader = DataLoader(
            Images(dataset),
            batch_size=None,
            sampler=self._plan,
            num_workers=workers,
            persistent_workers=workers > 0,
            worker_init_fn=stay_silent,
            pin_memory=pin_memory,
            generator=torch.Generator(),  # seeds the workers; without it the global generator would move on
        )

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield an epoch's batches from number `start` on, the last one maybe smaller.

        A batch is images, uint8 (B, 3, 256, 128) in channels_last memory, labels, uint8 (B, K), and mirror,
        bool (B,). Raises PictureError where a picture cannot be read. A bar on a terminal shows the progress.
        """
        order, mirror = self._decide(epoch)
        batches = order.split(self.batch_size)[start:]
        self._plan[:] = [indices.tolist() for indices in batches]
        name = f"Epoch {epoch}" if self.shuffle else "Test"
        bar = tqdm(self._reader, name, len(self), initial=start, leave=False, disable=None)
        for indices, images in zip(batches, bar, strict=True):
            if isinstance(images, PictureError):
                # Anew: the local one, raised, and this frame would keep each other and the workers alive.
                raise PictureError(*images.args)
            yield images, self.dataset.labels[indices], mirror[indices]

    def _decide(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Return an epoch's order, a permutation (N,), and by index whether to mirror, bool (N,)."""
        mixed = np.random.SeedSequence((self.seed, epoch)).generate_state(1)  # neighbours become unrelated
        generator = torch.Generator().manual_seed(int(mixed[0]))
        count = len(self.dataset)
        order = torch.randperm(count, generator=generator)
        mirror = torch.rand(count, generator=generator) < 0.5
        return order if self.shuffle else torch.arange(count), mirror & self.mirror


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


def stay_silent(_worker: int) -> None:
    """Leave Ctrl-C to the main process, which ends its workers; each would print a traceback otherwise."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The thread that hands tensors over reports here, and only here, that the main process has hung up.
    sys.excepthook = lambda *_: None
