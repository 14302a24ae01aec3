"""Small networks that no exporter of today writes, or that only some write: each is a valid ONNX graph, or nearly."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SHAPE = (3, 6, 8)
CLASSES = 5
FLAT = int(np.prod(SHAPE))
WEIGHT = np.random.default_rng(3).normal(size=(FLAT, CLASSES)).astype(np.float32)

Node = onnx.NodeProto
Info = onnx.ValueInfoProto


def image(dims: Sequence[int | str | None] = ("batch", *SHAPE), elem_type: int = TensorProto.FLOAT) -> Info:
    return helper.make_tensor_value_info("image", elem_type, dims)


def scores(dims: Sequence[int | str | None] | None = ("batch", CLASSES), elem_type: int = TensorProto.FLOAT) -> Info:
    return helper.make_tensor_value_info("scores", elem_type, dims)


def weight(name: str = "weight", value: Any = WEIGHT) -> onnx.TensorProto:
    return numpy_helper.from_array(value, name)


def dense(*before: Node, of: str = "image", flat: str = "flat") -> list[Node]:
    """What ends every classifier: Flatten and Gemm."""
    return [*before, helper.make_node("Flatten", [of], [flat]), helper.make_node("Gemm", [flat, "weight"], ["scores"])]


def network(
    nodes: Sequence[Node] | None = None,
    inputs: Sequence[Info] | None = None,
    outputs: Sequence[Info] | None = None,
    weights: Sequence[onnx.TensorProto] | None = None,
    *,
    opset: int = 17,
    ir_version: int = 10,
    domains: Sequence[str] = (),
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """A classifier of images of SHAPE, unless something else is said of it."""
    graph = helper.make_graph(
        dense() if nodes is None else nodes,
        "odd",
        [image()] if inputs is None else inputs,
        [scores()] if outputs is None else outputs,
        [weight()] if weights is None else weights,
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, ir_version=ir_version, opset_imports=opsets, functions=list(functions))


def expected(pixels: Any) -> Any:
    """What the classifier says of images."""
    return pixels.reshape(len(pixels), -1).astype(np.float32) @ WEIGHT


def _paddle() -> onnx.ModelProto:
    model = network(inputs=[image((1, *SHAPE))])
    for dims in (model.graph.input[0], model.graph.output[0]):
        dims.type.tensor_type.shape.dim[0].dim_value = -1
    return model


def _old(batch: int | str = 1) -> onnx.ModelProto:
    """Opset 6, in which operators broadcast only if they are told to, and IR version 3, in which weights are inputs."""
    gemm = helper.make_node("Gemm", ["flat", "weight", "bias"], ["dense"], broadcast=1)
    shift = helper.make_node("Add", ["dense", "shift"], ["scores"], broadcast=1, axis=1)
    nodes = [helper.make_node("Flatten", ["image"], ["flat"]), gemm, shift]
    bias = np.zeros(CLASSES, np.float32)
    weights = [weight(), weight("bias", bias), weight("shift", bias)]
    inputs = [image((batch, *SHAPE)), *(helper.make_tensor_value_info(w.name, w.data_type, w.dims) for w in weights)]
    return network(nodes, inputs, [scores((batch, CLASSES))], weights, opset=6, ir_version=3)


def shift_of_channels(each: Sequence[float] = (0.0,) * SHAPE[0]) -> onnx.ModelProto:
    """Opset 6, a value for each channel, as early exporters wrote a convolution's bias."""
    model = _old()
    model.graph.node.insert(0, helper.make_node("Add", ["image", "each"], ["shifted"], broadcast=1, axis=1))
    model.graph.node[1].input[0] = "shifted"
    model.graph.initializer.append(weight("each", np.array(each, np.float32)))
    model.graph.input.append(helper.make_tensor_value_info("each", TensorProto.FLOAT, [SHAPE[0]]))
    return model


def _ancient(opset: int, *before: Node, of: str = "done", **weights: Any) -> onnx.ModelProto:
    """What ends in a Reshape whose shape is an attribute."""
    nodes = [*before, helper.make_node("Reshape", [of], ["flat"], shape=[-1, FLAT], consumed_inputs=[0])]
    model = network([*nodes, helper.make_node("MatMul", ["flat", "weight"], ["scores"])], opset=opset, ir_version=3)
    model.graph.initializer.extend(weight(name, np.array(value, np.float32)) for name, value in weights.items())
    return model


def _consumed(operator: str, *tensors: str, **attributes: Any) -> Node:
    """A node that says which of its inputs may be overwritten."""
    return helper.make_node(operator, tensors[:-1], tensors[-1:], consumed_inputs=[0], **attributes)


def _opset_1() -> onnx.ModelProto:
    """Operators as Caffe2 wrote them, one behind another, that change nothing in the end."""
    normal: dict[str, Any] = {"scale": [1] * 3, "bias": [0] * 3, "mean": [0] * 3, "variance": [1] * 3}
    return _ancient(
        1,
        helper.make_node("Cast", ["image"], ["real"], to="FLOAT"),
        _consumed("Clip", "real", "clipped", min=0.0, max=255.0),
        _consumed("BatchNormalization", "clipped", *normal, "normal", is_test=1, epsilon=0.0),
        _consumed("Add", "normal", "bias", "added", axis=1, broadcast=1),
        _consumed("Dropout", "added", "kept", is_test=1),
        helper.make_node("Pad", ["kept"], ["padded"], paddings=[0, 0, 1, 1, 0, 0, 1, 1]),
        helper.make_node("Slice", ["padded"], ["cut"], axes=[2, 3], starts=[1, 1], ends=[7, 9]),
        helper.make_node("Split", ["cut"], ["red", "green", "blue"], axis=1, split=[1, 1, 1]),
        helper.make_node("Concat", ["red", "green", "blue"], ["joined"]),
        helper.make_node("Upsample", ["joined"], ["larger"], height_scale=2.0, width_scale=3.0),
        helper.make_node("MaxPool", ["larger"], ["done"], kernel_shape=[2, 3], strides=[2, 3]),
        **normal,
    )


def slopes_of_channels(each: Sequence[float] = (1.0,) * SHAPE[0]) -> onnx.ModelProto:
    """Opset 6, PRelu of pixels less 100, which are below 0."""
    return _ancient(
        4,
        helper.make_node("Sub", ["image", "hundred"], ["less"], broadcast=1),
        helper.make_node("PRelu", ["less", "each"], ["bent"]),
        helper.make_node("Add", ["bent", "hundred"], ["done"], broadcast=1),
        hundred=[100],
        each=each,
    )


def _old_if() -> onnx.ModelProto:
    """Operators of opset 4 inside of an If, which add to the channels of the graph around it."""
    nodes = [
        helper.make_node("Add", ["image", "nothing"], ["out"], axis=1, broadcast=1),
        helper.make_node("Reshape", ["out"], ["shaped"], shape=[-1, FLAT]),
    ]
    branch = helper.make_graph(nodes, "branch", [], [helper.make_tensor_value_info("shaped", TensorProto.FLOAT, None)])
    choice = helper.make_node("If", ["always"], ["flattened"], then_branch=branch, else_branch=branch)
    model = _ancient(4, choice, of="flattened", nothing=[0] * SHAPE[0])
    model.graph.initializer.append(weight("always", np.bool_(True)))
    return model


def _unknown_of_old() -> onnx.ModelProto:
    """Opset 4, and an operator that only ONNX Runtime has."""
    return _ancient(4, helper.make_node("ImageScaler", ["image"], ["done"], scale=1.0, bias=[0.0] * SHAPE[0]))


def unread(*names: str) -> onnx.ModelProto:
    """Inputs that nothing reads, as detectors have for the size of an image that they no more scale back to."""
    model = network()
    model.graph.input.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in names)
    return model


def _comes_out(elem_type: int) -> onnx.ModelProto:
    cast = helper.make_node("Cast", ["real"], ["scores"], to=elem_type)
    nodes = dense()
    nodes[-1].output[0] = "real"
    return network([*nodes, cast], outputs=[scores(elem_type=elem_type)])


def _weights_without_inputs() -> onnx.ModelProto:
    return network(
        ir_version=3, opset=9, weights=[weight(), weight("bias", np.zeros(CLASSES, np.float32))], nodes=_old_gemm()
    )


def _old_gemm() -> list[Node]:
    return [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["scores"]),
    ]


def _gelu(domain: str = "com.microsoft", stated: Sequence[int | str] | None = ("batch", CLASSES)) -> onnx.ModelProto:
    nodes = dense(helper.make_node("Gelu", ["image"], ["gelu"], domain=domain), of="gelu")
    return network(nodes, outputs=[scores(stated)], domains=[domain])


def _branch(name: str, factor: float) -> onnx.GraphProto:
    """Multiply; what comes of it has a name that others would give to a tensor outside."""
    nodes = [
        helper.make_node("Constant", [], [f"{name}_factor"], value=weight("", np.float32(factor))),
        helper.make_node("Mul", ["flat", f"{name}_factor"], ["input"]),
    ]
    return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info("input", TensorProto.FLOAT, None)])


def _if() -> onnx.ModelProto:
    """Which branch is taken depends on the images: both give the same here."""
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("ReduceMax", ["image"], ["largest"], keepdims=0),
        helper.make_node("Cast", ["largest"], ["any"], to=TensorProto.BOOL),
        helper.make_node("If", ["any"], ["same"], then_branch=_branch("then", 1.0), else_branch=_branch("else", 1.0)),
        helper.make_node("MatMul", ["same", "weight"], ["scores"]),
    ]
    return network(nodes)


def _loop(times: int = 3) -> onnx.ModelProto:
    """Adds nothing, so many times."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["goes"]), helper.make_node("Identity", ["x"], ["y"])],
        "body",
        [
            helper.make_tensor_value_info("k", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("goes", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
        ],
    )
    loop = helper.make_node("Loop", ["times", "", "image"], ["again"], body=body)
    return network(dense(loop, of="again"), weights=[weight(), weight("times", np.int64(times))])


def _function() -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", 17)]
    double = helper.make_function("mine", "Same", ["x"], ["y"], [helper.make_node("Identity", ["x"], ["y"])], opsets)
    nodes = dense(helper.make_node("Same", ["image"], ["same"], domain="mine"), of="same")
    return network(nodes, domains=["mine"], functions=[double])


def _quantised_input() -> onnx.ModelProto:
    """uint8 that is not cast but dequantised: its type makes a difference."""
    nodes = dense(helper.make_node("DequantizeLinear", ["image", "one", "zero"], ["real"]), of="real")
    weights = [weight(), weight("one", np.float32(1)), weight("zero", np.uint8(0))]
    return network(nodes, [image(elem_type=TensorProto.UINT8)], weights=weights)


def _reshape(target: Sequence[int], batch: int | str) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Reshape", ["image", "target"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["scores"]),
    ]
    return network(
        nodes, [image((batch, *SHAPE))], [scores(None)], [weight(), weight("target", np.array(target, np.int64))]
    )


def _of_type(elem_type: int) -> onnx.ModelProto:
    cast = helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT)
    return network(dense(cast, of="real"), [image(elem_type=elem_type)])


def _nhwc(
    elem_type: int = TensorProto.FLOAT, dims: Sequence[int | str | None] = ("b", *SHAPE[1:], SHAPE[0])
) -> onnx.ModelProto:
    nodes = dense(
        helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["real"], to=TensorProto.FLOAT),
        of="real",
    )
    return network(nodes, [image(dims, elem_type)])


def _unstated() -> onnx.ModelProto:
    """The output has no shape at all, which onnx's checker refuses and ONNX Runtime does not."""
    return network(outputs=[scores(None)])


def _resized() -> onnx.ModelProto:
    """Twice as high and wide, and back: an operator that stays float32 when others become float16."""
    nodes = dense(
        helper.make_node("Relu", ["image"], ["positive"]),
        helper.make_node("Resize", ["positive", "", "twice"], ["larger"], mode="nearest"),
        helper.make_node("MaxPool", ["larger"], ["same"], kernel_shape=[2, 2], strides=[2, 2]),
        of="same",
    )
    return network(nodes, weights=[weight(), weight("twice", np.array([1, 1, 2, 2], np.float32))])


def _constants() -> onnx.ModelProto:
    """Numbers that are attributes, in an order in which nothing can be computed."""
    nodes = dense(
        helper.make_node("Add", ["image", "nothing"], ["sum"]),
        helper.make_node("Reshape", ["sum", "flat_shape"], ["flattened"]),
        helper.make_node("Constant", [], ["nothing"], value_float=0.0),
        helper.make_node("Constant", [], ["flat_shape"], value_ints=[-1, FLAT]),
        of="flattened",
    )
    return network(nodes[::-1])


def _two_names() -> onnx.ModelProto:
    """The standard's operators in both names of their domain."""
    model = network(domains=["ai.onnx"])
    model.opset_import[-1].version = model.opset_import[0].version
    model.graph.node[0].domain = "ai.onnx"
    return model


def _unused() -> onnx.ModelProto:
    """A second input that has a value of its own, which ONNX calls a default."""
    model = network()
    model.graph.initializer.append(weight("size", np.array([6, 8], np.int64)))
    model.graph.input.append(helper.make_tensor_value_info("size", TensorProto.INT64, [2]))
    return model


RUN: dict[str, Callable[[], onnx.ModelProto]] = {
    "plain": network,
    "a batch of -1, as Paddle writes it": _paddle,
    "a batch of 1": lambda: network(inputs=[image((1, *SHAPE))], outputs=[scores((1, CLASSES))]),
    "a batch without a name": lambda: network(inputs=[image((None, *SHAPE))]),
    "a batch of 0": lambda: network(inputs=[image((0, *SHAPE))]),
    "names for every size": lambda: network(inputs=[image(("batch", "channels", "height", "width"))]),
    "open height and width": lambda: network(inputs=[image(("batch", 3, "height", "width"))]),
    "opset 6, IR version 3": _old,
    "opset 6, a batch with a name": lambda: _old("batch"),
    "opset 6, a shift of channels": shift_of_channels,
    "opset 1, as Caffe2 wrote it": _opset_1,
    "opset 4, PRelu of channels": slopes_of_channels,
    "opset 4, an If": _old_if,
    "opset 4, an operator of ONNX Runtime alone": _unknown_of_old,
    "an IR version of tomorrow": lambda: network(ir_version=onnx.IR_VERSION + 1),
    "IR version 3, weights that are no inputs": _weights_without_inputs,
    "Gelu of com.microsoft": _gelu,
    "Gelu of com.microsoft, no shape stated": lambda: _gelu(stated=None),
    "an output without a shape": _unstated,
    "a wrong shape stated": lambda: network(outputs=[scores((7, 9))]),
    "an If": _if,
    "a Loop": _loop,
    "a function": _function,
    "uint8": lambda: _of_type(TensorProto.UINT8),
    "uint8 that is dequantised": _quantised_input,
    "int32": lambda: _of_type(TensorProto.INT32),
    "int64": lambda: _of_type(TensorProto.INT64),
    "float16": lambda: _of_type(TensorProto.FLOAT16),
    "bfloat16": lambda: _of_type(TensorProto.BFLOAT16),
    "bfloat16 comes out": lambda: _comes_out(TensorProto.BFLOAT16),
    "double": lambda: _of_type(TensorProto.DOUBLE),
    "NHWC": _nhwc,
    "NHWC of uint8": lambda: _nhwc(TensorProto.UINT8),
    "a Reshape to the batch of export": lambda: _reshape([1, FLAT], 1),
    "a Reshape to any batch": lambda: _reshape([-1, FLAT], "batch"),
    "a Resize": _resized,
    "constants behind those who read them": _constants,
    "the standard's domain by two names": _two_names,
    "an input with a default": _unused,
    "inputs that nothing reads": lambda: unread("im_info", "scale_factor"),
}
"""They say of images what the plain network says."""


def _two_images() -> onnx.ModelProto:
    second = helper.make_tensor_value_info("second", TensorProto.FLOAT, ["batch", *SHAPE])
    return network(dense(helper.make_node("Add", ["image", "second"], ["sum"]), of="sum"), [image(), second])


def _sequence() -> onnx.ModelProto:
    nodes = [helper.make_node("SequenceConstruct", ["image"], ["scores"])]
    of_tensors = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    return network(nodes, outputs=[helper.make_value_info("scores", of_tensors)], weights=[])


def _strings() -> onnx.ModelProto:
    nodes = [*dense()[:1], helper.make_node("Cast", ["flat"], ["scores"], to=TensorProto.STRING)]
    return network(nodes, outputs=[scores(None, TensorProto.STRING)], weights=[])


def _empty() -> onnx.ModelProto:
    limits = [weight(name, np.array([value], np.int64)) for name, value in (("zero", 0), ("one", 1))]
    nodes = [*dense()[:1], helper.make_node("Slice", ["flat", "zero", "zero", "one"], ["scores"])]
    return network(nodes, outputs=[scores(None)], weights=limits)


def _mean_of_all() -> onnx.ModelProto:
    return network(
        [helper.make_node("ReduceMean", ["image"], ["scores"], keepdims=0)], outputs=[scores([])], weights=[]
    )


def _transposed() -> onnx.ModelProto:
    """Two classes come first, then the batch: for two images nobody would notice."""
    nodes = [
        *dense()[:1],
        helper.make_node("MatMul", ["flat", "weight"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["scores"]),
    ]
    return network(nodes, outputs=[scores(None)], weights=[weight(value=WEIGHT[:, :2])])


def _loose() -> onnx.ModelProto:
    return network(dense(helper.make_node("Add", ["image", "nowhere"], ["sum"]), of="sum"))


def _deaf() -> onnx.ModelProto:
    """A branch that was cut off before its images."""
    return network([helper.make_node("Identity", ["weight"], ["scores"])])


def _spread_over_unknown() -> onnx.ModelProto:
    """Opset 6, an addition to channels of which no library knows the shape."""
    add = helper.make_node("Add", ["strange", "each"], ["done"], axis=1, broadcast=1)
    return _ancient(4, helper.make_node("Strange", ["image"], ["strange"]), add, each=[1, 2, 3])


def _named(name: str, elem_type: int, dims: Sequence[int | str | None]) -> onnx.ModelProto:
    """Something that is no image goes in."""
    return network(
        [helper.make_node("Identity", [name], ["scores"])],
        [helper.make_tensor_value_info(name, elem_type, dims)],
        weights=[],
    )


REFUSED: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "no output": (lambda: network(outputs=[]), r"has no output, so that nothing would be computed"),
    "no input": (lambda: network(inputs=[]), r"has 0 inputs \(none\); expected one, of images"),
    "nothing at all": (onnx.ModelProto, r"has no output"),
    "several inputs": (_two_images, r"has 2 inputs \('image', 'second'\).*invented numbers would measure another"),
    "no input of strings": (
        lambda: _named("text", TensorProto.STRING, ["b", 3]),
        "'text' is STRING; expected an image",
    ),
    "tokens": (lambda: _named("ids", TensorProto.INT64, ["b", 77]), r"'ids' has shape \[None, 77\], images"),
    "1-D": (lambda: _named("image", TensorProto.FLOAT, [10]), r"'image' has shape \[10\], images"),
    "5-D": (lambda: _named("image", TensorProto.FLOAT, [1, 3, 2, 6, 8]), r"expected 4 and 3 dimensions"),
    "no dimension": (lambda: _named("image", TensorProto.FLOAT, []), r"'image' has shape \[\], images"),
    "another size": (lambda: network(inputs=[image(("b", 3, 6, 9))]), r"takes \(channels, height, width\) \[3, 6, 9\]"),
    "other channels": (lambda: network(inputs=[image(("b", 4, 6, 8))]), r"no axis holds 3 channels"),
    "open in all": (lambda: network(inputs=[image((None, None, None, None))]), "ambiguous: set layout to NCHW or NHWC"),
    "a sequence comes out": (_sequence, r"'scores' is of type list; expected numbers"),
    "strings come out": (_strings, r"'scores' is of type object; expected numbers"),
    "nothing comes out": (_empty, r"'scores' has shape \[.*0\b.*\]"),
    "one number for all": (_mean_of_all, r"'scores' has shape \[\] for a batch of 2 images"),
    "the batch comes second": (_transposed, r"'scores' has shape \[2, 2\] for a batch of 2 images"),
    "an image that nothing reads": (_deaf, r"nothing in graph 'odd' reads its input \('image'\), so that every image"),
    "opset 4, channels of an unknown operator": (
        _spread_over_unknown,
        r"Add of \['done'\] spreads 'each' over 'strange' from dimension 1 on, and nothing tells how many dimensions",
    ),
    "a tensor that nobody makes": (_loose, r"does not fit behind an input of these images: .*nowhere"),
}
"""With what is said of each."""
UNKNOWN_OPERATOR = _gelu("com.nobody")


def plugin(domain: str) -> onnx.ModelProto:
    """A plugin of TensorRT's, as exporters write it: in ONNX's own domain, or in one that the file does not import."""
    nodes = dense(helper.make_node("EfficientThing_TRT", ["image"], ["done"], domain=domain), of="done")
    return network(nodes=nodes)
