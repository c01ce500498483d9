"""Files of tensors from anyone: nothing is executed, nothing unpacks to more than it is."""

import io
import os
import pickle
import struct
import threading
import warnings
import zipfile
from contextlib import suppress

import numpy as np
import pytest
import torch

import alm
from alm.checkpoint.safe_load import numpy_scalar_allowed, safe_load

pytestmark = pytest.mark.timeout(30)
PROTOCOL = b"\x80\x02"


class Hostile:
    """Pickles to a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def save(path, content, old):
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    return path


@pytest.mark.parametrize("old", [True, False])
def test_hostile_file_is_refused_and_does_nothing(tmp_path, old):
    trace = tmp_path / "trace"
    hostile = Hostile(os.system, f"touch {trace}")
    path = save(tmp_path / "hostile.pth.tar", {"state_dict": {}, "epoch": hostile}, old)
    with pytest.raises(alm.AlmError, match=r"hostile.pth.tar: refused: it asks for .*system"):
        safe_load(path)
    assert not trace.exists()


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize(("value", "name"), [(np.float32(1), "float32"), (np.int64(3), "int64"),
                                             (np.bool_(True), "bool")])  # fmt: skip
def test_other_numpy_scalars_are_named(tmp_path, value, name, old):
    path = save(tmp_path / "a.pth.tar", {"best_accu": value}, old)
    with pytest.raises(
        alm.AlmError, match=rf"it holds a numpy scalar of type {name}; .* plain Python number"
    ):
        safe_load(path)


@pytest.mark.parametrize("value", [np.arange(3), np.array([object()], dtype=object)])
def test_numpy_arrays_are_refused(tmp_path, value):
    with pytest.raises(alm.AlmError, match="refused: it asks for numpy"):
        safe_load(save(tmp_path / "a.pth.tar", {"epoch": value}, old=False))


@pytest.mark.parametrize("old", [True, False])
def test_float64_scalar_is_taken_whatever_numpy_names_its_class(tmp_path, old, monkeypatch):
    """numpy below 1.25 has no numpy.dtypes."""
    path = save(tmp_path / "a.pth.tar", {"best_accu": np.float64(0.75)}, old)
    monkeypatch.delattr(np, "dtypes")
    assert safe_load(path)["best_accu"] == 0.75


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", b"PK\x03\x04 torn", pickle.dumps([1, 2]), b"\x80\x02}q\x00."]
)
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "file.pth.tar"
    path.write_bytes(content)
    with pytest.raises(alm.AlmError, match=r"file.pth.tar: "):
        safe_load(path)


def test_what_is_no_file_is_named_and_not_opened(tmp_path):
    (tmp_path / "null").symlink_to(os.devnull)
    (tmp_path / "zero").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    for name in ("null", "zero", "pipe", "."):
        with pytest.raises(alm.AlmError, match="it is a directory, a device or a pipe; name a file"):
            safe_load(tmp_path / name)
    with pytest.raises(alm.AlmError, match="absent: no such file"):
        safe_load(tmp_path / "absent")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("head", [b"", b"\xfd7zXZ\0", b"\x1f\x8b\x08", b"\x80\x02"])
@pytest.mark.parametrize("gigabytes", [3, 10])
def test_a_huge_file_of_zeros_is_refused_at_once(tmp_path, head, gigabytes):
    """It takes no room on the disk; tarfile.is_tarfile unpacks it for hours."""
    path = tmp_path / "a.pth.tar"
    path.write_bytes(head)
    os.truncate(path, gigabytes << 30)
    with pytest.raises(alm.AlmError, match="more than 4 GB" if gigabytes > 4 else "damaged|tar archive"):
        safe_load(path)


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("place", ["best_accu", "options", "tuple in a list"])
def test_a_call_is_found_wherever_it_hides(tmp_path, place, old):
    trace = tmp_path / "trace"
    hostile = Hostile(os.system, f"touch {trace}")
    content = {
        "best_accu": {"state_dict": {"a": torch.zeros(1)}, "epoch": 1, "best_accu": hostile},
        "options": {"format": "alm-1", "options": {"seed": {"deeper": hostile}}},
        "tuple in a list": [[(1, [hostile])]],
    }[place]
    with pytest.raises(alm.AlmError, match=r"refused: it asks for .*system"):
        safe_load(save(tmp_path / "a.pth.tar", content, old))
    assert not trace.exists()


def test_a_zip_with_more_entries_writes_none_of_them(tmp_path):
    path = save(tmp_path / "a.pth.tar", {"a": torch.ones(3)}, old=False)
    with zipfile.ZipFile(path, "a") as archive:
        for name in ("../evil", "archive/../../evil", str(tmp_path / "evil")):
            archive.writestr(name, "x")
    with suppress(alm.AlmError):
        assert torch.equal(safe_load(path)["a"], torch.ones(3))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.pth.tar"]
    assert not (tmp_path.parent / "evil").exists()


def repacked(path, change, compression=zipfile.ZIP_STORED):
    """Write a zip of the same entries, each changed by `change(name, bytes)`, beside a file."""
    with (
        zipfile.ZipFile(path) as source,
        zipfile.ZipFile(path.with_name("b.pth.tar"), "w", compression) as out,
    ):
        for entry in source.infolist():
            out.writestr(entry.filename, change(entry.filename, source.read(entry)))
    return path.with_name("b.pth.tar")


def test_compressed_entries_are_refused_before_they_are_unpacked(tmp_path):
    path = save(tmp_path / "a.pth.tar", {"state_dict": {"a": torch.zeros(5_000_000)}}, old=False)
    bomb = repacked(path, lambda name, content: content, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 50_000
    with pytest.raises(alm.AlmError, match=r"compressed, and would unpack to 20\.0 MB"):
        safe_load(bomb)


def test_numbers_that_are_declared_and_not_there_are_refused(tmp_path):
    path = save(tmp_path / "a.pth.tar", {"state_dict": {"a": torch.zeros(5_000_000)}}, old=False)
    short = repacked(path, lambda name, content: content[:40] if name.endswith("data/0") else content)
    with pytest.raises(alm.AlmError, match=r"declare 20000000 bytes, and the file has|it is damaged"):
        safe_load(short)


def test_what_lies_behind_a_short_part_is_not_read(tmp_path):
    """torch 2.4 takes as many numbers as are declared, from wherever they would lie, if the file is large."""
    parts = {"archive/junk": bytes(20_000_000)}
    whole = saved({"state_dict": {"a": torch.zeros(2_000_000)[-1]}})
    short = rezipped(
        whole, lambda own: parts | dict(sorted(own.items())[::-1]) | {"archive/data/0": bytes(40)}
    )
    refused(tmp_path, short, "damaged")


@pytest.mark.parametrize("old", [True, False])
def test_a_tensor_larger_than_its_numbers_is_refused(tmp_path, old):
    path = save(tmp_path / "a.pth.tar", {"state_dict": {"a": torch.zeros(1).expand(10**9)}}, old)
    with pytest.raises(alm.AlmError, match=r"declares a tensor of shape \(1000000000,\) without its numbers"):
        safe_load(path)


@pytest.mark.parametrize("tensor", [torch.zeros(2, 2).to_sparse(), torch.zeros(3, device="meta")])
def test_tensors_that_are_not_plain_numbers_are_refused(tmp_path, tensor):
    path = save(tmp_path / "a.pth.tar", {"state_dict": [{"a": tensor}]}, old=False)
    with pytest.raises(alm.AlmError, match="not plain numbers"):
        safe_load(path)


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("container", ["list", "dict", "tuple"])
def test_a_list_that_is_in_others_again_and_again_is_looked_into_once(tmp_path, old, container):
    """Ten to the thirtieth entries in two thousand bytes."""
    deep = [torch.zeros(3).to_sparse()]
    for _ in range(30):
        entries = [deep] * 10
        deep = {"list": entries, "tuple": tuple(entries), "dict": dict(enumerate(entries))}[container]
    path = save(tmp_path / "a.pth.tar", {"state_dict": {"a": torch.zeros(1)}, "options": deep}, old)
    with pytest.raises(alm.AlmError, match="not plain numbers"):
        safe_load(path)


def test_a_list_that_holds_itself_has_an_end(tmp_path):
    endless = [torch.zeros(1)]
    endless.append(endless)
    assert len(safe_load(save(tmp_path / "a.pth.tar", endless, old=False))) == 2


def test_a_tar_archive_is_refused(tmp_path):
    import tarfile

    path = tmp_path / "a.pth.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(__file__, "storages")
    with pytest.raises(alm.AlmError, match="it is a tar archive"):
        safe_load(path)


def test_shared_and_sliced_tensors_are_taken(tmp_path):
    whole = torch.arange(10.0)
    content = {"whole": whole, "part": whole[2:5], "turned": torch.ones(2, 3).T, "empty": torch.zeros(0)}
    for old in (True, False):
        read = safe_load(save(tmp_path / "a.pth.tar", content, old))
        assert all(torch.equal(read[name], tensor) for name, tensor in content.items())


def test_nothing_stays_allowed_whichever_thread_ends_first():
    before = set(torch.serialization.get_safe_globals())
    started, go_on = threading.Event(), threading.Event()

    def first():
        with numpy_scalar_allowed():
            started.set()
            go_on.wait(10)

    def second():
        with numpy_scalar_allowed():
            pass

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    started.wait(10)
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join()
    assert set(torch.serialization.get_safe_globals()) == before


def test_what_others_allow_stays_allowed():
    class Other:
        pass

    before = list(torch.serialization.get_safe_globals())
    try:
        with numpy_scalar_allowed():
            torch.serialization.add_safe_globals([Other])
        assert Other in torch.serialization.get_safe_globals()
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


# Files that are made by hand.


def saved(content, old=False):
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not old)
    return file.getvalue()


def good(old=False):
    return saved({"state_dict": {"a": torch.ones(7)}}, old)


def with_pickle(pickled, old):
    """Return a file with another pickle in the place of its content."""
    if not old:
        return rezipped(good(), lambda parts: parts | {"archive/data.pkl": pickled})
    machine = {
        "protocol_version": 1001,
        "little_endian": True,
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    head = (torch.serialization.MAGIC_NUMBER, torch.serialization.PROTOCOL_VERSION, machine)
    return b"".join(pickle.dumps(part, 2) for part in head) + pickled + pickle.dumps([], 2)


def rezipped(file, change):
    """Return a zip whose parts, name -> bytes, are changed."""
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in change(parts).items():
            archive.writestr(name, content)
    return out.getvalue()


def refused(tmp_path, content, match):
    path = tmp_path / "a.pth.tar"
    path.write_bytes(content)
    with pytest.raises(alm.AlmError, match=match):
        safe_load(path)


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("cut", [b"", PROTOCOL + b"t.", PROTOCOL + b"h\x07.", b"\xff"])
def test_a_damaged_pickle_is_no_fault_of_the_program(tmp_path, cut, old):
    refused(tmp_path, with_pickle(cut, old), "a.pth.tar: .*damaged")


@pytest.mark.parametrize("name", ["archive/data.pkl", "archive/DATA.PKL"])
def test_a_second_pickle_is_refused(tmp_path, name):
    trace = tmp_path / "trace"
    out = io.BytesIO(good())
    with warnings.catch_warnings(), zipfile.ZipFile(out, "a") as archive:
        warnings.simplefilter("ignore")  # zipfile's, of a name that is there
        archive.writestr(name, pickle.dumps(Hostile(os.system, f"touch {trace}")))
    refused(tmp_path, out.getvalue(), "two entries of one name")
    assert not trace.exists()


def test_a_file_in_both_serializations_is_what_it_begins_as(tmp_path):
    path, trace = tmp_path / "a.pth.tar", tmp_path / "trace"
    hostile = saved({"state_dict": {"a": torch.zeros(1)}, "epoch": Hostile(os.system, f"touch {trace}")})
    path.write_bytes(good(old=True) + hostile)
    read = safe_load(path)
    assert torch.equal(read["state_dict"]["a"], torch.ones(7))
    refused(tmp_path, hostile + good(old=True), "refused: it asks for .*system|damaged")
    refused(
        tmp_path,
        saved({"epoch": Hostile(os.system, f"touch {trace}")}, old=True) + good(),
        "it asks for .*system",
    )
    assert not trace.exists()


@pytest.mark.parametrize("size", [2**31, 2**32 - 2, 3])
def test_sizes_that_are_false_are_refused(tmp_path, size):
    content = bytearray(rezipped(good(), dict))
    directory = content.rfind(b"PK\x01\x02")
    content[directory + 20 : directory + 28] = struct.pack("<II", size, size)
    refused(tmp_path, bytes(content), "refused|damaged")


def test_entries_that_lie_on_each_other_are_refused(tmp_path):
    """A zip bomb without compression: a hundred names for the same megabyte."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
        archive.writestr("archive/data/0", bytes(10**6))
        entry = archive.infolist()[1]
        for number in range(1, 100):
            other = zipfile.ZipInfo(f"archive/data/{number}")
            for name in ("header_offset", "CRC", "compress_size", "file_size"):
                setattr(other, name, getattr(entry, name))
            archive.filelist.append(other)
        archive._didModify = True
    refused(tmp_path, out.getvalue(), "would unpack to 100.0 MB")


@pytest.mark.parametrize("old", [True, False])
def test_storages_that_are_declared_and_not_there_take_no_memory(tmp_path, old):
    def enlarge(content):
        return content.replace(b"K\x07", b"\x8a\x06" + struct.pack("<q", 2**40)[:6])

    if old:
        content = enlarge(good(old))
    else:
        content = rezipped(good(), lambda parts: {name: enlarge(part) for name, part in parts.items()})
    refused(tmp_path, content, "a.pth.tar: (refused: )?it is damaged|declare")


def test_what_was_good_stays_good(tmp_path):
    for old in (True, False):
        path = tmp_path / "a.pth.tar"
        path.write_bytes(good(old))
        assert torch.equal(safe_load(path)["state_dict"]["a"], torch.ones(7))
