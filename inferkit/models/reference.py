"""ONNX Runtime as the reference that others are compared with."""

from pathlib import Path
from typing import Literal

import onnx
import onnxruntime as ort
from onnx import TensorProto

_PAIR = {"QuantizeLinear", "DequantizeLinear"}
_FP8 = {TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2}


def reference_session(path: Path | str) -> ort.InferenceSession:
    """Open a network in ONNX Runtime so that it computes what the graph says.

    Its optimisations of quantised networks are off: where they meet fp8 they compute something else (seen in 1.32).
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def quantised_to(path: Path | str) -> Literal["", "int8", "fp8"]:
    """Return what a network's graph is quantised to; empty if it is not."""
    graph = onnx.load(path, load_external_data=False).graph
    types = {weight.name: weight.data_type for weight in graph.initializer}
    narrow = {types.get(node.input[2]) for node in graph.node if node.op_type in _PAIR and len(node.input) > 2}
    if narrow & _FP8:
        return "fp8"
    return "int8" if any(node.op_type in _PAIR for node in graph.node) else ""
