"""Archives: what they hold, whoever made them and however they are damaged."""

import io
import os
import stat
import struct
import tarfile
import zipfile

import pytest

from utils.errors import DataError
from utils.io import archive as archives
from utils.io.archive import Member, find_member, members

MOST = 10_000
CONTENTS = {"a.txt": b"one", "in/b.txt": bytes(range(256)) * 20, "in/empty": b""}


def tar_of(path, contents, **options):
    with tarfile.open(path, "w", **options) as file:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return str(path)


def zip_of(path, contents, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in contents.items():
            file.writestr(name, content)
    return str(path)


def contents_of(path):
    return {member.name: member.read(MOST) for member in members(path)}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_is_read_in_place(tmp_path, form):
    contents = {**CONTENTS, "x" * 99 + "/" + "é" * 40: b"long", "../up": b"up", "/root": b"absolute"}
    path = tar_of(tmp_path / "a.tar", contents, format=form)
    assert contents_of(path) == contents
    assert os.listdir(tmp_path) == ["a.tar"]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_is_read_in_place(tmp_path, method):
    contents = {**CONTENTS, "é": b"accent", "../up": b"up"}
    path = zip_of(tmp_path / "a.ZIP", contents, method)
    with open(path, "r+b") as file:  # as a program that unpacks itself
        whole = file.read()
        file.seek(0)
        file.write(b"program" + whole)
    assert contents_of(path) == contents
    assert os.listdir(tmp_path) == ["a.ZIP"]


def test_names_lead_to_members_and_the_last_of_a_name_counts(tmp_path):
    path = str(tmp_path / "a.tar" / "b.tar")
    (tmp_path / "a.tar").mkdir()
    with tarfile.open(path, "w") as file:
        for name, content in (("./in/x", b"old"), ("./in/x", b"new"), ("c.tar/y", b"y")):
            info = tarfile.TarInfo(name)
            info.size = 3 if len(content) == 3 else 1
            file.addfile(info, io.BytesIO(content))
    assert [member.name for member in members(path)] == ["in/x", "in/x", "c.tar/y"]
    assert find_member(f"{path}/in/x").read(MOST) == b"new"
    assert find_member(f"{path}/c.tar/y").read(MOST) == b"y"
    for name in ("in", "absent", ""):
        assert find_member(f"{path}/{name}") is None
    assert find_member(f"{tmp_path}/absent.zip/x") is None


def test_hidden_ones_and_folders_are_left_out_and_links_have_no_bytes(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        for name, kind in (
            ("folder", tarfile.DIRTYPE),
            (".hidden", tarfile.REGTYPE),
            ("in/._x.jpg", tarfile.REGTYPE),
            ("soft.jpg", tarfile.SYMTYPE),
            ("hard.jpg", tarfile.LNKTYPE),
            ("pipe.jpg", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = (
                kind,
                "/etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else "",
            )
            file.addfile(info)
    found = [(member.name, member.kind) for member in members(str(tmp_path / "a.tar"))]
    assert found == [("soft.jpg", "link"), ("hard.jpg", "link"), ("pipe.jpg", "link")]
    link = zipfile.ZipInfo("soft.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = zip_of(tmp_path / "a.zip", {"folder/": b"", "__MACOSX/._x.jpg": b"", link: b"/etc/passwd"})
    assert [(member.name, member.kind) for member in members(path)] == [("soft.jpg", "link")]


@pytest.mark.parametrize("name", ["a.tar", "a.zip"])
@pytest.mark.parametrize("content", [b"", b"junk", b"junk" * 5000, bytes(100), b"PK\5\6"])
def test_what_is_no_archive_says_so(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    (member,) = members(str(tmp_path / name))
    with pytest.raises(DataError, match=rf"^it is damaged or cut off, or no {name[1:]} archive$"):
        member.read(MOST)


def test_a_tar_that_is_cut_off_says_behind_which_member(tmp_path):
    path = tar_of(tmp_path / "a.tar", {"a": b"one", "b": b"2" * 600, "c": b"three"})
    with open(path, "rb") as file:
        whole = file.read()
    for length in (512 * 5 + 100, 512 * 5, 512 * 4 + 1, 512 * 3 + 1, 512 * 2):
        (tmp_path / "cut.tar").write_bytes(whole[:length])
        *found, last = members(str(tmp_path / "cut.tar"))
        assert [member.name for member in found] == ["a", "b"][: 1 if length <= 512 * 2 else 2]
        assert found[0].read(MOST) == b"one"
        assert last == Member(
            str(tmp_path / "cut.tar"), fault=f"it is damaged or cut off behind {found[-1].name}"
        )
        if length == 512 * 3 + 1:
            with pytest.raises(DataError, match="damaged or cut off in the archive"):
                found[1].read(MOST)


@pytest.mark.parametrize("place", [100, 1100, 2200])
def test_a_tar_with_a_damaged_header_does_not_pass_for_a_shorter_one(tmp_path, place):
    path = tmp_path / "a.tar"
    tar_of(path, dict.fromkeys("abc", b"one"))
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    *found, last = members(str(path))
    assert [member.name for member in found] == ["a", "b", "c"][: place // 1024]
    assert last.fault.startswith("it is damaged or cut off")


def header(name, kind, size):
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "content",
    [
        header("x", tarfile.XHDTYPE, 2**40),  # what tarfile would read at once
        header("x", tarfile.GNUTYPE_LONGNAME, 2**33),
        (header("x", tarfile.XHDTYPE, 20) + b"20 comment=aaaaaaaa\n".ljust(512, b"\0"))
        * 3000,  # one in another
        header("x", tarfile.REGTYPE, -1024) * 2,  # back to where it stood
        header("x", tarfile.REGTYPE, -512) * 2,
        header("x", tarfile.REGTYPE, 2**62) * 2,
        header("x", tarfile.XHDTYPE, 18) + b"18 size=-99999999\n".ljust(512, b"\0") + header("y", b"0", 0),
        header("x", tarfile.XHDTYPE, 13) + b"13 size=nine\n".ljust(512, b"\0") + header("y", b"0", 0),
    ],
)
def test_a_tar_made_to_fill_the_memory_or_to_lead_in_a_circle(tmp_path, content):
    (tmp_path / "a.tar").write_bytes(content)
    *found, last = members(str(tmp_path / "a.tar"))
    assert len(found) < 3
    assert last.fault.startswith("it is damaged or cut off")


def patched(path, offset, value, form="<I"):
    """Write a number into the table of contents and the header of a zip's only member."""
    content = bytearray(path.read_bytes())
    for begin, place in ((content.rindex(b"PK\1\2"), offset), (content.index(b"PK\3\4"), offset - 2)):
        struct.pack_into(form, content, begin + place, value)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("offset", "value", "form", "words"),
    [
        (8, 1, "<H", "it is encrypted"),
        (10, 14, "<H", "it is compressed by method 14"),
        (10, 99, "<H", "it is compressed by method 99"),
        (24, 2**31, "<I", r"more than 0 MB"),  # its size
        (20, 2**31, "<I", r"more than 0 MB"),  # packed
        (24, 9, "<I", "damaged or cut off"),
        (24, MOST, "<I", "damaged or cut off"),
        (20, 9, "<I", "damaged or cut off"),
        (16, 9, "<I", "damaged or cut off"),  # its checksum
        (30, 3, "<H", "damaged or cut off"),
    ],
)
def test_a_zip_that_lies_is_found_out(tmp_path, offset, value, form, words):
    path = tmp_path / "a.zip"
    zip_of(path, {"x": bytes(MOST - 1)})
    patched(path, offset, value, form)
    member = next(members(str(path)))
    with pytest.raises(DataError, match=words):
        member.read(MOST)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    (member,) = members(zip_of(tmp_path / "a.zip", {"x": bytes(MOST * 100)}))
    monkeypatch.setattr(archives, "open_regular", None)
    with pytest.raises(DataError, match="more than 0 MB"):
        member.read(MOST)


def test_an_error_of_the_system_is_no_fault_of_the_archive(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(members(str(tmp_path / "absent.tar")))
