"""ONNX Runtime as the reference that others are held against."""

from pathlib import Path

import onnxruntime as ort


def reference_session(path: Path | str) -> ort.InferenceSession:
    """Open a network in ONNX Runtime so that it computes what the graph says.

    Its optimisations of quantised networks compute other things where they meet fp8 (seen in 1.32), so they are off.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
