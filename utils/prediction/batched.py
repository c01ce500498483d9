"""Many pictures predicted in constant memory: threads read the next batch while one is computed. Processes
take batches in turn.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from alm.errors import PictureError
from alm.inference.image_io import resized
from alm.inference.prediction import PicturePredictor, Prediction
from utils.prediction.sources import Source

Batch = list[tuple[Source, Future]]  # which is being read
Result = tuple[Source, Prediction | PictureError]


class Ranks(NamedTuple):
    """The place of this process among those that torchrun started, and what gives each the values of all, in
    their order; alm/training/distributed.py has them.
    """

    rank: int = 0
    world: int = 1
    gather: Callable[[Any], list] = lambda value: [value]


def in_turn(sources: Iterable[Source], batch_size: int, ranks: Ranks) -> Iterator[Source]:
    """Return this process's pictures. The batches are those of one process, so that each picture's numbers
    are the same to the last bit.
    """
    numbered = enumerate(sources)
    return (source for k, source in numbered if k // batch_size % ranks.world == ranks.rank)


def predictions(
    predictor: PicturePredictor,
    sources: Iterable[Source],
    *,
    batch_size: int,
    workers: int,
    as_trained: bool = False,
) -> Iterator[Result]:
    """Yield each picture with its prediction, or with the reason why it cannot be read, in their order.

    `workers` threads read the pictures. Pictures are turned as their EXIF orientation says, unless
    `as_trained` leaves them as they are stored.
    """
    remaining = iter(sources)
    with ThreadPoolExecutor(workers) as pool:

        def begin() -> Batch:
            batch = islice(remaining, batch_size)
            return [(source, pool.submit(read, source, as_trained)) for source in batch]

        try:
            following = begin()
            while batch := following:
                following = begin()
                yield from predict_batch(predictor, batch)
        finally:
            pool.shutdown(cancel_futures=True)


def read(source: Source, as_trained: bool) -> tuple[np.ndarray, tuple[int, int]]:
    """Return a picture as uint8 (256, 128, 3), and its original width and height. Raises PictureError."""
    picture = source.read(as_trained)
    return resized(picture), picture.size


def predict_batch(predictor: PicturePredictor, batch: Batch) -> Iterator[Result]:
    errors = [future.exception() for _, future in batch]
    inputs = [
        future.result()  # raises what is no fault of the picture
        for (_, future), error in zip(batch, errors, strict=True)
        if not isinstance(error, PictureError)
    ]
    results = iter(())
    if inputs:
        pixels, sizes = zip(*inputs, strict=True)
        results = iter(predictor.predict(np.stack(pixels), sizes))
    for (source, _), error in zip(batch, errors, strict=True):
        yield source, error or next(results)
