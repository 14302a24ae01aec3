"""AlexNet in one column: "One weird trick for parallelizing convolutional neural networks" (Krizhevsky 2014).

arXiv:1404.5997; the same layers as torchvision's ``alexnet``.
"""

from spox import Var

from inferkit.models.layers import RELU, GraphBuilder, flat, max_pool


def alexnet_owt(net: GraphBuilder) -> Var:
    """Five convolutions, three of them pooled, and three dense layers."""
    x = net.conv(net.normalised(), 64, 11, stride=4, pad=2, norm=False)
    x = max_pool(x, 3, stride=2)
    x = net.conv(x, 192, 5, norm=False)
    x = max_pool(x, 3, stride=2)
    for channels in (384, 256, 256):
        x = net.conv(x, channels, 3, norm=False)
    x = max_pool(x, 3, stride=2)
    x = net.dense(flat(x), 4096, act=RELU)
    x = net.dense(x, 4096, act=RELU)
    return net.dense(x, 1000)
