"""Pictures as torchvision resizes them, scaled as their format says, and what is wrong with a file."""

import errno
import os
import pickle
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image
from PIL.PngImagePlugin import PngImageFile
from support import REPOSITORY
from torchvision.transforms import Resize

import alm
from alm.errors import PictureError
from alm.inference import image_io as pictures
from alm.inference.image_io import FORMATS, read_picture, read_pictures, read_resized
from alm.inference.prediction import read_input
from utils.data.dataset import MultiLabelDataset
from utils.data.loader import Loader

SIZE = (70, 150)
AVIF = pytest.param(
    "avif", marks=pytest.mark.skipif("AVIF" not in FORMATS, reason="this Pillow reads no AVIF")
)
RAMP = np.linspace(0, 65535, SIZE[0] * SIZE[1]).reshape(SIZE[::-1]).astype(np.uint16)  # black to white


def noise(mode="RGB", size=SIZE, seed=0):
    """Return a picture of noise."""
    if mode in ("1", "P"):
        return noise("RGB", size, seed).convert(mode)
    return Image.frombytes(mode, size, np.random.default_rng(seed).bytes(size[0] * size[1] * len(mode)))


def png(colour, samples):
    """Return a 16-bit PNG of samples (H, W, channels)."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return png_of(*samples.shape[1::-1], 16, colour, rows)


def png_of(width, height, bits, colour, rows):
    """Return a PNG that declares a size, and holds whatever rows there are."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    )


@pytest.mark.parametrize(
    ("mode", "suffix", "size"),
    [
        ("RGB", "jpeg", (301, 517)),
        ("RGB", "bmp", (128, 256)),
        ("RGB", "png", (1, 1)),
        *(("RGB", suffix, SIZE) for suffix in ("webp", "tiff", "ppm")),
        *(("L", suffix, SIZE) for suffix in ("jpg", "pgm")),
        *((mode, "png", SIZE) for mode in ("1", "P", "LA", "RGBA")),
        ("RGB", "jfif", SIZE),
        ("P", "gif", SIZE),
        ("CMYK", "jpg", SIZE),
    ],
)
def test_pictures_are_those_of_torchvision(tmp_path, mode, suffix, size):
    path = tmp_path / f"a.{suffix}"
    noise(mode, size).save(path)
    with Image.open(path) as picture:
        expected = np.asarray(Resize((256, 128))(picture.convert("RGB")))
    assert np.array_equal(read_resized(path), expected)
    images = read_pictures([path, str(path)])
    assert images.shape == (2, 3, 256, 128)
    assert images.dtype == torch.uint8
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(images[1].permute(1, 2, 0), expected)


@pytest.mark.parametrize("kind", [str, Path])
def test_one_path_is_a_list_of_one(tmp_path, kind):
    """A text is a sequence too, of letters."""
    noise("RGB", (70, 150)).save(tmp_path / "person.png")
    assert torch.equal(read_pictures(kind(tmp_path / "person.png")), read_pictures([tmp_path / "person.png"]))
    with pytest.raises(PictureError, match=r"absent\.jpg"):
        read_pictures(kind(tmp_path / "absent.jpg"))


@pytest.mark.parametrize("form", ["png", "tiff", "pgm", "rgb png", "grey and alpha png"])
def test_16_bits_are_scaled_to_8(tmp_path, form):
    """From black to white, as the same ramp in 8 bits; Pillow's own conversion cuts at 255: white."""
    path = tmp_path / f"a.{form.split()[-1]}"
    if form == "pgm":
        path.write_bytes(b"P5\n%d %d\n65535\n" % SIZE + RAMP.astype(">u2").tobytes())
    elif form == "rgb png":
        path.write_bytes(png(2, np.repeat(RAMP[..., None], 3, axis=2)))
    elif form == "grey and alpha png":
        path.write_bytes(png(4, np.stack([RAMP, np.full_like(RAMP, 65535)], axis=2)))
    else:
        Image.fromarray(RAMP).save(path)
    pixels = np.asarray(read_picture(path)).astype(int)
    assert np.abs(pixels - (RAMP >> 8)[..., None]).max() <= 1
    assert (pixels[0, 0, 0], pixels[-1, -1, 0]) == (0, 255)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_whose_zero_is_white_is_turned(tmp_path, bits):
    """Pillow turns 8 bits when it writes and when it reads, and 16 bits never."""
    picture = Image.fromarray(RAMP if bits == 16 else (RAMP >> 8).astype(np.uint8))
    picture.save(tmp_path / "a.tiff", tiffinfo={262: 0})
    first = np.asarray(read_picture(tmp_path / "a.tiff"))[0, 0, 0]
    assert first == (255 if bits == 16 else 0)


@pytest.mark.parametrize("values", [RAMP.astype(np.int32) * 1000, (RAMP / 65535).astype(np.float32)])
def test_grey_without_a_defined_white_is_refused(tmp_path, values):
    Image.fromarray(values).save(tmp_path / "a.tiff")
    with pytest.raises(PictureError, match=r"a\.tiff \(32-bit grey, .* save it with 8 bits\); replace it"):
        read_picture(tmp_path / "a.tiff")


@pytest.mark.parametrize("form", ["EPS", "ICO"])
def test_other_formats_are_refused_and_start_no_program(tmp_path, monkeypatch, form):
    """Pillow reads EPS by starting Ghostscript."""
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("it was started"))
    noise().save(tmp_path / "a.jpg", format=form)
    with pytest.raises(PictureError, match=rf"a\.jpg \(it is none of {', '.join(FORMATS)}\);"):
        read_picture(tmp_path / "a.jpg")


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tiff", AVIF])
def test_of_several_frames_or_pages_the_first_is_taken(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **options)
    with Image.open(tmp_path / f"a.{suffix}") as picture:
        assert picture.n_frames == 2
    assert read_picture(tmp_path / f"a.{suffix}").getpixel((0, 0)) == pytest.approx((255, 0, 0), abs=2)


def declared(width, height):
    """Return a PNG of so many pixels, grey, of which hardly any are there."""
    return png_of(width, height, 8, 0, bytes(1000))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(8001, 8000), (12_000, 9_000), (2**31 - 1, 2**31 - 1)])
def test_bombs_are_refused_in_our_words_and_not_decoded(tmp_path, monkeypatch, size):
    """Above 89 million pixels Pillow warns, above 178 it raises an error of its own."""
    monkeypatch.setattr(pictures, "to_rgb", lambda picture: pytest.fail("it was decoded"))
    (tmp_path / "a.png").write_bytes(declared(*size))
    with pytest.raises(PictureError, match=r"a\.png \(.*more than 64 million pixels\); replace it"):
        read_picture(tmp_path / "a.png")


@pytest.mark.slow
def test_of_a_bomb_the_terminal_shows_one_line(tmp_path):
    """In the command's process, and in a worker."""
    (tmp_path / "a.png").write_bytes(declared(12_000, 9_000))
    (tmp_path / "list.txt").write_text("a.png 1\n")
    program = (
        "from run_scripts.cli.main import clear_ending\n"
        "from utils.data.dataset import MultiLabelDataset\n"
        "from utils.data.loader import Loader\n"
        "for workers in (0, 1):\n"
        "    try:\n"
        "        with clear_ending():\n"
        "            list(Loader(MultiLabelDataset('.', 'list.txt'), 1, workers=workers).epoch(0))\n"
        "    except SystemExit as end:\n"
        "        assert end.code == 1\n"
    )
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stderr.decode().splitlines()
    assert len(lines) == 2
    start = f"error: cannot read picture {tmp_path / 'a.png'} (12000 x 9000"
    assert all(line.startswith(start) for line in lines)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "gif", "webp", "tiff", "ppm", AVIF])
@pytest.mark.parametrize("share", [0, 0.5])
def test_truncated_pictures_are_refused(tmp_path, suffix, share):
    path = tmp_path / f"bad.{suffix}"
    noise().save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(PictureError, match=rf"{path} .*leave it out$"):  # on one line
        read_pictures([path])


def test_other_files_are_refused(tmp_path):
    (tmp_path / "notes.jpg").write_text("no picture", encoding="utf-8")
    for path in (tmp_path / "notes.jpg", tmp_path / "absent.jpg", tmp_path):
        with pytest.raises(alm.AlmError, match=rf"cannot read picture {path} "):
            read_picture(path)


@pytest.mark.parametrize("place", ["a path", "an open picture"])
@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.EMFILE, "Too many open files"),
                                   OSError(errno.EIO, "Input/output error")])  # fmt: skip
def test_a_lack_of_memory_or_an_error_of_the_system_is_no_damaged_picture(
    tmp_path, monkeypatch, error, place
):
    noise().save(tmp_path / "a.png")

    def convert(*_):
        raise error

    monkeypatch.setattr(Image.Image, "convert", convert)
    with pytest.raises(type(error)) as caught:
        read_input(tmp_path / "a.png" if place == "a path" else Image.open(tmp_path / "a.png"))
    assert caught.value is error


@pytest.mark.parametrize("number", [errno.EACCES, errno.EINVAL, None])
def test_what_the_file_itself_causes_is_a_damaged_picture(tmp_path, monkeypatch, number):
    noise().save(tmp_path / "a.png")

    def load(*_):
        raise OSError(number, "broken") if number else OSError("broken")

    monkeypatch.setattr(PngImageFile, "load", load)
    with pytest.raises(PictureError, match=r"a\.png \(.*broken"):
        read_picture(tmp_path / "a.png")


def test_no_other_picture_replaces_one_that_the_machine_could_not_read(tmp_path, monkeypatch):
    for name in ("a.png", "b.png"):
        noise().save(tmp_path / name)
    (tmp_path / "list.txt").write_text("a.png 1\nb.png 0\n", encoding="utf-8")
    loader = Loader(MultiLabelDataset(tmp_path, tmp_path / "list.txt"), 2, workers=0, replaces=True)
    monkeypatch.setattr(Image.Image, "convert", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "I/O")))
    with pytest.raises(OSError, match="I/O") as caught:
        list(loader.epoch(0))
    assert not isinstance(caught.value, alm.AlmError)
    assert not loader.replaced


def test_a_picture_error_passes_between_processes():
    error = pickle.loads(pickle.dumps(PictureError("cannot read picture a.jpg")))
    assert isinstance(error, PictureError)
    assert str(error) == "cannot read picture a.jpg"


@pytest.mark.parametrize(
    ("name", "words"),
    [("folder", "it is a directory, a device or a pipe"), ("pipe", "it is a directory, a device or a pipe"),
     ("absent", "there is no such file")],
)  # fmt: skip
def test_what_is_no_file_is_named_and_not_waited_for(tmp_path, name, words):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PictureError, match=rf"^cannot read picture .*{name} \({words}\); replace it"):
        read_picture(tmp_path / name)
