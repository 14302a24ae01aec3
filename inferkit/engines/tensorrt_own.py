"""A user's own plan on a GPU: run if it fits library, GPU, images and batch, else refused with the reason."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferkit.engines.plan_file import plan_content
from inferkit.engines.tensorrt_library import LOG, trt
from inferkit.errors import EngineError
from inferkit.machine.tensorrt_versions import HOPPER, HOPPER_PIN, refuses_hopper

if TYPE_CHECKING:  # this file can be imported where there is no CUDA
    from inferkit.devices.cuda import CudaDevice


def own_engine(
    runtime: Any,
    gpu: "CudaDevice",
    path: Path,
    batch_size: int,
    dtype: str,
    shape: tuple[int, ...],
    facts: dict[str, str],
) -> Any:
    """Return the engine of a user's plan; ``facts`` gets where it came from.

    Raises
    ------
    EngineError
        If the plan cannot be read, is of another library, version or GPU, or does not take such batches of images.
    """
    facts["engine"] = "the user's own plan: its outputs are compared with no other engine's"
    engine = runtime.deserialize_cuda_engine(plan_content(path))
    if engine is None:
        raise refused_by(gpu, what=f"does not run {path}")
    check_fits(engine, path, batch_size, dtype, shape)
    return engine


def check_fits(engine: Any, path: Path, batch_size: int, dtype: str, shape: tuple[int, ...]) -> None:
    """Refuse a plan that does not take batches of these images alone.

    Parameters
    ----------
    dtype, shape
        Of the images: ``uint8`` or ``float32``; (channels, height, width).

    Raises
    ------
    EngineError
        Telling what it takes.
    """
    names = [engine.get_tensor_name(k) for k in range(engine.num_io_tensors)]
    inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    found = [(engine.get_tensor_dtype(name), tuple(engine.get_tensor_shape(name))) for name in inputs]
    wanted = {"uint8": trt.uint8, "float32": trt.float32}[dtype]
    if len(found) != 1 or len(found) == len(names) or found[0][0] != wanted or found[0][1][1:] != shape:
        described = ", ".join(f"{name} {of} {size}" for name, (of, size) in zip(inputs, found, strict=True))
        message = (
            f"{path} takes {described or 'nothing'} and gives {len(names) - len(inputs)} outputs; the images are "
            f"{dtype} (batch, {', '.join(map(str, shape))}): build it for these, or name its ONNX file"
        )
        raise EngineError(message)
    least, most = _batches(engine, inputs[0], found[0][1][0])
    if not least <= batch_size <= most:
        allowed = str(least) if least == most else f"{least} to {most}"
        message = f"{path} was built for batches of {allowed}, asked for {batch_size}: set batch_sizes to [{most}]"
        raise EngineError(message)


def _batches(engine: Any, image: str, batch: int) -> tuple[int, int]:
    """Return the smallest and the largest batch: of an open one those of the profile that contexts begin with."""
    if batch != -1:
        return batch, batch
    least, _usual, most = engine.get_tensor_profile_shape(image, 0)
    return least[0], most[0]


def refused_by(gpu: "CudaDevice", *, what: str) -> EngineError:
    """Say that the library refuses a plan on a GPU, why, and what to install where that is known."""
    fix = ""
    if gpu.compute_capability == HOPPER and refuses_hopper(trt.__name__, trt.__version__):
        fix = f"; pip install '{HOPPER_PIN}', or TensorRT"
    where = f"{gpu.name} (compute capability {gpu.compute_capability})"
    return EngineError(f"{trt.__name__} {trt.__version__} {what} on {where}: {LOG.take()}{fix}")
