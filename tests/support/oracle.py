"""ALM as the paper writes it, slow and plain: every attribute by itself, every map built and sampled.

Reads the published layout, so that the fast model's weights reach it under the published names.
"""

import torch
from torch.nn import functional as F

LEVELS = ("3b", "4d", "5b")


def conv_norm(state, name, x, stride=1, training=False):
    weight = state[f"{name}.weight"]
    x = F.conv2d(x, weight, state[f"{name}.bias"], stride, weight.shape[-1] // 2)
    mean, var = state[f"{name}_bn.running_mean"].clone(), state[f"{name}_bn.running_var"].clone()
    x = F.batch_norm(x, mean, var, state[f"{name}_bn.weight"], state[f"{name}_bn.bias"], training, 0.1, 1e-5)
    return x.relu()


def backbone(state, images, training=False):
    def conv(name, x, stride=1):
        return conv_norm(state, f"main_branch.{name}", x, stride, training)

    def halve(x):
        return F.max_pool2d(x, 3, 2, ceil_mode=True)

    x = halve(conv("conv1_7x7_s2", images, 2))
    x = halve(conv("conv2_3x3", conv("conv2_3x3_reduce", x)))
    taps = {}
    for block in ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        halving = block in ("3c", "4e")
        name, stride = f"inception_{block}", 2 if halving else 1
        three = conv(f"{name}_3x3", conv(f"{name}_3x3_reduce", x), stride)
        double = conv(f"{name}_double_3x3_1", conv(f"{name}_double_3x3_reduce", x))
        double = conv(f"{name}_double_3x3_2", double, stride)
        if halving:
            x = torch.cat([three, double, halve(x)], 1)
        else:
            pool = F.max_pool2d(x, 3, 1, 1) if block == "5b" else F.avg_pool2d(x, 3, 1, 1)
            x = torch.cat([conv(f"{name}_1x1", x), three, double, conv(f"{name}_pool_proj", pool)], 1)
        taps[block] = x
    return taps


def localized(state, level, k, features, align_corners):
    """Return attribute k's logit (B, 1) and region (B, 4) on one level's map (B, C, H, W)."""
    name = f"st_{level}"
    mean = features.mean((2, 3), keepdim=True)
    hidden = F.conv2d(
        mean, state[f"{name}.att_list.{k}.conv1.weight"], state[f"{name}.att_list.{k}.conv1.bias"]
    )
    gate = F.conv2d(
        hidden.relu(), state[f"{name}.att_list.{k}.conv2.weight"], state[f"{name}.att_list.{k}.conv2.bias"]
    )
    attended = features * (1 + gate.sigmoid())
    theta = F.linear(
        attended.mean((2, 3)), state[f"{name}.stn_list.{k}.weight"], state[f"{name}.stn_list.{k}.bias"]
    )
    region = torch.cat([theta[:, :2].sigmoid(), theta[:, 2:].tanh()], 1)
    average = sampled_mean(attended, region, align_corners)
    logit = F.linear(average, state[f"{name}.fc_list.{k}.weight"], state[f"{name}.fc_list.{k}.bias"])
    return logit, region


def sampled_mean(features, region, align_corners):
    """Return (B, C): the mean of the map (B, C, H, W) resampled through the region (B, 4)."""
    scale_x, scale_y, shift_x, shift_y = region.unbind(1)
    zero = torch.zeros_like(scale_x)
    matrix = torch.stack([scale_x, zero, shift_x, zero, scale_y, shift_y], 1).view(-1, 2, 3)
    grid = F.affine_grid(matrix, list(features.shape), align_corners=align_corners)
    sampled = F.grid_sample(features, grid, "bilinear", "border", align_corners=align_corners)
    return sampled.mean((2, 3))


def forward(state, images, align_corners=False, training=False):
    """Return the four predictions (B, K) and the regions {level: (B, K, 4)}."""
    taps = backbone(state, images, training)

    def lateral(level):
        return F.conv2d(taps[level], state[f"latlayer_{level}.weight"], state[f"latlayer_{level}.bias"])

    def up(x):
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

    maps = {"5b": lateral("5b")}
    maps["4d"] = torch.cat([up(maps["5b"]), lateral("4d")], 1)
    maps["3b"] = torch.cat([up(maps["4d"]), lateral("3b")], 1)
    predictions, regions = [], {}
    for level in LEVELS:
        count = state["finalfc.bias"].shape[0]
        outputs = [localized(state, level, k, maps[level], align_corners) for k in range(count)]
        predictions.append(torch.cat([logit for logit, _ in outputs], 1))
        regions[level] = torch.stack([region for _, region in outputs], 1)
    pooled = taps["5b"].mean((2, 3))
    predictions.append(F.linear(pooled, state["finalfc.weight"], state["finalfc.bias"]))
    return predictions, regions
