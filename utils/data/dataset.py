"""MultiLabelDataset: the pictures of a list file as uint8 tensors of the network's input size.

Labels do not travel with the pictures through the loader's workers, nor does the decision whether to mirror:
a worker returns images and their indices, and the main process looks the rest up. That costs nothing, and
the batches do not depend on the workers.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alm.constants import HEIGHT, WIDTH
from alm.errors import PictureError
from alm.inference.image_io import read_picture, read_resized
from utils.data.cache import open_cache
from utils.data.catalog import TRAIN_LISTS
from utils.data.list_file import find_picture, read_list, refuse_links_out
from utils.errors import DataError
from utils.io.phrases import first_few


class MultiLabelDataset(torch.utils.data.Dataset):
    """The pictures of a list file that exist under its root, with their labels.

    `dataset[i]` is an image, uint8 (3, 256, 128), or what `transform` makes of the PIL picture, and its
    labels, uint8 (K,); `batch` reads many at once. `num_attributes` is K, by default that of the list's
    first line. `cache` names a directory that keeps the resized pictures, so that each is decoded once;
    `seed` decides which of them are compared with their files. A picture that cannot be read is an error when
    the cache is built; with `skip_unreadable` it is one when the picture is asked for, as without a cache.

    Attributes: `names`, the list's paths, and `paths`, the files; `labels`, uint8 (N, K); `missing`, the
    list's paths without a file; `listed`, the number of pictures in the list.

    Raises DataError if the list is wrong (see read_list) or no picture exists, if some are missing and
    `skip_missing` is not set, or if a link leads to a picture outside the root and `follow_links` is not
    set. Reading raises PictureError.
    """

    def __init__(
        self, root, label, transform=None, *, num_attributes=None, skip_missing=False, cache=None,
        follow_links=False, seed=1, skip_unreadable=False,
    ):  # fmt: skip
        if transform is not None and cache is not None:
            raise ValueError("a cache keeps resized pictures, which no transform sees; give one of the two")
        self.root, self.label, self.transform = root, label, transform
        names, labels = read_list(label, num_attributes)
        paths = [find_picture(root, name) for name in names]
        if not follow_links:
            refuse_links_out(root, label, names, paths)
        there = [i for i, path in enumerate(paths) if path is not None]
        self.listed = len(names)
        self.missing = [name for name, path in zip(names, paths, strict=True) if path is None]
        if not there:
            raise DataError(f"{self.missing_summary()}; name the pictures' directory with --data_root")
        if self.missing and not skip_missing:
            raise DataError(f"{self.missing_summary()}; go on without them with --allow_missing")
        self.names = [names[i] for i in there]
        self.paths = [paths[i] for i in there]
        self.labels = torch.from_numpy(labels[there])
        read = read_readable if skip_unreadable else read_resized
        self.cache = None if cache is None else open_cache(cache, label, root, self.paths, read, seed)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int):
        if self.transform is not None:
            return self.transform(read_picture(self.paths[index])), self.labels[index]
        images, labels = self.batch([index])
        return images[0], labels[0]

    def batch(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """Return images, uint8 (B, 3, 256, 128) in channels_last memory, and labels, uint8 (B, K)."""
        return self.images(indices), self.labels[indices]

    def images(self, indices: list[int]) -> Tensor:
        """Return images, uint8 (B, 3, 256, 128) in channels_last memory."""
        if self.transform is not None:
            raise ValueError("a batch is read without a transform; index the data set instead")
        images = torch.empty((len(indices), HEIGHT, WIDTH, 3), dtype=torch.uint8)
        if torch.utils.data.get_worker_info():
            images.share_memory_()  # otherwise a worker's batch would be copied on its way
        for image, index in zip(images.numpy(), indices, strict=True):
            if self.cache is None or not self.cache.copy(index, image):
                image[:] = read_resized(self.paths[index])
        return images.permute(0, 3, 1, 2)

    def digest(self) -> str:
        """Return a digest of the names and labels: a data set with another digest is another data set."""
        content = hashlib.sha256("\n".join(self.names).encode(errors="surrogateescape"))
        content.update(self.labels.numpy().tobytes())
        return content.hexdigest()

    def is_training_list(self, checkpoint: Mapping) -> bool:
        """Whether a checkpoint was trained on this list. If it does not say, the list's name does."""
        digest = checkpoint.get("data", {}).get("train")
        return self.digest() == digest if digest else Path(self.label).name in TRAIN_LISTS

    def missing_summary(self) -> str:
        """Return how many of the list's pictures are missing, and the first five of them."""
        return (
            f"{len(self.missing)} of {self.listed} pictures of {self.label} not found in {self.root}: "
            f"{first_few(self.missing)}"
        )


def read_readable(path: str) -> np.ndarray | None:
    """Return a picture as `read_resized` does, None if it cannot be read."""
    try:
        return read_resized(path)
    except PictureError:
        return None
