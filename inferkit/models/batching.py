"""The batch dimension of a user's graph: made dynamic where it was fixed, and checked to reach the outputs."""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from inferkit.errors import ModelError
from inferkit.models.shapes import dimensions, infer_shapes

BATCH = "N"
RUNTIME_ERRORS = (
    runtime.Fail,
    runtime.InvalidArgument,
    runtime.InvalidGraph,
    runtime.NotImplemented,
    runtime.RuntimeException,
)


def unused_name(name: str, model: onnx.ModelProto) -> str:
    """Return `name`, lengthened until no tensor in the graph has that name."""
    graph = model.graph
    taken = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    taken |= {tensor for node in graph.node for tensor in (*node.input, *node.output)}
    while name in taken:
        name += "_"
    return name


def free_reshapes(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """Let every Reshape of batched data to a constant (`batch`, …) keep its data's batch instead.

    The model is changed in place and returned. Exporters write such constants when they trace one batch.
    """
    graph = model.graph
    while fixed := _fixed_reshapes(model, batch):
        for node, target in fixed:
            name = unused_name(f"{node.input[1]}_any_batch", model)
            graph.initializer.append(numpy_helper.from_array(np.array([0, *target[1:]], np.int64), name))
            node.input[1] = name  # 0 copies this dimension from the data
    return model


def _fixed_reshapes(model: onnx.ModelProto, batch: int) -> list[tuple[onnx.NodeProto, list[int]]]:
    """Find the Reshapes whose data have the dynamic batch and whose constant shape begins with `batch`."""
    inferred = infer_shapes(model, strict=False)
    batched = {value.name for value in (*inferred.input, *inferred.value_info) if dimensions(value)[:1] == [BATCH]}
    constants = _constants(model)
    candidates = [n for n in model.graph.node if n.op_type == "Reshape" and n.input[0] in batched]
    targets = [(node, constants.get(node.input[1], [])) for node in candidates if not _allows_zero(node)]
    return [(node, target) for node, target in targets if target[:1] == [batch]]


def _allows_zero(node: onnx.NodeProto) -> bool:
    return any(attribute.name == "allowzero" and attribute.i for attribute in node.attribute)


def _constants(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Return the constant vectors of integers, which shapes are, by name."""
    tensors = {w.name: w for w in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensors[node.output[0]] = node.attribute[0].t
    return {
        n: numpy_helper.to_array(t).tolist()
        for n, t in tensors.items()
        if t.data_type == TensorProto.INT64 and len(t.dims) == 1
    }


def follows_batch(model: onnx.ModelProto) -> bool:
    """Tell whether the first dimension of every output is the batch.

    Shape inference usually knows; if it does not, the network is run on two images.
    """
    try:
        outputs = infer_shapes(model).output
    except onnx.shape_inference.InferenceError:
        return False  # something inside has the fixed batch
    leading = [dimensions(output)[:1] for output in outputs]
    if any(isinstance(size, int) for sizes in leading for size in sizes):
        return False
    return all(sizes == [BATCH] for sizes in leading) or _runs_with_two(model)


def check_follows(model: onnx.ModelProto, batch: int | None) -> None:
    """Refuse a network whose first output is not one result for each image.

    Parameters
    ----------
    model
        The network.
    batch
        Images in a batch where the graph fixes them; else it is run on two, unless shape inference knows.

    Raises
    ------
    ModelError
        With the shape. What does not run at all is refused by the engine, with the reason.
    """
    if batch is None and follows_batch(model):
        return
    images = batch or 2
    try:
        shape = run_shapes(model, batch=images)[0]
    except ModelError:
        return
    if shape[:1] != (images,):
        message = (
            f"output {model.graph.output[0].name!r} has shape {list(shape)} for a batch of {images} images: export the "
            "model so that the output's first dimension is the batch"
        )
        raise ModelError(message)


def _runs_with_two(model: onnx.ModelProto) -> bool:
    try:
        return all(shape[:1] == (2,) for shape in run_shapes(model, batch=2))
    except ModelError:
        return False


def run_shapes(model: onnx.ModelProto, *, batch: int) -> list[tuple[int, ...]]:
    """Run `model` on `batch` black images and return the shapes of its outputs, batch included.

    Raises
    ------
    ModelError
        If ONNX Runtime cannot.
    """
    value = model.graph.input[0]
    sizes = [size for size in dimensions(value)[1:] if isinstance(size, int)]
    dtype = np.uint8 if value.type.tensor_type.elem_type == TensorProto.UINT8 else np.float32
    images = np.zeros((batch, *sizes), dtype)
    options = ort.SessionOptions()
    options.log_severity_level = 4  # the error says what goes wrong
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return [np.shape(output) for output in session.run(None, {value.name: images})]
    except RUNTIME_ERRORS as error:
        message = f"ONNX Runtime cannot run the network on {batch} image(s): {error}"
        raise ModelError(message) from error
