"""What a training starts from: positive ratios, starting weights, a compiled network."""

from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from support import THOROUGH
from support.cli import process
from support.commands import custom_lists
from support.models import ATTRIBUTES, model_of, own_checkpoint, published_file, same
from support.tiny import CPU, trainer_of
from support.toy import Toy
from torch import nn
from torch._dynamo.exc import TorchDynamoException

import alm
from alm.checkpoint.restore import load_checkpoint, reference_state, save_checkpoint
from alm.models.backbones import BACKBONES
from alm.training.run import RunSettings, TrainingRun
from run_scripts.training.data import Data, choose_experiment, count_ratio, known_ratio
from run_scripts.training.setup import (
    build_loader,
    build_optimizer,
    check_parts,
    compile_network,
    start_model,
)
from utils.data.catalog import Experiment
from utils.errors import DataError


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "own.pth.tar"
    save_checkpoint(path, own_checkpoint(model_of()))
    return str(path)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return str(published_file(tmp_path_factory.mktemp("published") / "40.pth.tar", model_of()))


def test_a_batch_with_fewer_pictures_than_parts_is_refused_of_one_process_too():
    options = Namespace(batch_size=3, accumulate=4, evaluate=False)
    with pytest.raises(alm.AlmError, match=r"^--batch_size 3 is cut into 4 parts \(--accumulate 4, proc"):
        check_parts(options)
    options.evaluate = True
    check_parts(options)


# Compiling.


@pytest.mark.slow
def test_the_network_compiles_whole_and_trains_as_it_is():
    """In one graph: torch's tracing is real; its code generation, which takes minutes, is left out. The
    backward pass is traced too with ALM_THOROUGH=1.
    """
    torch.manual_seed(0)
    model = alm.build_model("inception_iccv", 3).double().train()
    images = torch.randn(2, 3, 64, 32).double()
    gradients = []
    backend = "aot_eager" if THOROUGH else "eager"
    for network in (model, compile_network(model, 2, backend=backend, fullgraph=True)):
        model.zero_grad()
        loss = sum(prediction.sin().sum() for prediction in network(images))
        loss.backward()
        gradients.append([loss.detach(), *(parameter.grad.clone() for parameter in model.parameters())])
    for plain, compiled in zip(*gradients, strict=True):
        torch.testing.assert_close(compiled, plain, rtol=1e-7, atol=1e-10)


def test_full_batches_are_compiled_and_the_last_is_not(monkeypatch):
    sizes = []
    monkeypatch.setattr(torch, "compile", lambda model, **_: lambda x: sizes.append(len(x)) or model(x))
    model = nn.Linear(2, 2)
    network = compile_network(model, 3)
    for size in (3, 3, 1):
        images = torch.randn(size, 2)
        assert torch.equal(network(images), model(images))
    assert sizes == [3, 3]


def test_if_torch_cannot_compile_it_says_so(monkeypatch):
    def refuse(_images):
        raise TorchDynamoException("no C++ compiler\nand a page of traces")

    monkeypatch.setattr(torch, "compile", lambda model, **_: refuse)
    with pytest.raises(alm.AlmError, match=r"^--compile: .*\(no C\+\+ compiler\); leave the option out$"):
        compile_network(nn.Linear(2, 2), 3)(torch.randn(3, 2))


# Starting weights.


def test_a_start_from_scratch_is_pytorchs_own():
    model, notes = start_model("inception_iccv", ATTRIBUTES, seed=0)
    assert same(model.state_dict(), model_of().state_dict())
    assert notes[0].startswith("Weights: from scratch")
    assert notes[1] == "Sampling: align_corners False (auto)"


@pytest.mark.slow
def test_the_convention_is_the_options_else_the_checkpoints(published):
    for option, expected in ((None, "True (auto)"), (False, "False (false)")):
        model, notes = start_model(
            "inception_iccv", ATTRIBUTES, seed=1, init_from=published, align_corners=option
        )
        assert model.align_corners is (option is None)
        assert notes[1] == f"Sampling: align_corners {expected}"


@pytest.mark.slow
def test_init_from_says_what_it_took(own, tmp_path):
    baseline = str(published_file(tmp_path / "b.pth.tar", model_of(approach="bn_inception"), old=False))
    _, notes = start_model("inception_iccv", ATTRIBUTES, seed=1, init_from=baseline)
    assert notes[0].startswith(f"Weights: backbone and global classifier from {baseline}, the rest from ")
    _, notes = start_model("inception_iccv", ATTRIBUTES, seed=1, init_from=own)
    assert notes[0] == f"Weights: backbone, lateral layers, global classifier and localization from {own}"
    model, notes = start_model("inception_iccv", ("Skirt", "Boots"), seed=1, init_from=own)
    assert "backbone and lateral layers; global classifier and localization of 1 of 2 attributes" in notes[0]
    assert torch.equal(model.classifier.weight[0], model_of().classifier.weight[2])


@pytest.mark.slow
def test_what_a_published_checkpoint_does_not_say_is_said(own, published):
    for start in ({"resume": published, "resumed": load_checkpoint(published)}, {"init_from": published}):
        _, notes = start_model("inception_iccv", ATTRIBUTES, seed=1, **start)
        assert notes[0].endswith(
            f"from {published}; it does not name its attributes, which are taken to be these, in this order"
        )
    _, notes = start_model("inception_iccv", ATTRIBUTES, seed=1, resume=own, resumed=load_checkpoint(own))
    assert notes[0] == f"Weights: from {own}"


@pytest.mark.slow
def test_pretrained_is_for_backbone_weights_alone(own, tmp_path):
    with pytest.raises(alm.AlmError, match=r"own\.pth\.tar: .*whole model; give it to --init_from"):
        start_model("inception_iccv", ATTRIBUTES, seed=1, pretrained=own)
    state = {
        name.removeprefix("main_branch."): tensor
        for name, tensor in reference_state(model_of()).items()
        if name.startswith("main_branch.")
    }
    torch.save(state | {"last_linear.bias": torch.zeros(1000)}, tmp_path / "bn_inception.pth")
    model, notes = start_model(
        "inception_iccv", ATTRIBUTES, seed=1, pretrained=str(tmp_path / "bn_inception.pth")
    )
    assert notes[0].startswith("Weights: 483 backbone tensors from ")
    assert notes[0].endswith("; not used: last_linear.bias")
    assert same(model.backbone.state_dict(), model_of().backbone.state_dict())


# Optimizer.


def test_weight_decay_of_adamw_is_apart_from_the_gradient():
    """Without a gradient Adam's weights move by the rate, and AdamW's shrink by the rate times the decay."""
    weights = []
    for name in ("adam", "adamw"):
        model = nn.Linear(1, 1, bias=False)
        nn.init.ones_(model.weight)
        options = {"lr": 0.01, "weight_decay": 0.5, "momentum": 0.9, "device": torch.device("cpu")}
        optimizer = build_optimizer(model, optimizer=name, **options)
        model.weight.grad = torch.zeros(1, 1)
        optimizer.step()
        weights.append(model.weight.item())
    assert weights == pytest.approx([1 - 0.01, 1 - 0.01 * 0.5])


@pytest.mark.parametrize("stages", [0, 1, 3])
def test_the_head_has_a_rate_of_its_own_and_what_is_frozen_none(monkeypatch, stages):
    monkeypatch.setitem(BACKBONES, "toy", Toy)
    model = alm.build_model("alm", 2, backbone="toy")
    model.freeze(stages)
    options = {"optimizer": "adam", "lr": 0.01, "weight_decay": 0.0, "momentum": 0.0, "device": CPU}
    rates = {}
    for head_lr in (None, 0.1):
        optimizer = build_optimizer(model, head_lr=head_lr, **options)
        settings = RunSettings(epochs=2, lr=0.01, decay_epochs=(1,))
        TrainingRun(trainer_of(model=model, optimizer=optimizer), Path(), settings)._set_learning_rate(1)
        rates[head_lr] = [(group["lr"], list(group["params"])) for group in optimizer.param_groups]
    ((lr, parameters),) = rates[None]
    assert lr == 0.01 * 0.1
    (lr, backbone), (head_lr, head) = rates[0.1]
    assert (lr, head_lr) == (0.01 * 0.1, 0.1 * 0.1)
    assert all(a is b for a, b in zip(parameters, backbone + head, strict=True))  # so a run can go on
    assert len(parameters) == sum(parameter.requires_grad for parameter in model.parameters())
    assert {id(each) for each in backbone} <= {id(each) for each in model.backbone.parameters()}


# Data.


@pytest.mark.parametrize("training", [True, False])
def test_a_batch_is_as_large_as_it_was_named(training):
    """For the evaluation too: if memory runs out, a smaller one is a remedy."""

    class Ten:
        labels = torch.zeros(10, 1)

        def __len__(self):
            return 10

    options = Namespace(batch_size=3, seed=1, workers=0, on_bad_image="error", augment="crop")
    data = Data(None, Ten(), Ten())
    setup = SimpleNamespace(options=options, data=data, device=torch.device("cpu"))
    loader = build_loader(setup, training=training)
    assert (loader.batch_size, len(loader)) == (3, 4)
    assert (loader.shuffle, loader.mirror, loader.crop) == (training, training, training)


def test_custom_attributes_come_from_the_file_else_from_the_checkpoint(tmp_path):
    checkpoint = own_checkpoint(model_of())
    (tmp_path / "names.txt").write_text("Boots\n", encoding="utf-8")
    assert choose_experiment("custom", resumed=checkpoint).attributes == ATTRIBUTES
    named = choose_experiment("custom", attributes=tmp_path / "names.txt", resumed=checkpoint)
    assert named.attributes == ("Boots",)
    with pytest.raises(
        DataError, match=r"a published checkpoint does not name its attributes; .*--attributes"
    ):
        choose_experiment("custom", resumed={"state_dict": {}})


@pytest.mark.parametrize(
    ("words", "of_the_checkpoint", "ratio"),
    [
        ({}, [0.1, 0.2], [0.1, 0.2]),
        ({}, None, None),
        ({"evaluate": True}, None, None),
        ({"evaluate": True, "loss": "none"}, None, [0.5, 0.5]),
        ({"loss": "none"}, None, None),  # the run's checkpoints say the list's
        ({"ratios": "published"}, None, [0.3, 0.4]),
    ],
)
def test_ratios_are_the_checkpoints_or_the_published_ones_or_the_lists(words, of_the_checkpoint, ratio):
    experiment = Experiment("custom", None, ("Hat", "Bag"), positive_ratio=(0.3, 0.4))
    options = Namespace(**{"evaluate": False, "loss": "reference", "ratios": "list"} | words)
    resumed = {"positive_ratio": of_the_checkpoint} if of_the_checkpoint else {}
    assert known_ratio(experiment, options, resumed, is_chosen=False) == ratio
    if of_the_checkpoint:
        assert known_ratio(experiment, options, resumed, is_chosen=True) is None


@pytest.mark.slow
def test_an_evaluation_needs_no_training_list_if_its_loss_does_not(pictures, tmp_path, run_here):
    options = custom_lists(pictures, tmp_path, ["Hat", "Male"])
    run = "--approach", "baseline", "--workers", 0, "--epochs", 1, "--max_iters", 1, "--batch_size", 2
    names = "--attributes", tmp_path / "names.txt"
    run_here(*options, *run, *names, "--output_dir", tmp_path / "run")
    (tmp_path / "train.txt").unlink()
    own, theirs = tmp_path / "run" / "1.pth.tar", tmp_path / "published.pth.tar"
    run_here("-e", "--resume", own)
    _, errors = run_here("-e", "--resume", own, "--ratios", "list", status=1)
    assert "train.txt found neither as it is nor in " in errors
    process("export", "--to", "reference", own, theirs)
    rest = [*names, "--approach", "baseline", *options[:2], *options[4:]]
    _, errors = run_here("-e", "--resume", theirs, *rest, status=1)
    assert "name that list with --train_list; without it, give --loss none" in errors
    run_here("-e", "--resume", theirs, *rest, "--loss", "none")


def test_what_never_changes_is_named_in_one_warning_for_each_value(tmp_path, recwarn):
    custom = Experiment("custom", None, ("Age", *ATTRIBUTES, "Cap"))
    (tmp_path / "train.txt").write_text("a.jpg 1 1 1 0 2\nb.jpg 0 1 2 0 2\n", encoding="utf-8")
    assert count_ratio(custom, tmp_path / "train.txt") == [0.5, 1, 1, 0, 0]
    zero, one, unknown = (str(warning.message) for warning in recwarn)
    assert unknown.startswith("Cap is always unknown in ")
    assert zero.startswith("Skirt is always 0 in ")
    assert one.startswith("Hat, Bag are always 1 in ")
    with pytest.raises(DataError, match="--train_list"):
        count_ratio(custom, None)
