"""Pictures as torchvision resizes them, scaled as their format says, and what is wrong with a file."""

import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import Resize

import alm
from alm import pictures
from alm.pictures import FORMATS, PictureError, read_picture, read_pictures, read_resized

SIZE = (70, 150)
RAMP = np.linspace(0, 65535, SIZE[0] * SIZE[1]).reshape(SIZE[::-1]).astype(np.uint16)  # black to white


def noise(mode="RGB", size=SIZE, seed=0):
    """Return a picture of noise."""
    if mode in ("1", "P"):
        return noise("RGB", size, seed).convert(mode)
    return Image.frombytes(mode, size, np.random.default_rng(seed).bytes(size[0] * size[1] * len(mode)))


def png(colour, samples):
    """Return a 16-bit PNG of samples (H, W, channels)."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    )


@pytest.mark.parametrize(
    ("mode", "suffix", "size"),
    [
        ("RGB", "jpg", (64, 128)),
        ("RGB", "png", (100, 200)),
        ("RGB", "bmp", (128, 256)),
        ("RGB", "jpeg", (301, 517)),
        ("RGB", "png", (1, 1)),
        ("RGB", "webp", (70, 150)),
        ("RGB", "tiff", (70, 150)),
        ("RGB", "ppm", (70, 150)),
        ("L", "jpg", (70, 150)),
        ("L", "png", (70, 150)),
        ("L", "pgm", (70, 150)),
        ("1", "png", (70, 150)),
        ("P", "png", (70, 150)),
        ("P", "gif", (70, 150)),
        ("LA", "png", (70, 150)),
        ("RGBA", "png", (70, 150)),
        ("CMYK", "jpg", (70, 150)),
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


def test_a_program_in_a_picture_is_not_run(tmp_path, monkeypatch):
    """Pillow reads EPS by starting Ghostscript."""
    from PIL import EpsImagePlugin

    monkeypatch.setattr(
        EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was started")
    )
    Image.new("RGB", (8, 8)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.jpg")
    with pytest.raises(PictureError, match=r"it is none of JPEG, PNG"):
        read_picture(tmp_path / "a.jpg")
    assert set(FORMATS) == {"JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM"}


@pytest.mark.parametrize("form", ["EPS", "ICO", "TGA", "JPEG2000"])
def test_of_another_format_those_that_are_read_are_named(tmp_path, form):
    path = tmp_path / "a.jpg"
    noise().save(path, format=form)
    with pytest.raises(PictureError) as error:
        read_picture(path)
    assert str(error.value) == (
        f"cannot read picture {path} (it is none of JPEG, PNG, BMP, GIF, WEBP, TIFF, PPM); replace it or "
        "leave it out"
    )


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_picture(tmp_path / "a.gif").getpixel((0, 0)) == (255, 0, 0)


def test_more_pixels_than_a_picture_has_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    noise(size=(101, 100)).save(tmp_path / "a.png")
    read_picture(tmp_path / "a.png")
    monkeypatch.setattr(pictures, "MOST_PIXELS", 10_000)
    monkeypatch.setattr(pictures, "to_rgb", lambda picture: pytest.fail("it was decoded"))
    with pytest.raises(PictureError, match=r"a\.png \(101 x 100 pixels, more than"):
        read_picture(tmp_path / "a.png")


def test_decompression_bombs_are_named(tmp_path, monkeypatch):
    noise().save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(PictureError, match=r"a\.png.*decompression bomb"):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "gif", "webp", "tiff", "ppm"])
@pytest.mark.parametrize("share", [0, 0.01, 0.5])
def test_truncated_pictures_are_named(tmp_path, suffix, share):
    path = tmp_path / f"bad.{suffix}"
    noise().save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(PictureError) as error:
        read_pictures([path])
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_are_no_pictures_are_named(tmp_path):
    (tmp_path / "notes.jpg").write_text("no picture", encoding="utf-8")
    for path in (tmp_path / "notes.jpg", tmp_path / "absent.jpg", tmp_path):
        with pytest.raises(alm.AlmError, match=rf"cannot read picture {path} "):
            read_picture(path)


def test_a_picture_error_passes_between_processes():
    error = pickle.loads(pickle.dumps(PictureError("cannot read picture a.jpg")))
    assert isinstance(error, PictureError)
    assert str(error) == "cannot read picture a.jpg"
