"""Checkpoints: the published layout both ways, old files, hostile files, faults while saving."""

import json
import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from conftest import REPOSITORY

import alm
from alm.checkpoint import (
    OWN_FORMAT,
    align_corners_of,
    load_backbone,
    load_checkpoint,
    load_reference_state,
    load_warm_start,
    reference_state,
    restore_model,
    save_checkpoint,
    to_reference,
)


def model_of(num_attributes=3, approach="inception_iccv", seed=0):
    torch.manual_seed(seed)
    return alm.build_model(approach, num_attributes)


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def published_file(path, model, *, prefix="module.", old=True, numpy_module="numpy.core.multiarray"):
    """Write what the published program writes; `numpy_module` is where it finds the class of its scalar."""
    state = {f"{prefix}{name}": tensor for name, tensor in reference_state(model).items()}
    content = {"epoch": 40, "state_dict": state, "best_accu": np.float64(0.875)}
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    if old:
        written = path.read_bytes()
        for module in (b"numpy._core.multiarray", b"numpy.core.multiarray"):
            written = written.replace(b"c" + module + b"\n", b"c" + numpy_module.encode() + b"\n")
        path.write_bytes(written)
    return path


@pytest.mark.parametrize("approach", list(alm.APPROACHES))
@pytest.mark.parametrize("prefix", ["", "module."])
def test_round_trip_is_bit_for_bit(approach, prefix):
    source, target = model_of(approach=approach), model_of(approach=approach, seed=1)
    state = reference_state(source)
    load_reference_state(target, {prefix + name: tensor for name, tensor in state.items()})
    assert same(source.state_dict(), target.state_dict())
    assert same(state, reference_state(target))


def test_layout_is_the_published_one(shared):
    shapes = json.loads((shared / "reference" / "state_dict_peta.json").read_text(encoding="utf-8"))
    ours = {name: list(tensor.shape) for name, tensor in reference_state(model_of(35)).items()}
    assert ours == shapes


def test_baseline_layout_is_backbone_and_classifier_alone():
    names = {name.split(".")[0] for name in reference_state(model_of(approach="bn_inception"))}
    assert names == {"main_branch", "finalfc"}


def test_missing_and_misshapen_entries_change_nothing():
    model = model_of()
    before = reference_state(model)
    state = reference_state(model_of(seed=1))
    del state["finalfc.weight"]
    state["latlayer_5b.bias"] = torch.zeros(7)
    state["surplus"] = torch.zeros(1)
    with pytest.raises(
        alm.AlmError, match=r"1 missing: finalfc.weight.*latlayer_5b.bias \(7,\) instead of \(256,\).*surplus"
    ):
        load_reference_state(model, state)
    assert same(before, reference_state(model))


def test_missing_batch_counts_are_normal_and_extra_entries_a_warning():
    state = reference_state(model_of(seed=1))
    state = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    model = model_of()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_reference_state(model, state)
    assert same(model.state_dict(), model_of(seed=1).state_dict())
    with pytest.warns(UserWarning, match="1 not in this model: surplus"):
        load_reference_state(model, {**state, "surplus": torch.zeros(1)})


@pytest.mark.parametrize("numpy_module", ["numpy.core.multiarray", "numpy._core.multiarray"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_published_file_is_read(tmp_path, prefix, numpy_module):
    source, target = model_of(), model_of(seed=1)
    path = published_file(tmp_path / "40.pth.tar", source, prefix=prefix, numpy_module=numpy_module)
    assert f"c{numpy_module}\nscalar".encode() in path.read_bytes()
    checkpoint = load_checkpoint(path)
    assert checkpoint["epoch"] == 40
    assert checkpoint["best_accu"] == 0.875
    restore_model(target, checkpoint)
    assert same(source.state_dict(), target.state_dict())


def test_convention_follows_the_serialization(tmp_path):
    old = published_file(tmp_path / "old.pth.tar", model_of())
    new = published_file(tmp_path / "new.pth.tar", model_of(), old=False)
    assert align_corners_of(old, load_checkpoint(old)) is True
    assert align_corners_of(new, load_checkpoint(new)) is False
    for convention in (True, False):
        own = {"format": OWN_FORMAT, "align_corners": convention, "state_dict": model_of().state_dict()}
        save_checkpoint(tmp_path / "own.pth.tar", own)
        assert (
            align_corners_of(tmp_path / "own.pth.tar", load_checkpoint(tmp_path / "own.pth.tar"))
            is convention
        )


def test_safe_globals_are_as_before(tmp_path):
    before = torch.serialization.get_safe_globals()
    load_checkpoint(published_file(tmp_path / "old.pth.tar", model_of()))
    assert set(torch.serialization.get_safe_globals()) == set(before)


class Hostile:
    """Pickles to a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("old", [True, False])
def test_hostile_file_is_refused_and_does_nothing(tmp_path, old):
    trace, path = tmp_path / "trace", tmp_path / "hostile.pth.tar"
    hostile = Hostile(os.system, f"touch {trace}")
    torch.save({"state_dict": {}, "epoch": hostile}, path, _use_new_zipfile_serialization=not old)
    with pytest.raises(alm.AlmError, match=r"hostile.pth.tar: refused: it asks for .*system"):
        load_checkpoint(path)
    assert not trace.exists()


def test_other_numpy_objects_are_refused(tmp_path):
    for index, content in enumerate((np.arange(3), np.float32(1), np.array([object()], dtype=object))):
        path = tmp_path / f"{index}.pth.tar"
        torch.save({"state_dict": {}, "epoch": content}, path)
        with pytest.raises(alm.AlmError, match="refused"):
            load_checkpoint(path)


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", b"PK\x03\x04 torn", pickle.dumps([1, 2]), b"\x80\x02}q\x00."]
)
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "file.pth.tar"
    path.write_bytes(content)
    with pytest.raises(alm.AlmError, match=r"file.pth.tar: "):
        load_checkpoint(path)


def test_truncated_checkpoint_is_refused(tmp_path):
    path = published_file(tmp_path / "40.pth.tar", model_of())
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(alm.AlmError, match="damaged"):
        load_checkpoint(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(alm.AlmError, match=r"absent.pth.tar: no such file"):
        load_checkpoint(tmp_path / "absent.pth.tar")


def test_other_attribute_count_says_both():
    checkpoint = {"state_dict": reference_state(model_of(51))}
    with pytest.raises(alm.AlmError, match=r"51 attributes.*35"):
        restore_model(model_of(35), checkpoint)


def test_own_checkpoint_of_another_approach_is_refused():
    baseline = model_of(approach="bn_inception")
    checkpoint = {"format": OWN_FORMAT, "approach": "bn_inception", "state_dict": baseline.state_dict()}
    with pytest.raises(alm.AlmError, match=r"bn_inception.*--init_from"):
        restore_model(model_of(), checkpoint)


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("classifier", [True, False])
def test_backbone_weights(flat, classifier):
    source, target = model_of(), model_of(seed=1)
    before = reference_state(target)
    state = {
        name.removeprefix("main_branch."): tensor
        for name, tensor in reference_state(source).items()
        if name.startswith("main_branch.")
    }
    if not flat:
        state = {
            name: tensor[None] if "_bn." in name and tensor.dim() else tensor
            for name, tensor in state.items()
        }
    if classifier:
        state |= {"last_linear.weight": torch.zeros(1000, 1024), "last_linear.bias": torch.zeros(1000)}
    used, unused = load_backbone(target, state)
    assert len(used) == 483
    assert unused == (["last_linear.weight", "last_linear.bias"] if classifier else [])
    assert same(source.backbone.state_dict(), target.backbone.state_dict())
    after = reference_state(target)
    assert all(
        torch.equal(before[name], after[name]) for name in after if not name.startswith("main_branch.")
    )


def test_backbone_weights_of_nothing_are_refused():
    with pytest.raises(alm.AlmError, match=r"none of the backbone's names"):
        load_backbone(model_of(), {"layer1.weight": torch.zeros(3)})
    with pytest.raises(alm.AlmError, match=r"conv1_7x7_s2.bias has the shape"):
        load_backbone(model_of(), {"conv1_7x7_s2.bias": torch.zeros(3)})


@pytest.mark.parametrize("own", [True, False])
def test_warm_start_takes_backbone_and_classifier(own):
    baseline, model = model_of(approach="bn_inception"), model_of(seed=1)
    before = model.localization.state_dict()
    if own:
        checkpoint = {"format": OWN_FORMAT, "approach": "bn_inception", "state_dict": baseline.state_dict()}
    else:
        checkpoint = {"state_dict": {f"module.{k}": v for k, v in reference_state(baseline).items()}}
    load_warm_start(model, checkpoint)
    assert same(model.backbone.state_dict(), baseline.backbone.state_dict())
    assert same(model.classifier.state_dict(), baseline.classifier.state_dict())
    assert same(model.localization.state_dict(), before)


def test_warm_start_from_another_count_is_refused():
    checkpoint = {"state_dict": reference_state(model_of(4, "bn_inception"))}
    with pytest.raises(alm.AlmError, match=r"finalfc.weight \(4, 1024\) instead of \(3, 1024\)"):
        load_warm_start(model_of(), checkpoint)


def test_failing_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "best.pth.tar"
    save_checkpoint(path, {"state_dict": {"a": torch.zeros(1)}})
    before = path.read_bytes()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(path, {"state_dict": {"a": torch.ones(1)}})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_gradients_map_the_same_way():
    model = model_of()
    parameters = dict(model.named_parameters())
    mapped = to_reference(parameters)
    assert sum(tensor.numel() for tensor in mapped.values()) == sum(p.numel() for p in parameters.values())
    assert mapped.keys() <= reference_state(model).keys()


@pytest.mark.parametrize("approach", list(alm.APPROACHES))
@pytest.mark.parametrize("align_corners", [True, False])
def test_export_is_read_back_bit_for_bit(tmp_path, approach, align_corners):
    source, target = model_of(approach=approach), model_of(approach=approach, seed=1)
    own, out = tmp_path / "7.pth.tar", tmp_path / "published.pth.tar"
    checkpoint = {"format": OWN_FORMAT, "approach": approach, "align_corners": align_corners, "epoch": 7}
    save_checkpoint(own, checkpoint | {"best_accu": 0.5, "state_dict": source.state_dict()})
    command = [sys.executable, REPOSITORY / "run_scripts" / "export.py", "--to", "reference", own, out]
    subprocess.run(command, check=True, capture_output=True)

    written = torch.load(out, weights_only=True)
    assert written.keys() == {"epoch", "state_dict", "best_accu"}
    assert all(name.startswith("module.") for name in written["state_dict"])
    assert all(tensor.is_contiguous() for tensor in written["state_dict"].values())
    checkpoint = load_checkpoint(out)
    assert (checkpoint["epoch"], align_corners_of(out, checkpoint)) == (7, align_corners)
    restore_model(target, checkpoint)
    assert same(source.state_dict(), target.state_dict())

    again = subprocess.run(command, capture_output=True, text=True)
    assert (again.returncode, again.stderr) == (1, f"error: {out} exists; name a new file\n")
