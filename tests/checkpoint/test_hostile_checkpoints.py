"""Checkpoints that were made to take hours, to be two files in one, or to be more than they say."""

import io
import os
import pickle
import struct
import warnings
import zipfile

import pytest
import torch

import alm
from alm.checkpoint import safe_load as pickle_steps
from alm.checkpoint.restore import load_checkpoint
from alm.checkpoint.safe_load import safe_load

pytestmark = pytest.mark.timeout(30)
PROTOCOL, STOP = b"\x80\x02", b"."


class Hostile:
    """Pickles to a command."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


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


def ten_to_the_thirtieth():
    """Return a list with so many entries, in lists that hold each other."""
    deep = []
    for _ in range(30):
        deep = [deep] * 10
    return deep


def refused(tmp_path, content, match):
    path = tmp_path / "a.pth.tar"
    path.write_bytes(content)
    with pytest.raises(alm.AlmError, match=match):
        load_checkpoint(path)


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize(("first", "then"), [(b"]", b"a"), (b"(", b"t"), (b"N", b"N")])
def test_a_pickle_of_more_steps_than_any_checkpoint_is_refused(tmp_path, monkeypatch, first, then, old):
    """Lists in lists, tuples in tuples, or nothing again and again."""
    monkeypatch.setattr(pickle_steps, "MOST_STEPS", 9_000)
    steps = first * 9_000 + then * 9_000
    refused(tmp_path, with_pickle(PROTOCOL + steps + STOP, old), "more than 9,000 steps to read")


@pytest.mark.slow
def test_so_many_steps_take_seconds(tmp_path):
    steps = b"]" * pickle_steps.MOST_STEPS + b"a" * (pickle_steps.MOST_STEPS - 1)
    refused(tmp_path, with_pickle(PROTOCOL + steps + STOP, old=False), "more than 2,000,000 steps to read")


@pytest.mark.parametrize("old", [True, False])
def test_a_key_whose_hash_takes_a_year_is_refused(tmp_path, old):
    """Each tuple is the one before, ten times; a dict asks for the hash of the last one."""
    tuples = b"".join(b"q%c(" % n + b"h%c" % n * 10 + b"t" for n in range(30))
    pickled = PROTOCOL + b"})" + tuples + b"Ns" + STOP
    refused(tmp_path, with_pickle(pickled, old), "a tuple with more than 10,000 entries")


@pytest.mark.parametrize("old", [True, False])
def test_keys_that_all_have_one_hash_are_refused(tmp_path, old):
    equal = (pickle.encode_long(k * (2**61 - 1)) for k in range(1, 50_000))
    keys = b"".join(b"\x8a" + bytes([len(number)]) + number + b"N" for number in equal)
    refused(tmp_path, with_pickle(PROTOCOL + b"}(" + keys + b"u" + STOP, old), "number of more than 64 bits")


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("name", ["epoch", "approach", "attributes", "best_ma", "scaler", "log", "data"])
def test_a_part_that_is_endless_to_write_out_is_not_written_out(tmp_path, name, old):
    deep = ten_to_the_thirtieth()
    content = {"state_dict": {"a": torch.zeros(1)}, "format": "alm-1", name: deep}
    refused(tmp_path, saved(content, old), "damaged")


def test_a_format_that_is_endless_to_write_out_is_none(tmp_path):
    deep = ten_to_the_thirtieth()
    (tmp_path / "a.pth.tar").write_bytes(saved({"state_dict": {"a": torch.zeros(1)}, "format": deep}))
    assert load_checkpoint(tmp_path / "a.pth.tar")["epoch"] == 0


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize(
    "cut", [b"", PROTOCOL, PROTOCOL + b"t.", PROTOCOL + b"h\x07.", PROTOCOL + b"e.", b"\xff"]
)
def test_a_damaged_pickle_is_no_fault_of_the_program(tmp_path, cut, old):
    refused(tmp_path, with_pickle(cut, old), "a.pth.tar: .*damaged")


@pytest.mark.parametrize("name", ["archive/data.pkl", "archive/DATA.PKL"])
def test_a_second_pickle_is_refused(tmp_path, name):
    trace = tmp_path / "trace"
    out = io.BytesIO(good())
    with warnings.catch_warnings(), zipfile.ZipFile(out, "a") as archive:
        warnings.simplefilter("ignore")  # zipfile's, of a name that is there
        archive.writestr(name, pickle.dumps(Hostile(f"touch {trace}")))
    refused(tmp_path, out.getvalue(), "two entries of one name")
    assert not trace.exists()


def test_a_file_in_both_serializations_is_what_it_begins_as(tmp_path):
    path, trace = tmp_path / "a.pth.tar", tmp_path / "trace"
    hostile = saved({"state_dict": {"a": torch.zeros(1)}, "epoch": Hostile(f"touch {trace}")})
    path.write_bytes(good(old=True) + hostile)
    read = load_checkpoint(path)
    assert torch.equal(read["state_dict"]["a"], torch.ones(7))
    refused(tmp_path, hostile + good(old=True), "refused: it asks for .*system|damaged")
    refused(tmp_path, saved({"epoch": Hostile(f"touch {trace}")}, old=True) + good(), "it asks for .*system")
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
