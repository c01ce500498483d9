"""Damaged files of every kind: readers raise what they document, and nothing else, nor a warning.

`ALM_THOROUGH=1 pytest tests/nightly/test_fuzz.py` draws 30,000 for each reader, others each time.
"""

import gzip
import io
import json
import tarfile
import warnings
import zipfile
from contextlib import suppress

import numpy as np
import pytest
import torch
from PIL import Image
from support.fuzzing import Whole, fuzz, part_of_zip, with_right_sums, within_compressed
from support.logs import LINES, epoch_line, event
from support.models import saved
from support.official import pa100k_mat, peta_mat, rap1_mat, rap2_mat

import alm
from alm.checkpoint import restore
from alm.checkpoint.restore import load_checkpoint
from alm.errors import AlmError, PictureError
from alm.inference.image_io import read_picture, resized
from alm.inference.onnx_metadata import Metadata, read_metadata
from alm.inference.thresholds import read_thresholds
from run_scripts.training.resolve import restored_options
from utils.data.catalog import read_names as read_attribute_names
from utils.data.list_file import read_list
from utils.data.true_boxes import check_box, read_regions
from utils.diagnostics.fingerprint_comparison import FORMAT, compare_fingerprints, read_fingerprint
from utils.errors import DataError, LogError
from utils.evaluation.prediction_table import numbers_of, read_predictions
from utils.io.archive import members
from utils.prediction.sources import sources
from utils.prepare.official import read_pa100k, read_rap
from utils.prepare.peta import read_labels, read_peta
from utils.prepare.split import read_pictures
from utils.prepare.table import read_table
from utils.runs.directory import is_record_until
from utils.runs.history import read_evaluations, read_training
from utils.runs.log_reader import read_losses
from utils.synthetic.dataset import read_settings

pytestmark = pytest.mark.slow


def encoded(*texts):
    return [text.encode() for text in texts]


LISTS = encoded(
    "a/1.jpg 0 1 2\na/2.jpg 1 0 0\n", "PETA dataset/b 1.png 0 1 \r\n\r\nc.png 1 1 \r\n",
    "a.jpg,0,1,1,\nb.jpg,1,1,0,\n",    "\ufeffa\\b.PNG\t0\t1\n", "a.jpg;0;1\n",
)  # fmt: skip


def test_lists():
    def read(path):
        for count in (None, 2):
            with suppress(DataError):
                names, labels = read_list(path, count)
                assert labels.shape[0] == len(names)
                assert labels.max() <= 2

    fuzz(LISTS, read, ())


def test_lists_to_split_names_of_attributes_labels_and_paths_alone():
    corpus = [*LISTS, *encoded("Hat\nBag\nShort sleeve\n", "1 personalMale hairShort\n0002 personalMale\n")]
    corpus += encoded("a.jpg\nb/c.png\n\n/tmp/d.jpg\n")

    def read(path):
        for reader in (
            read_pictures,
            read_attribute_names,
            read_labels,
            lambda path: list(sources([str(path)])),
        ):
            with suppress(DataError):
                reader(path)

    fuzz(corpus, read, ())


def archive_of(contents, suffix, form):
    file = io.BytesIO()
    if suffix == ".zip":
        with zipfile.ZipFile(file, "w", form) as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(fileobj=file, mode="w", format=form) as archive:
            for name, content in contents.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


@pytest.mark.parametrize(
    ("suffix", "forms"),
    [
        (".tar", (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)),
        (".zip", (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA)),
    ],
)
def test_archives(suffix, forms):
    """No member gives more bytes than it may."""
    contents = {"a.jpg": b"one" * 200, "in/é.png": bytes(900), "x" * 120 + ".jpg": b"", "b.txt": b"two"}

    def read(path):
        for member in members(str(path.rename(path.with_suffix(suffix)))):
            with suppress(DataError):
                assert len(member.read(2000)) <= 2000

    fuzz([archive_of(contents, suffix, form) for form in forms], read, ())


def test_tables_and_predictions():
    corpus = encoded(
        "image,Hat,Bag\na.jpg,0,1\nb.jpg,yes,2\n", 'filename\tlabels\na.jpg\t0,1\n',
        "path,Hat,Bag\na.jpg,0.5,-3.25\nb.jpg,1e-3,7\n", 'path;"Hat";Bag\n"a.jpg";0.5;1\n',
    )  # fmt: skip

    def read(path):
        with suppress(DataError):
            read_table(path)
        numbers_of(read_predictions(path), [("Hat",), ("Bag",)])

    fuzz(corpus, read, (DataError, AlmError))


def test_logs():
    text = LINES.encode()
    events = "".join(event(i, 3.5) for i in range(3)).encode()
    published = "".join(epoch_line(i, 3.5) for i in range(3)).encode()
    evaluations = b'{"epoch": 1, "list_digest": "1f", "ma": 0.5}\n{"epoch": 2, "ma": null, "loss": 3.25}\n'
    corpus = [text, events, published, evaluations, LINES[:300].encode("utf-16")]

    def read(path):
        read_training(path)
        read_evaluations(path, {"experiment": "peta", "list_digest": "1f"})
        read_losses(path)

    fuzz([*corpus, gzip.compress(text), Whole(text, gzip.compress)], read, LogError)


def test_checkpoints():
    state = {"module.finalfc.bias": torch.ones(2), "module.finalfc.weight": torch.ones(2, 1)}
    published = {"epoch": 3, "state_dict": state, "best_accu": np.float64(0.5)}
    moments = {0: {"step": torch.tensor(1.0), "exp_avg": torch.ones(2), "exp_avg_sq": torch.ones(2)}}
    groups = [{"lr": 0.1, "betas": (0.9, 0.999), "amsgrad": False, "params": [0]}]
    own = {
        "format": "alm-1", "approach": "bn_inception", "attributes": ["Hat", "Bag"],
        "positive_ratio": [0.5, 0.5], "align_corners": False, "epoch": 3, "best_ma": 0.5, "best_accu": 0.5,
        "state_dict": {"classifier.bias": torch.ones(2)}, "scaler": {},
        "options": {"lr": 0.1, "prefix": "a", "decay_epoch": (20, 40), "seed": 1, "experiment": "peta"},
        "optimizer": {"state": moments, "param_groups": groups}, "saved": ["1.pth.tar"],
        "log": {"sums": [1.0, 2.0, 3.0], "iterations": 3, "pictures": 96},
        "data": {"train": "ab", "val": None},
    }  # fmt: skip
    corpus = [saved(content, old) for content in (published, own, state) for old in (True, False)]
    corpus += [part_of_zip(saved(content), "data.pkl") for content in (published, own, state)]

    def read(path):
        content = load_checkpoint(path)
        restored_options(content.get("options", {}), {"resume": str(path)})
        assert restore.count_attributes(path, content) > 0

    fuzz(corpus, read, alm.AlmError)


def test_matlab(tmp_path):
    peta_mat(tmp_path / "peta.mat")
    names, parts = ["a.png", "b.png"], {"train": np.array([1]), "test": np.array([2])}
    rap1_mat(tmp_path / "rap1.mat", names, np.zeros((2, 51), int), parts)
    parts |= {"val": np.array([2])}
    rap2_mat(tmp_path / "rap2.mat", names, np.zeros((2, 152), int), parts, [1, 2, 3])
    pa100k_mat(tmp_path / "pa100k.mat", dict.fromkeys(parts, (names, np.ones((2, 26), int))))
    files = [path.read_bytes() for path in sorted(tmp_path.iterdir())]

    def read(path):
        for reader in (read_peta, read_rap, read_pa100k):
            with suppress(DataError):
                reader(path)

    fuzz(files + [whole for file in files for whole in within_compressed(file)], read, ())


def pictures():
    """Yield files of pictures, in all formats and in the oddities of each."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    picture = Image.fromarray(pixels)
    turned = Image.Exif()
    turned[0x0112] = 6
    for form in ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM"):
        yield form, picture, {}
        yield form, picture.convert("L"), {}
    for form in ("GIF", "PNG", "WEBP", "TIFF"):
        yield form, picture, {"save_all": True, "append_images": [picture.rotate(90), picture.rotate(180)]}
    for form in ("JPEG", "PNG", "WEBP", "TIFF"):
        yield form, picture, {"exif": turned}
    for form in ("PNG", "BMP", "TIFF"):
        yield form, picture.convert("P"), {}
        yield form, picture.convert("1"), {}
    yield "JPEG", picture, {"progressive": True}
    yield "JPEG", picture.convert("CMYK"), {}
    yield "PNG", Image.fromarray(pixels[..., 0].astype(np.uint16) << 8), {}
    yield "PNG", picture.convert("RGBA"), {}
    yield "TIFF", picture, {"compression": "tiff_lzw"}
    yield "TIFF", picture, {"compression": "tiff_adobe_deflate"}


def test_pictures():
    corpus = []
    for form, picture, options in pictures():
        file = io.BytesIO()
        picture.save(file, form, **options)
        corpus.append(file.getvalue())
        if form == "PNG":
            corpus.append(with_right_sums(file.getvalue()))

    def read(path):
        warnings.simplefilter("ignore")  # Pillow's remarks, which commands leave out
        assert resized(read_picture(path, turned=True)).shape == (256, 128, 3)

    fuzz(corpus, read, PictureError)


def test_json():
    run = f'{{"type": "run", "format": "{FORMAT}", "precision": "float32", "weights": "ab"}}\n'
    batch = '{"type": "batch", "iteration": 0, "images": "a", "labels": "b", "mirror": "c"}\n'
    tensor = (
        '{"type": "tensor", "iteration": 0, "stage": "forward", "name": "network.a", "dtype": "float32", '
        '"shape": [2, 3], "norm": 1.5, "largest": 1, "nonfinite": 0, "projection_1": 1, "projection_2": -1}\n'
    )
    settings = '{"drawing": 2, "train": 3, "test": 1, "seed": 1}'
    metrics = '{"epoch": 2, "ma": 0.5}'
    thresholds = '{"format": "alm-thresholds-1", "thresholds": {"Hat": 0.25, "Bag": 0.5}}'
    boxes = '{"a.jpg": {"Hat": [1, 2, 3.5, 4], "Bag": [0, 0, 64, 128]}}'
    metadata = json.dumps(Metadata(("Hat", "Bag"), "peta", (0.5, 0.25), False).texts())

    def read(path):
        read_settings(path)
        text = path.read_text(encoding="utf-8", errors="replace")
        is_record_until(text, 3)
        with suppress(DataError, ValueError, RecursionError):
            texts = json.loads(text)
            if isinstance(texts, dict) and all(isinstance(value, str) for value in texts.values()):
                read_metadata(texts)
        with suppress(DataError, AlmError):
            read_thresholds(path, ["Hat", "Bag"])
        with suppress(DataError):
            for places in read_regions(path).values():
                for box in places.values():
                    check_box(box, (64, 128), "a box")
        fingerprint = read_fingerprint(path)
        compare_fingerprints(fingerprint, fingerprint)

    corpus = encoded(run + batch + tensor, settings, metrics, thresholds, boxes, metadata)
    fuzz(corpus, read, AlmError)
