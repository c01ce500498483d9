"""Files and directories that are written whole or not at all."""

import errno
import os

import pytest

from utils.io import atomic as files
from utils.io.atomic import unwritable, whole_directory, whole_file, write_json, write_text


def test_text_json_and_bytes(tmp_path):
    write_text(tmp_path / "a.txt", "one\ntwo é\n")
    write_json(tmp_path / "a.json", {"x": [1]})
    with whole_file(tmp_path / "a.bin") as file:
        file.write(b"\0\1")
    assert (tmp_path / "a.txt").read_bytes() == "one\ntwo é\n".encode()
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n "x": [\n  1\n ]\n}\n'
    assert (tmp_path / "a.bin").read_bytes() == b"\0\1"
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_what_was_there(tmp_path, error):
    write_text(tmp_path / "a.txt", "before")

    def write():
        with whole_file(tmp_path / "a.txt", "w") as file:
            file.write("half")
            raise error

    with pytest.raises(error):
        write()
    assert [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()] == ["before"]


def test_the_order_is_write_flush_rename(tmp_path, monkeypatch):
    """So that a crash at any moment leaves the old file or the new one, never half of it."""
    calls = []
    fsync, replace = os.fsync, os.replace
    size = []
    monkeypatch.setattr(
        files.os, "fsync", lambda fd: (calls.append("fsync"), size.append(os.fstat(fd).st_size), fsync(fd))
    )
    monkeypatch.setattr(files.os, "replace", lambda a, b: (calls.append("replace"), replace(a, b)))
    write_text(tmp_path / "a.txt", "text")
    assert (calls, size) == (["fsync", "replace"], [4])


def test_a_disk_that_is_full_is_an_error_about_the_file_asked_for(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as error:
        write_text(tmp_path / "a.txt", "text")
    assert error.value.filename == str(tmp_path / "a.txt")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_directory_is_an_error_about_the_file_asked_for(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        write_text(tmp_path / "absent" / "a.txt", "text")
    assert error.value.filename == str(tmp_path / "absent" / "a.txt")
    assert "no such directory" in unwritable(tmp_path / "absent" / "a.txt")
    assert "is a directory" in unwritable(tmp_path)
    assert unwritable(tmp_path / "a.txt") is None


def test_another_files_error_keeps_its_name(tmp_path):
    def write():
        with whole_file(tmp_path / "a.txt", "w"):
            (tmp_path / "other.txt").read_text(encoding="utf-8")

    with pytest.raises(FileNotFoundError) as error:
        write()
    assert error.value.filename == str(tmp_path / "other.txt")


def test_a_directory_appears_whole_or_not_at_all(tmp_path):
    with whole_directory(tmp_path / "a" / "set") as directory:
        (directory / "x").touch()
        assert not (tmp_path / "a" / "set").exists()
    assert [path.name for path in (tmp_path / "a" / "set").iterdir()] == ["x"]

    def fail():
        with whole_directory(tmp_path / "other") as directory:
            (directory / "x").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_errors_within_a_directory_are_about_the_one_asked_for(tmp_path):
    """Never about the hidden one that it is written to, nor about nothing."""
    target = tmp_path / "set"

    def fail(*arguments, inner=None):
        with pytest.raises(OSError, match="No space left") as error, whole_directory(target) as directory:
            raise OSError(
                errno.ENOSPC,
                os.strerror(errno.ENOSPC),
                *arguments,
                *([str(directory / inner)] if inner else []),
            )
        return error.value.filename

    assert fail() == str(target)
    assert fail(inner="a/b.jpg") == str(target / "a" / "b.jpg")
    assert fail(str(tmp_path / "other")) == str(tmp_path / "other")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["é" * 127, "人" * 85, "x" * 255], ids=["accents", "Chinese", "ASCII"])
def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path, name):
    write_text(tmp_path / name, "text")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("link", [False, True])
def test_no_device_is_replaced_by_a_file(tmp_path, link):
    """`--json /dev/null`, given by root, would take it from every program of the machine."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    path = tmp_path / "link" if link else pipe
    if link:
        path.symlink_to(pipe)
    assert unwritable(path) == "that is a device or a pipe; name a file"
    with pytest.raises(OSError, match=f"that is a device or a pipe; name a file: '{path}'"):
        write_text(path, "text")
    assert pipe.is_fifo()
    assert len(list(tmp_path.iterdir())) == 1 + link


def test_a_link_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "a.txt").symlink_to(tmp_path / "there" / "b.txt")
    for text in ("one", "two"):
        write_text(tmp_path / "a.txt", text)
        assert (tmp_path / "a.txt").is_symlink()
        assert [path.read_text() for path in (tmp_path / "there").iterdir()] == [text]
