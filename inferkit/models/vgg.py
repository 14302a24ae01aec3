"""VGG (Simonyan & Zisserman 2014, arXiv:1409.1556, table 1: configurations A, B, D, E), without batch norm."""

from collections.abc import Callable

from spox import Var

from inferkit.models.layers import RELU, GraphBuilder, flat, max_pool


def vgg(*depths: int) -> Callable[[GraphBuilder], Var]:
    """Five pooled stages of `depths` 3 × 3 convolutions each, and three dense layers."""

    def define(net: GraphBuilder) -> Var:
        x = net.normalised()
        for channels, depth in zip((64, 128, 256, 512, 512), depths, strict=True):
            for _ in range(depth):
                x = net.conv(x, channels, 3, norm=False)
            x = max_pool(x, 2, stride=2)
        x = net.dense(flat(x), 4096, act=RELU)
        x = net.dense(x, 4096, act=RELU)
        return net.dense(x, 1000)

    return define
