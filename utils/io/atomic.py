"""Write files and directories whole or not at all: half of a file never has the name asked for."""

import errno
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from alm.constants import KEPT, TEMPORARY

SPECIAL = "that is a device or a pipe; name a file"


@contextmanager
def whole_file(path: str | Path, mode: str = "wb") -> Iterator[IO]:
    """Give a file beside `path`, open in `mode` ("wb" or "w"), that becomes `path` at the end.

    On any error it vanishes, and an older file at `path` stays. A link stays; the file behind it is written.
    Text is UTF-8 with line feeds. Raises OSError, naming `path`, if that cannot be written or is special.
    """
    path = Path(path)
    if is_special(path):
        raise OSError(errno.EINVAL, SPECIAL, str(path))
    target = path.resolve() if path.is_symlink() else path
    temporary = temporary_name(target)
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    with naming(path, temporary):
        try:
            with open(temporary, mode, **text) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def whole_directory(target: str | Path) -> Iterator[Path]:
    """Give a directory beside `target` that becomes `target` at the end, or vanishes on any error.

    Raises OSError, naming `target` or a file in it, if it cannot be written or if something has appeared
    there in the meantime.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(target)
    with naming(target, temporary):
        temporary.mkdir()
        try:
            yield temporary
            os.rename(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def naming(path: str | Path, temporary: str | Path | None = None) -> Iterator[None]:
    """Let an OSError name `path` if it names no file, as that of a full disk, or one at `temporary`."""
    try:
        yield
    except OSError as error:
        name = str(path) if error.filename is None else str(error.filename)
        if temporary is not None and name.startswith(str(temporary)):
            name = str(path) + name.removeprefix(str(temporary))
        if name == error.filename:
            raise
        raise OSError(error.errno, error.strerror or str(error), name) from error


def try_directory(path: str | Path) -> None:
    """Raise OSError if no file can be made in a directory, which may be a new one; leave nothing."""
    path = Path(path)
    new = [directory for directory in (path, *path.parents) if not directory.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    finally:
        for directory in new:
            if directory.exists():
                directory.rmdir()


def temporary_name(path: Path) -> Path:
    """Return a new, hidden name beside `path` for a file that is not whole yet."""
    return path.with_name(TEMPORARY.format(name=path.name[:KEPT], unique=uuid.uuid4().hex))


def write_text(path: str | Path, text: str) -> None:
    with whole_file(path, "w") as file:
        file.write(text)


def write_json(path: str | Path, content) -> None:
    write_text(path, indented_json(content))


def indented_json(content) -> str:
    """Return JSON for people and machines, the whole text of a file."""
    return json.dumps(content, indent=1) + "\n"


def is_special(path: str | Path) -> bool:
    """Whether a device or a pipe is at `path`; a file put there would take it away from every program."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def unwritable(path: str | Path) -> str | None:
    """Return why no file can be written at `path`, or None. Ask before hours of work, not after."""
    path = Path(path)
    if path.is_dir():
        return "that is a directory; name a file"
    if is_special(path):
        return SPECIAL
    if not path.parent.is_dir():
        return "there is no such directory"
    if not os.access(path.parent, os.W_OK):
        return "the directory cannot be written to"
    return None
