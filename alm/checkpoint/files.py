"""A checkpoint's file: written whole or not at all, and with a checksum of each part, the zip format's own.

`utils/io/atomic.py` writes other files so; alm does not import it.
"""

import os
import re
import shutil
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from alm.constants import KEPT, TEMPORARY
from alm.devices.device import CPU
from alm.errors import AlmError


def save_checkpoint(path: str | Path, checkpoint: dict, old_serialization: bool = False) -> None:
    """Write the file whole or not at all, its tensors as the CPU's, so that it opens on every machine.

    `old_serialization` is what PyTorch wrote before 1.6, and still reads. Raises OSError, naming `path`.
    """
    with placed(Path(path)) as temporary, open(temporary, "wb") as file:
        writer = Writer(file)
        try:
            torch.save(on_cpu(checkpoint), writer, _use_new_zipfile_serialization=not old_serialization)
        except RuntimeError as error:
            raise (writer.failure or error) from error
        file.flush()
        os.fsync(file.fileno())


def give_second_name(path: Path, other: Path) -> None:
    """Let `other` be the same checkpoint as `path`: a link, or a copy if the disk knows no links. None is
    ever written in place, so each stays when the other is replaced. Raises OSError, naming `other`.
    """
    with placed(other) as temporary:
        try:
            os.link(path, temporary)
        except OSError:
            shutil.copyfile(path, temporary)
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())


@contextmanager
def placed(path: Path) -> Iterator[Path]:
    """Give a name beside `path` for a file that becomes `path` at the end, each step on the disk before the
    next, or vanishes on any error. A killed process leaves it; the next start in that directory removes it
    (utils/runs/directory.py). Raises OSError, naming `path`.
    """
    temporary = path.with_name(TEMPORARY.format(name=path.name[:KEPT], unique=uuid.uuid4().hex))
    try:
        yield temporary
        os.replace(temporary, path)
        flush_directory(path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def flush_directory(directory: Path) -> None:
    """Let the names in a directory be on the disk, as far as the system and its file system can."""
    with suppress(OSError):  # Windows opens no directory, and some network file systems flush none
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def is_zip(path: Path) -> bool:
    """Whether PyTorch takes a file for a zip: by how it begins."""
    with open(path, "rb") as file:
        return file.read(4) == b"PK\x03\x04"


ONNX = re.compile(rb"\x08[\x01-\x7f][\x12\x1a\x22\x28\x32\x3a\x42]")  # its version, then its next field


def other_kind(path: Path) -> str | None:
    """Return what a file is that is easily taken for a checkpoint, and what to do, or None."""
    with open(path, "rb") as file:
        head = file.read(9)
    if ONNX.match(head):
        return (
            "an ONNX network, which predict.py and alm.Predictor.from_file take if its name ends in .onnx; "
            "name the checkpoint that it was exported from"
        )
    if head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "a safetensors file; save what is in it with torch.save"
    names = zipfile.ZipFile(path).namelist() if is_zip(path) else ()
    if any(name.endswith(("serialized_exported_program.json", "/archive_format")) for name in names):
        return "what torch.export.save wrote; name the checkpoint that it was made of"
    if any(name.endswith("/constants.pkl") for name in names):
        return "a TorchScript archive; save the module's state_dict()"
    return None


def check_sums(path: Path) -> None:
    """Raise AlmError if a part of a file in the zip format is not what was written."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except zipfile.BadZipFile as error:
        raise AlmError(f"it is damaged: {error}; copy it anew") from error
    if damaged:
        raise AlmError(f"it is damaged: the checksum of {damaged} in it is wrong; copy it anew")


def on_cpu(content):
    """Return nested dicts and lists with every tensor in them on the CPU."""
    if isinstance(content, Tensor):
        return content.detach().to(CPU)
    if isinstance(content, Mapping):
        return {name: on_cpu(value) for name, value in content.items()}
    if isinstance(content, (list, tuple)):
        return type(content)(map(on_cpu, content))
    return content


class Writer:
    """A file for torch.save that remembers why a write failed: the errors that torch raises do not say it."""

    def __init__(self, file: BinaryIO):
        self.file, self.failure = file, None

    def write(self, data) -> int:
        """Write, as a file does."""
        try:
            return self.file.write(data)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        """Flush, as a file does."""
        self.file.flush()
