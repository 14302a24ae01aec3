"""EfficientNet-B0 (Tan & Le 2019, arXiv:1905.11946, table 1), as in torchvision."""

from spox import Var

from inferkit.models.layers import SILU, GraphBuilder, global_average, shape_of
from inferkit.models.mobilenet import inverted_residual

# Columns of the paper's table: expansion, kernel, stride of the first, channels, layers
TABLE = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


def efficientnet_b0(net: GraphBuilder) -> Var:
    """Sixteen inverted residuals between two convolutions, and a dense layer."""
    x = net.conv(net.normalised(), 32, 3, stride=2, act=SILU)
    for expansion, kernel, stride, channels, layers in TABLE:
        for index in range(layers):
            before = shape_of(x)[0]
            x = inverted_residual(net, x, kernel=kernel, expanded=expansion * before, channels=channels,
                                  stride=1 if index else stride, squeezed=before // 4, act=SILU, squeeze_act=SILU,
                                  gain=0.5)  # fmt: skip
    x = net.conv(x, 1280, 1, act=SILU)
    return net.dense(global_average(x), 1000)
