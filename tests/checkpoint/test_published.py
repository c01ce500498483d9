"""The published layout, both ways; and what another model can take of it."""

import json
import warnings

import pytest
import torch
from support.models import ATTRIBUTES, model_of, published_file, same

import alm
from alm.checkpoint.published import reference_state, to_reference
from alm.checkpoint.restore import load_backbone, load_checkpoint, load_reference_state, load_what_fits


def backbone_file(model):
    """Return the state dict of `bn_inception-52deb4733.pth`, without its classifier."""
    return {
        name.removeprefix("main_branch."): tensor
        for name, tensor in reference_state(model).items()
        if name.startswith("main_branch.")
    }


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


def test_gradients_map_the_same_way():
    model = model_of()
    parameters = dict(model.named_parameters())
    mapped = to_reference(parameters)
    assert sum(tensor.numel() for tensor in mapped.values()) == sum(p.numel() for p in parameters.values())
    assert mapped.keys() <= reference_state(model).keys()


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
        match=r"1 missing: finalfc.weight; 1 of another shape: latlayer_5b.bias \(7,\) instead of \(256,\); "
        r"1 of another type: finalfc.bias .*int64 .*surplus",
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
    assert (checkpoint["epoch"], checkpoint["best_accu"]) == (40, 0.875)
    load_reference_state(target, checkpoint["state_dict"])
    assert same(source.state_dict(), target.state_dict())


# Backbone weights.


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("classifier", [True, False])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_backbone_weights(flat, classifier, prefix):
    source, target = model_of(), model_of(seed=1)
    before = reference_state(target)
    state = backbone_file(source)
    if not flat:
        state = {
            name: tensor[None] if "_bn." in name and tensor.dim() else tensor
            for name, tensor in state.items()
        }
    if classifier:
        state |= {"last_linear.weight": torch.zeros(1000, 1024), "last_linear.bias": torch.zeros(1000)}
    used, unused = load_backbone(target, {prefix + name: tensor for name, tensor in state.items()})
    assert len(used) == 483
    assert unused == (["last_linear.weight", "last_linear.bias"] if classifier else [])
    assert same(source.backbone.state_dict(), target.backbone.state_dict())
    after = reference_state(target)
    assert all(
        torch.equal(before[name], after[name]) for name in after if not name.startswith("main_branch.")
    )


def test_backbone_weights_may_lack_batch_counts_alone():
    state = backbone_file(model_of())
    counts = [name for name in state if name.endswith("num_batches_tracked")]
    without = {name: tensor for name, tensor in state.items() if name not in counts}
    assert len(load_backbone(model_of(seed=1), without)[0]) == 483 - len(counts) == 414
    del without["inception_5b_1x1.weight"]
    target = model_of(seed=1)
    with pytest.raises(alm.AlmError, match=r"1 missing: inception_5b_1x1\.weight"):
        load_backbone(target, without)
    assert same(target.state_dict(), model_of(seed=1).state_dict())


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"layer1.weight": torch.zeros(3)}, r"none of the backbone's names"),
        ({"conv1_7x7_s2.bias": torch.zeros(64)}, r"entries 413 missing: conv1_7x7_s2\.weight, .*"),
        ({"conv1_7x7_s2.bias": torch.zeros(3)}, r"conv1_7x7_s2\.bias \(3,\) instead of \(64,\)"),
        ({"module.main_branch.conv1_7x7_s2.bias": torch.zeros(64)}, r"whole model.*--init_from"),
    ],
)
def test_backbone_weights_that_are_none_are_refused(state, message):
    with pytest.raises(alm.AlmError, match=message):
        load_backbone(model_of(), state)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_of_the_backbone_alone_are_no_model(prefix):
    state = {prefix + name: tensor for name, tensor in backbone_file(model_of()).items()}
    with pytest.raises(alm.AlmError, match=r"weights of the backbone alone; give the file to --pretrained"):
        load_what_fits(model_of(), state, ATTRIBUTES)


# Weights that are not finite.


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_and_change_nothing(value):
    spoilt, backbone = reference_state(model_of(seed=1)), backbone_file(model_of(seed=1))
    spoilt["main_branch.conv1_7x7_s2.bias"][3] = backbone["conv1_7x7_s2.bias"][3] = value
    target = model_of()
    for load in (
        lambda: load_reference_state(target, spoilt),
        lambda: load_what_fits(target, spoilt, ATTRIBUTES),
        lambda: load_backbone(target, backbone),
    ):
        with pytest.raises(alm.AlmError, match=r"^the weights are not finite: .*conv1_7x7_s2\.bias"):
            load()
    assert same(target.state_dict(), model_of().state_dict())


# What fits of a model for other attributes.


def slices(model, k):
    """Return all that belongs to one attribute."""
    parts = {"weight": model.classifier.weight[k], "bias": model.classifier.bias[k]}
    for level, module in getattr(model, "localization", {}).items():
        parts |= {f"{level}.{name}": parameter[k] for name, parameter in module.named_parameters()}
    return parts


def test_the_same_attributes_take_everything():
    source, target = model_of(), model_of(seed=1)
    said = load_what_fits(target, reference_state(source), ATTRIBUTES, ATTRIBUTES)
    assert said == ("backbone, lateral layers, global classifier and localization", True, False)
    assert same(source.state_dict(), target.state_dict())


def test_other_attributes_take_what_goes_by_the_same_name():
    source, target, start = model_of(3), model_of(4, seed=1), model_of(4, seed=1)
    said = load_what_fits(
        target, reference_state(source), ("Boots", "Skirt", "Male", "Hat"), ("Hat", "Bag", "Skirt")
    )
    assert said == (
        "backbone and lateral layers; global classifier and localization of 2 of 4 attributes", False, False
    )  # fmt: skip
    assert same(source.backbone.state_dict(), target.backbone.state_dict())
    assert same(source.lateral.state_dict(), target.lateral.state_dict())
    for k, (expected, row) in enumerate([(start, 0), (source, 2), (start, 2), (source, 0)]):
        assert same(slices(target, k), slices(expected, row)), k


def test_a_published_model_tells_no_names():
    """With as many attributes they count as the same; with other numbers none is."""
    state = reference_state(model_of(3))
    same_count, other_count = model_of(3, seed=1), model_of(2, seed=1)
    assert load_what_fits(same_count, state, ("x", "y", "z"))[1:] == (True, True)  # whole, assumed
    assert load_what_fits(other_count, state, ("x", "y")) == ("backbone and lateral layers", False, False)
    assert same(slices(other_count, 1), slices(model_of(2, seed=1), 1))


def test_a_baseline_gives_backbone_and_classifier():
    baseline, target = model_of(approach="bn_inception"), model_of(seed=1)
    before = {name: tensor.clone() for name, tensor in target.localization.state_dict().items()}
    said = load_what_fits(target, reference_state(baseline), ATTRIBUTES)
    assert said == ("backbone and global classifier", False, True)
    assert same(target.classifier.state_dict(), baseline.classifier.state_dict())
    assert same(target.localization.state_dict(), before)


def test_a_baseline_takes_backbone_and_classifier():
    source, target = model_of(), model_of(approach="bn_inception", seed=1)
    said = load_what_fits(target, reference_state(source), ATTRIBUTES, ATTRIBUTES)
    assert said == ("backbone and global classifier", True, False)
    assert same(source.backbone.state_dict(), target.backbone.state_dict())


@pytest.mark.parametrize(
    "lost", ["main_branch.conv1_7x7_s2.weight", "finalfc.weight", "st_4d.stn_list.1.bias"]
)
def test_a_model_with_a_part_missing_is_refused(lost):
    target, state = model_of(seed=1), reference_state(model_of())
    del state[lost]
    with pytest.raises(alm.AlmError, match=r"missing: " + lost.replace(".", r"\.").partition("[")[0]):
        load_what_fits(target, state, ATTRIBUTES)
    assert same(target.state_dict(), model_of(seed=1).state_dict())
