"""TensorRT, or TensorRT-RTX, on a GPU."""

from math import ceil, prod
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from inferkit.devices.base import Device, Slot, Span
from inferkit.engines.base import Engine
from inferkit.engines.plans import PlanFile, TornPlanError
from inferkit.engines.tensorrt_plan import LOG, build_plan, shaped_by, trt
from inferkit.errors import EngineError, InferkitError
from inferkit.units import duration

if TYPE_CHECKING:  # this file can be imported where there is no CUDA
    from inferkit.devices.cuda import CudaDevice, CudaSlot


class TensorRTEngine(Engine):
    """Infers on the GPU, on the device's compute stream.

    Parameters
    ----------
    device
        Where the slots are; its context must be pushed.
    runtime, engine
        A deserialised engine, and what deserialised it.
    batch_size
        The largest batch.
    facts
        For the record.
    """

    name = "tensorrt"

    def __init__(self, device: "CudaDevice", runtime: Any, engine: Any, batch_size: int, facts: dict[str, str]) -> None:
        self._device = device
        self._runtime = runtime
        self._engine = engine
        self._facts = facts
        names = [engine.get_tensor_name(k) for k in range(engine.num_io_tensors)]
        self._input = next(name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT)
        self._fixed = engine.get_tensor_shape(self._input)[0] != -1
        self._shape = tuple(engine.get_tensor_shape(self._input))[1:]
        self._context = _context(engine)
        self._batch_size = batch_size
        self._images = 0
        self._set_images(batch_size)
        self._outputs = {name: self._output_shape(name) for name in names if name != self._input}
        self._buffers: dict[int, dict[str, CudaSlot]] = {}
        self._last: dict[int, int] = {}

    @classmethod
    def build(
        cls, device: Device, model: str, batch_size: int, dtype: str, shape: tuple[int, ...], *, threads: int = 0
    ) -> Self:
        """Build the engine or take it from the cache, and infer once, so that nothing is left to be loaded."""
        if device.kind != "cuda":
            msg = f"engine tensorrt infers on device cuda, not on {device.kind}: use engine onnx there"
            raise EngineError(msg)
        gpu = cast("CudaDevice", device)
        facts = {"library": trt.__name__, "version": trt.__version__, "tf32": "allowed where the model is float32"}
        with gpu.pushed("making an engine"):
            runtime = trt.Runtime(LOG)
            engine = _engine(runtime, gpu, Path(model), batch_size, dtype, shape, facts)
            made = cls(gpu, runtime, engine, batch_size, facts)
        try:
            made._warm_up(batch_size * int(np.prod(shape)) * np.dtype(dtype).itemsize)
        except InferkitError:
            made.close()
            raise
        return made

    def _warm_up(self, nbytes: int) -> None:
        slot = self._device.slot(nbytes)
        self.infer(slot, self._batch_size, None).wait()
        for memory in (slot, *self._buffers.pop(slot.address).values()):
            memory.close()
        self._last.clear()

    @property
    def facts(self) -> dict[str, str]:
        """The library, its version, and where the engine came from."""
        return self._facts

    def infer(self, slot: Slot, images: int, after: Span | None) -> Span:
        """Queue an inference of the slot's first images on the compute stream."""
        context, stream = self._context, self._device.compute
        buffers = self._buffers.get(slot.address) or self._allocate(slot.address)
        with self._device.span(stream, after) as span:
            if images != self._images:
                self._set_images(images)
            context.set_tensor_address(self._input, slot.address)
            for name, buffer in buffers.items():
                context.set_tensor_address(name, buffer.address)
            if not context.execute_async_v3(stream.handle):
                msg = f"{trt.__name__} failed to queue a batch of {images} images: {LOG.take()}"
                raise EngineError(msg)
        self._last[slot.address] = images
        return span

    def _set_images(self, images: int) -> None:
        """Tell the context the batch; a network whose batch is fixed infers all of it, always."""
        if images > self._batch_size:
            msg = f"batch of {images} images, but the engine was built for {self._batch_size}: build it for the largest"
            raise EngineError(msg)
        if not self._fixed and not self._context.set_input_shape(self._input, (images, *self._shape)):
            msg = f"{trt.__name__} takes no batch of {images} images: {LOG.take()}"
            raise EngineError(msg)
        self._images = images

    def _output_shape(self, name: str) -> tuple[int, ...]:
        """Return an output's shape for the largest batch."""
        shape = tuple(self._context.get_tensor_shape(name))
        if any(length < 0 for length in shape):
            msg = f"output {name!r} has shape {shape}, which depends on the images' content: cut the model before it"
            raise EngineError(msg)
        return shape

    def _allocate(self, address: int) -> "dict[str, CudaSlot]":
        """Allocate the outputs of a slot, for the largest batch."""
        # types of 4 bits have half a byte
        sizes = {name: prod(shape) * self._type(name).itemsize for name, shape in self._outputs.items()}
        self._buffers[address] = {name: self._device.slot(ceil(size)) for name, size in sizes.items()}
        return self._buffers[address]

    def _type(self, name: str) -> Any:
        """Return the library's name of a tensor's type."""
        return self._engine.get_tensor_dtype(name)

    def output(self, slot: Slot) -> NDArray[np.float32] | None:
        """Return a copy of the network's first output, (images, classes), as float32."""
        if slot.address not in self._last:
            return None
        name, shape = next(iter(self._outputs.items()))
        try:
            dtype = np.dtype(trt.nptype(self._type(name)))
        except TypeError as error:
            msg = f"output {name!r} is {self._type(name)}, which NumPy lacks: let the model end with a Cast to float32"
            raise EngineError(msg) from error
        raw = self._device.read_back(self._buffers[slot.address][name], prod(shape) * dtype.itemsize)
        values: NDArray[np.float32] = raw.view(dtype).reshape(shape)[: self._last[slot.address]].astype(np.float32)
        return values

    def close(self) -> None:
        """Free the engine and its outputs on the GPU."""
        if self._context is None:
            return
        self._device.synchronize()
        with self._device.pushed("freeing an engine"):
            self._context = self._engine = self._runtime = None
            for buffer in (buffer for buffers in self._buffers.values() for buffer in buffers.values()):
                buffer.close()


def _engine(
    runtime: Any,
    gpu: "CudaDevice",
    model: Path,
    batch_size: int,
    dtype: str,
    shape: tuple[int, ...],
    facts: dict[str, str],
) -> Any:
    """Return an engine from the cache, else build it; ``facts`` gets what became of it."""
    file = PlanFile(model.stem, shaped_by(model, batch_size, dtype, shape) | gpu_facts(gpu))
    with file.locked():
        engine = _stored(runtime, file, facts)
        if engine is None:
            start = monotonic()
            plan = build_plan(model, batch_size, dtype, shape)
            facts["engine"] = f"built in {duration(monotonic() - start)}"
            engine = runtime.deserialize_cuda_engine(plan)
            if engine is None:
                where = f"{gpu.name} (compute capability {gpu.compute_capability})"
                msg = f"{trt.__name__} {trt.__version__} built an engine that it does not run on {where}: {LOG.take()}"
                raise EngineError(msg)
            file.write(plan)
    return engine


def gpu_facts(gpu: "CudaDevice") -> dict[str, object]:
    """Return what of a GPU and its driver shapes a plan."""
    return {"gpu": gpu.name, "compute_capability": gpu.compute_capability, "driver": gpu.driver}


def _stored(runtime: Any, file: PlanFile, facts: dict[str, str]) -> Any:
    """Return the engine that lies in the cache; None, with a warning, where it is damaged or refused."""
    try:
        plan = file.read()
    except TornPlanError as error:
        facts["cache_warning"] = f"{error}: built anew"
        return None
    if plan is None:
        return None
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        facts["cache_warning"] = f"{file.path.name} was refused ({LOG.take()}): built anew"
    else:
        facts["engine"] = "from the cache"
    return engine


def _context(engine: Any) -> Any:
    """Make an execution context.

    TensorRT-RTX compiles kernels for a batch when it meets it. By default (LAZY) it infers with slower ones meanwhile;
    EAGER waits, so that the warm-up leaves nothing behind. TensorRT compiles when it builds, and has no such choice.
    """
    strategies = getattr(trt, "DynamicShapesKernelSpecializationStrategy", None)
    if strategies is None:
        context = engine.create_execution_context()
    else:
        config = engine.create_runtime_config()
        config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
        context = engine.create_execution_context(config)
    if context is None:
        msg = f"{trt.__name__} made no execution context (is the GPU's memory full?): {LOG.take()}"
        raise EngineError(msg)
    return context
