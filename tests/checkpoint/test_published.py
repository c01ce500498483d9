"""The program of 2019: its layout of weights in and out, and its files."""

import json
import warnings

import pytest
import torch
from support.models import model_of, published_file, same

import alm
from alm.checkpoint.backbone_weights import load_backbone
from alm.checkpoint.published import reference_state, to_reference
from alm.checkpoint.restore import load_checkpoint, load_model, load_reference_state


def backbone_weights(model):
    """Return the state dict of `bn_inception-52deb4733.pth`, without its classifier."""
    return {
        name.removeprefix("main_branch."): tensor
        for name, tensor in reference_state(model).items()
        if name.startswith("main_branch.")
    }


@pytest.mark.parametrize(("approach", "prefix"), [("inception_iccv", ""), ("bn_inception", "module.")])
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


def test_gradients_map_the_same_way():
    model = model_of()
    parameters = dict(model.named_parameters())
    mapped = to_reference(parameters)
    assert sum(tensor.numel() for tensor in mapped.values()) == sum(p.numel() for p in parameters.values())
    assert mapped.keys() <= reference_state(model).keys()


@pytest.mark.parametrize(
    "name", ["backbone.layer1.conv.weight", "backbone.inception.3a.branches.x.conv.bias", "x"]
)
def test_what_the_published_program_has_not_is_named(name):
    with pytest.raises(alm.AlmError, match=rf"no entry that {name} stands for"):
        to_reference({name: torch.zeros(1)})


def test_missing_misshapen_and_mistyped_entries_change_nothing():
    model = model_of()
    before = reference_state(model)
    state = reference_state(model_of(seed=1))
    del state["finalfc.weight"]
    state["latlayer_5b.bias"] = torch.zeros(7)
    state["finalfc.bias"] = torch.zeros(3, dtype=torch.int64)
    state["surplus"] = torch.zeros(1)
    with pytest.raises(
        alm.AlmError,
        match=r"missing entries .1.: finalfc.weight; entries of another shape .1.: latlayer_5b.bias \(7,\) "
        r"instead of \(256,\); "
        r"entries of another type .1.: finalfc.bias .*int64 .*surplus",
    ):
        load_reference_state(model, state)
    assert same(before, reference_state(model))


def test_missing_batch_counts_are_normal_and_surplus_entries_a_warning():
    state = reference_state(model_of(seed=1))
    state = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    model = model_of()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_reference_state(model, state)
    assert same(model.state_dict(), model_of(seed=1).state_dict())
    with pytest.warns(
        UserWarning, match="are used but for entries that this model does not have .1.: surplus"
    ):
        load_reference_state(model, {**state, "surplus": torch.zeros(1)})


# The published program's files.


@pytest.mark.parametrize(("approach", "prefix", "old", "numpy_module"), [
    ("inception_iccv", "module.", True, "numpy.core.multiarray"), ("inception_iccv", "module.", False, None),
    ("bn_inception", "", True, "numpy._core.multiarray"),
    ("bn_inception", "_orig_mod.module.", True, "numpy.core.multiarray"),
])  # fmt: skip
def test_a_file_is_read_into_our_layout(tmp_path, approach, prefix, old, numpy_module):
    """The old serialization is PyTorch 0.4's, whose sampling is that of align_corners."""
    source = model_of(approach=approach)
    path = published_file(tmp_path / "40.pth.tar", source, prefix=prefix, old=old, numpy_module=numpy_module)
    checkpoint = load_checkpoint(path)
    assert same(checkpoint["state_dict"], source.state_dict())
    assert (checkpoint["epoch"], checkpoint["best_accu"], checkpoint["approach"]) == (40, 0.875, approach)
    assert (checkpoint["backbone"], checkpoint["iteration"]) == ("bn_inception", 0)
    assert checkpoint["align_corners"] is (old and approach == "inception_iccv")
    assert "attributes" not in checkpoint


def test_only_its_own_parts_are_taken_from_a_published_file(tmp_path):
    """Another program's `options` or `positive_ratio` is nothing that this one wrote and checked."""
    state = reference_state(model_of())
    torch.save({"state_dict": state, "options": {"lr": "x"}, "iterations": -1}, tmp_path / "a.pth.tar")
    checkpoint = load_checkpoint(tmp_path / "a.pth.tar")
    assert (checkpoint["epoch"], checkpoint["iterations"], "options" in checkpoint) == (0, 0, False)
    torch.save({"state_dict": state, "epoch": "x"}, tmp_path / "a.pth.tar")
    with pytest.raises(alm.AlmError, match=r"its `epoch` is 'x', not a whole number"):
        load_checkpoint(tmp_path / "a.pth.tar")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tensor", "words"),
    [
        ("st_4d.stn_list.1.bias", None, r"missing: st_4d\.stn_list\.1\.bias"),
        ("st_3b.att_list.2.conv1.weight", torch.zeros(1, 1, 1, 1), r"att_list\.\d\.conv1\.weight .* shape"),
        ("st_5b.fc_list.0.bias", torch.zeros(1).long(), r"st_5b\.fc_list\.\d\.bias .* type"),
        ("finalfc.bias", torch.zeros(10**6), r"missing: st_\w+\.\w+\.3\."),
    ],
)
def test_an_attribute_that_is_not_whole_is_named_as_the_file_names_it(tmp_path, name, tensor, words):
    state = reference_state(model_of())
    state.pop(name) if tensor is None else state.update({name: tensor})
    torch.save(state, tmp_path / "a.pth.tar")
    with pytest.raises(alm.AlmError, match=rf"a\.pth\.tar: .*{words}"):
        load_checkpoint(tmp_path / "a.pth.tar")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["main_branch.conv1_7x7_s2.weight", "finalfc.weight"])
def test_an_entry_that_is_missing_is_refused(tmp_path, name):
    state = reference_state(model_of(approach="bn_inception"))
    del state[name]
    torch.save(state, tmp_path / "a.pth.tar")
    with pytest.raises(alm.AlmError, match=r"a\.pth\.tar: the weights do not fit .*missing entries .1.: "):
        load_model(tmp_path / "a.pth.tar")


# Backbone weights.


def loaded(model, state, path):
    torch.save(state, path / "bn_inception.pth")
    return load_backbone(model, path / "bn_inception.pth")


@pytest.mark.slow
@pytest.mark.parametrize(("prefix", "classifier"), [
    ("", {"last_linear.weight": torch.zeros(1000, 1024), "last_linear.bias": torch.zeros(1000)}),
    ("module.", {}),
])  # fmt: skip
def test_published_backbone_weights_change_the_backbone_alone(tmp_path, prefix, classifier):
    """Those that DataParallel saved have vectors of normalization as (1, C), as some copies do."""
    source, target = model_of(), model_of(seed=1)
    state = backbone_weights(source)
    for name in state if prefix else ():
        state[name] = state[name][None] if "_bn." in name and state[name].dim() else state[name]
    state |= classifier
    _, used, unused = loaded(target, {prefix + name: tensor for name, tensor in state.items()}, tmp_path)
    assert (len(used), unused) == (483, list(classifier))
    assert same(source.backbone.state_dict(), target.backbone.state_dict())
    for part in ("lateral", "classifier", "localization"):
        assert same(getattr(target, part).state_dict(), getattr(model_of(seed=1), part).state_dict())


@pytest.mark.slow
def test_backbone_weights_may_lack_batch_counts_alone(tmp_path):
    state = backbone_weights(model_of())
    without = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    assert len(loaded(model_of(seed=1), without, tmp_path).used) == 414
    del without["inception_5b_1x1.weight"]
    target = model_of(seed=1)
    with pytest.raises(alm.AlmError, match=r"missing entries .1.: inception_5b_1x1\.weight"):
        loaded(target, without, tmp_path)
    assert same(target.state_dict(), model_of(seed=1).state_dict())


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"layer1.weight": torch.zeros(3)}, r"none of the backbone's names"),
        ({"conv1_7x7_s2.bias": torch.zeros(64)}, r"missing entries .413.: conv1_7x7_s2\.weight, .*"),
        ({"conv1_7x7_s2.bias": torch.zeros(3)}, r"conv1_7x7_s2\.bias \(3,\) instead of \(64,\)"),
        ({"module.main_branch.conv1_7x7_s2.bias": torch.zeros(64)}, r"whole model.*--init_from"),
        ({"_orig_mod.backbone.conv1.conv.bias": torch.zeros(64)}, r"whole model.*--init_from"),
        ([1, 2], "no named tensors"),
        ({"model": {"conv1_7x7_s2.bias": torch.zeros(64)}}, "some under 'model': save such a part alone"),
        (
            {"net.finalfc.bias": torch.zeros(3), "net.main_branch.x": torch.zeros(3)},
            r"whole model.*--init_from",
        ),
    ],
)
def test_backbone_weights_that_are_none_are_refused(tmp_path, state, message):
    with pytest.raises(alm.AlmError, match=rf"bn_inception\.pth: .*{message}"):
        loaded(model_of(), state, tmp_path)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_of_the_backbone_alone_are_no_model(tmp_path, prefix):
    torch.save({prefix + "conv1_7x7_s2.bias": torch.zeros(64)}, tmp_path / "bn_inception.pth")
    with pytest.raises(
        alm.AlmError, match=r"bn_inception\.pth: these are not the weights of a whole model: .*--pretrained"
    ):
        load_checkpoint(tmp_path / "bn_inception.pth")


@pytest.mark.slow
def test_weights_that_are_not_finite_are_refused_and_change_nothing(tmp_path):
    spoilt, backbone = reference_state(model_of(seed=1)), backbone_weights(model_of(seed=1))
    spoilt["main_branch.conv1_7x7_s2.bias"][3] = backbone["conv1_7x7_s2.bias"][3] = torch.inf
    target = model_of()
    for load in (lambda: load_reference_state(target, spoilt), lambda: loaded(target, backbone, tmp_path)):
        with pytest.raises(alm.AlmError, match=r"the weights are not finite: .*conv1_7x7_s2\.bias"):
            load()
    assert same(target.state_dict(), model_of().state_dict())
