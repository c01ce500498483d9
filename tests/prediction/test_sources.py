"""Sources: pictures from files, folders, patterns, lists and standard input."""

import errno
import io
import os
import tarfile
import zipfile

import pytest
from PIL import Image

from alm.errors import PictureError
from utils.errors import DataError
from utils.prediction.sources import count, outside, passed_over, sources


@pytest.fixture
def folder(tmp_path):
    """Return a folder with three pictures, a hidden one, and a file that is no picture."""
    for k, name in enumerate(("b.PNG", "a.jpg", "sub/c d.bmp", ".hidden.png")):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (10 + k, 20)).save(path)
    (tmp_path / "in" / "notes.md").write_text("nothing")
    return tmp_path / "in"


def names(*paths, **options):
    return [source.name for source in sources([str(path) for path in paths], **options)]


def test_folders_patterns_and_files(folder):
    inside = [str(folder / name) for name in ("a.jpg", "b.PNG", "sub/c d.bmp")]
    assert names(folder) == inside
    assert names(folder / "*") == inside[:2]
    assert names(folder / "**" / "*.bmp", inside[0]) == [inside[2], inside[0]]
    assert count([str(folder), inside[0]]) == 4
    found = list(sources([str(folder)]))
    assert [source.place for source in found] == ["a.jpg", "b.PNG", "sub/c d.bmp"]
    assert list(outside(str(folder / "sub"), found)) == found[:2]


def test_what_a_folder_or_a_pattern_holds_beside_pictures_is_counted(folder, tmp_path):
    assert "".join(passed_over([str(folder)])).startswith(f"{folder}: 1 file passed over (1 .md); ")
    for name in ("1.heic", "sub/2.HEIC", "IMG_3", "4.jfif", "5.avif", ".6.heic"):
        (folder / name).touch()
    (line,) = passed_over([str(folder), str(folder / "a.jpg"), str(folder / "notes.md"), "-"])
    assert "4 files passed over (2 .heic, 1 without a suffix, 1 .md); " in line
    for number in range(7):
        (folder / f"one.{number}").touch()
    assert "1 .0, 1 .1, 1 .2, 1 .3, 1 .4, 1 .5, 1 .6); " in "".join(passed_over([str(folder)]))
    (line,) = passed_over([str(folder / "*.[hm]*")])
    assert "2 files passed over (1 .heic, 1 .md); " in line
    assert [name for name in names(folder) if "f" in name[-3:]] == [
        str(folder / name) for name in ("4.jfif", "5.avif")
    ]


def test_linked_folders_are_named_or_followed_once(folder, tmp_path):
    (tmp_path / "other").mkdir()
    Image.new("RGB", (10, 20)).save(tmp_path / "other" / "d.png")
    for link, target in (
        ("in/to", "other"),
        ("in/sub/to", "other"),
        ("other/back", "in"),
        ("in/.no", "other"),
    ):
        (tmp_path / link).symlink_to(tmp_path / target)
    (folder / "notes.md").unlink()
    links = f"{folder / 'to'}, {folder / 'sub' / 'to'}"
    assert list(passed_over([str(folder)])) == [
        f"{folder}: 2 linked folders passed over ({links}); --follow_links reads what they hold"
    ]
    assert len(names(folder)) == 3
    assert list(passed_over([str(folder)], follow_links=True)) == []
    followed = names(folder, follow_links=True)
    assert [os.path.relpath(name, folder) for name in followed] == [
        "a.jpg",
        "b.PNG",
        "sub/c d.bmp",
        "sub/to/d.png",
    ]


def test_a_folder_that_cannot_be_read_is_not_passed_over(folder, monkeypatch):
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("sub"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(PermissionError, match="sub"):
        names(folder)


@pytest.mark.parametrize(("line", "encoding"), [("{} 0 1 2", "utf-8"), ("{}", "utf-8"), ("{}", "utf-16")])
def test_lists_with_labels_and_without(folder, tmp_path, line, encoding):
    listed = ["a.jpg", "sub/c d.bmp", "gone.jpg"]
    (folder / "list.txt").write_text("\n".join(map(line.format, listed)), encoding)
    found = list(sources([str(folder / "list.txt")]))
    assert [source.name for source in found] == listed
    assert [os.path.isfile(source.file) for source in found] == [True, True, False]
    (folder / "list.txt").rename(tmp_path / "list.txt")
    assert list(sources([str(tmp_path / "list.txt")], data_root=str(folder))) == found


def test_standard_input_names_pictures_line_by_line(folder, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("a.jpg\n\nsub/c d.bmp\r\n"))
    found = list(sources(["-"], data_root=str(folder)))
    assert [source.name for source in found] == ["a.jpg", "sub/c d.bmp"] == [source.place for source in found]
    assert found[1].file == str(folder / "sub/c d.bmp")
    assert count(["-"]) is None


@pytest.fixture
def archives(folder, tmp_path):
    """Return a folder with a .tar and a .zip of what `folder` holds, and a file that is no picture."""
    (tmp_path / "archives").mkdir()
    with tarfile.open(tmp_path / "archives" / "1.tar", "w") as file:
        file.add(folder, ".")
    with zipfile.ZipFile(tmp_path / "archives" / "2.zip", "w") as file:
        for path in sorted(folder.rglob("*.*")):
            file.write(path, path.relative_to(folder))
    (tmp_path / "archives" / "notes.md").touch()
    return tmp_path / "archives"


INSIDE = {"a.jpg", "b.PNG", "sub/c d.bmp"}


def test_archives_are_read_in_place_like_folders(archives):
    tar, archive = archives / "1.tar", archives / "2.zip"
    for path in (tar, archive):
        found = list(sources([str(path)]))
        assert {source.name for source in found} == {f"{path}/{name}" for name in INSIDE}
        assert {source.place for source in found} == {f"{path.name}/{name}" for name in INSIDE}
        assert {source.read(as_trained=False).size for source in found} == {(10, 20), (11, 20), (12, 20)}
    assert names(archives / "*") == names(tar, archive)
    assert count([str(tar), str(archive)]) == 6
    every = names(archive)
    assert names(*every) == every
    (inside,) = sources(every[:1])
    assert inside.read(as_trained=True).size == (11, 20)


@pytest.mark.parametrize("labels", ["", " 0 1 2"])
def test_lists_boxes_and_standard_input_name_archives_or_what_is_in_them(archives, monkeypatch, labels):
    listed = ["1.tar/a.jpg", "2.zip/sub/c d.bmp", "2.zip/gone.jpg", "gone.zip/a.jpg"]
    (archives / "list.txt").write_text("".join(f"{name}{labels}\n" for name in listed))
    found = list(sources([str(archives / "list.txt")]))
    assert [source.name for source in found] == listed
    assert [source.read(as_trained=False).size for source in found[:2]] == [(11, 20), (12, 20)]
    for source in found[2:]:
        with pytest.raises(PictureError, match=r"cannot read picture .*/gone\."):
            source.read(as_trained=False)
    (archives / "all.txt").write_text("1.tar\n2.zip\n")
    whole = list(sources([str(archives / "all.txt")]))
    assert {source.name for source in whole} == {
        f"{archive}/{name}" for archive in ("1.tar", "2.zip") for name in INSIDE
    }
    monkeypatch.setattr("sys.stdin", io.StringIO("1.tar\n2.zip\n"))
    assert list(sources(["-"], str(archives))) == whole
    (archives / "boxes.csv").write_text("1.tar/a.jpg,1,1,5,9,7\n")
    (part,) = sources([], boxes=str(archives / "boxes.csv"))
    assert part.read(as_trained=False).size == (4, 8)
    assert (part.title, part.place) == ("1.tar/a.jpg 1,1,5,9", "7/1.tar/a.jpg")


def test_what_archives_hold_beside_pictures_is_counted_in_one_line(archives):
    with zipfile.ZipFile(archives / "2.zip", "a") as file:
        file.writestr("inner.tar", b"")
    line = "if there are pictures among them, convert them to .jpg or .png"
    tar = str(archives / "1.tar")
    assert list(passed_over([tar])) == [f"{tar}: 1 file passed over (1 .md); {line}"]
    (archives / "all.txt").write_text("1.tar\n2.zip\n")
    beside = "an archive is read if it is named itself"
    of_all = f"2 archives: 3 files passed over (2 .md, 1 .tar); {line}; {beside}"
    for paths in ([tar, str(archives / "2.zip")], [str(archives / "[12].*")], [str(archives / "all.txt")]):
        assert list(passed_over(paths)) == [of_all]
    (of_folder,) = passed_over([str(archives)])
    assert "4 files passed over (1 .tar, 1 .zip, 1 .txt, 1 .md); " in of_folder
    assert of_folder.endswith(f"; {beside}")


def test_an_archive_that_is_cut_off_is_a_picture_that_cannot_be_read(archives):
    os.truncate(archives / "1.tar", 512 * 5)
    os.truncate(archives / "2.zip", 500)
    for path in (archives / "1.tar", archives / "2.zip"):
        *_, last = sources([str(path)])
        assert last.title == str(path)
        with pytest.raises(
            PictureError, match=rf"^cannot read picture {path} \(it is damaged or cut off.*; replace it"
        ):
            last.read(as_trained=False)


def test_links_of_a_labelled_list_lead_to_no_archive_outside(archives, tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "1.tar").symlink_to(archives / "1.tar")
    (tmp_path / "list.txt").write_text("1.tar/a.jpg 0 1\n")
    with pytest.raises(DataError, match="leads out of"):
        names(tmp_path / "list.txt", data_root=str(tmp_path / "root"))


@pytest.mark.parametrize("text", [",,\n", "sub/1.jpg 0 1\nsub/2.jpg 1 1\n", "Words.\n\nAnd others.\n"])
def test_a_list_whose_pictures_are_all_elsewhere(tmp_path, text):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(DataError, match=r"list\.txt: none of its pictures exists.* with --data_root"):
        count([str(tmp_path / "list.txt")])


def test_boxes_are_parts_of_pictures(folder):
    """A header is passed over, and a box is cut at the picture's border."""
    (folder / "boxes.csv").write_text("path,left,top,right,bottom,id\na.jpg,-3,2.4,5,9,7\nb.PNG,1,1,3,90,x\n")
    found = list(sources([], boxes=str(folder / "boxes.csv")))
    assert [(source.name, source.box, source.person) for source in found] == [
        ("a.jpg", (-3, 2, 5, 9), "7"),
        ("b.PNG", (1, 1, 3, 90), "x"),
    ]
    assert [source.read(as_trained=False).size for source in found] == [(5, 7), (2, 19)]
    assert found[0].title == "a.jpg -3,2,5,9"
    assert count([], boxes=str(folder / "boxes.csv")) == 2
    with pytest.raises(
        PictureError, match=r"a\.jpg 11,0,15,9: the box is outside of the picture, which has 11 x 20"
    ):
        found[0]._replace(box=(11, 0, 15, 9)).read(as_trained=False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,left,top,right,bottom\n", "boxes.csv has no boxes"),
        ("a.jpg,1,2,3,4\na.jpg,1,2,3\n", "boxes.csv:2: 4 cells"),
        ("a.jpg,1,2,3,4\na.jpg,1,2,3,4,7\n", "boxes.csv:2: 6 cells; .* in all lines or in none"),
        ("a.jpg,1,2,3,4\na.jpg,1,2,x,4\n", "boxes.csv:2: 'a.jpg,1,2,x,4' lacks a number"),
        ("a.jpg,1,2,3,4,\n", "boxes.csv:1: .* lacks a number or an id"),
        ("a.jpg,3,2,1,4\n", "boxes.csv:1: 3,2,1,4 is no box"),
    ],
)
def test_a_wrong_line_of_boxes_is_named(folder, text, words):
    (folder / "boxes.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        count([], boxes=str(folder / "boxes.csv"))


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("gone.jpg", "gone.jpg: there is no such file"),
        ("gone*.jpg", r"gone\*.jpg matches no picture"),
        ("empty", "empty has no pictures; pictures end in .avif, "),
        ("clip.MP4", r"clip.MP4 is a video; make pictures of it.* ffmpeg -i .*clip.MP4 -vf fps=1 frames/"),
        ("pipe", "pipe is a device or a pipe"),
        ("bad.txt", "bad.txt:2: 2 labels, expected 3"),
        ("nothing.txt", "nothing.txt is empty"),
        ("none.tar", r"none\.tar has no pictures"),
        ("a.tar.gz", r"a\.tar\.gz is compressed as a whole; make a \.tar or a \.zip"),
        ("none.tar/a.png", r"none\.tar/a\.png: there is no such file"),
        ("link.txt", "link.txt: .* leads out of .* through a link"),
    ],
)
def test_a_path_that_gives_no_pictures_is_refused(tmp_path, path, words):
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    Image.new("RGB", (40, 120)).save(tmp_path / "a.png")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link.png").symlink_to(tmp_path / "a.png")
    (tmp_path / "clip.MP4").write_bytes(b"ftypisom")
    (tmp_path / "none.tar").write_bytes(bytes(1024))
    (tmp_path / "a.tar.gz").write_bytes(b"\x1f\x8b")
    (tmp_path / "bad.txt").write_text("a.png 0 1 1\nb.png 0 1\n")
    (tmp_path / "nothing.txt").write_text("\n")
    (tmp_path / "link.txt").write_text("link.png 0 1 1\n")
    root = str(tmp_path / "root") if path == "link.txt" else None
    with pytest.raises(DataError, match=words):
        count([str(tmp_path / path)], root)
    if root:
        assert count([str(tmp_path / path)], root, follow_links=True) == 1
