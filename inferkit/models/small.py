"""Small networks for inputs that are no photographs, after the descriptors of HPE's dlbs benchmark.

Their data are one-channel "images": MNIST's digits (28 × 28), an acoustic model's 540 features (a frame and its
neighbours), 784 sensor readings, and a text of 59 words embedded in 128 dimensions. All that is known of them is the
sizes of their layers in those descriptors; they are scaled as bytes, uniformly distributed.

- deep_mnist is the deepest network of "Deep Big Simple Neural Nets Excel on Handwritten Digit Recognition" (Cireşan
  et al. 2010, arXiv:1003.0358; there with images of 29 × 29 and 12.11 M weights).
- text_cnn follows "Convolutional Neural Networks for Sentence Classification" (Kim 2014, arXiv:1408.5882).
"""

import spox.opset.ai.onnx.v17 as op
from spox import Var

from inferkit.models.layers import LINEAR, RELU, GraphBuilder, flat


def _perceptron(net: GraphBuilder, hidden: tuple[int, ...], classes: int) -> Var:
    x = flat(net.normalised())
    for units in hidden:
        x = net.dense(x, units, act=RELU)
    return net.dense(x, classes)


def deep_mnist(net: GraphBuilder) -> Var:
    """Five hidden layers, from 2,500 down to 500 units."""
    return _perceptron(net, (2500, 2000, 1500, 1000, 500), 10)


def acoustic_model(net: GraphBuilder) -> Var:
    """Five hidden layers of 2,048 units and 8,192 states of phones."""
    return _perceptron(net, (2048,) * 5, 8192)


def sensor_net(net: GraphBuilder) -> Var:
    """Three hidden layers of 1,024 units."""
    return _perceptron(net, (1024,) * 3, 16)


def text_cnn(net: GraphBuilder) -> Var:
    """128 filters each over one, three and five words, the strongest response of each, and a dense layer."""
    x = net.normalised()
    responses = [net.conv(x, 128, (words, 128), pad=(words // 2, 0), act=LINEAR, norm=False) for words in (1, 3, 5)]
    return net.dense(op.flatten(op.global_max_pool(RELU.apply(op.concat(responses, axis=1)))), 10)
