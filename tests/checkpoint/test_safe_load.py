"""Files of tensors from anyone: nothing is executed, nothing unpacks to more than it is."""

import io
import os
import pickle
import struct
import tarfile
import threading
import warnings
import zipfile
from contextlib import suppress

import numpy as np
import pytest
import torch
from support.models import saved

import alm
from alm.checkpoint.safe_load import numpy_scalar_allowed, safe_load

pytestmark = pytest.mark.timeout(30)
PROTOCOL = b"\x80\x02"
both_serializations = pytest.mark.parametrize("old", [True, False])


class Call:
    """Pickles to a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture
def hostile(tmp_path):
    """Return what pickles to a command; no test may let it run."""
    yield Call(os.system, f"touch {tmp_path / 'trace'}")
    assert not (tmp_path / "trace").exists()


@pytest.fixture
def read(tmp_path):
    """Return a function that reads a file of these bytes."""

    def read(content):
        (tmp_path / "a.pth.tar").write_bytes(content)
        return safe_load(tmp_path / "a.pth.tar")

    return read


@pytest.fixture
def refuse(read):
    """Return a function that asserts that a file of these bytes is refused in these words."""

    def refuse(content, words):
        with pytest.raises(alm.AlmError, match=rf"a\.pth\.tar: .*({words})"):
            read(content)

    return refuse


@both_serializations
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (np.float32(1), "it holds a numpy scalar of type float32; .* plain Python number"),
        (np.int64(3), "it holds a numpy scalar of type int64; .* plain Python number"),
        (np.bool_(True), "it holds a numpy scalar of type bool; .* plain Python number"),
        (np.arange(3), "refused: it asks for numpy"),
        (np.array([object()], dtype=object), "refused: it asks for numpy"),
        (torch.zeros(1).expand(10**9), r"declares a tensor of shape \(1000000000,\) without its numbers"),
        ([torch.zeros(2, 2).to_sparse()], "not plain numbers"),
        (({"b": torch.zeros(3, device="meta")},), "not plain numbers"),
    ],
)
def test_only_tensors_and_numbers_are_taken(refuse, content, words, old):
    refuse(saved({"state_dict": {"a": content}}, old), words)


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.zeros(3).to(torch.float8_e4m3fn), "torch.float8_e4m3fn"),
        (torch.zeros(3).to(torch.complex64), "torch.complex64"),
        (torch.zeros(3).byte().view(torch.bits8), "torch.bits8"),
    ],
)
def test_numbers_that_torch_can_hardly_compute_with_are_refused(refuse, tensor, words):
    refuse(saved({"state_dict": {"a": tensor}}), rf"it holds numbers of type {words}; save them as float32")


@both_serializations
@pytest.mark.parametrize(
    "content",
    [
        lambda call: {"state_dict": {}, "epoch": call},
        lambda call: {"state_dict": {"a": torch.zeros(1)}, "epoch": 1, "best_accu": call},
        lambda call: {"format": "alm-1", "options": {"seed": {"deeper": call}}},
        lambda call: [[(1, [call])]],
    ],
)
def test_a_call_is_found_wherever_it_hides(refuse, hostile, content, old):
    refuse(saved(content(hostile), old), "refused: it asks for .*system")


@both_serializations
def test_float64_scalar_is_taken_whatever_numpy_names_its_class(read, old, monkeypatch):
    """numpy below 1.25 has no numpy.dtypes."""
    content = saved({"best_accu": np.float64(0.75)}, old)
    monkeypatch.delattr(np, "dtypes")
    assert read(content)["best_accu"] == 0.75


@both_serializations
def test_shared_and_sliced_tensors_are_taken(read, old):
    whole = torch.arange(10.0)
    content = {"whole": whole, "part": whole[2:5], "turned": torch.ones(2, 3).T, "empty": torch.zeros(0)}
    found = read(saved(content, old))
    assert all(torch.equal(found[name], tensor) for name, tensor in content.items())


@both_serializations
@pytest.mark.parametrize("container", [list, tuple, lambda entries: dict(enumerate(entries))])
def test_a_list_that_is_in_others_again_and_again_is_looked_into_once(read, container, old):
    """Ten to the thirtieth entries in two thousand bytes."""
    content = [torch.zeros(3)]
    for _ in range(30):
        content = container([content] * 10)
    assert len(read(saved(content, old))) == 10


def test_a_list_that_holds_itself_has_an_end(read):
    endless = [torch.zeros(1)]
    endless.append(endless)
    assert len(read(saved(endless))) == 2


# No files of tensors.


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", b"PK\x03\x04 torn", pickle.dumps([1, 2]), b"\x80\x02}q\x00."]
)
def test_other_files_are_refused(refuse, content):
    refuse(content, "")


def test_a_tar_archive_is_refused(refuse):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.add(__file__, "storages")
    refuse(out.getvalue(), "it is a tar archive")


def write_traced(path):
    torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.zeros(1)), path)


def write_exported(path):
    torch.export.save(torch.export.export(torch.nn.ReLU(), (torch.zeros(1),)), path)


def write_onnx(path):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], [])), path)


def write_safetensors(path):
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (
            lambda path: path.write_bytes(saved(torch.nn.Linear(1, 1), old=True)),
            "a whole module, .*Linear, .*state_dict",
        ),
        (
            lambda path: path.write_bytes(saved({"net": torch.nn.ReLU()})),
            "a whole module, .*ReLU, .*state_dict",
        ),
        (write_traced, "a TorchScript archive; save the module's state_dict"),
        (write_exported, "what torch.export.save wrote; name the checkpoint"),
        (write_onnx, "an ONNX network"),
        (write_safetensors, "a safetensors file; save what is in it with torch.save"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_what_is_taken_for_a_checkpoint_is_named(tmp_path, write, words):
    write(tmp_path / "a.pth")
    with pytest.raises(alm.AlmError, match=rf"a\.pth: refused: it (is|holds) {words}"):
        safe_load(tmp_path / "a.pth")


def test_what_is_no_file_is_named_and_not_opened(tmp_path):
    (tmp_path / "null").symlink_to(os.devnull)
    (tmp_path / "zero").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    for name in ("null", "zero", "pipe", "."):
        with pytest.raises(alm.AlmError, match="it is a directory, a device or a pipe; name a file"):
            safe_load(tmp_path / name)
    for name in ("absent", 300 * "a"):
        with pytest.raises(alm.AlmError, match=f"{name}: no such file"):
            safe_load(tmp_path / name)


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


# Files that are made by hand.


def good(old=False):
    return saved({"state_dict": {"a": torch.ones(7)}}, old)


def rezipped(file, change=dict, compression=zipfile.ZIP_STORED):
    """Return a zip whose parts, name -> bytes, are changed."""
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in change(parts).items():
            archive.writestr(name, content)
    return out.getvalue()


def extended(file, parts):
    """Return a zip with more parts behind its own."""
    out = io.BytesIO(file)
    with warnings.catch_warnings(), zipfile.ZipFile(out, "a") as archive:
        warnings.simplefilter("ignore")  # zipfile's, of a name that is there
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def with_pickle(pickled, old):
    """Return a file with another pickle in the place of its content."""
    if not old:
        return rezipped(good(), lambda parts: parts | {"archive/data.pkl": pickled})
    sizes = {"short": 2, "int": 4, "long": 4}
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": sizes}
    head = (torch.serialization.MAGIC_NUMBER, torch.serialization.PROTOCOL_VERSION, machine)
    return b"".join(pickle.dumps(part, 2) for part in head) + pickled + pickle.dumps([], 2)


@both_serializations
@pytest.mark.parametrize("cut", [b"", PROTOCOL + b"t.", PROTOCOL + b"h\x07.", b"\xff"])
def test_a_damaged_pickle_is_no_fault_of_the_program(refuse, cut, old):
    refuse(with_pickle(cut, old), "damaged")


def test_compressed_entries_are_refused_before_they_are_unpacked(refuse):
    bomb = rezipped(saved(torch.zeros(5_000_000)), compression=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 50_000
    refuse(bomb, r"compressed, and would unpack to 20\.0 MB")


def test_entries_that_lie_on_each_other_are_refused(refuse):
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
    refuse(out.getvalue(), "would unpack to 100.0 MB")


@pytest.mark.parametrize("size", [2**31, 2**32 - 2, 3])
def test_sizes_that_are_false_are_refused(refuse, size):
    content = bytearray(rezipped(good()))
    directory = content.rfind(b"PK\x01\x02")
    content[directory + 20 : directory + 28] = struct.pack("<II", size, size)
    refuse(bytes(content), "refused|damaged")


def test_numbers_that_are_declared_and_not_there_are_refused(refuse):
    whole = saved(torch.zeros(5_000_000))
    short = rezipped(whole, lambda parts: parts | {"archive/data/0": parts["archive/data/0"][:40]})
    refuse(short, r"declare 20000000 bytes, and the file has|it is damaged")


def test_what_lies_behind_a_short_part_is_not_read(refuse):
    """torch 2.4 takes as many numbers as are declared, from wherever they would lie, if the file is large."""
    junk, short = {"archive/junk": bytes(20_000_000)}, {"archive/data/0": bytes(40)}
    whole = saved({"state_dict": {"a": torch.zeros(2_000_000)[-1]}})
    refuse(rezipped(whole, lambda own: junk | dict(sorted(own.items())[::-1]) | short), "damaged")


@both_serializations
def test_storages_that_are_declared_and_not_there_take_no_memory(refuse, old):
    def enlarge(content):
        return content.replace(b"K\x07", b"\x8a\x06" + struct.pack("<q", 2**40)[:6])

    def enlarge_parts(parts):
        return {name: enlarge(part) for name, part in parts.items()}

    refuse(enlarge(good(old)) if old else rezipped(good(), enlarge_parts), "it is damaged|declare")


@pytest.mark.parametrize("name", ["archive/data.pkl", "archive/DATA.PKL"])
def test_a_second_pickle_is_refused(refuse, hostile, name):
    refuse(extended(good(), {name: pickle.dumps(hostile)}), "two entries of one name")


def test_a_zip_with_more_entries_writes_none_of_them(read, tmp_path):
    names = ("../evil", "archive/../../evil", str(tmp_path / "evil"))
    with suppress(alm.AlmError):
        assert torch.equal(
            read(extended(good(), dict.fromkeys(names, b"x")))["state_dict"]["a"], torch.ones(7)
        )
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.pth.tar"]
    assert not (tmp_path.parent / "evil").exists()


def test_a_file_in_both_serializations_is_what_it_begins_as(read, refuse, hostile):
    found = read(good(old=True) + saved(hostile))
    assert torch.equal(found["state_dict"]["a"], torch.ones(7))
    refuse(saved(hostile) + good(old=True), "it asks for .*system|damaged")
    refuse(saved(hostile, old=True) + good(), "it asks for .*system|damaged")


# What torch may build.


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
