"""ResNet (He et al. 2015, arXiv:1512.03385, table 1), version 1.5: bottlenecks stride in their 3 × 3 convolution.

Depths 18 to 152 equal torchvision's. 200 has the units of "Identity Mappings" (arXiv:1603.05027), 269 those of
the dlbs benchmark (3, 30, 48, 8); both have the activation behind the sum and version 1.5's strides, as dlbs builds
them in MXNet (its Caffe descriptors are version 1: they stride in the first 1 × 1 convolution).
"""

from collections.abc import Callable
from math import sqrt

import spox.opset.ai.onnx.v17 as op
from spox import Var

from inferkit.models.layers import LINEAR, RELU, GraphBuilder, global_average, max_pool, shape_of

Unit = Callable[[GraphBuilder, Var, int, int, float], Var]


def _add(net: GraphBuilder, x: Var, branch: Var, stride: int) -> Var:
    channels = shape_of(branch)[0]
    if shape_of(x) != shape_of(branch):
        x = net.conv(x, channels, 1, stride, act=LINEAR)
    return RELU.apply(op.add(branch, x))


def basic(net: GraphBuilder, x: Var, width: int, stride: int, gain: float) -> Var:
    """Two 3 × 3 convolutions and the shortcut."""
    y = net.conv(x, width, 3, stride)
    y = net.conv(y, width, 3, act=LINEAR, gain=gain)
    return _add(net, x, y, stride)


def bottleneck(net: GraphBuilder, x: Var, width: int, stride: int, gain: float) -> Var:
    """1 × 1, 3 × 3 and 1 × 1 convolutions, the last four times as wide, and the shortcut."""
    y = net.conv(x, width, 1)
    y = net.conv(y, width, 3, stride)
    y = net.conv(y, 4 * width, 1, act=LINEAR, gain=gain)
    return _add(net, x, y, stride)


def resnet(unit: Unit, *depths: int) -> Callable[[GraphBuilder], Var]:
    """Four stages of `depths` units each, 64, 128, 256 and 512 wide."""

    def define(net: GraphBuilder) -> Var:
        x = net.conv(net.normalised(), 64, 7, stride=2)
        x = max_pool(x, 3, stride=2, pad=1)
        gain = 1 / sqrt(sum(depths))  # the sum over all branches is then about as large as the trunk
        for stage, depth in enumerate(depths):
            for index in range(depth):
                x = unit(net, x, 64 * 2**stage, 2 if stage and not index else 1, gain)
        return net.dense(global_average(x), 1000)

    return define
