from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

ELEMENTS = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}
MakeModel = Callable[..., str]


def weights(shape: tuple[int, ...]) -> Any:
    """A factor of its own for every position, exact in float32."""
    return (np.arange(np.prod(shape), dtype=np.float32) + 1).reshape(1, *shape)


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """Write a network whose output is its input, each position times a factor of its own."""

    def make(
        dtype: str = "uint8",
        shape: tuple[int, ...] = (3, 5, 7),
        batch: int | str = "batch",
        *,
        inputs: int = 1,
        limit: int | None = None,
    ) -> str:
        names = [f"input{k}" for k in range(inputs)]
        factors = numpy_helper.from_array(weights(shape), "factors")
        nodes = [helper.make_node("Cast", [names[0] if names else "factors"], ["cast"], to=TensorProto.FLOAT)]
        initializers = [factors]
        if limit is not None:  # refuses pixels above the limit, when it meets them
            initializers.append(numpy_helper.from_array(np.arange(limit + 1, dtype=np.float32), "known"))
            nodes += [
                helper.make_node("Cast", ["cast"], ["index"], to=TensorProto.INT64),
                helper.make_node("Gather", ["known", "index"], ["pixels"]),
            ]
        nodes += [
            helper.make_node("Mul", ["cast" if limit is None else "pixels", "factors"], ["scaled"]),
            helper.make_node("Flatten", ["scaled"], ["output"]),
        ]
        graph = helper.make_graph(
            nodes,
            "scale",
            [helper.make_tensor_value_info(name, ELEMENTS[dtype], [batch, *shape]) for name in names],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)],
            initializers,
        )
        path = tmp_path / "scale.onnx"
        onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)]), path)
        return str(path)

    return make
