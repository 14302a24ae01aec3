"""What TensorRT or TensorRT-RTX, whichever is installed, makes of an ONNX file: a plan.

Reading and building need no GPU with TensorRT-RTX.
"""

from pathlib import Path
from typing import Any

import xxhash

from inferkit.engines.base import check_results
from inferkit.engines.tensorrt_builder import BuildProgress, TimingCache
from inferkit.engines.tensorrt_library import LOG, RTX, trt
from inferkit.errors import EngineError
from inferkit.machine.tensorrt_versions import release


def build_plan(model: Path, batch_size: int, dtype: str, shape: tuple[int, ...]) -> bytes:
    """Build a serialised engine for batches of ``batch_size`` images; TensorRT-RTX needs no GPU for it.

    An engine that also takes smaller batches infers ResNet-50 14 % slower (float16, batch 256, H100).

    Parameters
    ----------
    model
        An ONNX file without external data.
    batch_size
        The one batch that the engine takes.
    dtype, shape
        Of the images: ``uint8`` or ``float32``; (channels, height, width).

    Raises
    ------
    EngineError
        If the model cannot be read or built, or does not fit the images: names the nodes concerned.
    """
    builder = trt.Builder(LOG)
    network, _parser = read_network(builder, model)
    _check_input(network, model, batch_size, dtype, shape)
    check_results(str(model), tuple(network.get_output(0).shape), batch_size)
    if slow_in_fp8(trt.__name__, trt.__version__) and trt.fp8 in quantised_to(network):
        message = f"{trt.__name__} {trt.__version__} infers fp8 slower than float16, and wrongly: use precision float16"
        raise EngineError(message)
    config = builder.create_builder_config()
    config.set_flag(trt.BuilderFlag.TF32)  # the default of all versions, and said in the facts
    config.progress_monitor = BuildProgress(model.stem)
    timing = TimingCache(config)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # for the inspector; inference is the same
    image = network.get_input(0)
    if image.shape[0] == -1:
        profile = builder.create_optimization_profile()
        profile.set_shape(image.name, *[(batch_size, *shape)] * 3)
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        reasons = LOG.take()
        if RTX and trt.int8 in quantised_to(network):
            use = "precision float16, or the library tensorrt 10 or 11"
            message = f"{trt.__name__} {trt.__version__} builds no network of int8: use {use}"
            raise EngineError(message)
        message = f"{trt.__name__} {trt.__version__} cannot build {model} for batches of {batch_size}: {reasons}"
        raise EngineError(message)
    timing.keep()
    return bytes(plan)


def read_network(builder: Any, model: Path) -> tuple[Any, Any]:
    """Return the network of an ONNX file and its parser, which holds the weights and must live as long.

    Raises
    ------
    EngineError
        If it cannot be read: names the nodes concerned.
    """
    network = builder.create_network(_strongly_typed())
    parser = trt.OnnxParser(network, LOG)
    if not parser.parse(_content(model)):
        reasons = "; ".join(_explain(parser.get_error(k)) for k in range(parser.num_errors))
        LOG.take()
        message = f"{trt.__name__} {trt.__version__} cannot read {model}: {reasons}"
        raise EngineError(message)
    return network, parser


def slow_in_fp8(library: str, version: str) -> bool:
    """Tell whether fp8 is known to be of no use with a library.

    TensorRT-RTX 1.4.0.76 on an H100, batches of 128: ResNet-50 13,479 and 13,477 images/s in two runs, 22,815 and
    22,792 in float16, and NaN as outputs; ViT-B/16 5,974 in one run, 9,447 in float16. ResNet-50, batches of 256:
    1.5.0.114 13,440 and 1.6.1.120 15,185, 22,960 in float16, and outputs that are off by 4.2 of the largest. Nothing is
    known of later versions, nor of TensorRT.
    """
    return library == "tensorrt_rtx" and (1, 4) <= release(version) < (1, 7)


def quantised_to(network: Any) -> set[Any]:
    """Return the types that a network quantises to."""
    layers = (network.get_layer(k) for k in range(network.num_layers))
    return {layer.get_output(0).dtype for layer in layers if layer.type == trt.LayerType.QUANTIZE}


def inspect(engine: Any) -> str:
    """Return what the library says of an engine's layers, as JSON."""
    inspector = engine.create_engine_inspector()
    text: str = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    return text


def _content(model: Path) -> bytes:
    try:
        return model.read_bytes()
    except OSError as error:
        message = f"{model}: cannot be read ({error.strerror}); expected an ONNX file"
        raise EngineError(message) from error


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
        message = (
            f"{model} takes {described}; the images are {dtype} (batch, {', '.join(map(str, shape))}): adapt the model"
        )
        raise EngineError(message)
    batch = inputs[0].shape[0]
    if batch not in {-1, batch_size}:
        message = f"{model} was exported for batches of {batch}, asked for {batch_size}: set batch_sizes to [{batch}]"
        raise EngineError(message)


def shaped_by(model: Path, batch_size: int, dtype: str, shape: tuple[int, ...]) -> dict[str, object]:
    """Return what shapes a plan besides the GPU: model, batch, images, library, and the code that builds it.

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
