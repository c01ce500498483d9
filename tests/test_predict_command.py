"""predict.py as a user starts it."""

import json
import subprocess
import sys

import pytest
from conftest import REPOSITORY
from models import ATTRIBUTES, model_of, own_checkpoint, published_file
from PIL import Image

import alm
from alm.checkpoint import save_checkpoint

COMMAND = REPOSITORY / "run_scripts" / "predict.py"
pytestmark = pytest.mark.slow


def predict(*options, status=0, stdin=""):
    process = subprocess.run(
        [sys.executable, str(COMMAND), "--device", "cpu", *map(str, options)],
        input=stdin, capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    assert process.returncode == status, process.stdout + process.stderr
    assert "Traceback" not in process.stderr
    return process.stdout, process.stderr


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "7.pth.tar"
    save_checkpoint(path, own_checkpoint(model_of()))
    return path


@pytest.fixture
def people(tmp_path):
    (tmp_path / "in").mkdir()
    for k in range(3):
        Image.new("RGB", (40 + k, 120), (60 * k, 90, 200)).save(tmp_path / "in" / f"{k}.png")
    return tmp_path / "in"


def test_a_corrupt_picture_is_left_out(checkpoint, people, tmp_path):
    (people / "1.jpg").write_bytes(b"\xff\xd8junk")
    output, errors = predict(
        "--checkpoint", checkpoint, people, "--json", "-", "--csv", tmp_path / "a.csv",
        "--regions", tmp_path / "sheets", "--attributes", "Hat, Bag", status=1,
    )  # fmt: skip
    lines = [json.loads(line) for line in output.splitlines()]
    assert [line["path"] for line in lines] == [str(people / f"{k}.png") for k in range(3)]
    expected = alm.Predictor.from_checkpoint(checkpoint, "cpu")(sorted(people.glob("*.png")))
    for line, prediction in zip(lines, expected, strict=True):
        found = [line["attributes"][name]["probability"] for name in ATTRIBUTES]
        assert found == pytest.approx(prediction.probabilities.tolist(), abs=1e-6)
    assert errors.endswith(f"error: 1 of 4 pictures could not be read: {people / '1.jpg'}\n")
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 4
    assert sorted(path.name for path in (tmp_path / "sheets").iterdir()) == ["0.png", "1.png", "2.png"]


def test_the_names_of_a_published_checkpoint(people, tmp_path):
    path = published_file(tmp_path / "p.pth.tar", model_of(35))
    output, errors = predict("--checkpoint", path, "-", stdin=f"{people / '0.png'}\n", **{})
    assert "does not name its 35 attributes; they are taken to be those of peta" in errors
    assert "0.png  40 x 120" in output
    small = published_file(tmp_path / "s.pth.tar", model_of(3))
    _, errors = predict("--checkpoint", small, people, status=1)
    assert errors.endswith("no published data set has as many; name them with --names FILE, one a line\n")
