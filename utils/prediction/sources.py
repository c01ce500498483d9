"""The pictures that a command reads: files, folders, archives, patterns, lists, paths on standard input."""

import glob
import io
import os
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import filterfalse
from typing import NamedTuple

from PIL import Image

from alm.errors import PictureError
from alm.inference.image_io import MOST_BYTES, SUFFIXES, read_picture
from utils.data.list_file import (
    LABELS,
    WORD,
    count_labels,
    find_picture,
    is_header,
    read_list,
    read_text,
    refuse_links_out,
)
from utils.errors import DataError
from utils.io.archive import COMPRESSED, Member, find_member, is_archive, members
from utils.io.phrases import counted, first_few
from utils.io.table import is_number, number, read_rows
from utils.io.untrusted import encoding_of

Box = tuple[int, int, int, int]  # left, top, right, bottom

STANDARD_INPUT = "-"
MOST_KINDS = 20  # of files passed over that a note names
SNIFFED = 4096  # bytes of a file that say whether it is text
VIDEOS = (".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts",
          ".webm", ".wmv")  # fmt: skip


class Source(NamedTuple):
    """A picture: its name, its file, which may be missing, and its place, a path relative to the folder or
    list that it comes from. Of a part of it, left, top, right and bottom in pixels are the `box`; `person` is
    the id of whom it shows. A vote has only that. A picture in an archive is its `member`, and the `file` is
    the archive.
    """

    name: str = ""
    file: str = ""
    place: str = ""
    box: Box | None = None
    person: str = ""
    member: Member | None = None

    @property
    def title(self) -> str:
        """The name, with the box behind it; of a vote the id."""
        return f"{self.name} {','.join(map(str, self.box))}" if self.box else self.name or self.person

    def to_dict(self) -> dict:
        parts = {"path": self.name, "box": self.box, "id": self.person}
        return {name: part for name, part in parts.items() if part}

    def read(self, as_trained: bool) -> Image.Image:
        """Return the picture in RGB, or its part, turned as its EXIF orientation says unless `as_trained`.
        Raises PictureError.
        """
        if self.member:
            picture = read_picture(
                self.name, not as_trained, lambda: io.BytesIO(self.member.read(MOST_BYTES))
            )
        else:
            picture = read_picture(self.file, turned=not as_trained)
        if not self.box:
            return picture
        left, top, right, bottom = self.box
        box = max(left, 0), max(top, 0), min(right, picture.width), min(bottom, picture.height)
        if box[0] >= box[2] or box[1] >= box[3]:
            size = f"{picture.width} x {picture.height}"
            raise PictureError(f"{self.title}: the box is outside of the picture, which has {size}")
        return picture.crop(box)


def sources(
    paths: Sequence[str], data_root: str | None = None, follow_links: bool = False, boxes: str | None = None
) -> Iterator[Source]:
    """Yield the pictures of each path in turn, then those of the file `boxes`, see `from_boxes`.

    A path is a picture; a folder or an archive, with all the pictures in it; a pattern such as `*.jpg`; a
    list; or `-` for paths on standard input, one per line. A list has lines `path l_1 ... l_K`, or paths
    alone. Its paths are relative to `data_root`, by default to the list's folder; those on standard input are
    relative to `data_root`, by default to the working directory.

    `follow_links` reads the linked folders of a folder too, and lets links lead the paths of a labelled list
    out of its root.

    Raises DataError if a path does not exist or is a video, a folder or an archive has no pictures, or a list
    is wrong; OSError if a folder or an archive cannot be opened.
    """
    for path in paths:
        if path == STANDARD_INPUT:
            yield from from_standard_input(data_root)
        elif os.path.isdir(path):
            yield from from_folder(path, follow_links)
        elif not os.path.isfile(path):
            yield from from_pattern(path)
        elif path.lower().endswith(VIDEOS):
            raise DataError(video_fault(path))
        elif path.lower().endswith(COMPRESSED):
            raise DataError(f"{path} is compressed as a whole; make a .tar or a .zip of what it holds")
        elif not is_archive(path) and is_list(path):
            yield from from_list(path, data_root, follow_links)
        else:
            yield from from_path(path, path, os.path.basename(path))
    if boxes:
        yield from from_boxes(boxes, data_root)


def count(
    paths: Sequence[str], data_root: str | None = None, follow_links: bool = False, boxes: str | None = None
) -> int | None:
    """Return the number of pictures, or None if standard input will tell. Raises DataError as `sources`."""
    others = [path for path in paths if path != STANDARD_INPUT]
    number = sum(1 for _ in sources(others, data_root, follow_links, boxes))
    return number if len(others) == len(paths) else None


def passed_over(
    paths: Sequence[str], data_root: str | None = None, follow_links: bool = False
) -> Iterator[str]:
    """Yield a line for each folder and each pattern that has files which are not read as pictures, for all
    archives together that have any, and for each folder with linked folders that are not read.
    """
    for path in paths:
        if os.path.isfile(path):
            continue
        is_folder = os.path.isdir(path)
        files = files_in(path, follow_links) if is_folder else filterfalse(is_archive, matches(path))
        yield from passed_over_lines(path, Counter(map(suffix_of, filterfalse(is_picture, files))))
        if is_folder and not follow_links and (links := linked_folders(path)):
            number = counted(links, "linked folder")
            yield f"{path}: {number} passed over ({first_few(links)}); --follow_links reads what they hold"
    archives = [archive for path in paths for archive in archives_of(path, data_root)]
    others = filterfalse(is_picture_there, (member for archive in archives for member in members(archive)))
    kinds = Counter(member.kind or suffix_of(member.name) for member in others if member.name)
    yield from passed_over_lines(archives[0] if len(archives) == 1 else counted(archives, "archive"), kinds)


def passed_over_lines(place: str, kinds: Counter) -> Iterator[str]:
    """Yield a line that counts, by their kinds, the files that are no pictures, if there are any."""
    parts = [f"{count:,} {kind or 'without a suffix'}" for kind, count in kinds.most_common()]
    if parts:
        archives = "; an archive is read if it is named itself" if any(map(is_archive, kinds)) else ""
        yield (
            f"{place}: {counted(kinds.total(), 'file')} passed over ({first_few(parts, MOST_KINDS)}); if "
            f"there are pictures among them, convert them to .jpg or .png{archives}"
        )


def archives_of(path: str, data_root: str | None) -> list[str]:
    """Return the archive at a path, or those that a pattern matches or a list has."""
    if path == STANDARD_INPUT or os.path.isdir(path):
        return []
    if not os.path.isfile(path):
        return list(filter(is_archive, matches(path)))
    if is_archive(path) or not is_list(path):
        return [path] if is_archive(path) else []
    names = filter(is_archive, map(str.strip, read_text(path).split("\n")))
    root = data_root or os.path.dirname(path) or "."
    return [file for name in names if (file := find_picture(root, name))]


def outside(directory: str, pictures: Iterable[Source]) -> Iterator[Source]:
    """Yield the pictures outside of a directory, which is filled meanwhile."""
    inner = os.path.join(os.path.realpath(directory), "")
    return (source for source in pictures if not os.path.realpath(source.file).startswith(inner))


def from_path(name: str, file: str, place: str) -> Iterator[Source]:
    """Yield a picture, one in an archive, or all the pictures of an archive."""
    if is_archive(file) and os.path.isfile(file):
        yield from from_archive(name, file, place)
    elif member := find_member(file):
        yield Source(name, member.archive, place, member=member)
    else:
        yield Source(name, file, place)


def from_archive(name: str, archive: str, place: str) -> Iterator[Source]:
    """Yield the pictures of an archive, under its `name` and theirs. If it is damaged or cut off, the last is
    the archive itself, which cannot be read.
    """
    is_empty = True
    for member in members(archive):
        if not member.name or is_picture_there(member):
            is_empty, below = False, f"/{member.name}" if member.name else ""
            yield Source(name + below, archive, place + below, member=member)
    if is_empty:
        raise DataError(f"{archive} has no pictures; pictures end in {', '.join(SUFFIXES)}")


def is_picture_there(member: Member) -> bool:
    return is_picture(member.name) and not member.kind


def from_folder(folder: str, follow_links: bool) -> Iterator[Source]:
    is_empty = True
    for path in filter(is_picture, files_in(folder, follow_links)):
        is_empty = False
        yield Source(path, path, os.path.relpath(path, folder))
    if is_empty:
        raise DataError(f"{folder} has no pictures; pictures end in {', '.join(SUFFIXES)}")


def files_in(folder: str, follow_links: bool) -> Iterator[str]:
    for directory, _, files in walk(folder, follow_links):
        yield from (os.path.join(directory, name) for name in files)


def linked_folders(folder: str) -> list[str]:
    inner = (os.path.join(directory, name) for directory, names, _ in walk(folder) for name in names)
    return list(filter(os.path.islink, inner))


def walk(folder: str, follow_links: bool = False) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield a folder and its subfolders, each once, with the names of its folders and files, without hidden
    ones. Raises OSError if one cannot be read.
    """

    def stop(error: OSError):
        raise error

    walked = set()  # links may lead in a circle
    for directory, folders, files in os.walk(folder, onerror=stop, followlinks=follow_links):
        if (real := os.path.realpath(directory)) in walked:
            folders.clear()
            continue
        walked.add(real)
        folders[:] = visible(folders)
        yield directory, folders, visible(files)


def visible(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if not name.startswith("."))


def from_pattern(pattern: str) -> Iterator[Source]:
    if find_member(pattern):
        yield from from_path(pattern, pattern, os.path.basename(pattern))
        return
    if os.path.exists(pattern):
        raise DataError(f"{pattern} is a device or a pipe; name pictures, folders or lists")
    if not glob.has_magic(pattern):
        raise DataError(f"{pattern}: there is no such file or folder; check the path")
    paths = [path for path in matches(pattern) if is_picture(path) or is_archive(path)]
    if not paths:
        raise DataError(f"{pattern} matches no picture; pictures end in {', '.join(SUFFIXES)}")
    for path in paths:
        yield from from_path(path, path, os.path.basename(path))


def matches(pattern: str) -> list[str]:
    return [path for path in sorted(glob.glob(pattern, recursive=True)) if not os.path.isdir(path)]


def from_standard_input(data_root: str | None) -> Iterator[Source]:
    """Yield each picture as soon as its path comes."""
    if hasattr(sys.stdin, "reconfigure"):  # names of files may be any bytes
        sys.stdin.reconfigure(errors="surrogateescape")
    for line in sys.stdin or ():
        if name := line.rstrip("\r\n"):
            yield from from_path(name, os.path.join(data_root or "", name), name)


def from_list(path: str, data_root: str | None, follow_links: bool) -> Iterator[Source]:
    root = data_root or os.path.dirname(path) or "."
    lines = [line.strip() for line in read_text(path).split("\n") if line.strip()]
    if not lines:
        raise DataError(f"{path} is empty; write the path of a picture in each line")
    has_labels = ends_in_labels(lines[0]) or is_header(lines[0])
    names = read_list(path)[0] if has_labels else lines
    files = [find_picture(root, name) or path_inside(root, name) for name in names]
    if not any(files):
        raise DataError(
            f"{path}: none of its pictures exists, such as {os.path.join(root, names[0])}; name the folder "
            "that its paths are relative to with --data_root"
        )
    if has_labels and not follow_links:
        refuse_links_out(root, path, names, files)
    for name, file in zip(names, files, strict=True):
        yield from from_path(name, file or os.path.join(root, name), name)


def path_inside(root: str, name: str) -> str | None:
    """Return the path of a list's picture in an archive, or None if there is none."""
    path = os.path.join(root, name)
    return path if find_member(path) else None


def from_boxes(path: str, data_root: str | None) -> Iterator[Source]:
    """Yield the parts of pictures that a file lists, one per line: a picture's path, left, top, right and
    bottom in pixels, and an id of the person if there are ids. A first line without numbers is a header.

    Raises DataError if the file cannot be read, if a line is no such line, or if only some have an id.
    """
    root = data_root or os.path.dirname(path) or "."
    rows = read_rows(path)
    if rows and len(rows[0][1]) > 1 and not any(map(is_number, rows[0][1][1:5])):
        del rows[0]
    if not rows:
        raise DataError(f"{path} has no boxes; write path, left, top, right, bottom in each line")
    for line, cells in rows:
        if len(cells) not in (5, 6) or len(cells) != len(rows[0][1]):
            raise DataError(
                f"{path}:{line}: {len(cells)} cells; write path, left, top, right, bottom, and an id in all "
                "lines or in none"
            )
        name, *sides, person = cells if len(cells) == 6 else [*cells, ""]
        if not all(map(is_number, sides)) or (len(cells) == 6 and not person):
            raise DataError(f"{path}:{line}: {','.join(cells)[:60]!r} lacks a number or an id; fill it in")
        left, top, right, bottom = (round(number(side)) for side in sides)
        if left >= right or top >= bottom:
            raise DataError(
                f"{path}:{line}: {','.join(sides)} is no box; write left, top, right, bottom in pixels, with "
                "right beyond left and bottom beyond top"
            )
        file = find_picture(root, name) or os.path.join(root, name)
        member = find_member(file)
        if member:
            file = member.archive
        yield Source(name, file, os.path.join(person, name), (left, top, right, bottom), person, member)


def is_picture(path: str) -> bool:
    return path.lower().endswith(SUFFIXES)


def suffix_of(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def video_fault(path: str) -> str:
    frames = f"mkdir frames && ffmpeg -i {shlex.quote(path)} -vf fps=1 frames/%06d.png"
    return f"{path} is a video; make pictures of it, such as one per second: {frames}"


def is_list(path: str) -> bool:
    """Whether a file is text, and has no picture's name."""
    if is_picture(path):
        return False
    with open(path, "rb") as file:
        begin = file.read(SNIFFED)
    encoding = encoding_of(begin)
    try:
        return encoding is not None and "\0" not in begin.decode(encoding)
    except UnicodeDecodeError as error:
        return error.start > SNIFFED - 4  # a character that was cut in two


def ends_in_labels(line: str) -> bool:
    words = WORD.findall(line)
    return len(words) > 1 and words[-1] in LABELS and count_labels(line) > 0
