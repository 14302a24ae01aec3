"""TensorRT, or TensorRT-RTX, on a GPU."""

from math import ceil, prod
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from inferkit.closing import close_all
from inferkit.devices.base import Device, Slot, Span
from inferkit.engines.base import Engine, Options, check_results
from inferkit.engines.engine_cache import EngineFile, TornEngineError
from inferkit.engines.plan_file import PLAN
from inferkit.engines.tensorrt_lane import Lane, RuntimeCache, make_lane
from inferkit.engines.tensorrt_library import LOG, open_runtime, trt
from inferkit.engines.tensorrt_own import own_engine, refused_by
from inferkit.engines.tensorrt_plan import build_plan, inspect, shaped_by
from inferkit.errors import EngineError, InferkitError
from inferkit.units import duration

if TYPE_CHECKING:  # this file can be imported where there is no CUDA
    from inferkit.devices.base import HostMemory
    from inferkit.devices.cuda import CudaDevice, CudaSlot


class _Place:
    """What belongs to a slot: its lane, and its outputs on the GPU and in pinned host memory."""

    def __init__(self, lane: Lane, device: "dict[str, CudaSlot]", host: "dict[str, HostMemory]") -> None:
        self.lane = lane
        self.device = device
        self.host = host
        self.images = 0

    def close(self) -> None:
        """Free the outputs, but not the lane."""
        for slot in self.device.values():
            slot.close()
        for memory in self.host.values():
            memory.close()


class TensorRTEngine(Engine):
    """Infers on the GPU, on one stream per execution context.

    Parameters
    ----------
    device
        Where the slots are; its context must be pushed.
    runtime, engine
        A deserialised engine, and the runtime that deserialised it.
    batch_size
        The largest batch.
    options
        How many execution contexts, and whether batches are launched as CUDA graphs.
    cache
        Kernels that an earlier process compiled.
    facts
        For the record.
    """

    name = "tensorrt"
    has_out = True

    def __init__(
        self,
        device: "CudaDevice",
        runtime: Any,
        engine: Any,
        batch_size: int,
        options: Options,
        cache: RuntimeCache,
        facts: dict[str, str],
    ) -> None:
        self._device = device
        self._runtime = runtime
        self._engine = engine
        self._facts = facts
        self._cache = cache
        names = [engine.get_tensor_name(k) for k in range(engine.num_io_tensors)]
        self._input = next(name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT)
        self._batch_size = batch_size
        streams = [device.compute, *(device.new_stream() for _ in range(options.contexts - 1))]
        self._lanes = [make_lane(engine, self._input, device, stream, batch_size, options, cache) for stream in streams]
        self._outputs = {name: self._lanes[0].output_shape(name) for name in names if name != self._input}
        self._places: dict[int, _Place] = {}

    @classmethod
    def build(
        cls,
        device: Device,
        model: str,
        batch_size: int,
        dtype: str,
        shape: tuple[int, ...],
        options: Options = Options(),  # noqa: B008 - immutable
    ) -> Self:
        """Build the engine or take it from the cache, then infer once, so that everything is loaded."""
        if device.kind != "cuda":
            message = f"engine tensorrt infers on device cuda, not on {device.kind}: use engine onnx there"
            raise EngineError(message)
        gpu = cast("CudaDevice", device)
        facts = {"library": trt.__name__, "version": trt.__version__, "tf32": "allowed where the model is float32"}
        facts |= {"contexts": str(options.contexts), "cuda_graph": str(options.cuda_graph)}
        with gpu.pushed("making an engine"):
            runtime = open_runtime()
            make = own_engine if Path(model).suffix == PLAN else _engine
            engine = make(runtime, gpu, Path(model), batch_size, dtype, shape, facts)
            shaped = shaped_by(Path(model), batch_size, dtype, shape) | gpu_facts(gpu)
            cache = RuntimeCache(Path(model).stem, shaped)
            made = cls(gpu, runtime, engine, batch_size, options, cache, facts)
            facts["input"] = made._input
        try:
            check_results(model, next(iter(made._outputs.values())), batch_size)
            made._warm_up(batch_size * int(np.prod(shape)) * np.dtype(dtype).itemsize)
        except InferkitError:
            made.close()
            raise
        return made

    def _warm_up(self, nbytes: int) -> None:
        """Infer once on every lane."""
        slots = [self._device.slot(nbytes) for _ in self._lanes]
        for slot in slots:
            self.infer(slot, self._batch_size, None).wait()
        with self._device.pushed("keeping compiled kernels"):
            for slot in slots:
                place = self._places.pop(slot.address)
                place.lane.forget(slot.address, place.device)
                place.close()
                slot.close()
            self._cache.keep()

    @property
    def facts(self) -> dict[str, str]:
        """The library, its version, where the engine came from, its file in the cache and the name of its input."""
        return self._facts

    def infer(self, slot: Slot, images: int, after: Span | None) -> Span:
        """Queue an inference on the slot's lane; of a smaller batch the rest of the slot is inferred too, then ignored.

        Raises
        ------
        EngineError
            If there are more images than the engine was built for.
        """
        if images > self._batch_size:
            message = (
                f"batch of {images} images, but the engine was built for {self._batch_size}: build it for the largest"
            )
            raise EngineError(message)
        place = self._places.get(slot.address) or self._allocate(slot.address)
        lane = place.lane
        with self._device.span(lane.stream, after) as span:
            lane.enqueue(slot.address, place.device)
        place.images = images
        return span

    def out(self, slot: Slot, after: Span) -> Span:
        """Queue the copy of the slot's outputs to pinned host memory."""
        place = self._places[slot.address]
        return self._device.copy_out([(place.device[name], place.host[name]) for name in self._outputs], after)

    def _allocate(self, address: int) -> _Place:
        """Allocate a slot's outputs for the largest batch; lanes take slots in turn."""
        # types of 4 bits have half a byte
        sizes = {name: ceil(prod(shape) * self._type(name).itemsize) for name, shape in self._outputs.items()}
        place = _Place(
            self._lanes[len(self._places) % len(self._lanes)],
            {name: self._device.slot(size) for name, size in sizes.items()},
            {name: self._device.allocate(size) for name, size in sizes.items()},
        )
        self._places[address] = place
        return place

    def _type(self, name: str) -> Any:
        """Return the library's name of a tensor's type."""
        return self._engine.get_tensor_dtype(name)

    def output(self, slot: Slot) -> NDArray[np.float32] | None:
        """Return a copy of the network's first output, (images, classes), as float32."""
        place = self._places.get(slot.address)
        if place is None:
            return None
        name, shape = next(iter(self._outputs.items()))
        try:
            dtype = np.dtype(trt.nptype(self._type(name)))
        except TypeError as error:
            message = (
                f"output {name!r} is {self._type(name)}, which NumPy lacks: let the model end with a Cast to float32"
            )
            raise EngineError(message) from error
        raw = self._device.read_back(place.device[name], prod(shape) * dtype.itemsize)
        values: NDArray[np.float32] = raw.view(dtype).reshape(shape)[: place.images].astype(np.float32)
        return values

    def layers(self, slot: Slot) -> tuple[list[tuple[str, float]], str]:
        """Time each layer of one batch that lies in the slot; the figures compare layers, and do not add up.

        Returns
        -------
        times, description
            Name and milliseconds of each layer, in order; what the library's inspector says of the engine (JSON).
        """
        lane = make_lane(self._engine, self._input, self._device, self._device.compute, self._batch_size, Options())
        place = self._places.get(slot.address) or self._allocate(slot.address)
        with self._device.pushed("timing layers"):
            times = lane.profile(slot.address, place.device)
            lane.close()
            return times, inspect(self._engine)

    def close(self) -> None:
        """Free the engine and its outputs on the GPU."""
        if self._engine is None:
            return
        self._device.synchronize()
        with self._device.pushed("freeing an engine"):
            lanes, places = [lane.close for lane in self._lanes], [place.close for place in self._places.values()]
            close_all([*lanes, self._drop, *places])

    def _drop(self) -> None:
        self._lanes = []
        self._cache.close()
        self._engine = self._runtime = None


def _engine(
    runtime: Any,
    gpu: "CudaDevice",
    model: Path,
    batch_size: int,
    dtype: str,
    shape: tuple[int, ...],
    facts: dict[str, str],
) -> Any:
    """Return an engine from the cache, or build it; ``facts`` gets where it came from."""
    file = EngineFile(model.stem, shaped_by(model, batch_size, dtype, shape) | gpu_facts(gpu))
    facts["file"] = file.path.name
    with file.locked():
        engine = _stored(runtime, file, facts)
        if engine is None:
            start = monotonic()
            plan = build_plan(model, batch_size, dtype, shape)
            facts["engine"] = f"built in {duration(monotonic() - start)}"
            engine = runtime.deserialize_cuda_engine(plan)
            if engine is None:
                raise refused_by(gpu, what="built an engine that it does not run")
            file.write(plan)
    return engine


def gpu_facts(gpu: "CudaDevice") -> dict[str, object]:
    """Return the facts of a GPU and its driver that shape a plan."""
    return {"gpu": gpu.name, "compute_capability": gpu.compute_capability, "driver": gpu.driver}


def _stored(runtime: Any, file: EngineFile, facts: dict[str, str]) -> Any:
    """Return the cached engine; None if there is none, or, with a warning, if it is damaged or refused."""
    try:
        plan = file.read()
    except TornEngineError as error:
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
