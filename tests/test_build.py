"""What build.py makes of options: --compile. The rest is tested through run_ALM.py."""

from argparse import Namespace

import pytest
import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException

import alm
from run_scripts.build import compile_network

OPTIONS = Namespace(compile=True, evaluate=False, batch_size=3)


@pytest.fixture
def compiled_sizes(monkeypatch):
    """Stand in for torch.compile, which takes minutes; return the sizes of the batches it is given."""
    sizes = []

    def compile_(model, **options):
        assert options == {"dynamic": False}
        return lambda images: sizes.append(len(images)) or model(images)

    monkeypatch.setattr(torch, "compile", compile_)
    return sizes


def test_full_batches_are_compiled_and_the_last_is_not(compiled_sizes):
    model = nn.Linear(2, 2)
    network = compile_network(OPTIONS, model)
    for size in (3, 3, 1):
        images = torch.randn(size, 2)
        assert torch.equal(network(images), model(images))
    assert compiled_sizes == [3, 3]


@pytest.mark.parametrize(("compile_", "evaluate"), [(False, False), (True, True)])
def test_without_the_option_or_training_nothing_is_compiled(compiled_sizes, compile_, evaluate):
    options = Namespace(compile=compile_, evaluate=evaluate, batch_size=3)
    assert compile_network(options, nn.Linear(2, 2)) is None


def test_where_torch_cannot_compile_it_says_so(monkeypatch):
    def refuse(_images):
        raise TorchDynamoException("no C++ compiler\nand a page of traces")

    monkeypatch.setattr(torch, "compile", lambda model, **_: refuse)
    with pytest.raises(alm.AlmError, match=r"^--compile: .*\(no C\+\+ compiler\); leave the option out$"):
        compile_network(OPTIONS, nn.Linear(2, 2))(torch.randn(3, 2))
