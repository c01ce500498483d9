"""Ranks: what one process does without any, and that three of them train as one does."""

import copy

import pytest
import torch
from support.drawn import drawn_set
from support.ranks import finished, torchrun, train_in_float64, with_unknown_labels
from torch import nn

from alm.constants import PATIENCE, TORCHRUN
from alm.errors import AlmError
from alm.models.folding import folded
from alm.training import distributed
from alm.training.average import WeightAverage
from alm.training.batch_norm import synchronize
from run_scripts.cli.parser import Parser


def test_one_process_is_the_first_of_one_and_waits_for_nobody(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with distributed.ranks(minutes=1), distributed.first_on_machine():
        assert not distributed.is_started()
        assert (distributed.rank(), distributed.world(), distributed.is_main()) == (0, 1, True)
        assert (distributed.local_rank(), distributed.local_world()) == (0, 1)
        assert distributed.kept_over_restarts("a") is None
        values = torch.ones(2)
        assert distributed.total(values) is values
        assert distributed.gather("a") == ["a"]
        assert distributed.broadcast("a") == "a"
        distributed.barrier()


@pytest.mark.parametrize("batches", [1, 2, 3, 4, 7])
def test_the_parts_of_all_ranks_are_the_whole_in_its_order(monkeypatch, batches):
    """As many parts on each rank, however few pictures there are."""
    whole = list(torch.arange(5 * batches - 4).split(5))
    monkeypatch.setattr(distributed, "world", lambda: 3)
    dealt, cut = [], []
    for rank in range(3):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        dealt.append(distributed.turns(whole))
        cut.append(distributed.slices(whole))
    monkeypatch.setattr(distributed, "gather", lambda values: dealt)
    assert torch.equal(torch.cat(distributed.in_order(dealt[0])), torch.cat(whole))
    for parts, batch in zip(zip(*cut, strict=True), whole, strict=True):
        assert torch.equal(torch.cat(parts), batch)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["bn_inception", "test_efficientnet"])  # of timm, small
def test_three_ranks_train_as_one_process_does(tmp_path_factory, tmp_path, backbone):
    """In float64, with unknown labels, and a last batch of fewer pictures than ranks."""
    if backbone != "bn_inception":
        pytest.importorskip("timm", reason="timm is not installed")
    root = drawn_set(tmp_path_factory, train=34, test=1)
    labels, out = (
        with_unknown_labels(root / "PETA_train_list.txt", tmp_path / "list.txt"),
        tmp_path / "out.pt",
    )
    status, output, errors = finished(torchrun(3, "tests/support/ranks.py", root, labels, out, backbone))
    assert status == 0, output + errors
    weights, losses = torch.load(out, weights_only=True)
    expected_weights, expected_losses = train_in_float64(root, labels, backbone)
    assert len(losses) == 5
    assert losses == pytest.approx(expected_losses, abs=1e-9, rel=0)
    for name, expected in expected_weights.items():
        assert torch.allclose(weights[name], expected, atol=1e-9, rtol=0), name


def test_each_rank_of_a_machine_has_its_own_accelerator(monkeypatch):
    monkeypatch.setattr(distributed, "is_started", lambda: True)
    monkeypatch.setattr(distributed, "choose_device", torch.device)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert distributed.own_device("cuda") == torch.device("cuda:1")
    assert distributed.own_device("cpu") == torch.device("cpu")
    with pytest.raises(AlmError, match="2 processes of this machine would share it; name cuda, "):
        distributed.own_device("cuda:0")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    assert distributed.own_device("cuda:0") == torch.device("cuda:0")


def test_the_first_rank_has_time_to_say_what_is_wrong(monkeypatch, capsys):
    slept = []
    monkeypatch.setattr(distributed.time, "sleep", slept.append)
    monkeypatch.setenv(TORCHRUN, "1")
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(SystemExit), distributed.hushed():
            Parser("A command.").error("wrong")
    assert (capsys.readouterr().err.count("error: wrong"), slept) == (1, [PATIENCE])


def test_what_an_exchange_raises_in_the_midst_of_a_step_is_explained_and_nothing_else(monkeypatch):
    monkeypatch.setattr(distributed, "is_started", lambda: True)
    monkeypatch.setattr(distributed, "PATIENCE", 0)
    with pytest.raises(distributed.PeerError), distributed.exchanging(None, now=True):
        raise RuntimeError("[third_party/gloo/gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting")
    with pytest.raises(RuntimeError, match="out of memory"), distributed.exchanging(None, now=True):
        raise RuntimeError("CUDA out of memory")


@pytest.fixture
def group_of_one(tmp_path):
    """Let this process be the only rank of a real group."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_synchronized_normalization_keeps_the_names_of_a_checkpoint_and_what_is_predicted(group_of_one):
    """Of torch's module, and of timm's with its activation, in copies too; others are refused."""
    timm = pytest.importorskip("timm", reason="timm is not installed")
    plain = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), timm.layers.BatchNormAct2d(4)).eval()
    images = torch.randn(2, 3, 8, 4, generator=torch.Generator().manual_seed(0))
    before, names = plain(images), list(plain.state_dict())
    synchronize(plain)
    assert all("Synchronized" in type(module).__name__ for module in plain[1:])
    assert list(plain.state_dict()) == names
    for model in (plain, folded(plain), WeightAverage(plain, 0.9).model):
        assert torch.equal(model(images), before)
    with pytest.raises(AlmError, match=r"^--sync_bn: the backbone has a Other, which cannot be synchronized"):
        synchronize(nn.Sequential(type("Other", (nn.BatchNorm2d,), {})(4)))


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (nn.BatchNorm1d, (5, 3)),
        (nn.BatchNorm1d, (5, 3, 4)),
        (nn.BatchNorm2d, (5, 3, 4, 2)),
        (nn.BatchNorm3d, (5, 3, 4, 2, 6)),
    ],
)
def test_synchronized_normalization_is_torchs_over_any_number_of_axes(kind, shape):
    plain = nn.Sequential(kind(3)).double()
    model, images = copy.deepcopy(plain), torch.randn(shape, generator=torch.Generator().manual_seed(0))
    synchronize(model)
    assert type(model[0]) is not kind
    for training in (True, False):
        expected, found = (each.train(training)(images.double()) for each in (plain, model))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for found, expected in zip(model.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
