"""The building blocks of the zoo: a graph under construction, its seeded weights and its layers.

Weights are drawn uniformly with the variance of He initialisation ("Delving Deep into Rectifiers", He et al. 2015,
arXiv:1502.01852): ``gain**2 / fan_in``, where the gain belongs to the activation that follows. Every layer then keeps
the mean square of its input, however deep the network, so that nothing leaves the range of float16 (65,504).

Batch normalisation is folded, as every engine folds it: a convolution and its batch norm are one convolution with a
bias. Such a bias is named ``folded_bias``: unfolded it is two parameters a channel (scale and shift), which is how
papers and torchvision count.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from math import prod, sqrt

import numpy as np
import numpy.typing as npt
import onnx
import spox
import spox.opset.ai.onnx.v17 as op
from spox import Tensor, Var

Pair = int | tuple[int, int]

OPSET = 17
IR_VERSION = 8  # the one of opset 17: ONNX Runtime >= 1.12 and TensorRT >= 8.5 read it

# Mean and standard deviation per channel of ImageNet (0..1: 0.485 0.456 0.406, 0.229 0.224 0.225), here in 0..255.
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
# Of uniformly distributed bytes, for inputs that are no photographs: 255 / 2 and sqrt((256**2 - 1) / 12).
BYTES_MEAN = 127.5
BYTES_STD = 73.9


@dataclass(frozen=True)
class Activation:
    """A non-linearity and the gain that keeps the mean square through it.

    A rectifier passes half of it, hence a gain of sqrt(2). Smooth rectifiers get the same: it is exact for large
    values. The gain that is exact for z ~ N(0, 1) would let large values grow without bound from layer to layer.
    """

    apply: Callable[[Var], Var]
    gain: float


def _constant(value: float) -> Var:
    return op.const(np.float32(value))


def _hard_sigmoid(x: Var) -> Var:
    return op.hard_sigmoid(x, alpha=1 / 6, beta=0.5)


def _gelu(x: Var) -> Var:
    return op.mul(op.mul(x, _constant(0.5)), op.add(op.erf(op.mul(x, _constant(sqrt(0.5)))), _constant(1.0)))


LINEAR = Activation(lambda x: x, 1.0)
RELU = Activation(op.relu, sqrt(2.0))
SILU = Activation(lambda x: op.mul(x, op.sigmoid(x)), sqrt(2.0))
GELU = Activation(_gelu, sqrt(2.0))
HARD_SWISH = Activation(lambda x: op.mul(x, _hard_sigmoid(x)), sqrt(2.0))
SIGMOID = Activation(op.sigmoid, 0.5)  # gates: a low gain keeps them near 1/2, see squeeze_excite
HARD_SIGMOID = Activation(_hard_sigmoid, 0.5)


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def shape_of(x: Var) -> tuple[int, ...]:
    """Return the dimensions of `x` behind the batch, for example ``(channels, height, width)``."""
    sizes = (x.unwrap_tensor().shape or ())[1:]
    return tuple(size for size in sizes if isinstance(size, int))


class GraphBuilder:
    """A graph under construction: its input, the weights drawn so far, and the layers that draw them.

    While the graph is built, weights are its arguments, so that no layer copies them; at the end they are initialisers.

    Parameters
    ----------
    shape
        (channels, height, width) of the input.
    dtype
        ``"uint8"`` or ``"float32"``; both hold 0..255.
    seed
        Seeds the weights. The same seed gives the same bits on every machine and NumPy version (raw PCG64 output).
    """

    def __init__(self, shape: tuple[int, int, int], *, dtype: str, seed: int) -> None:
        self.input = spox.argument(Tensor(np.dtype(dtype), ("N", *shape)))
        self._bits = np.random.PCG64(seed)
        self._counts: Counter[str] = Counter()
        self._arguments: dict[str, Var] = {}
        self._weights: dict[str, npt.NDArray[np.float32]] = {}

    def _name(self, kind: str) -> str:
        self._counts[kind] += 1
        return f"{kind}{self._counts[kind]}"

    def parameter(self, name: str, shape: tuple[int, ...], bound: float, centre: float = 0.0) -> Var:
        """Draw a parameter uniformly from ``centre - bound .. centre + bound``."""
        size = prod(shape)
        # random_raw is the only output that NumPy promises never to change (NEP 19).
        raw = self._bits.random_raw((size + 1) // 2).astype("<u8", copy=False).view("<i4")[:size]
        weights = raw.astype(np.float32)
        weights *= np.float32(bound / 2**31)
        weights += np.float32(centre)
        self._weights[name] = weights.reshape(shape)
        self._arguments[name] = spox.argument(Tensor(np.float32, shape))
        return self._arguments[name]

    def normalised(self) -> Var:
        """Return the input as float32 with mean 0 and standard deviation 1: Cast (of uint8), Sub, Mul."""
        channels = shape_of(self.input)[0]
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if channels == 3 else ((BYTES_MEAN,), (BYTES_STD,))
        x = op.cast(self.input, to=np.float32) if self.input.unwrap_tensor().dtype == np.uint8 else self.input
        x = op.sub(x, op.const(np.array(mean, np.float32).reshape(1, -1, 1, 1)))
        return op.mul(x, op.const((1 / np.array(std, np.float32)).reshape(1, -1, 1, 1)))

    def conv(
        self,
        x: Var,
        channels: int,
        kernel: Pair,
        stride: int = 1,
        pad: Pair | None = None,
        *,
        groups: int = 1,
        act: Activation = RELU,
        gain: float = 1.0,
        norm: bool = True,
    ) -> Var:
        """Convolve, then activate.

        Parameters
        ----------
        x
            (N, channels, height, width).
        channels
            Of the output.
        kernel, stride, pad
            In pixels, height first; `pad` defaults to half the kernel, which keeps the size at stride 1.
        groups
            Groups of channels; the number of input channels makes it depthwise.
        act
            What follows.
        gain
            Scales the weights further: below 1 in residual branches, above 1 behind a gate.
        norm
            Whether a batch norm is folded in (its bias is then a folded one).
        """
        rows, columns = _pair(kernel)
        top, left = _pair(pad) if pad is not None else (rows // 2, columns // 2)
        name, depth = self._name("conv"), shape_of(x)[0] // groups
        weight = self._he(f"{name}.weight", (channels, depth, rows, columns), depth * rows * columns, gain * act.gain)
        bias = self.parameter(f"{name}.{'folded_bias' if norm else 'bias'}", (channels,), 0.1 * min(gain, 1.0))
        y = op.conv(x, weight, bias, kernel_shape=(rows, columns), strides=_pair(stride), group=groups,
                    pads=(top, left, top, left))  # fmt: skip
        return act.apply(y)

    def dense(self, x: Var, units: int, *, act: Activation = LINEAR) -> Var:
        """Multiply (N, features) by a matrix of (units, features), add a bias, activate."""
        name, (features,) = self._name("dense"), shape_of(x)
        weight = self._he(f"{name}.weight", (units, features), features, act.gain)
        return act.apply(op.gemm(x, weight, self.parameter(f"{name}.bias", (units,), 0.1), transB=1))

    def linear(self, x: Var, units: int, *, act: Activation = LINEAR, gain: float = 1.0) -> Var:
        """Multiply the last axis of `x`, of any rank, by a matrix of (features, units), add a bias, activate."""
        name, features = self._name("linear"), shape_of(x)[-1]
        weight = self._he(f"{name}.weight", (features, units), features, gain * act.gain)
        return act.apply(op.add(op.matmul(x, weight), self.parameter(f"{name}.bias", (units,), 0.1 * gain)))

    def layer_norm(self, x: Var, epsilon: float = 1e-6) -> Var:
        """Normalise the last axis of `x`."""
        name, size = self._name("norm"), shape_of(x)[-1]
        weight = self.parameter(f"{name}.weight", (size,), 0.1, centre=1.0)
        bias = self.parameter(f"{name}.bias", (size,), 0.1)
        return op.layer_normalization(x, weight, bias, axis=-1, epsilon=epsilon)[0]

    def squeeze_excite(self, x: Var, squeezed: int, *, act: Activation = RELU, gate: Activation = SIGMOID) -> Var:
        """Weigh each channel by a gate computed from the mean of all (Hu et al. 2018, arXiv:1709.01507).

        The gate is near 1/2: the layer behind takes ``gain=2`` to make up for it.
        """
        weights = self.conv(op.global_average_pool(x), squeezed, 1, act=act, norm=False)
        return op.mul(x, self.conv(weights, shape_of(x)[0], 1, act=gate, norm=False))

    def _he(self, name: str, shape: tuple[int, ...], fan_in: int, gain: float) -> Var:
        return self.parameter(name, shape, gain * sqrt(3 / fan_in))  # a uniform variable's variance is bound**2 / 3

    def model(self, name: str, logits: Var) -> onnx.ModelProto:
        """Finish: a valid model with input ``input``, output ``output`` and the weights as initialisers."""
        model = spox.build({"input": self.input, **self._arguments}, {"output": logits})
        _drop_unused_outputs(model.graph)
        del model.graph.input[1:]
        model.graph.initializer.extend(onnx.numpy_helper.from_array(w, n) for n, w in self._weights.items())
        model.graph.name, model.producer_name, model.ir_version = name, "inferkit", IR_VERSION
        del model.opset_import[:]
        model.opset_import.append(onnx.helper.make_opsetid("", OPSET))
        return model


def _drop_unused_outputs(graph: onnx.GraphProto) -> None:
    """Remove optional outputs that nothing reads, such as the indices of a MaxPool: parsers may refuse them."""
    used = {tensor for node in graph.node for tensor in node.input} | {value.name for value in graph.output}
    for node in graph.node:
        while node.output[-1] not in used:
            node.output.pop()


def max_pool(x: Var, kernel: int, stride: int, pad: int = 0, *, ceil: bool = False) -> Var:
    """Take the maximum of each window; `ceil` also pools a last, partial one."""
    return op.max_pool(x, kernel_shape=_pair(kernel), strides=_pair(stride), pads=(pad,) * 4, ceil_mode=int(ceil))[0]


def average_pool(x: Var, kernel: int, stride: int, pad: int = 0, *, count_padding: bool = True) -> Var:
    """Take the mean of each window; `count_padding` counts the zeros at the border."""
    return op.average_pool(
        x, kernel_shape=_pair(kernel), strides=_pair(stride), pads=(pad,) * 4, count_include_pad=int(count_padding)
    )


def global_average(x: Var) -> Var:
    """Average over height and width: (N, channels)."""
    return op.flatten(op.global_average_pool(x))


def flat(x: Var) -> Var:
    """Flatten everything behind the batch: (N, features)."""
    channels_height_width = prod(shape_of(x))
    return op.reshape(x, op.const([0, channels_height_width], dtype=np.int64))


def reshape(x: Var, *shape: int) -> Var:
    """Reshape everything behind the batch."""
    return op.reshape(x, op.const([0, *shape], dtype=np.int64))
