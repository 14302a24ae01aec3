"""OverFeat, the fast model (Sermanet et al. 2013, arXiv:1312.6229, table 1)."""

from spox import Var

from inferkit.models.layers import RELU, GraphBuilder, flat, max_pool


def overfeat(net: GraphBuilder) -> Var:
    """Five convolutions, three of them pooled, and three dense layers."""
    x = net.conv(net.normalised(), 96, 11, stride=4, pad=0, norm=False)
    x = max_pool(x, 2, stride=2)
    x = net.conv(x, 256, 5, pad=0, norm=False)
    x = max_pool(x, 2, stride=2)
    for channels in (512, 1024, 1024):
        x = net.conv(x, channels, 3, norm=False)
    x = max_pool(x, 2, stride=2)
    x = net.dense(flat(x), 3072, act=RELU)
    x = net.dense(x, 4096, act=RELU)
    return net.dense(x, 1000)
