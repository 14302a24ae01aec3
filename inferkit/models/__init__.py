"""Models: ONNX graphs with uint8 input."""
