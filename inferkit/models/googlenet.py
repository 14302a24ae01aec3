"""GoogLeNet (Szegedy et al. 2014, arXiv:1409.4842, table 1), as torchvision builds it.

torchvision's differs from the paper: batch norm in place of local response normalisation, and 3 × 3 kernels in the
branch that the paper calls "5 × 5". The two auxiliary classifiers serve training only and are left out.
"""

import spox.opset.ai.onnx.v17 as op
from spox import Var

from inferkit.models.layers import GraphBuilder, global_average, max_pool

# Columns of the paper's table: 1×1, 3×3 reduce, 3×3, 5×5 reduce, 5×5, pool proj
STAGES = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)


def _inception(net: GraphBuilder, x: Var, row: tuple[int, ...]) -> Var:
    ones, threes_reduce, threes, fives_reduce, fives, pooled = row
    branches = [
        net.conv(x, ones, 1),
        net.conv(net.conv(x, threes_reduce, 1), threes, 3),
        net.conv(net.conv(x, fives_reduce, 1), fives, 3),
        net.conv(max_pool(x, 3, stride=1, pad=1, ceil=True), pooled, 1),
    ]
    return op.concat(branches, axis=1)


def googlenet(net: GraphBuilder) -> Var:
    """Three convolutions and nine inception modules."""
    x = net.conv(net.normalised(), 64, 7, stride=2)
    x = max_pool(x, 3, stride=2, ceil=True)
    x = net.conv(x, 64, 1)
    x = net.conv(x, 192, 3)
    for pool, stage in zip((3, 3, 2), STAGES, strict=True):
        x = max_pool(x, pool, stride=2, ceil=True)
        for row in stage:
            x = _inception(net, x, row)
    return net.dense(global_average(x), 1000)
