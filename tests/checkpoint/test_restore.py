"""A file becomes a checkpoint, and its weights, or what fits of them, a model's."""

import pytest
import torch
from support.models import ATTRIBUTES, model_of, own_checkpoint, published_file, same

import alm
from alm.checkpoint import restore
from alm.checkpoint.restore import (
    check_attributes,
    initialize,
    load_checkpoint,
    load_model,
    published_checkpoint,
    restore_model,
    save_checkpoint,
)
from alm.checkpoint.schema import DEFAULTS
from alm.models.network import ALM


def checkpoint_of(model, **parts):
    """Return what `load_checkpoint` returns of a model's checkpoint."""
    return DEFAULTS | own_checkpoint(model, **parts)


@pytest.mark.parametrize(
    "content", [[1, 2], {1: torch.zeros(1)}, {"a": {"b": torch.zeros(1)}}, torch.zeros(1), {"state_dict": {}}]
)
def test_files_of_something_else_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pth.tar")
    with pytest.raises(alm.AlmError, match="this is not a checkpoint"):
        load_checkpoint(tmp_path / "a.pth.tar")


def test_a_file_of_several_things_names_those_to_choose_from(tmp_path):
    state = {"finalfc.bias": torch.zeros(3)}
    torch.save({"model_state_dict": state, "lr": 0.1}, tmp_path / "a.pth")
    with pytest.raises(
        alm.AlmError, match=r"a\.pth: .* some under 'model_state_dict': save such a part alone"
    ):
        load_checkpoint(tmp_path / "a.pth")
    torch.save(
        {f"{part}.{name}": state[name] for part in ("ema", "model") for name in state}, tmp_path / "a.pth"
    )
    with pytest.raises(alm.AlmError, match=r"a\.pth: .* if you mean one of ema\., model\., save its entries"):
        load_checkpoint(tmp_path / "a.pth")


def test_without_weights_all_but_their_numbers_is_there(tmp_path):
    save_checkpoint(tmp_path / "7.pth.tar", own_checkpoint(model_of(), epoch=3, iteration=2))
    whole, rest = (load_checkpoint(tmp_path / "7.pth.tar", weights=weights) for weights in (True, False))
    assert {name: whole[name] for name in whole if name != "state_dict"} == {
        name: rest[name] for name in rest if name != "state_dict"
    }


# Restoring.


class Larger(ALM):
    """What a user might build on ALM."""

    def __init__(self, num_attributes):
        super().__init__(num_attributes)
        self.extra = torch.nn.Linear(2, 2)


def test_a_subclass_restores_with_what_it_adds():
    source, target = Larger(3), Larger(3)
    restore_model(target, checkpoint_of(source))
    assert same(source.state_dict(), target.state_dict())
    with pytest.raises(alm.AlmError, match=r"missing entries .2.: extra\.weight, extra\.bias"):
        restore_model(target, checkpoint_of(model_of()))


@pytest.mark.slow
@pytest.mark.parametrize(("source", "words"), [
    (model_of(5), r"f\.tar: it is of 5 attributes.*has 3; --init_from takes"),
    (model_of(approach="bn_inception"), r"checkpoint of bn_inception; give --approach bn_.*--init_from"),
])  # fmt: skip
@pytest.mark.parametrize("own", [True, False])
def test_another_approach_or_attribute_count_says_the_way_out(tmp_path, source, words, own):
    """A published checkpoint's global branch alone would be a network too, and give other figures."""
    path = published_file(tmp_path / "f.tar", source)
    names = "abcde"[: source.classifier.out_features]
    checkpoint = checkpoint_of(source, attributes=names) if own else load_checkpoint(path)
    target = model_of(seed=1)
    with pytest.raises(alm.AlmError, match=words):
        restore_model(target, checkpoint, path)
    assert same(target.state_dict(), model_of(seed=1).state_dict())


def test_weights_that_are_not_finite_name_the_file(tmp_path):
    model = model_of()
    with torch.no_grad():
        model.classifier.bias[1] = torch.nan
    save_checkpoint(tmp_path / "7.pth.tar", own_checkpoint(model))
    with pytest.raises(alm.AlmError, match=r"7\.pth\.tar: the weights are not finite: classifier\.bias; "):
        load_model(tmp_path / "7.pth.tar")


@pytest.mark.parametrize("state", [{"a": torch.zeros(1)}, {"classifier.bias": torch.tensor(1.0)}])
def test_weights_without_a_classifier_are_no_model(state):
    checkpoint = checkpoint_of(model_of(), state_dict=state)
    for use in (restore_model, lambda *given: initialize(*given[:2], ATTRIBUTES, given[2])):
        with pytest.raises(alm.AlmError, match=r"^a\.tar: these are not the weights of a whole model"):
            use(model_of(), checkpoint, "a.tar")


@pytest.mark.parametrize(
    ("count", "width", "words"),
    [
        (3, 2**40, f"its localization is not of 3 attributes and {2**40} lateral channels; it is damaged"),
        (1000, 0, "its localization is not of 1000 attributes and 256 lateral channels; it is damaged"),
        (1001, 16, "its weights are of 1001 attributes, and a model has at most 1000; "),
    ],
)
@pytest.mark.parametrize("own", [True, False])
def test_a_small_file_builds_no_large_model(tmp_path, monkeypatch, count, width, words, own):
    state = {
        "classifier.bias": torch.zeros(count, dtype=torch.uint8),
        "lateral.3b.weight": torch.zeros(width, 0),
        "localization.3b.excite_weight": torch.zeros(1, 1, 1),
    }
    names = [str(k) for k in range(count)]
    torch.save(
        own_checkpoint(model_of(), attributes=names, state_dict=state) if own else state, tmp_path / "a"
    )
    monkeypatch.setattr(restore, "build_model", None)
    with pytest.raises(alm.AlmError, match=rf"a: {words}"):
        load_model(tmp_path / "a")


def test_names_of_another_number_than_the_weights_have_are_refused(tmp_path):
    save_checkpoint(tmp_path / "7.pth.tar", own_checkpoint(model_of(2)))
    with pytest.raises(alm.AlmError, match=r"7\.pth\.tar: it names 3 attributes, and its weights are of 2; "):
        load_model(tmp_path / "7.pth.tar")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("Hat", "Skirt", "Bag"), r"its attribute 2 is 'Bag', and .* is 'Skirt'; .*--init_from"),
        (("Hat", "Bag"), r"it is of 3 attributes, and the experiment has 2; --init_from"),
    ],
)
def test_attributes_are_compared_by_name_and_order(names, message):
    checkpoint = checkpoint_of(model_of())
    check_attributes("7.pth.tar", checkpoint, ATTRIBUTES)
    with pytest.raises(alm.AlmError, match=message):
        check_attributes("7.pth.tar", checkpoint, names)
    check_attributes("40.pth.tar", {"state_dict": {}}, ATTRIBUTES)  # a published checkpoint names none


@pytest.mark.parametrize("approach", list(alm.APPROACHES))
@pytest.mark.parametrize("align_corners", [True, False])
def test_load_model_tells_what_it_is(tmp_path, approach, align_corners):
    torch.manual_seed(0)
    source = alm.build_model(approach, 3, align_corners, width=32)
    save_checkpoint(tmp_path / "7.pth.tar", own_checkpoint(source, approach=approach, mean=[0.5, 0, 1]))
    model = alm.load_model(str(tmp_path / "7.pth.tar"))
    assert not model.training
    assert (model.approach, model.attributes) == (source.approach, ATTRIBUTES)
    assert (model.align_corners, model.mean, model.std) == (align_corners, (0.5, 0, 1), source.std)
    assert same(source.state_dict(), model.state_dict())


@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize(
    ("approach", "prefix"),
    [
        ("inception_iccv", ""),
        ("inception_iccv", "_orig_mod."),
        ("bn_inception", "module._orig_mod."),
        ("inception_iccv", "module.model."),
        ("bn_inception", "network."),
    ],
)
def test_the_prefixes_of_wrapped_modules_are_passed_over(tmp_path, approach, prefix, bare):
    """Of weights alone, which do not name their attributes, too."""
    source = model_of(approach=approach)
    state = {f"{prefix}{name}": tensor for name, tensor in source.state_dict().items()}
    content = state if bare else own_checkpoint(source, state_dict=state)
    torch.save(content, tmp_path / "7.pth", _use_new_zipfile_serialization=not bare)
    model = load_model(tmp_path / "7.pth")
    assert (model.approach, model.align_corners) == (approach, False)
    assert model.attributes == (None if bare else ATTRIBUTES)
    assert same(source.state_dict(), model.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("approach", ["inception_iccv", "bn_inception"])
def test_what_is_written_for_the_published_program_is_read_back_bit_for_bit(tmp_path, approach):
    source = model_of(approach=approach)
    content = published_checkpoint(checkpoint_of(source))
    assert content.keys() == {"epoch", "state_dict", "best_accu"}
    assert all(name.startswith("module.") for name in content["state_dict"])
    assert all(tensor.is_contiguous() for tensor in content["state_dict"].values())
    save_checkpoint(tmp_path / "40.pth.tar", content, old_serialization=True)
    model = load_model(tmp_path / "40.pth.tar")
    assert (model.approach, model.attributes) == (approach, None)
    assert model.align_corners is (approach == "inception_iccv")
    assert same(source.state_dict(), model.state_dict())
    with pytest.raises(alm.AlmError, match="the published layout already"):
        published_checkpoint(load_checkpoint(tmp_path / "40.pth.tar"))


# What fits of a model for other attributes.


def given(target, source, names=ATTRIBUTES, **parts):
    return initialize(target, checkpoint_of(source, **parts), names, "a.tar")


def slices(model, k):
    """Return all that belongs to one attribute."""
    parts = {"weight": model.classifier.weight[k], "bias": model.classifier.bias[k]}
    for level, module in getattr(model, "localization", {}).items():
        parts |= {f"{level}.{name}": parameter[k] for name, parameter in module.named_parameters()}
    return parts


def test_the_same_attributes_take_everything():
    source, target = model_of(), model_of(seed=1)
    everything = "backbone, lateral layers, global classifier and localization"
    assert given(target, source, std=[0.5, 0.4, 0.3]) == (everything, True, False)
    assert target.std == (0.5, 0.4, 0.3)  # the colours that the weights are for
    assert same(source.state_dict(), target.state_dict())


def test_other_attributes_take_what_goes_by_the_same_name():
    source, target, start = model_of(3), model_of(4, seed=1), model_of(4, seed=1)
    names = ("Boots", "Skirt", "Male", "Hat")
    assert given(target, source, names, attributes=["Hat", "Bag", "Skirt"]) == (
        "backbone and lateral layers; global classifier and localization of 2 of 4 attributes", False, False
    )  # fmt: skip
    assert same(source.backbone.state_dict(), target.backbone.state_dict())
    assert same(source.lateral.state_dict(), target.lateral.state_dict())
    for k, (expected, row) in enumerate([(start, 0), (source, 2), (start, 2), (source, 0)]):
        assert same(slices(target, k), slices(expected, row)), k


@pytest.mark.slow
def test_a_published_model_names_no_attributes(tmp_path):
    """If it has as many they count as the same; if not, none does."""
    checkpoint = load_checkpoint(published_file(tmp_path / "40.pth.tar", model_of(3)))
    same_count, other_count = model_of(3, seed=1), model_of(2, seed=1)
    assert initialize(same_count, checkpoint, ("x", "y", "z"), "a.tar")[1:] == (True, True)  # whole, assumed
    said = initialize(other_count, checkpoint, ("x", "y"), "a.tar")
    assert said == ("backbone and lateral layers", False, False)
    assert same(slices(other_count, 1), slices(model_of(2, seed=1), 1))


@pytest.mark.slow
def test_a_baseline_gives_and_takes_backbone_and_classifier():
    baseline, target = model_of(approach="bn_inception"), model_of(seed=1)
    before = {name: tensor.clone() for name, tensor in target.localization.state_dict().items()}
    assert given(target, baseline) == ("backbone and global classifier", False, False)
    assert same(target.classifier.state_dict(), baseline.classifier.state_dict())
    assert same(target.localization.state_dict(), before)
    source, target = model_of(), model_of(approach="bn_inception", seed=1)
    assert given(target, source) == ("backbone and global classifier", True, False)
    assert same(source.backbone.state_dict(), target.backbone.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tensor", "words"),
    [
        ("backbone.conv1.conv.weight", None, "missing entries .1.: backbone.conv1.conv.weight"),
        ("classifier.weight", None, "missing entries .1.: classifier.weight"),
        ("localization.4d.region_bias", None, "missing entries .1.: localization.4d.region_bias"),
        ("localization.4d.region_bias", torch.zeros(2, 4), r"\(2, 4\) instead of .*\(3, 4\)"),
        ("localization.4d.region_bias", torch.zeros(3, 4).int(), "int32"),
        ("lateral.5b.bias", torch.zeros(7), r"lateral.5b.bias \(7,\) instead of"),
        ("lateral.5b.bias", torch.full((256,), torch.inf), "not finite: lateral.5b.bias"),
        ("classifier.bias", torch.zeros(2), "names 3 attributes, and its weights are of 2"),
    ],
)
def test_a_part_that_does_not_fit_is_refused_and_changes_nothing(name, tensor, words):
    target, state = model_of(seed=1), model_of().state_dict()
    state.pop(name) if tensor is None else state.update({name: tensor})
    with pytest.raises(alm.AlmError, match=rf"^a\.tar: .*{words}"):
        given(target, model_of(), state_dict=state)
    assert same(target.state_dict(), model_of(seed=1).state_dict())


def test_another_backbone_is_given_to_its_own_kind_alone():
    """Two networks on a backbone whose levels and entries the published program does not have."""

    class Other(torch.nn.Module):
        backbone_name = "other"

        def __init__(self):
            super().__init__()
            self.backbone = torch.nn.Conv2d(3, 4, 3)
            self.lateral = torch.nn.ModuleDict({"stage2": torch.nn.Linear(4, 8)})
            self.classifier = torch.nn.Linear(4, 2)

    source, target = Other(), Other()
    checkpoint = DEFAULTS | {
        "backbone": "other",
        "attributes": ["Bag", "Hat"],
        "state_dict": source.state_dict(),
    }
    assert initialize(target, checkpoint, ("Hat", "Skirt"), "a.tar").words == (
        "backbone and lateral layers; global classifier of 1 of 2 attributes"
    )
    assert same(target.backbone.state_dict(), source.backbone.state_dict())
    assert same(target.lateral.state_dict(), source.lateral.state_dict())
    assert torch.equal(target.classifier.weight[0], source.classifier.weight[1])
    with pytest.raises(alm.AlmError, match=r"a\.tar: its backbone is other, .* is bn.*give --backbone other"):
        initialize(model_of(), checkpoint, ATTRIBUTES, "a.tar")


def test_a_checkpoint_of_another_backbone_names_it(tmp_path):
    save_checkpoint(tmp_path / "7.pth.tar", own_checkpoint(model_of(), backbone="other"))
    with pytest.raises(alm.AlmError, match=r"7\.pth\.tar: unknown backbone 'other'"):
        load_model(tmp_path / "7.pth.tar")
    with pytest.raises(alm.AlmError, match=r"7\.pth\.tar: its backbone is other"):
        restore_model(model_of(), load_checkpoint(tmp_path / "7.pth.tar"), "7.pth.tar")
    with pytest.raises(alm.AlmError, match="its backbone is other, and the published program has BN-"):
        published_checkpoint(checkpoint_of(model_of(), backbone="other"))


def test_another_width_says_the_way_out():
    torch.manual_seed(1)
    narrow = alm.build_model("alm", 3, width=32)
    with pytest.raises(alm.AlmError, match=r"a\.tar: its lateral layers have 32 .* 256; give --width 32"):
        given(model_of(), narrow)
    with pytest.raises(alm.AlmError, match=r"7\.tar: its lateral layers have 32 .* 256; give --width 32"):
        restore_model(model_of(), checkpoint_of(narrow), "7.tar")
    with pytest.raises(alm.AlmError, match="have 32 channels; in the published program they have 256"):
        published_checkpoint(checkpoint_of(narrow))
    assert given(model_of(approach="bn_inception"), narrow).words == "backbone and global classifier"
