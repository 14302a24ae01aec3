"""ONNX Runtime on the CPU: the embedded default."""

from typing import Any, ClassVar, Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from inferkit.devices.base import Device, Slot, Span, bytes_at
from inferkit.devices.cpu import CpuDevice
from inferkit.engines.base import Engine, Options, check_results
from inferkit.errors import EngineError
from inferkit.linux.cgroups import cpus

# ONNX Runtime's own exceptions derive from Exception alone.
ORT_ERRORS = (
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.NoSuchFile,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
)
TENSOR_TYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


class OnnxEngine(Engine):
    """Runs a session on the device's compute thread.

    Notes
    -----
    ONNX Runtime's threads do not spin while they wait, because the readers and the copy thread need the same cores.
    """

    name = "onnx"
    is_reference = True
    runs_plans = False
    lacks: ClassVar[dict[str, str]] = {"fp8": "a CPU has none: use int8 there, or engine tensorrt on a GPU"}

    def __init__(self, device: CpuDevice, session: Any, dtype: str, shape: tuple[int, ...], threads: int) -> None:
        self._device = device
        self._session = session
        self._input: str = session.get_inputs()[0].name
        batch = session.get_inputs()[0].shape[0]
        self.fixed_batch = batch if isinstance(batch, int) else None
        self._dtype = np.dtype(dtype)
        self._shape = shape
        self._threads = threads
        self._inputs: dict[int, NDArray[Any]] = {}
        self._outputs: dict[int, NDArray[np.float32]] = {}

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
        """Load the model and check its input against the images."""
        if not isinstance(device, CpuDevice):
            message = f"engine onnx infers on device cpu, not on {device.kind}: use engine tensorrt there"
            raise EngineError(message)
        threads = options.threads or cpus()
        session_options = ort.SessionOptions()
        session_options.intra_op_num_threads = threads
        session_options.inter_op_num_threads = 1
        session_options.log_severity_level = 3
        session_options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Without VNNI, sums of 8-bit products would overflow: an int8 network was off by 0.7 of its largest output.
        session_options.add_session_config_entry("session.x64quantprecision", "1")
        try:
            session = ort.InferenceSession(model, session_options, providers=["CPUExecutionProvider"])
        except ORT_ERRORS as error:
            message = f"ONNX Runtime cannot load {model}: {error}"
            raise EngineError(message) from error
        _check_input(session, model, batch_size, dtype, shape)
        check_results(model, session.get_outputs()[0].shape, batch_size)
        return cls(device, session, dtype, shape, threads)

    @property
    def facts(self) -> dict[str, str]:
        """ONNX Runtime's version and threads."""
        return {"library": "onnxruntime", "version": ort.__version__, "threads": str(self._threads)}

    def infer(self, slot: Slot, images: int, after: Span | None) -> Span:
        """Run the session on the slot's first images."""
        address = slot.address

        def run() -> None:
            try:
                outputs = self._session.run(None, {self._input: self._view(slot)[:images]})
            except ORT_ERRORS as error:
                message = f"ONNX Runtime failed to infer a batch of {images} images: {error}"
                raise EngineError(message) from error
            check_results("the network", outputs[0].shape, images)
            self._outputs[address] = outputs[0]

        return self._device.compute.submit(run, after=after)

    def _view(self, slot: Slot) -> NDArray[Any]:
        """Return a slot's memory as images, without a copy."""
        if slot.address not in self._inputs:
            memory = bytes_at(slot.address, slot.nbytes)
            self._inputs[slot.address] = memory.view(self._dtype).reshape(-1, *self._shape)
        return self._inputs[slot.address]

    def output(self, slot: Slot) -> NDArray[np.float32] | None:
        """Return a copy of the network's first output, (images, classes)."""
        output = self._outputs.get(slot.address)
        return None if output is None else output.copy()


def _check_input(session: Any, model: str, batch_size: int, dtype: str, shape: tuple[int, ...]) -> None:
    inputs = session.get_inputs()
    if [(TENSOR_TYPES.get(i.type), tuple(i.shape[1:])) for i in inputs] != [(dtype, shape)]:
        described = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs) or "no input"
        message = (
            f"{model} takes {described}; the images are {dtype} (batch, {', '.join(map(str, shape))}): adapt the model"
        )
        raise EngineError(message)
    batch = inputs[0].shape[0]
    if isinstance(batch, int) and batch != batch_size:
        message = f"{model} was exported for batches of {batch}, asked for {batch_size}: set batch_sizes to [{batch}]"
        raise EngineError(message)
