"""Many pictures predicted in constant memory: some are read while others are computed, bad ones are told."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np

from alm.errors import PictureError
from alm.inference.prediction import PicturePredictor, Prediction, read_input
from utils.prediction.sources import Source

Input = tuple[np.ndarray, tuple[int, int]]  # uint8 (256, 128, 3), and the width and height before
READ_AHEAD = 1  # batches


def predictions(
    predictor: PicturePredictor,
    sources: Iterable[Source],
    *,
    batch_size: int,
    workers: int,
    as_trained: bool = False,
) -> Iterator[tuple[Source, Prediction | PictureError]]:
    """Yield each picture with what is predicted of it, or why it cannot be read, in their order.

    `workers` threads read the pictures, one batch ahead. `as_trained` leaves them as they are stored, where
    EXIF says that they are to be turned.
    """
    remaining = iter(sources)
    ahead: deque[list[tuple[Source, Future]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            while batch := list(islice(remaining, batch_size)):
                ahead.append([(source, pool.submit(read, source.file, as_trained)) for source in batch])
                if len(ahead) > READ_AHEAD:
                    yield from predicted(predictor, ahead.popleft())
            while ahead:
                yield from predicted(predictor, ahead.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def predicted(
    predictor: PicturePredictor, batch: list[tuple[Source, Future]]
) -> Iterator[tuple[Source, Prediction | PictureError]]:
    """Yield what is predicted of a batch."""
    inputs: list[Input | PictureError] = [future.result() for _, future in batch]
    good = [found for found in inputs if not isinstance(found, PictureError)]
    results = iter(())
    if good:
        pixels, sizes = zip(*good, strict=True)
        results = iter(predictor.predict(np.stack(pixels), sizes))
    for (source, _), found in zip(batch, inputs, strict=True):
        yield source, found if isinstance(found, PictureError) else next(results)


def read(file: str, as_trained: bool) -> Input | PictureError:
    """Return a picture as the network takes it, or why it cannot be read."""
    try:
        return read_input(file, as_trained)
    except PictureError as error:
        return error
