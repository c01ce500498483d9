"""Our checkpoints: written whole, read with care; and whatever they are restored into."""

import math
import os
import subprocess
import sys
import warnings

import pytest
import torch
from support import REPOSITORY
from support.models import ATTRIBUTES, model_of, own_checkpoint, published_file, same

import alm
from alm.checkpoint.restore import (
    check_attributes,
    initialize,
    load_checkpoint,
    load_model,
    reference_state,
    restore_model,
    save_checkpoint,
)
from alm.checkpoint.schema import FORMERLY
from alm.models.network import ALM

SCALER = {
    "scale": 65536.0,
    "growth_factor": 2.0,
    "backoff_factor": 0.5,
    "growth_interval": 2000,
    "_growth_tracker": 3,
}


@pytest.fixture
def saved(tmp_path):
    """Return a function that saves a checkpoint of ours with some parts replaced, or left out by None."""

    def save(model=None, **parts):
        content = own_checkpoint(model or model_of(), **parts)
        save_checkpoint(tmp_path / "7.pth.tar", {k: v for k, v in content.items() if v is not None})
        return tmp_path / "7.pth.tar"

    return save


@pytest.mark.parametrize("old", [True, False])
def test_what_is_saved_is_read_back(tmp_path, old):
    content = own_checkpoint(model_of())
    save_checkpoint(tmp_path / "7.pth.tar", content, old_serialization=old)
    read = load_checkpoint(tmp_path / "7.pth.tar")
    assert same(read.pop("state_dict"), content.pop("state_dict"))
    assert read == FORMERLY | content


def test_convention_follows_the_serialization_of_a_published_file(tmp_path):
    for old in (True, False):
        path = published_file(tmp_path / "a.pth.tar", model_of(), old=old)
        assert load_checkpoint(path)["align_corners"] is old
    baseline = published_file(tmp_path / "b.pth.tar", model_of(approach="bn_inception"))
    assert load_checkpoint(baseline)["align_corners"] is False


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"approach": "resnet50"}, r"its `approach` is 'resnet50', not one of inception_iccv, bn_inception"),
        ({"approach": ["inception_iccv"]}, r"its `approach` is \['inception_iccv'\], not one of"),
        ({"attributes": ["Hat", 3, "Bag"]}, r"its `attributes` is \['Hat', 3, 'Bag'\], not a list of names"),
        ({"attributes": ["Hat", "Hat", "Bag"]}, r"its `attributes` is .*, not a list of names"),
        ({"attributes": None}, r"has no `attributes`; it is damaged, or was made by hand"),
        ({"epoch": "three"}, r"its `epoch` is 'three', not a whole number from 0 on"),
        ({"epoch": -1}, r"its `epoch` is -1, not a whole number"),
        ({"epoch": True}, r"its `epoch` is True, not a whole number"),
        ({"options": None}, r"has no `options`"),
        ({"options": {1: 2}}, r"its `options` is \{1: 2\}, not a dict of options"),
        ({"positive_ratio": [0.5, 1.5, 0.5]}, r"its `positive_ratio` is .*, not a list of shares"),
        ({"positive_ratio": [0.5]}, r"not one positive ratio for each attribute"),
        ({"best_accu": "high"}, r"its `best_accu` is 'high', not a number"),
        ({"iterations": "x"}, r"its `iterations` is 'x', not a whole number from 0 on"),
        ({"iterations": -1}, r"its `iterations` is -1, not a whole number"),
        ({"epoch": 2**63}, r"its `epoch` is .*, not a whole number"),
        ({"best_ma": math.nan}, r"its `best_ma` is nan, not a share"),
        ({"best_ma": math.inf}, r"its `best_ma` is inf, not a share"),
        ({"best_ma": 1.5}, r"its `best_ma` is 1.5, not a share"),
        ({"best_accu": math.nan}, r"its `best_accu` is nan, not a number"),
        ({"positive_ratio": [0.5, math.nan, 0.5]}, r"its `positive_ratio` is .*, not a list of shares"),
        ({"scaler": {"scale": "x"}}, r"its `scaler` is \{'scale': 'x'\}, not a scaler's state"),
        ({"scaler": SCALER | {"scale": 0.0}}, r"its `scaler` is .*, not a scaler's state"),
        ({"scaler": SCALER | {"scale": math.inf}}, r"its `scaler` is .*, not a scaler's state"),
        ({"scaler": SCALER | {"_growth_tracker": -1}}, r"its `scaler` is .*, not a scaler's state"),
        ({"scaler": SCALER | {"growth_interval": 0.5}}, r"its `scaler` is .*, not a scaler's state"),
        ({"optimizer": [1]}, r"its `optimizer` is \[1\], not an optimizer's state"),
        ({"format": "alm-2"}, r"newer version of this program \(format alm-2, .* reads alm-1\); update"),
        ({"state_dict": {1: torch.zeros(2)}}, r"this is not a checkpoint: no `state_dict` of named tensors"),
        ({"state_dict": {}}, r"this is not a checkpoint"),
        ({"state_dict": [torch.zeros(2)]}, r"this is not a checkpoint"),
    ],
)  # fmt: skip
def test_checkpoints_that_are_wrong_inside_are_refused(saved, parts, message):
    with pytest.raises(alm.AlmError, match=rf"7\.pth\.tar: .*{message}") as error:
        load_checkpoint(saved(**parts))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "parts",
    [{"scaler": SCALER}, {"scaler": torch.amp.GradScaler("cpu", init_scale=8.0).state_dict()},
     {"best_ma": 0.7}, {"best_ma": -math.inf}, {"iterations": 0}],
)  # fmt: skip
def test_checkpoints_that_are_right_inside_are_taken(saved, parts):
    content = load_checkpoint(saved(**parts))
    assert {name: content[name] for name in parts} == parts


def test_the_first_checkpoints_do_not_count_iterations(saved):
    assert load_checkpoint(saved(iterations=None))["iterations"] == 0


@pytest.mark.parametrize(
    "content", [[1, 2], {1: torch.zeros(1)}, {"a": {"b": torch.zeros(1)}}, torch.zeros(1)]
)
def test_files_of_something_else_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pth.tar")
    with pytest.raises(alm.AlmError, match="this is not a checkpoint"):
        load_checkpoint(tmp_path / "a.pth.tar")


def test_a_long_wrong_part_is_cut(saved):
    with pytest.raises(alm.AlmError) as error:
        load_checkpoint(saved(epoch="x" * 10_000))
    assert len(str(error.value)) < 300


def test_a_part_that_is_the_same_list_again_and_again_is_named_at_once(tmp_path):
    """Its repr would have ten to the thirtieth entries."""
    deep = [1]
    for _ in range(30):
        deep = [deep] * 10
    torch.save(own_checkpoint(model_of(), options=deep), tmp_path / "7.pth.tar")
    with pytest.raises(alm.AlmError, match=r"its `options` is .*, not a dict of options") as error:
        load_checkpoint(tmp_path / "7.pth.tar")
    assert len(str(error.value)) < 300


def test_truncated_checkpoint_is_refused(tmp_path):
    path = published_file(tmp_path / "40.pth.tar", model_of())
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(alm.AlmError, match="damaged"):
        load_checkpoint(path)


# Restoring.


class Larger(ALM):
    """What a user might build on ALM."""

    def __init__(self, num_attributes):
        super().__init__(num_attributes)
        self.extra = torch.nn.Linear(2, 2)


def test_a_subclass_restores_with_what_it_adds():
    source, target = Larger(3), Larger(3)
    restore_model(target, own_checkpoint(source))
    assert same(source.state_dict(), target.state_dict())
    with pytest.raises(alm.AlmError, match=r"2 missing: extra\.weight, extra\.bias"):
        restore_model(target, own_checkpoint(model_of()))


def test_a_subclass_restores_a_published_checkpoint(tmp_path):
    class Renamed(ALM):
        pass

    source, target = model_of(), Renamed(3)
    restore_model(target, load_checkpoint(published_file(tmp_path / "40.pth.tar", source)))
    assert same(source.state_dict(), target.state_dict())


@pytest.mark.parametrize("own", [True, False])
def test_other_attribute_count_says_both_and_the_way_out(tmp_path, own):
    model = model_of(5)
    checkpoint = (
        own_checkpoint(model, attributes=list("abcde")) if own else {"state_dict": reference_state(model)}
    )
    with pytest.raises(alm.AlmError, match=r"f\.tar: it is of 5 attributes.*has 3; --init_from takes"):
        restore_model(model_of(), checkpoint, "f.tar")


def test_own_checkpoint_of_another_approach_is_refused():
    checkpoint = own_checkpoint(model_of(approach="bn_inception"))
    with pytest.raises(alm.AlmError, match=r"checkpoint of bn_inception; give --approach .*--init_from"):
        restore_model(model_of(), checkpoint)


@pytest.mark.parametrize("approach", list(alm.APPROACHES))
def test_a_published_checkpoint_of_another_approach_is_refused(tmp_path, approach):
    """Its global branch alone would be a network too, and give other figures."""
    path = published_file(tmp_path / "40.pth.tar", model_of(approach=approach))
    other = next(name for name in alm.APPROACHES if name != approach)
    target = model_of(approach=other, seed=1)
    with pytest.raises(
        alm.AlmError,
        match=rf"40\.pth\.tar: this is a checkpoint of {approach}; give --approach {approach}",
    ):
        restore_model(target, load_checkpoint(path), path)
    assert same(target.state_dict(), model_of(approach=other, seed=1).state_dict())


def test_weights_that_are_not_finite_name_the_file(saved):
    model = model_of()
    with torch.no_grad():
        model.classifier.bias[1] = torch.nan
    with pytest.raises(alm.AlmError, match=r"7\.pth\.tar: the weights are not finite: classifier\.bias; "):
        load_model(saved(model))


def test_weights_without_a_classifier_are_no_model():
    for checkpoint in (
        {"state_dict": {"a": torch.zeros(1)}},
        {"state_dict": {"finalfc.bias": torch.tensor(1.0)}},
    ):
        with pytest.raises(alm.AlmError, match="not the weights of a whole model"):
            restore_model(model_of(), checkpoint)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("Hat", "Skirt", "Bag"),
            r"its attribute 2 is 'Bag', and the experiment's is 'Skirt'; .*--init_from",
        ),
        (("Hat", "Bag"), r"it is of 3 attributes, and the experiment has 2; --init_from"),
    ],
)
def test_attributes_are_compared_by_name_and_order(names, message):
    checkpoint = own_checkpoint(model_of())
    check_attributes("7.pth.tar", checkpoint, ATTRIBUTES)
    with pytest.raises(alm.AlmError, match=message):
        check_attributes("7.pth.tar", checkpoint, names)


def test_a_published_checkpoint_tells_no_names():
    check_attributes("40.pth.tar", {"state_dict": {}}, ATTRIBUTES)


def test_initialize_reads_ours_and_published_ones(tmp_path):
    source = model_of()
    for checkpoint in (own_checkpoint(source), load_checkpoint(published_file(tmp_path / "a.tar", source))):
        target = model_of(seed=1)
        assert initialize(target, checkpoint, ATTRIBUTES, "a.tar").whole
        assert same(source.state_dict(), target.state_dict())


def test_initialize_names_a_file_of_something_else():
    with pytest.raises(alm.AlmError, match=r"^a\.tar: the weights do not fit .*missing: main_branch\.conv1"):
        initialize(model_of(), {"state_dict": {"a": torch.zeros(1)}}, ATTRIBUTES, "a.tar")
    checkpoint = own_checkpoint(model_of(), state_dict={"nonsense": torch.zeros(1)})
    with pytest.raises(alm.AlmError, match=r"^a\.tar: its weights do not have this program's names"):
        initialize(model_of(), checkpoint, ATTRIBUTES, "a.tar")


# As a library.


@pytest.mark.parametrize("approach", list(alm.APPROACHES))
@pytest.mark.parametrize("align_corners", [True, False])
def test_load_model_tells_what_it_is(saved, approach, align_corners):
    torch.manual_seed(0)
    source = alm.build_model(approach, 3, align_corners)
    model = alm.load_model(str(saved(source)))
    assert not model.training
    assert (model.approach, model.attributes, model.align_corners) == (approach, ATTRIBUTES, align_corners)
    assert same(source.state_dict(), model.state_dict())


@pytest.mark.parametrize("approach", list(alm.APPROACHES))
def test_load_model_takes_a_published_checkpoint(tmp_path, approach):
    source = model_of(approach=approach)
    model = load_model(published_file(tmp_path / "40.pth.tar", source))
    assert (model.approach, model.attributes) == (approach, None)
    assert model.align_corners is (approach == "inception_iccv")
    assert same(source.state_dict(), model.state_dict())


def test_load_model_refuses_backbone_weights(tmp_path):
    state = {"conv1_7x7_s2.bias": torch.zeros(64)}
    torch.save(state, tmp_path / "bn_inception.pth")
    with pytest.raises(
        alm.AlmError, match=r"bn_inception\.pth: these are not the weights of a whole model: .*--pretrained"
    ):
        load_model(tmp_path / "bn_inception.pth")


# Writing.


def test_failing_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "best.pth.tar"
    save_checkpoint(path, {"state_dict": {"a": torch.zeros(1)}})
    before = path.read_bytes()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match=r"No space left on device: .*best\.pth\.tar"):
        save_checkpoint(path, {"state_dict": {"a": torch.ones(1)}})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("old", [True, False])
def test_a_disk_that_is_full_is_said_as_what_it_is(tmp_path, monkeypatch, old):
    """torch raises errors of its own making, which do not tell; /dev/full is a disk that is always full."""
    real_open = open
    monkeypatch.setattr("builtins.open", lambda path, *mode: real_open("/dev/full", *mode))
    with pytest.raises(OSError, match=r"No space left on device: .*7\.pth\.tar"):
        save_checkpoint(tmp_path / "7.pth.tar", {"a": torch.zeros(10**6)}, old_serialization=old)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("approach", list(alm.APPROACHES))
@pytest.mark.parametrize("align_corners", [True, False])
def test_export_is_read_back_bit_for_bit(tmp_path, approach, align_corners):
    torch.manual_seed(0)
    source, target = alm.build_model(approach, 3, align_corners), model_of(approach=approach, seed=1)
    own, out = tmp_path / "7.pth.tar", tmp_path / "published.pth.tar"
    save_checkpoint(own, own_checkpoint(source))
    command = [sys.executable, REPOSITORY / "run_scripts" / "export.py", "--to", "reference", own, out]
    subprocess.run(command, check=True, capture_output=True)

    written = torch.load(out, weights_only=True)
    assert written.keys() == {"epoch", "state_dict", "best_accu"}
    assert all(name.startswith("module.") for name in written["state_dict"])
    assert all(tensor.is_contiguous() for tensor in written["state_dict"].values())
    checkpoint = load_checkpoint(out)
    assert checkpoint["epoch"] == 7
    assert checkpoint["align_corners"] is (align_corners and approach == "inception_iccv")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        restore_model(target, checkpoint)
    assert same(source.state_dict(), target.state_dict())

    again = subprocess.run(command, capture_output=True, text=True)
    assert (again.returncode, again.stderr) == (1, f"error: {out} exists; name a new file\n")
