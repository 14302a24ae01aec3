"""A lane: an execution context of TensorRT and the stream that it infers on."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from inferkit.engines.base import Options
from inferkit.engines.engine_cache import EngineFile
from inferkit.engines.tensorrt_library import LOG, RTX, trt
from inferkit.errors import EngineError

if TYPE_CHECKING:  # this file can be imported where there is no CUDA
    from inferkit.devices.cuda import CudaDevice, CudaSlot


class _Addressed(Protocol):
    address: int


class Lane:
    """Queues batches of one execution context, one after another.

    Parameters
    ----------
    context
        The execution context.
    engine
        The engine that made it.
    image
        Name of the input.
    stream
        Where it infers.
    batch_size
        Images per batch.
    memory
        For what the context keeps between layers, if it does not allocate that itself; freed with the lane.
    """

    def __init__(
        self,
        context: Any,
        engine: Any,
        image: str,
        stream: Any,
        batch_size: int,
        memory: "CudaSlot | None" = None,
    ) -> None:
        self._context = context
        self._input = image
        self.stream = stream
        self._memory = memory
        shape = tuple(engine.get_tensor_shape(image))
        if shape[0] == -1 and not context.set_input_shape(image, (batch_size, *shape[1:])):
            message = f"{trt.__name__} takes no batch of {batch_size} images: {LOG.take()}"
            raise EngineError(message)

    def enqueue(self, address: int, outputs: Mapping[str, _Addressed]) -> None:
        """Queue a whole batch; the GPU's context must be pushed.

        Raises
        ------
        EngineError
            If the library refuses it.
        """
        self._context.set_tensor_address(self._input, address)
        for name, buffer in outputs.items():
            self._context.set_tensor_address(name, buffer.address)
        if not self._context.execute_async_v3(self.stream.handle):
            message = f"{trt.__name__} failed to queue a batch: {LOG.take()}"
            raise EngineError(message)

    def forget(self, address: int, outputs: Mapping[str, _Addressed]) -> None:
        """Forget a slot that is about to be freed; nothing of it may be under way."""

    def output_shape(self, name: str) -> tuple[int, ...]:
        """Return an output's shape for the largest batch.

        Raises
        ------
        EngineError
            If it depends on the images' content.
        """
        shape = tuple(self._context.get_tensor_shape(name))
        if any(length < 0 for length in shape):
            message = (
                f"output {name!r} has shape {shape}, which depends on the images' content: cut the model before it"
            )
            raise EngineError(message)
        return shape

    def profile(self, address: int, outputs: Mapping[str, _Addressed]) -> list[tuple[str, float]]:
        """Return each layer's name and milliseconds in one batch, after one that is not counted."""
        self.enqueue(address, outputs)
        self.stream.synchronize()
        profiler = _Profiler()
        self._context.profiler = profiler
        self.enqueue(address, outputs)
        self.stream.synchronize()
        return profiler.times

    def close(self) -> None:
        """Free the context and its memory; nothing of it may be under way."""
        self._context = None
        if self._memory is not None:
            self._memory.close()


class GraphLane(Lane):
    """Replays each slot's batch as a CUDA graph, captured when the slot is first met.

    A graph holds the addresses that it was captured with. TensorRT-RTX could capture by itself, but would do so
    again at each change of address: one thread then needed 0.7 ms to queue a ResNet-50 batch. With a graph per slot it
    needs 0.03 ms.
    """

    def __init__(self, context: Any, engine: Any, image: str, stream: Any, *more: Any) -> None:
        super().__init__(context, engine, image, stream, *more)
        self._graphs: dict[tuple[int, ...], Any] = {}
        if RTX and not context.is_stream_capturable(stream.handle):
            message = f"{trt.__name__} cannot infer this model as a CUDA graph: set cuda_graph: false"
            raise EngineError(message)

    def enqueue(self, address: int, outputs: Mapping[str, _Addressed]) -> None:
        """Launch the slot's graph."""
        from inferkit.devices.graphs import capture, launch

        addresses = _key(address, outputs)
        if addresses not in self._graphs:
            super().enqueue(address, outputs)  # after a change of shape TensorRT must run once uncaptured
            self.stream.synchronize()
            self._graphs[addresses] = capture(self.stream, lambda: super(GraphLane, self).enqueue(address, outputs))
        launch(self._graphs[addresses], self.stream)

    def forget(self, address: int, outputs: Mapping[str, _Addressed]) -> None:
        """Free the slot's graph."""
        from inferkit.devices.graphs import destroy

        graph = self._graphs.pop(_key(address, outputs), None)
        if graph is not None:
            destroy(graph)

    def close(self) -> None:
        """Free graphs, context and memory; the latter two even if CUDA fails to free a graph."""
        from inferkit.devices.graphs import destroy

        try:
            while self._graphs:
                destroy(self._graphs.popitem()[1])
        finally:
            super().close()


def _key(address: int, outputs: Mapping[str, _Addressed]) -> tuple[int, ...]:
    return (address, *(buffer.address for buffer in outputs.values()))


_IProfiler: Any = trt.IProfiler


class _Profiler(_IProfiler):  # type: ignore[misc]
    """Collects the layers' times."""

    def __init__(self) -> None:
        _IProfiler.__init__(self)  # pybind11 wants it called so
        self.times: list[tuple[str, float]] = []

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        """Note a layer's time; TensorRT calls this once per layer."""
        self.times.append((layer_name, float(ms)))


class RuntimeCache:
    """Kernels that TensorRT-RTX compiled when it met a batch, kept for the next process. TensorRT compiles none then.

    Parameters
    ----------
    name, shaped_by
        Of the engine: a cache serves one engine on one kind of GPU and driver.
    """

    def __init__(self, name: str, shaped_by: Mapping[str, object]) -> None:
        self._file = EngineFile(f"kernels-{name}", shaped_by) if RTX else None
        self._cache: Any = None

    def give(self, config: Any) -> None:
        """Let a context that is made with this configuration use what is known, and add to it."""
        if self._cache is None and self._file is not None:
            self._cache = config.create_runtime_cache()
            with self._file.locked():
                known = self._file.read_or_begin()
            if known:
                self._cache.deserialize(known)  # False, and empty as before, where the driver has changed
        if self._cache is not None:
            config.set_runtime_cache(self._cache)

    def keep(self) -> None:
        """Write what is known now."""
        if self._cache is not None and self._file is not None:
            with self._file.locked():
                self._file.write(bytes(self._cache.serialize()))

    def close(self) -> None:
        """Free the kernels in memory."""
        self._cache = None


def make_lane(
    engine: Any,
    image: str,
    device: "CudaDevice",
    stream: Any,
    batch_size: int,
    options: Options,
    cache: RuntimeCache | None = None,
) -> Lane:
    """Make an execution context on a stream of a device.

    TensorRT-RTX compiles kernels for a batch when it meets it. By default (LAZY) it meanwhile infers with slower
    ones; EAGER waits, so that nothing is left to compile after the warm-up. TensorRT compiles when it builds, and has
    no such choice. TensorRT-RTX's work can be captured as a CUDA graph only if it is given the memory between layers.

    Raises
    ------
    DeviceError, EngineError
        If there is not enough memory.
    """
    strategies = getattr(trt, "DynamicShapesKernelSpecializationStrategy", None)
    if strategies is None:
        context = engine.create_execution_context()
    else:
        config = engine.create_runtime_config()
        config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
        config.set_execution_context_allocation_strategy(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if cache is not None:
            cache.give(config)
        context = engine.create_execution_context(config)
    if context is None:
        message = f"{trt.__name__} made no execution context (is the GPU's memory full?): {LOG.take()}"
        raise EngineError(message)
    memory = None
    if strategies is not None:
        memory = device.slot(engine.device_memory_size_v2)
        context.set_device_memory(memory.address, memory.nbytes)
    lane = GraphLane if options.cuda_graph else Lane
    return lane(context, engine, image, stream, batch_size, memory)
