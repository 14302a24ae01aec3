"""Vision transformer, base with patches of 16 × 16 (Dosovitskiy et al. 2020, arXiv:2010.11929), as in torchvision."""

from math import sqrt

import numpy as np
import spox.opset.ai.onnx.v17 as op
from spox import Var

from inferkit.models.layers import GELU, LINEAR, GraphBuilder, reshape, shape_of

LAYERS, HEADS, WIDTH, HIDDEN, PATCH = 12, 12, 768, 3072, 16
_BRANCH_GAIN = 1 / sqrt(2 * LAYERS)


def _tokens(net: GraphBuilder) -> Var:
    """Embed the patches, put the class token before them, add their positions: (N, tokens, width)."""
    patches = net.conv(net.normalised(), WIDTH, PATCH, PATCH, pad=0, act=LINEAR, norm=False)
    _, rows, columns = shape_of(patches)
    x = op.transpose(reshape(patches, WIDTH, rows * columns), perm=(0, 2, 1))
    batch = op.shape(x, start=0, end=1)
    token = op.expand(net.parameter("class_token", (1, 1, WIDTH), 1.0),
                      op.concat([batch, op.const([1, WIDTH], dtype=np.int64)], axis=0))  # fmt: skip
    x = reshape(op.concat([token, x], axis=1), 1 + rows * columns, WIDTH)  # states the size that expand hides
    return op.add(x, net.parameter("positions", (1, 1 + rows * columns, WIDTH), 0.5))


def _attention(net: GraphBuilder, x: Var) -> Var:
    """Let each token gather from all others, in `HEADS` subspaces."""
    tokens, size = shape_of(x)[0], WIDTH // HEADS
    packed = reshape(net.linear(x, 3 * WIDTH), tokens, 3, HEADS, size)
    parts = op.split(op.transpose(packed, perm=(2, 0, 3, 1, 4)), op.const([1, 1, 1], dtype=np.int64), outputs_count=3)
    query, key, value = (op.squeeze(part, op.const([0], dtype=np.int64)) for part in parts)
    scores = op.mul(op.matmul(query, op.transpose(key, perm=(0, 1, 3, 2))), op.const(np.float32(1 / sqrt(size))))
    gathered = op.matmul(op.softmax(scores, axis=-1), value)
    return net.linear(reshape(op.transpose(gathered, perm=(0, 2, 1, 3)), tokens, WIDTH), WIDTH, gain=_BRANCH_GAIN)


def _layer(net: GraphBuilder, x: Var) -> Var:
    x = op.add(x, _attention(net, net.layer_norm(x)))
    hidden = net.linear(net.layer_norm(x), HIDDEN, act=GELU)
    return op.add(x, net.linear(hidden, WIDTH, gain=_BRANCH_GAIN))


def vit_b16(net: GraphBuilder) -> Var:
    """Twelve layers of attention and perceptron; the class token is classified."""
    x = _tokens(net)
    for _ in range(LAYERS):
        x = _layer(net, x)
    x = net.layer_norm(x)
    zero, one = op.const([0], dtype=np.int64), op.const([1], dtype=np.int64)
    return net.dense(reshape(op.slice(x, zero, one, axes=one), WIDTH), 1000)
