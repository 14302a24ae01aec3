import numpy as np
import onnx
import pytest
import spox
import spox.opset.ai.onnx.v17 as op

from inferkit.errors import ModelError
from inferkit.models.layers import LINEAR, GraphBuilder, flat
from tests.models.counting import count_multiply_adds, count_parameters


def _network() -> GraphBuilder:
    return GraphBuilder((4, 10, 12), dtype="uint8", seed=0)


def test_a_grouped_strided_convolution() -> None:
    net = _network()
    model = net.model("m", net.conv(net.normalised(), 6, (3, 5), stride=2, groups=2, act=LINEAR, norm=False))
    # output 5 × 6 pixels of 6 channels, each the sum of 2 × 3 × 5 products
    assert count_multiply_adds(model) == 5 * 6 * 6 * (2 * 3 * 5)
    assert count_parameters(model) == 6 * 2 * 3 * 5 + 6


def test_a_folded_batch_norm_has_two_parameters_a_channel() -> None:
    net = _network()
    model = net.model("m", net.conv(net.normalised(), 6, 1))
    assert count_parameters(model) == 6 * 4 + 2 * 6


def test_dense_and_linear_layers_count_alike() -> None:
    net, other = _network(), _network()
    dense = net.model("m", net.dense(flat(net.normalised()), 7))
    linear = other.model("m", other.linear(flat(other.normalised()), 7))
    assert count_multiply_adds(dense) == count_multiply_adds(linear) == 480 * 7
    assert count_parameters(dense) == count_parameters(linear) == 480 * 7 + 7


def test_an_unknown_shape_is_refused() -> None:
    x = spox.argument(spox.Tensor(np.float32, ("N", 3, 8, 8)))
    shape = spox.argument(spox.Tensor(np.int64, (4,)))
    weight = op.const(np.ones((2, 3, 1, 1), np.float32))
    model = spox.build({"x": x, "shape": shape}, {"y": op.conv(op.reshape(x, shape), weight)})
    onnx.checker.check_model(model)
    del model.graph.value_info[:]
    model.graph.node[0].domain = "elsewhere"
    model.opset_import.append(onnx.helper.make_opsetid("elsewhere", 1))
    model.graph.node[0].op_type = "Unheard"
    with pytest.raises(ModelError, match="cannot be inferred"):
        count_multiply_adds(model)
