"""Every operator of a step computed again: a right device passes, a wrong operator is found where it is."""

import pytest
import torch
from support import THOROUGH
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import alm
from utils.diagnostics.operator_check import CPU_SUBSTITUTES, OperatorCheck
from utils.diagnostics.operator_origin import OperatorOrigin
from utils.diagnostics.operator_report import operator_lines, verdict, wrong_results

CPU = torch.device("cpu")


class Device(TorchDispatchMode):
    """The CPU, with operators that are wrong by a factor, or missing for None; float64 stays right."""

    def __init__(self, factors):
        super().__init__()
        self.factors = factors

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        name, tensors = operator._schema.name, tree_leaves((args, kwargs))
        mine = name in self.factors and all(
            x.dtype != torch.float64 for x in tensors if isinstance(x, torch.Tensor)
        )
        if mine and self.factors[name] is None:
            raise NotImplementedError(f"no {name}")
        outputs = operator(*args, **(kwargs or {}))
        if mine:
            for x in tree_leaves(args[0] if name.endswith("_") else outputs):
                if isinstance(x, torch.Tensor) and x.is_floating_point():
                    x.mul_(1 + self.factors[name])
        return outputs


class Network(nn.Module):
    """A little of everything: convolution, normalization, pools, attention."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 16, 3)
        self.head = nn.Linear(16, 256)

    def forward(self, images):
        features = nn.functional.max_pool2d(self.conv2(self.bn(self.conv(images)).relu()), 2)
        return self.head(self.attended(nn.functional.avg_pool2d(features, 3, 1)))

    def attended(self, features):
        return (features * features.sigmoid()).mean((2, 3))


def step(factors=None, seed=0, fused=True, dtype=None):
    """Check one training step on a device with these wrong operators; return its check."""
    torch.manual_seed(seed)
    network = Network()
    optimizer = torch.optim.Adam(network.parameters(), fused=fused, foreach=None if fused else True)
    images, labels = torch.randn(4, 3, 20, 16), (torch.rand(4, 256) > 0.5).to(torch.uint8)
    loss = alm.WeightedBCELoss([0.5] * 256)
    origin = OperatorOrigin({"": network, "loss": loss}, optimizer)
    with Device(factors or {}), OperatorCheck(origin, CPU) as check:
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            logits = network(images)
        loss(logits, labels).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0, foreach=True)
        optimizer.step()
    return check


def operators(results):
    return {result.operator for result in results}


@pytest.mark.parametrize(("dtype", "fused"), [(None, False), (torch.bfloat16, True), (torch.float16, True)])
def test_right_device_passes(dtype, fused):
    for seed in range(5 if THOROUGH else 2):
        check = step(seed=seed, fused=fused, dtype=dtype)
        assert wrong_results(check.results) == []
        assert check.unchecked == []
    kinds = operators(check.results)
    adam = "aten::_fused_adam_" if fused else "aten::_foreach_addcdiv_"
    assert {"aten::convolution", "aten::convolution_backward", "aten::native_batch_norm", adam} < kinds
    assert not kinds & check.ignored.keys()


PLACES = {
    "aten::convolution": ("forward", "conv"),
    "aten::native_batch_norm": ("forward", "bn"),
    "aten::sigmoid": ("forward", "network.attended"),
    "aten::avg_pool2d": ("forward", "network"),
    "aten::addmm": ("forward", "head"),
    "aten::log": ("forward", "loss"),
    "aten::convolution_backward": ("backward", "conv2"),
    "aten::native_batch_norm_backward": ("backward", "bn"),
    "aten::sigmoid_backward": ("backward", "loss"),
    "aten::max_pool2d_with_indices_backward": ("backward", "network"),
    "aten::_fused_adam_": ("optimizer", "conv.weight"),
    "aten::mm": ("backward", "head"),
    "aten::mul": ("forward", "network.attended"),
}
GROUPS = [[name] for name in PLACES] if THOROUGH else [list(PLACES)[::2], list(PLACES)[1::2]]


@pytest.mark.slow
@pytest.mark.parametrize("names", GROUPS)
@pytest.mark.parametrize("sign", [1, -1] if THOROUGH else [-1])
def test_wrong_operators_are_over_their_limits_and_no_others(names, sign):
    """By ten roundings; a normalization sums too many terms for these to be seen."""
    factors = {name: sign * (1e-2 if "batch_norm" in name else 10 * 2.0**-24) for name in names}
    first = {}
    for result in wrong_results(step(factors).results):
        first.setdefault(result.operator, (result.stage, result.place))
    assert first == {name: PLACES[name] for name in names}


def test_gradients_that_drift_are_right():
    """As in trained networks: neighbours are alike, and a weight's gradient is far less than its terms."""
    network = nn.Conv2d(3, 16, 7, stride=2, padding=3)
    images = 1 + torch.rand(4, 3, 256, 128) / 10
    gradient = torch.linspace(1, -1, 128)[:, None] * (1 + torch.rand(4, 16, 128, 64) / 10)
    origin = OperatorOrigin({"": network}, torch.optim.SGD(network.parameters()))
    with OperatorCheck(origin, CPU) as check:
        network(images).backward(gradient)
    assert "aten::convolution_backward" in operators(check.results)
    assert wrong_results(check.results) == []


def test_one_tensor_of_a_list_is_named():
    found = wrong_results(step({"aten::_foreach_addcdiv_": 1e-2}, fused=False).results)
    assert operators(found) == {"aten::_foreach_addcdiv_"}
    assert {result.place for result in found} == {
        f"{name}.{part}" for name in ("conv", "bn", "conv2", "head") for part in ("weight", "bias")
    }


def test_lacking_operator_is_an_error_that_says_where():
    with pytest.raises(alm.AlmError, match=r"no aten::sigmoid, needed forward in network.attended"):
        step({"aten::sigmoid": None})


def test_what_cannot_be_computed_again_is_listed():
    library = torch.library.Library("alm_test", "DEF")
    library.define("own(Tensor x) -> Tensor")

    def own(x):
        if x.dtype == torch.float64:
            raise RuntimeError("float32 alone")
        return x * 2

    library.impl("own", own, "CompositeExplicitAutograd")
    network = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(network.parameters())
    with OperatorCheck(OperatorOrigin({"": network}, optimizer), CPU) as check:
        torch.ops.alm_test.own(torch.ones(3))
    [entry] = check.unchecked
    assert (entry.operator, entry.reason) == ("alm_test::own", "float32 alone")
    assert verdict(check) is None
    assert list(operator_lines(check))[-1].startswith("no verdict: 1 operator could not be checked")


def test_equal_values_may_lie_anywhere_in_a_pool():
    """Which of several largest values a pool points at is the device's choice; a smaller one is wrong."""

    class Last(TorchDispatchMode):
        def __init__(self, position):
            super().__init__()
            self.position = position

        def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
            outputs = operator(*args, **(kwargs or {}))
            if operator._schema.name == "aten::max_pool2d_with_indices" and args[0].dtype == torch.float32:
                outputs[1].fill_(self.position)
            return outputs

    images = torch.tensor([[[[5.0, 1.0], [2.0, 5.0]]]])
    network = nn.Linear(2, 2)
    for position, right in ((0, True), (3, True), (1, False)):
        origin = OperatorOrigin({"": network}, torch.optim.SGD(network.parameters()))
        with Last(position), OperatorCheck(origin, CPU) as check:
            nn.functional.max_pool2d(images, 2, return_indices=True)
        assert (wrong_results(check.results) == []) is right


def test_a_librarys_own_normalization_is_computed_as_the_cpu_has_it():
    """cuDNN's operators take the same tensors in another order; there they are computed on a card."""
    shape = 4, 6, 5, 3
    images, gradient = torch.randn(shape), torch.randn(shape)
    weight, bias, mean, variance = torch.rand(4, 6)
    statistics = mean, variance + 1
    expected = torch.ops.aten.native_batch_norm(images, weight, bias, *statistics, True, 0.1, 1e-5)
    again = CPU_SUBSTITUTES["aten::cudnn_batch_norm"](images, weight, bias, *statistics, True, 0.1, 1e-5)
    assert all(torch.equal(a, b) for a, b in zip(again, expected, strict=True))
    found = CPU_SUBSTITUTES["aten::cudnn_batch_norm_backward"](
        images, gradient, weight, *statistics, *expected[1:], 1e-5, torch.empty(7, dtype=torch.uint8)
    )
    images.requires_grad_()
    normalized = torch.nn.functional.batch_norm(images, None, None, weight, bias, training=True, eps=1e-5)
    torch.testing.assert_close(found[0], torch.autograd.grad(normalized, images, gradient)[0])
    assert [tensor.shape for tensor in found] == [images.shape, weight.shape, bias.shape]
