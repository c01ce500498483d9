"""Predicting many pictures: read ahead, in order, bad ones told."""

import pytest
from PIL import Image
from support.known import Known

from alm.errors import PictureError
from utils.prediction.batched import predictions
from utils.prediction.sources import Source


@pytest.fixture
def found(tmp_path):
    """Return the sources of four pictures, 10 to 13 pixels wide."""
    paths = [str(tmp_path / f"{k}.png") for k in range(4)]
    for k, path in enumerate(paths):
        Image.new("RGB", (10 + k, 20)).save(path)
    return [Source(path, path, path) for path in paths]


def test_one_batch_is_read_ahead_and_no_more(found):
    asked = []

    def endless():
        while True:
            asked.append(found[0])
            yield found[0]

    results = predictions(Known(), endless(), batch_size=3, workers=2)
    assert next(results)[0] == found[0]
    assert len(asked) == 2 * 3
    results.close()


def test_a_bad_picture_among_good_ones(found):
    with open(found[1].file, "wb") as file:
        file.write(b"junk")
    predictor = Known()
    results = list(predictions(predictor, found, batch_size=2, workers=2))
    assert [source for source, _ in results] == found
    assert predictor.batches == [1, 2]
    (_, first), (_, error), *others = results
    assert isinstance(error, PictureError)
    assert [result.size for result in (first, *(other for _, other in others))] == [
        (10, 20),
        (12, 20),
        (13, 20),
    ]


def test_what_is_no_fault_of_the_picture_is_raised(found, monkeypatch):
    def read(*_):
        raise MemoryError

    monkeypatch.setattr("utils.prediction.batched.read", read)
    with pytest.raises(MemoryError):
        list(predictions(Known(), found, batch_size=2, workers=2))
