"""A model of timm (pytorch-image-models) as a backbone. timm is imported when such a model is asked for."""

from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional

from alm.constants import HEIGHT, STRIDES, WIDTH, Tap
from alm.devices.device import is_accelerator
from alm.errors import AlmError, in_short


class TimmBackbone(nn.Module):
    """The maps of a model of timm's, called stride8, stride16 and stride32; see backbones.Backbone."""

    @torch.inference_mode(False)  # the trial pass says by its gradients what each map depends on
    @torch.enable_grad()
    def __init__(self, name: str):
        """Raises AlmError if timm is missing or does not know the name, or if the model has no maps at the
        strides 8, 16 and 32. Nothing is loaded or downloaded: a file from anyone may name the model.
        """
        super().__init__()
        timm = timm_with(name)
        try:
            fixed = getattr(timm.get_pretrained_cfg(name), "fixed_input_size", False)
            size = {"img_size": (HEIGHT, WIDTH)} if fixed else {}
            self.features = timm.create_model(name, features_only=True, exportable=True, **size)
            self._channels_come_last = getattr(self.features, "output_fmt", None) == "NHWC"
            maps = self.eval()._maps(torch.zeros(1, 3, HEIGHT, WIDTH))
        except Exception as error:  # a model without maps, or for one size alone, fails in its own way
            reason = f"has no maps of pictures of {HEIGHT} x {WIDTH} ({in_short(error)})"
            raise AlmError(f"backbone {name!r} {reason}; take another") from error
        places = {tuple(features.shape[2:]): place for place, features in enumerate(maps)}
        self._places = [places.get((HEIGHT // stride, WIDTH // stride)) for stride in STRIDES]
        if None in self._places:
            raise AlmError(f"backbone {name!r} has no maps at the strides {STRIDES}; take another")
        taps = [maps[place] for place in self._places]
        self.taps = tuple(Tap(f"stride{s}", m.shape[1], s) for s, m in zip(STRIDES, taps, strict=True))
        config = self.features.pretrained_cfg
        self.mean, self.std = tuple(config["mean"]), tuple(config["std"])
        self._prepare(taps)
        self._stages = self._names_by_map(maps)
        self.train()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) -> the map of each tap, (B, channels, H / stride, W / stride)."""
        maps = self._maps(images)
        return {tap.name: maps[place] for tap, place in zip(self.taps, self._places, strict=True)}

    def stages(self) -> list[list[nn.Parameter]]:
        """Return the parameters that each map of the model's needs and no finer one does."""
        return [[self.get_parameter(name) for name in names] for names in self._stages]

    def _maps(self, images: Tensor) -> list[Tensor]:
        """Return all maps of the model, (B, C, H, W) each, fine to coarse."""
        maps = list(self.features(images))
        return [features.permute(0, 3, 1, 2) for features in maps] if self._channels_come_last else maps

    def _names_by_map(self, maps: Sequence[Tensor]) -> list[list[str]]:
        """Return the names of `stages`: a device may put other parameters in the place of these."""
        rest, stages = dict(self.named_parameters()), []
        for features in maps:
            needed = leaves([features])
            stages.append([name for name, weight in rest.items() if weight in needed])
            for name in stages[-1]:
                del rest[name]
        return stages

    def _prepare(self, maps: Sequence[Tensor]) -> None:
        """Let the model train as this program trains; `maps` say what its taps depend on."""
        from timm.layers import Conv2dSame

        trained = leaves(maps)
        for module in self.features.modules():
            # What is random must follow from the seed, the epoch and the picture: so nothing is dropped.
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            elif hasattr(module, "drop_prob"):
                module.drop_prob = 0.0
            if type(module) is Conv2dSame:
                module.__class__ = PaddedConvolution
            if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
                module.__class__ = depthwise(type(module))
            # A weight that no tap depends on has no gradient, and no state in an optimizer to go on from.
            for name, weight in list(module.named_parameters(recurse=False)):
                if weight not in trained:
                    delattr(module, name)
                    module.register_buffer(name, weight.detach())


class Depthwise(nn.Conv2d):
    """A depthwise convolution that, if it has gradients, stays in float32 under autocast on the CPU: there
    torch 2.14 takes many times as long for them in bfloat16 (16 maps of 240 channels, 32 x 16, stride 2: 156
    and 2.4 ms).
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H / stride, W / stride), in the type of `x`."""
        has_gradients = torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad)
        if not has_gradients or is_accelerator(x.device) or not torch.is_autocast_enabled(x.device.type):
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float()).to(x.dtype)


class PaddedConvolution(nn.Conv2d):
    """A convolution with TensorFlow's padding, which is for ceil(H / stride) x ceil(W / stride) places."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H / stride, W / stride), rounded up."""
        before, after = zip(*(self._padding(axis, int(x.shape[2 + axis])) for axis in (0, 1)), strict=True)
        padded = functional.pad(x, (before[1], after[1], before[0], after[0]))
        y = self._conv_forward(padded, self.weight, self.bias)
        if not torch.onnx.is_in_onnx_export():
            return y
        attributes = before + after, self.stride, self.dilation, self.groups
        return OnnxConvolution.apply(y, *attributes, *filter(torch.is_tensor, (x, self.weight, self.bias)))

    def _padding(self, axis: int, size: int) -> tuple[int, int]:
        """Return how many zeros are put before and behind a map along an axis."""
        reach = self.dilation[axis] * (self.kernel_size[axis] - 1) + 1
        missing = max(0, (-(-size // self.stride[axis]) - 1) * self.stride[axis] + reach - size)
        return missing // 2, missing - missing // 2


class OnnxConvolution(torch.autograd.Function):
    """Writes a PaddedConvolution as one operator of ONNX. By itself torch writes its padding as another, of
    constants that many more compute, which onnxruntime does not join.
    """

    @staticmethod
    def forward(context, y: Tensor, *described) -> Tensor:
        """Return `y`, which the described convolution gave."""
        return y.clone()

    @staticmethod
    def symbolic(graph, y, pads, strides, dilations, groups, *inputs):
        """Return the operator."""
        attributes = {"pads_i": pads, "strides_i": strides, "dilations_i": dilations, "group_i": groups}
        return graph.op("Conv", *inputs, **attributes).setType(y.type())


@cache
def depthwise(kind: type[nn.Conv2d]) -> type[nn.Conv2d]:
    """Return a class of convolutions as Depthwise."""
    return type(kind.__name__, (Depthwise, kind), {})


def leaves(maps: Sequence[Tensor]) -> set[Tensor]:
    """Return the parameters that maps were computed from."""
    waiting, seen = [features.grad_fn for features in maps], {None}
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += [source for source, _ in node.next_functions]
    return {node.variable for node in seen if hasattr(node, "variable")}


def timm_with(name: str) -> ModuleType:
    """Return the optional package timm. Raises AlmError if it is missing, or has no model of that name."""
    try:
        import timm
    except ImportError as error:
        raise AlmError(
            f"backbone {name!r} is not bn_inception, and timm, which has others, does not work here "
            f"({error}); pip install timm"
        ) from error
    if not isinstance(name, str) or not timm.is_model(name):  # which no address is
        nearest = get_close_matches(str(name), timm.list_models())
        hint = f"timm's nearest are {', '.join(nearest)}" if nearest else "timm.list_models() has their names"
        raise AlmError(f"unknown backbone {name!r}, neither bn_inception nor one of timm's; {hint}")
    return timm
