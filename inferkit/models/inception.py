"""Inception v3 (Szegedy et al. 2015, arXiv:1512.00567) and v4 (2016, arXiv:1602.07261, figures 3 to 9).

v3 equals torchvision's without the auxiliary classifier, v4 the released one (42,679,816 parameters). A network is a
chain of layers; :func:`split` runs several chains beside one another and concatenates their channels. A convolution
with stride 2 is not padded, as in the papers' figures (there marked "V").
"""

from collections.abc import Callable, Sequence
from functools import reduce

import spox.opset.ai.onnx.v17 as op
from spox import Var

from inferkit.models.layers import GraphBuilder, Pair, average_pool, global_average, max_pool

Layer = Callable[[GraphBuilder, Var], Var]


def conv(channels: int, kernel: Pair, stride: int = 1, *, valid: bool = False) -> Layer:
    """Convolve; unpadded when `valid` or strided."""
    pad = 0 if valid or stride > 1 else None
    return lambda net, x: net.conv(x, channels, kernel, stride, pad)


def average(*, count_padding: bool) -> Layer:
    """Average over 3 × 3 pixels; v3 counts the padding, v4 does not."""
    return lambda _, x: average_pool(x, 3, stride=1, pad=1, count_padding=count_padding)


def chain(net: GraphBuilder, x: Var, layers: Sequence[Layer]) -> Var:
    """Apply `layers` one after another."""
    return reduce(lambda y, layer: layer(net, y), layers, x)


def split(*branches: Sequence[Layer]) -> Layer:
    """Apply `branches` beside one another and concatenate their channels."""
    return lambda net, x: op.concat([chain(net, x, branch) for branch in branches], axis=1)


def _pool(_: GraphBuilder, x: Var) -> Var:
    return max_pool(x, 3, stride=2)


def _classify(net: GraphBuilder, layers: Sequence[Layer]) -> Var:
    return net.dense(global_average(chain(net, net.normalised(), layers)), 1000)


_STEM = (conv(32, 3, 2), conv(32, 3, valid=True), conv(64, 3))
_PADDED, _UNPADDED = average(count_padding=True), average(count_padding=False)


def _a3(pooled: int) -> Layer:
    return split(
        [conv(64, 1)],
        [conv(48, 1), conv(64, 5)],
        [conv(64, 1), conv(96, 3), conv(96, 3)],
        [_PADDED, conv(pooled, 1)],
    )


def _c3(width: int) -> Layer:
    return split(
        [conv(192, 1)],
        [conv(width, 1), conv(width, (1, 7)), conv(192, (7, 1))],
        [conv(width, 1), conv(width, (7, 1)), conv(width, (1, 7)), conv(width, (7, 1)), conv(192, (1, 7))],
        [_PADDED, conv(192, 1)],
    )


_B3 = split([conv(384, 3, 2)], [conv(64, 1), conv(96, 3), conv(96, 3, 2)], [_pool])
_D3 = split(
    [conv(192, 1), conv(320, 3, 2)],
    [conv(192, 1), conv(192, (1, 7)), conv(192, (7, 1)), conv(192, 3, 2)],
    [_pool],
)
_E3 = split(
    [conv(320, 1)],
    [conv(384, 1), split([conv(384, (1, 3))], [conv(384, (3, 1))])],
    [conv(448, 1), conv(384, 3), split([conv(384, (1, 3))], [conv(384, (3, 1))])],
    [_PADDED, conv(192, 1)],
)


def inception3(net: GraphBuilder) -> Var:
    """Stem, three modules A, reduction B, four modules C, reduction D, two modules E."""
    stem = (*_STEM, _pool, conv(80, 1), conv(192, 3, valid=True), _pool)
    modules = (_a3(32), _a3(64), _a3(64), _B3, _c3(128), _c3(160), _c3(160), _c3(192), _D3, _E3, _E3)
    return _classify(net, stem + modules)


_STEM4 = (
    *_STEM,
    split([_pool], [conv(96, 3, 2)]),
    split(
        [conv(64, 1), conv(96, 3, valid=True)],
        [conv(64, 1), conv(64, (1, 7)), conv(64, (7, 1)), conv(96, 3, valid=True)],
    ),
    split([conv(192, 3, 2)], [_pool]),
)
_A4 = split(
    [conv(96, 1)],
    [conv(64, 1), conv(96, 3)],
    [conv(64, 1), conv(96, 3), conv(96, 3)],
    [_UNPADDED, conv(96, 1)],
)
_REDUCTION_A4 = split([conv(384, 3, 2)], [conv(192, 1), conv(224, 3), conv(256, 3, 2)], [_pool])
_B4 = split(
    [conv(384, 1)],
    [conv(192, 1), conv(224, (1, 7)), conv(256, (7, 1))],
    [conv(192, 1), conv(192, (7, 1)), conv(224, (1, 7)), conv(224, (7, 1)), conv(256, (1, 7))],
    [_UNPADDED, conv(128, 1)],
)
_REDUCTION_B4 = split(
    [conv(192, 1), conv(192, 3, 2)],
    [conv(256, 1), conv(256, (1, 7)), conv(320, (7, 1)), conv(320, 3, 2)],
    [_pool],
)
_C4 = split(
    [conv(256, 1)],
    [conv(384, 1), split([conv(256, (1, 3))], [conv(256, (3, 1))])],
    [conv(384, 1), conv(448, (3, 1)), conv(512, (1, 3)), split([conv(256, (1, 3))], [conv(256, (3, 1))])],
    [_UNPADDED, conv(256, 1)],
)


def inception4(net: GraphBuilder) -> Var:
    """Stem, four modules A, reduction A, seven modules B, reduction B, three modules C."""
    return _classify(net, (*_STEM4, *[_A4] * 4, _REDUCTION_A4, *[_B4] * 7, _REDUCTION_B4, *[_C4] * 3))
