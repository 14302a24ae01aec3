"""MobileNet v3, large (Howard et al. 2019, arXiv:1905.02244, table 1), as in torchvision."""

import spox.opset.ai.onnx.v17 as op
from spox import Var

from inferkit.models.layers import (
    HARD_SIGMOID,
    HARD_SWISH,
    LINEAR,
    RELU,
    SIGMOID,
    Activation,
    GraphBuilder,
    global_average,
    shape_of,
)

# Columns of the paper's table: kernel, expanded channels, channels, squeeze-and-excite, activation, stride
_RE, _HS = RELU, HARD_SWISH
TABLE = (
    (3, 16, 16, False, _RE, 1),
    (3, 64, 24, False, _RE, 2),
    (3, 72, 24, False, _RE, 1),
    (5, 72, 40, True, _RE, 2),
    (5, 120, 40, True, _RE, 1),
    (5, 120, 40, True, _RE, 1),
    (3, 240, 80, False, _HS, 2),
    (3, 200, 80, False, _HS, 1),
    (3, 184, 80, False, _HS, 1),
    (3, 184, 80, False, _HS, 1),
    (3, 480, 112, True, _HS, 1),
    (3, 672, 112, True, _HS, 1),
    (5, 672, 160, True, _HS, 2),
    (5, 960, 160, True, _HS, 1),
    (5, 960, 160, True, _HS, 1),
)


def inverted_residual(
    net: GraphBuilder,
    x: Var,
    *,
    kernel: int,
    expanded: int,
    channels: int,
    stride: int,
    squeezed: int,
    act: Activation,
    squeeze_act: Activation = RELU,
    gate: Activation = SIGMOID,
    gain: float = 1.0,
) -> Var:
    """Expand, filter each channel, squeeze and excite (unless `squeezed` is 0), project; add `x` where shapes agree.

    From "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (Sandler et al. 2018, arXiv:1801.04381). `gain` scales
    the branch where `x` is added to it.
    """
    y = x if expanded == shape_of(x)[0] else net.conv(x, expanded, 1, act=act)
    y = net.conv(y, expanded, kernel, stride, groups=expanded, act=act)
    if squeezed:
        y = net.squeeze_excite(y, squeezed, act=squeeze_act, gate=gate)
    residual = stride == 1 and channels == shape_of(x)[0]
    y = net.conv(y, channels, 1, act=LINEAR, gain=(gain if residual else 1.0) * (2.0 if squeezed else 1.0))
    return op.add(x, y) if residual else y


def _divisible(channels: int) -> int:
    """Round to a multiple of 8 without losing more than a tenth (the reference implementation's rule)."""
    rounded = max(8, (channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def mobilenet_v3_large(net: GraphBuilder) -> Var:
    """Fifteen inverted residuals between a strided convolution and two dense layers."""
    x = net.conv(net.normalised(), 16, 3, stride=2, act=HARD_SWISH)
    for kernel, expanded, channels, squeeze, act, stride in TABLE:
        squeezed = _divisible(expanded // 4) if squeeze else 0
        x = inverted_residual(net, x, kernel=kernel, expanded=expanded, channels=channels, stride=stride,
                              squeezed=squeezed, act=act, gate=HARD_SIGMOID, gain=0.5)  # fmt: skip
    x = net.conv(x, 960, 1, act=HARD_SWISH)
    x = net.dense(global_average(x), 1280, act=HARD_SWISH)
    return net.dense(x, 1000)
