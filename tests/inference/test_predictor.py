"""alm.Predictor: pictures of any kind, regions in their pixels, published checkpoints, threads."""

import io
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.models import ATTRIBUTES, model_of, published_file

import alm
from alm.errors import PictureError
from alm.inference.image_io import read_picture, resized
from alm.inference.prediction import boxes, read_input

LEVELS = ("3b", "4d", "5b")
CELLS = {"3b": (16, 32), "4d": (8, 16), "5b": (4, 8)}  # width and height of each level's map


def noise(width, height, seed=0):
    pixels = np.random.default_rng(seed).integers(
        0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8
    )
    return Image.fromarray(pixels).resize((width, height))


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Return five pictures of different shapes."""
    folder = tmp_path_factory.mktemp("people")
    paths = [folder / f"{k}.png" for k in range(5)]
    for k, path in enumerate(paths):
        noise(40 + 30 * k, 120 + 17 * k, seed=k).save(path)
    return paths


def same(first, second):
    return (
        np.allclose(first.probabilities, second.probabilities, atol=1e-6)
        and all(np.allclose(first.regions[level], second.regions[level], atol=1e-3) for level in LEVELS)
        and first.size == second.size
    )


@pytest.mark.slow
@pytest.mark.parametrize("align_corners", [False, True])
def test_a_prediction_is_the_models_mapped_by_hand(people, align_corners):
    model, people = model_of().eval(), people[:3]
    model.align_corners = align_corners
    predicted = alm.Predictor(model, ATTRIBUTES, "cpu")(people, batch_size=2)
    images = alm.preprocess(alm.read_pictures(people))
    with torch.inference_mode():
        logits, regions = model(images), model.localize(images)
    assert len(predicted) == len(people)
    for i, prediction in enumerate(predicted):
        assert prediction.attributes == ATTRIBUTES
        assert prediction.size == Image.open(people[i]).size
        for k in range(len(ATTRIBUTES)):
            branches = [branch[i, k].item() for branch in logits]
            assert prediction.level[k] == (*LEVELS, "main")[int(np.argmax(branches))]
            assert prediction.probabilities[k] == pytest.approx(1 / (1 + np.exp(-max(branches))), abs=1e-5)
            for level in LEVELS:
                region = regions[level][i, k].tolist()
                for axis in (0, 1):  # x, then y
                    size, cells = prediction.size[axis], CELLS[level][axis]
                    scale, shift = region[axis], region[axis + 2]
                    for side, place in ((axis, shift - scale), (axis + 2, shift + scale)):
                        pixel = (place + 1) / 2 * size
                        if align_corners:  # -1 and 1 are the centres of the map's outer cells
                            cell = size / cells
                            pixel = cell / 2 + (place + 1) / 2 * (size - cell)
                        expected = min(max(pixel, 0), size)
                        assert prediction.regions[level][k, side] == pytest.approx(expected, abs=1e-2)


numbers = st.floats(1e-3, 1 - 1e-3)
shifts = st.floats(-0.999, 0.999)


@given(numbers, numbers, shifts, shifts, st.booleans())
def test_a_box_lies_in_the_picture_and_has_an_area(s_x, s_y, t_x, t_y, align_corners):
    region = np.array([s_x, s_y, t_x, t_y])
    for left, top, right, bottom in boxes(dict.fromkeys(LEVELS, region), align_corners).values():
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1


@pytest.mark.slow
def test_paths_pictures_and_arrays_give_the_same(predictor, people):
    expected = predictor(people)
    pictures = [Image.open(path) for path in people]
    arrays = [np.asarray(read_picture(path)) for path in people]
    contents = [path.read_bytes() for path in people]
    for images in (map(str, people), pictures, arrays, iter(people), contents, map(io.BytesIO, contents)):
        assert all(same(a, b) for a, b in zip(expected, predictor(images), strict=True))
    stacked = np.stack([arrays[0]] * 3)
    assert [same(prediction, expected[0]) for prediction in predictor(stacked)] == [True] * 3
    one = (people[0], str(people[0]), pictures[0], arrays[0], contents[0], io.BytesIO(contents[0]))
    for image in one:  # one picture, a list of one
        (prediction,) = predictor(image)
        assert same(prediction, expected[0])
    assert predictor([]) == []
    with pytest.raises(alm.AlmError, match="a batch of 0"):
        predictor(people, batch_size=0)


def test_batches_are_read_when_they_are_asked_for(predictor, people):
    asked = []

    def paths():
        for path in people:
            asked.append(path)
            yield path

    each = predictor.each(paths(), batch_size=2)
    next(each)
    assert len(asked) == 2
    assert len(list(each)) == 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_a_viewer_shows_it(tmp_path, orientation):
    """Unless it is predicted as training sees it, which takes it as it is stored."""
    picture, exif = noise(48, 112), Image.Exif()
    exif[0x0112] = orientation
    for suffix, options in (("jpg", {"quality": 95}), ("png", {}), ("webp", {"lossless": True})):
        path = tmp_path / f"a.{suffix}"
        picture.save(path, exif=exif, **options)
        stored = Image.open(path).convert("RGB")
        stored.info.clear()
        undo = {  # what the orientation says was done when it was stored
            2: [Image.Transpose.FLIP_LEFT_RIGHT], 3: [Image.Transpose.ROTATE_180],
            4: [Image.Transpose.FLIP_TOP_BOTTOM], 5: [Image.Transpose.TRANSPOSE],
            6: [Image.Transpose.ROTATE_270], 7: [Image.Transpose.TRANSVERSE],
            8: [Image.Transpose.ROTATE_90],
        }.get(orientation, [])  # fmt: skip
        seen = stored
        for step in undo:
            seen = seen.transpose(step)
        for given_as in (path, Image.open(path)):
            for expected, as_trained in ((seen, False), (stored, True)):
                pixels, size = read_input(given_as, as_trained)
                assert size == expected.size
                assert np.array_equal(pixels, resized(expected))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_turns_nothing(tmp_path):
    noise(48, 112).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read_input(tmp_path / "a.jpg")[1] == (48, 112)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("absent.jpg", r"cannot read picture absent\.jpg"),
        (np.zeros((4, 4, 3)), r"float64 \(4, 4, 3\) instead of uint8 \(H, W, 3\)"),
        (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\) instead of"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\) instead of"),
        (Image.new("F", (4, 4)), "32-bit grey"),
        (Image.new("1", (8001, 8000)), "more than 64 million"),
        ([3], "int instead of a path"),
        (b"junk", "it is none of JPEG"),
        (io.StringIO("junk"), "str instead of a path"),
    ],
)
def test_what_is_no_picture_is_refused(predictor, image, words):
    with pytest.raises(PictureError, match=words):
        predictor(image)


def test_thresholds_are_one_number_or_one_per_attribute_or_a_file(checkpoint, predictor, people, tmp_path):
    """One for all, one per attribute, or a file; a prediction carries them and shows them."""
    prediction = predictor(people[0])[0]
    half = prediction.probabilities > 0.5
    assert repr(predictor) == "Predictor(3 attributes; 3b, 4d, 5b)"
    assert prediction.positive().tolist() == half.tolist()
    assert prediction.positive([0, 1, 0]).tolist() == [True, False, True]
    assert not prediction.positive(prediction.probabilities).any()  # above, not at
    path, by_name = tmp_path / "t.json", dict(zip(ATTRIBUTES, (0.0, 1.0, 1.0), strict=True))
    path.write_text(json.dumps({"format": "alm-thresholds-1", "thresholds": by_name}))
    for thresholds in ([0, 1, 1], path):
        strict = alm.Predictor.from_file(checkpoint, "cpu", thresholds=thresholds)
        (prediction,) = strict(people[0])
        assert prediction.positive().tolist() == [True, False, False]
        probability = prediction.probabilities[0]
        assert repr(prediction) == f"Prediction(40 x 120: Hat {probability:.2f} (threshold 0.00))"
        assert prediction.to_dict()["attributes"]["Bag"]["threshold"] == 1
    for wrong in (2, [0.5], [0.5, 0.5], np.nan, ["x"] * 3, [[0.5], [0.5, 0.5]], {}):
        with pytest.raises(alm.AlmError, match="thresholds: give one number from 0 to 1"):
            alm.Predictor.from_file(checkpoint, "cpu", thresholds=wrong)
        strict.thresholds = wrong
        with pytest.raises(alm.AlmError, match="thresholds: give one number from 0 to 1"):
            strict(people[0])
        with pytest.raises(alm.AlmError, match="thresholds: give one number from 0 to 1"):
            prediction.positive(wrong)


@pytest.mark.slow
def test_a_published_checkpoint_needs_the_names_of_its_attributes(tmp_path, people):
    model = model_of()
    path = published_file(tmp_path / "published.pth.tar", model)
    with pytest.raises(alm.AlmError, match=r"published\.pth\.tar: it does not name its 3 attributes"):
        alm.Predictor.from_checkpoint(path)
    predictor = alm.Predictor.from_checkpoint(path, "cpu", ATTRIBUTES)
    assert (predictor.attributes, predictor.align_corners) == (ATTRIBUTES, True)
    forced = alm.Predictor.from_checkpoint(path, "cpu", ATTRIBUTES, align_corners=False)
    assert same(*forced(people[0]), *alm.Predictor(model, ATTRIBUTES, "cpu")(people[0]))


def test_other_names_than_the_checkpoints_are_refused(checkpoint):
    with pytest.raises(alm.AlmError, match="2 names of attributes, but it has 3"):
        alm.Predictor(model_of(), ["a", "b"])
    with pytest.raises(
        alm.AlmError, match="two of its attributes are named 'b'; give each a name of its own"
    ):
        alm.Predictor(model_of(), ["a", "b", "b"])
    with pytest.raises(alm.AlmError, match=r"its attribute 2 is 'Bag', not 'Cap'"):
        alm.Predictor.from_checkpoint(checkpoint, attributes=("Hat", "Cap", "Skirt"))


def test_the_baseline_has_no_regions(people):
    predictor = alm.Predictor(model_of(approach="bn_inception"), ATTRIBUTES, "cpu")
    prediction = predictor(people[0])[0]
    assert predictor.levels == ()
    assert prediction.regions == {}
    assert prediction.level == ("main",) * 3


def test_threads_share_a_predictor(predictor, people):
    """Each gets what its picture alone would get, to the last bit."""
    expected = [predictor(path)[0] for path in people]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda number: predictor(people[number % len(people)])[0], range(10)))
    for number, result in enumerate(results):
        alone = expected[number % len(people)]
        assert np.array_equal(result.probabilities, alone.probabilities)
        assert all(np.array_equal(result.regions[level], alone.regions[level]) for level in LEVELS)


def test_not_folded_it_predicts_the_same(predictor, people):
    plain = alm.Predictor(model_of(), ATTRIBUTES, "cpu", folded=False)
    assert all(map(same, plain(people), predictor(people)))


def test_predictions_have_evidence_if_it_is_asked_for(checkpoint):
    for wanted in (True, False):
        predictor = alm.Predictor.from_file(checkpoint, "cpu", evidence=wanted)
        [prediction] = predictor(np.zeros((20, 10, 3), np.uint8))
        assert bool(prediction.evidence) is wanted
