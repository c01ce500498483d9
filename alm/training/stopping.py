"""An end that is asked for in the midst of an epoch or of an evaluation: after the batch that is underway."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from alm.training.trainer import Batch, Loader


class Stopped(Exception):  # noqa: N818, no error
    """An evaluation was asked to end."""


def until(stop: Callable[[], bool], batches: Iterable[Batch]) -> Iterator[Batch]:
    """Yield batches until `stop()`, which is asked when each is done with."""
    for batch in batches:
        yield batch
        if stop():
            return


@dataclass
class StoppedWhenAsked:
    """A loader for an evaluation that raises Stopped when `stop()` says so."""

    loader: Loader
    stop: Callable[[], bool]

    def __len__(self) -> int:
        return len(self.loader)

    @property
    def num_attributes(self) -> int:
        """K, the number of labels of each picture."""
        return self.loader.num_attributes

    def epoch(self, epoch: int, seen: int = 0) -> Iterator[Batch]:
        """Yield the loader's batches."""
        for batch in self.loader.epoch(epoch, seen):
            yield batch
            if self.stop():
                raise Stopped
