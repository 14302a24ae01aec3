"""ConvNeXt, tiny (Liu et al. 2022, arXiv:2201.03545, table 9), as in torchvision."""

from math import sqrt

import spox.opset.ai.onnx.v17 as op
from spox import Var

from inferkit.models.layers import GELU, LINEAR, GraphBuilder, global_average, shape_of

STAGES = ((3, 96), (3, 192), (9, 384), (3, 768))  # blocks, channels
_BLOCKS = sum(blocks for blocks, _ in STAGES)


def _last(x: Var) -> Var:
    return op.transpose(x, perm=(0, 2, 3, 1))


def _first(x: Var) -> Var:
    return op.transpose(x, perm=(0, 3, 1, 2))


def _block(net: GraphBuilder, x: Var, index: int) -> Var:
    """Filter 7 × 7 in each channel, then a two-layer perceptron at each pixel, scaled per channel, added to `x`."""
    channels = shape_of(x)[0]
    y = net.conv(x, channels, 7, groups=channels, act=LINEAR, norm=False)
    y = net.layer_norm(_last(y))
    y = net.linear(net.linear(y, 4 * channels, act=GELU), channels)
    scale = net.parameter(f"scale{index}", (channels, 1, 1), bound=0.01, centre=1 / sqrt(_BLOCKS))
    return op.add(x, op.mul(_first(y), scale))


def convnext_tiny(net: GraphBuilder) -> Var:
    """Patches of 4 × 4, four stages with halving of the size between, and a dense layer."""
    x, index = net.normalised(), 0
    for stage, (blocks, channels) in enumerate(STAGES):
        if stage:
            x = net.conv(_first(net.layer_norm(_last(x))), channels, 2, 2, pad=0, act=LINEAR, norm=False)
        else:
            x = net.conv(x, channels, 4, 4, pad=0, act=LINEAR, norm=False)
            x = _first(net.layer_norm(_last(x)))
        for _ in range(blocks):
            index += 1
            x = _block(net, x, index)
    return net.dense(net.layer_norm(global_average(x)), 1000)
