"""TensorRT or TensorRT-RTX, whichever is installed, and what it makes of an ONNX file: a plan.

This is the only file that imports them. Reading and building need no GPU with TensorRT-RTX.
"""

from collections import deque
from importlib import import_module
from pathlib import Path
from typing import Any

import xxhash

from inferkit.errors import EngineError


def _library() -> Any:
    reasons = []
    for name in ("tensorrt", "tensorrt_rtx"):
        try:
            return import_module(name)
        except (ImportError, OSError, RuntimeError) as error:  # PyPI's placeholders of tensorrt raise the latter
            reasons.append(f"{name}: {error}")
    msg = f"engine tensorrt needs TensorRT ({'; '.join(reasons)}): pip install 'inferkit[tensorrt]' or [tensorrt-rtx]"
    raise EngineError(msg)


trt = _library()


_ILogger: Any = trt.ILogger


class _Log(_ILogger):  # type: ignore[misc]
    """Keeps the last errors for messages. TensorRT takes one logger per process and ignores others."""

    def __init__(self) -> None:
        _ILogger.__init__(self)  # pybind11 wants it called so
        self._errors: deque[str] = deque(maxlen=4)

    def log(self, severity: Any, message: str) -> None:
        """Be told by TensorRT, from any thread."""
        if severity <= trt.ILogger.Severity.ERROR:
            self._errors.append(message.strip())

    def take(self) -> str:
        """Return what was kept, and forget it."""
        errors = list(self._errors)
        self._errors.clear()
        return "; ".join(errors) or f"{trt.__name__} gave no reason"


LOG = _Log()


def build_plan(model: Path, batch_size: int, dtype: str, shape: tuple[int, ...]) -> bytes:
    """Build a serialised engine for 1 to ``batch_size`` images; TensorRT-RTX needs no GPU for it.

    Parameters
    ----------
    model
        An ONNX file without external data.
    batch_size
        The batch that the engine is tuned for, and the largest.
    dtype, shape
        Of the images: ``uint8`` or ``float32``; (channels, height, width).

    Raises
    ------
    EngineError
        If the model cannot be read or built, or does not fit the images: with the nodes concerned.
    """
    builder = trt.Builder(LOG)
    network = builder.create_network(_strongly_typed())
    parser = trt.OnnxParser(network, LOG)
    if not parser.parse(_content(model)):
        reasons = "; ".join(_explain(parser.get_error(k)) for k in range(parser.num_errors))
        LOG.take()
        msg = f"{trt.__name__} {trt.__version__} cannot read {model}: {reasons}"
        raise EngineError(msg)
    _check_input(network, model, batch_size, dtype, shape)
    config = builder.create_builder_config()
    config.set_flag(trt.BuilderFlag.TF32)  # the default of all versions, and said in the facts
    image = network.get_input(0)
    if image.shape[0] == -1:
        profile = builder.create_optimization_profile()
        profile.set_shape(image.name, (1, *shape), (batch_size, *shape), (batch_size, *shape))
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        msg = f"{trt.__name__} {trt.__version__} cannot build {model} for batches of {batch_size}: {LOG.take()}"
        raise EngineError(msg)
    return bytes(plan)


def _content(model: Path) -> bytes:
    try:
        return model.read_bytes()
    except OSError as error:
        msg = f"{model}: cannot be read ({error.strerror}); expected an ONNX file"
        raise EngineError(msg) from error


def _strongly_typed() -> int:
    """Return the flag by which TensorRT 10 takes precision from the graph, as 11 and RTX always do.

    Its number differs between versions.
    """
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _explain(error: Any) -> str:
    return f"node {error.node()} {error.node_name()!r} ({error.node_operator()}): {error.desc()}"


def _check_input(network: Any, model: Path, batch_size: int, dtype: str, shape: tuple[int, ...]) -> None:
    inputs = [network.get_input(k) for k in range(network.num_inputs)]
    wanted = {"uint8": trt.uint8, "float32": trt.float32}[dtype]
    if len(inputs) != 1 or inputs[0].dtype != wanted or tuple(inputs[0].shape)[1:] != shape:
        described = ", ".join(f"{i.name} {i.dtype} {tuple(i.shape)}" for i in inputs)
        msg = (
            f"{model} takes {described}; the images are {dtype} (batch, {', '.join(map(str, shape))}): adapt the model"
        )
        raise EngineError(msg)
    batch = inputs[0].shape[0]
    if batch not in {-1, batch_size}:
        msg = f"{model} was exported for batches of {batch}, asked for {batch_size}: set batch_sizes to [{batch}]"
        raise EngineError(msg)


def shaped_by(model: Path, batch_size: int, dtype: str, shape: tuple[int, ...]) -> dict[str, object]:
    """Return what shapes a plan beside the GPU: model, batch, images, library, and the code that builds it.

    Raises
    ------
    EngineError
        If the model cannot be read.
    """
    return {
        "model": xxhash.xxh3_128_hexdigest(_content(model)),
        "batch_size": batch_size,
        "dtype": dtype,
        "shape": list(shape),
        "library": trt.__name__,
        "version": trt.__version__,
        "code": xxhash.xxh3_128_hexdigest(Path(__file__).read_bytes()),
    }
