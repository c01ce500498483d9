"""Damaged files of every kind: readers raise what they document, and nothing else, nor a warning.

Each case is a real-looking file, cut, flipped, spliced and repeated. `ALM_FUZZ_CASES=30000 pytest
tests/test_fuzz.py` draws so many for each reader, and others in every run.
"""

import gzip
import io
import os
import random
import warnings
from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from logs import LINES, epoch_line, event
from official import pa100k_mat, peta_mat, rap1_mat
from PIL import Image

import alm
from alm.checkpoint import load_checkpoint
from alm.pictures import PictureError, read_resized
from run_scripts.saved_options import given_back
from utils.errors import LogError
from utils.experiments import custom_experiment
from utils.fingerprint_comparison import FORMAT, FingerprintError, compare, read_fingerprint
from utils.list_file import DataError, read_list
from utils.log_reader import read_losses
from utils.predictions import PredictionsError, numbers_of, read_predictions
from utils.prepare.pa100k import read_pa100k
from utils.prepare.peta import read_peta
from utils.prepare.peta_archive import read_labels
from utils.prepare.rap import read_rap
from utils.prepare.split import read_names
from utils.prepare.table import read_table
from utils.run_directory import is_record_until
from utils.synthetic.data_set import _read_settings

CASES = int(os.environ.get("ALM_FUZZ_CASES", 1300))  # for each reader
TOGETHER = 50  # cases of one draw: drawing takes longer than reading
pytestmark = pytest.mark.slow
fuzzed = settings(
    max_examples=-(-CASES // TOGETHER),
    derandomize="ALM_FUZZ_CASES" not in os.environ,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
EDITS = ("flip", "byte", "cut", "insert", "splice", "repeat", "end")
PIECES = (b"\0", b"\xff" * 4, b"\n", b" ", b",", b"-1", b"nan", b"1e999", b"9" * 30, b"\x1b[2J", b"[" * 2000,
          b'"', b"\xe2\x80\xae", b"\xed\xa0\x80", b"\x7f\xff\xff\xff", b"\x80", b"(", b".")  # fmt: skip


def edited(corpus: list[bytes], seed: int) -> bytes:
    """Return one of a corpus's files after up to five edits; the seed decides all."""
    draw = random.Random(seed)
    content = bytearray(draw.choice(corpus))
    for _ in range(draw.randrange(6)):
        kind, number = draw.choice(EDITS), draw.randrange(2**16)
        at = draw.randrange(len(content) + 1)
        size = number % 64 + 1
        if kind == "flip" and at < len(content):
            content[at] ^= 1 << number % 8
        elif kind == "byte" and at < len(content):
            content[at] = number % 256
        elif kind == "cut":
            del content[at : at + size]
        elif kind == "insert":
            content[at:at] = PIECES[number % len(PIECES)]
        elif kind == "splice":
            other = draw.choice(corpus)
            content[at : at + size] = other[at % (len(other) + 1) :][:size]
        elif kind == "repeat":
            content[at:at] = content[at : at + size] * (number % 20)
        elif kind == "end":
            del content[at:]
    return bytes(content)


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory):
    """Return a function that gives every damaged form of a corpus to `read`, which may raise `documented`."""
    path = tmp_path_factory.mktemp("fuzz") / "file"

    def fuzz(corpus, read, documented):
        @fuzzed
        @given(st.integers(0, 2**64 - 1))
        def run(seed):
            for case in range(seed, seed + TOGETHER):
                path.write_bytes(edited(corpus, case))
                with warnings.catch_warnings(), suppress(documented):
                    warnings.simplefilter("error")
                    read(path)

        run()

    return fuzz


def encoded(*texts):
    return [text.encode() for text in texts]


LISTS = encoded(
    "a/1.jpg 0 1 2\na/2.jpg 1 0 0\n", "PETA dataset/b 1.png 0 1 \r\n\r\nc.png 1 1 \r\n",
    "a.jpg,0,1,1,\nb.jpg,1,1,0,\n",    "\ufeffa\\b.PNG\t0\t1\n", "a.jpg;0;1\n",
)  # fmt: skip


def test_lists(fuzz):
    def read(path):
        for count in (None, 2):
            names, labels = read_list(path, count)
            assert labels.shape[0] == len(names)
            assert labels.max() <= 2

    fuzz(LISTS, read, DataError)


def test_lists_to_split_names_of_attributes_and_labels(fuzz):
    corpus = [*LISTS, *encoded("Hat\nBag\nShort sleeve\n", "1 personalMale hairShort\n0002 personalMale\n")]

    def read(path):
        for reader in (read_names, custom_experiment, read_labels):
            with suppress(DataError):
                reader(path)

    fuzz(corpus, read, DataError)


def test_tables_and_predictions(fuzz):
    corpus = encoded(
        "image,Hat,Bag\na.jpg,0,1\nb.jpg,yes,2\n", 'filename\tlabels\na.jpg\t0,1\n',
        "path,Hat,Bag\na.jpg,0.5,-3.25\nb.jpg,1e-3,7\n", 'path;"Hat";Bag\n"a.jpg";0.5;1\n',
    )  # fmt: skip

    def read(path):
        with suppress(DataError):
            read_table(path)
        numbers_of(read_predictions(path), [("Hat",), ("Bag",)])

    fuzz(corpus, read, (DataError, PredictionsError))


def test_logs(fuzz):
    text = LINES.encode()
    events = "".join(event(i, 3.5) for i in range(3)).encode()
    published = "".join(epoch_line(i, 3.5) for i in range(3)).encode()
    corpus = [text, events, published, gzip.compress(text), LINES[:300].encode("utf-16")]
    fuzz(corpus, read_losses, LogError)


def saved(content, old):
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not old)
    return file.getvalue()


def test_checkpoints(fuzz):
    state = {"module.finalfc.bias": torch.ones(2), "module.finalfc.weight": torch.ones(2, 1)}
    published = {"epoch": 3, "state_dict": state, "best_accu": np.float64(0.5)}
    own = {
        "format": "alm-1", "approach": "bn_inception", "attributes": ["Hat", "Bag"],
        "positive_ratio": [0.5, 0.5], "align_corners": False, "options": {"lr": 0.1, "prefix": "a"},
        "epoch": 3,
        "best_ma": 0.5, "best_accu": 0.5, "state_dict": {"classifier.bias": torch.ones(2)},
        "optimizer": {}, "scaler": {},
    }  # fmt: skip
    corpus = [saved(content, old) for content in (published, own, state) for old in (True, False)]

    def read(path):
        content = load_checkpoint(path)
        given_back(content.get("options", {}), {"resume": str(path)})
        assert alm.checkpoint.count_attributes(path, content) > 0

    fuzz(corpus, read, alm.AlmError)


def test_matlab(fuzz, tmp_path):
    peta_mat(tmp_path / "peta.mat")
    names, labels = ["a.png", "b.png"], np.zeros((2, 51), int)
    rap1_mat(tmp_path / "rap.mat", names, labels, {"train": np.array([1]), "test": np.array([2])})
    pa100k_mat(
        tmp_path / "pa100k.mat", {part: (names, np.ones((2, 26), int)) for part in ("train", "val", "test")}
    )
    corpus = [path.read_bytes() for path in sorted(tmp_path.iterdir())]

    def read(path):
        for reader in (read_peta, read_rap, read_pa100k):
            with suppress(DataError):
                reader(path)

    fuzz(corpus, read, DataError)


def test_pictures(fuzz):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    corpus = []
    for form in ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM"):
        for mode in ("RGB", "L"):
            file = io.BytesIO()
            Image.fromarray(pixels).convert(mode).save(file, form)
            corpus.append(file.getvalue())

    def read(path):
        assert read_resized(path).shape == (256, 128, 3)

    fuzz(corpus, read, PictureError)


def test_json(fuzz):
    run = f'{{"type": "run", "format": "{FORMAT}", "precision": "float32", "weights": "ab"}}\n'
    batch = '{"type": "batch", "iteration": 0, "images": "a", "labels": "b", "mirror": "c"}\n'
    tensor = (
        '{"type": "tensor", "iteration": 0, "stage": "forward", "name": "network.a", "dtype": "float32", '
        '"shape": [2, 3], "norm": 1.5, "largest": 1, "nonfinite": 0, "projection_1": 1, "projection_2": -1}\n'
    )
    settings = '{"drawing": 2, "train": 3, "test": 1, "seed": 1}'
    metrics = '{"epoch": 2, "ma": 0.5}'

    def read(path):
        _read_settings(path)
        is_record_until(path.read_text(encoding="utf-8", errors="replace"), 3)
        fingerprint = read_fingerprint(path)
        compare(fingerprint, fingerprint)

    fuzz(encoded(run + batch + tensor, settings, metrics), read, FingerprintError)
