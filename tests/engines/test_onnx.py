import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from inferkit.batch import Segment
from inferkit.devices.base import Slot, Span
from inferkit.devices.cpu import CpuDevice
from inferkit.engines.base import Options
from inferkit.engines.onnx import OnnxEngine
from inferkit.errors import DeviceError, EngineError
from inferkit.linux.cgroups import cpus
from inferkit.pipeline.loop import Loop, infer_resident
from inferkit.pipeline.ring import Ring
from inferkit.pipeline.timeline import Timeline
from inferkit.readers.buffered import BufferedReader
from inferkit.readers.split import split
from inferkit.records.windows import Window
from tests.conftest import Known, MakeTensors
from tests.engines.conftest import MakeModel, weights

SHAPE = (3, 5, 7)
Values = NDArray[np.float32]


class Keeping(OnnxEngine):
    """Keeps the output of every batch, before its slot is used again."""

    outputs: list[Values]

    def infer(self, slot: Slot, images: int, after: Span | None) -> Span:
        span = super().infer(slot, images, after)

        def keep() -> None:
            span.wait()
            output = self.output(slot)
            assert output is not None
            self.outputs.append(output)

        return self._device.compute.submit(keep)


def build(device: CpuDevice, model: str, batch_size: int, dtype: str = "uint8") -> Keeping:
    engine = Keeping.build(device, model, batch_size, dtype, SHAPE, Options(threads=1))
    engine.outputs = []
    return engine


def expected(known: Known, images: Sequence[int]) -> Values:
    pixels = known.content[list(images)].view(known.dataset.dtype).astype(np.float32)
    found: Values = pixels * weights(SHAPE).reshape(1, -1)
    return found


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_output_follows_from_the_input(
    device: CpuDevice, make_model: MakeModel, make_dataset: MakeTensors, dtype: str
) -> None:
    known = make_dataset((7,), SHAPE, "uint8")
    images = known.content.astype(dtype)
    source, slot = device.allocate(images.nbytes), device.slot(images.nbytes)
    source.array[:] = images.view(np.uint8).ravel()
    size = images.nbytes // 7
    with OnnxEngine.build(device, make_model(dtype), 7, dtype, SHAPE) as engine:
        assert engine.output(slot) is None
        for count, first in ((7, 0), (3, 4), (1, 6)):
            segment = Segment("ring", source.address + first * size, count * size, first, count, 0)
            engine.infer(slot, count, device.copy_in([segment], slot)).wait()
            output = engine.output(slot)
            assert output is not None
            assert output.dtype == np.float32
            assert np.array_equal(output, expected(known, range(first, first + count)))
        copy = engine.output(slot)
        assert copy is not None
        copy[:] = 0
        assert engine.output(slot) is not None
        assert np.any(engine.output(slot) != 0)


@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("slots", [1, 3])
def test_streams_a_data_set(
    device: CpuDevice, make_model: MakeModel, make_dataset: MakeTensors, overlap: bool, slots: int
) -> None:
    known = make_dataset((5, 3, 7), SHAPE)
    engine = build(device, make_model(), 4)
    places: list[Slot] = [device.slot(4 * 105) for _ in range(slots)]
    timeline = Timeline(Window(warmup_s=3600), ("read", "copy", "infer", "out"), lambda progress: None)
    shares = split([5, 3, 7], 1, "uniform")
    with BufferedReader(known.dataset, device) as reader, Ring(reader, device, shares, 4, buffers=3, epochs=2) as ring:
        Loop(ring, device, engine, places, overlap=overlap).run(timeline)
    assert [len(output) for output in engine.outputs] == [4] * 7 + [2]
    assert np.array_equal(np.concatenate(engine.outputs), expected(known, [*range(15), *range(15)]))


def test_failure_in_the_middle_of_a_stream_surfaces(
    device: CpuDevice, make_model: MakeModel, make_dataset: MakeTensors
) -> None:
    known = make_dataset((40,), SHAPE)
    limit = int(known.content[:20].max())
    known.content[22, 60] = limit + 1
    known.dataset.path(0).write_bytes(known.content.tobytes())
    engine = build(device, make_model(limit=limit), 4)
    places: list[Slot] = [device.slot(4 * 105) for _ in range(3)]
    timeline = Timeline(Window(warmup_s=3600), ("read", "copy", "infer", "out"), lambda progress: None)
    shares = split([40], 1, "uniform")
    with BufferedReader(known.dataset, device) as reader, Ring(reader, device, shares, 4, buffers=3) as ring:
        loop = Loop(ring, device, engine, places)
        with pytest.raises(EngineError, match=r"failed to infer a batch of 4 images: (.|\n)*out of data bounds"):
            loop.run(timeline)
    assert np.array_equal(np.concatenate(engine.outputs)[:20], expected(known, range(20)))
    assert not [t for t in threading.enumerate() if t.name.startswith(("reader", "feeder"))]


def test_failed_copy_fails_the_inference(device: CpuDevice, make_model: MakeModel) -> None:
    def fail() -> None:
        raise DeviceError("the link is down")

    engine, slot = build(device, make_model(), 1), device.slot(105)
    span = engine.infer(slot, 1, device._copies.submit(fail))
    with pytest.raises(DeviceError, match="the link is down"):
        span.wait()
    assert engine.outputs == []
    device.copy_in([], slot).wait()
    engine.infer(slot, 1, None).wait()
    assert len(engine.outputs) == 1


def test_infers_what_lies_there_again_and_again(device: CpuDevice, make_model: MakeModel) -> None:
    engine = build(device, make_model(), 2)
    slots: list[Slot] = [device.slot(210) for _ in range(2)]
    for value, slot in enumerate(slots):
        source = device.allocate(210)
        source.array[:] = value + 1
        device.copy_in([Segment("ring", source.address, 210, 0, 2, 0)], slot).wait()
    timeline = Timeline(Window(warmup_s=0.01, duration_s=0.01, repeats=2), ("infer",), lambda progress: None)
    infer_resident(engine, slots, 2, 210, timeline)
    assert len(timeline.repeats) == 3
    firsts = [float(output[0, 0]) for output in engine.outputs]
    assert firsts == [float(1 + k % 2) for k in range(len(firsts))]


def test_facts(device: CpuDevice, make_model: MakeModel) -> None:
    engine = OnnxEngine.build(device, make_model(), 1, "uint8", SHAPE)
    assert engine.facts == {"library": "onnxruntime", "version": onnxruntime.__version__, "threads": str(cpus())}
    assert OnnxEngine.build(device, make_model(), 1, "uint8", SHAPE, Options(threads=1)).facts["threads"] == "1"


@pytest.mark.parametrize(
    ("model", "asked", "message"),
    [
        ({"dtype": "float32"}, {}, r"takes input0 tensor\(float\) .*images are uint8 \(batch, 3, 5, 7\): adapt"),
        ({"dtype": "float64"}, {"dtype": "float32"}, r"tensor\(double\) .*images are float32"),
        ({"shape": (3, 7, 5)}, {}, r"\['batch', 3, 7, 5\].*\(batch, 3, 5, 7\)"),
        ({"shape": (105,)}, {}, r"\['batch', 105\]"),
        ({"inputs": 2}, {}, "takes input0 .*, input1 "),
        ({"inputs": 0}, {}, "takes no input"),
        ({"batch": 4}, {}, r"exported for batches of 4, asked for 2: set batch_sizes to \[4\]"),
    ],
)
def test_model_that_does_not_fit_is_refused(
    device: CpuDevice, make_model: MakeModel, model: dict[str, object], asked: dict[str, str], message: str
) -> None:
    with pytest.raises(EngineError, match=message):
        OnnxEngine.build(device, make_model(**model), 2, asked.get("dtype", "uint8"), SHAPE)


def test_fixed_batch_that_fits(device: CpuDevice, make_model: MakeModel) -> None:
    engine, slot = build(device, make_model(batch=2), 2), device.slot(210)
    device.copy_in([], slot).wait()
    engine.infer(slot, 2, None).wait()
    assert engine.outputs[0].shape == (2, 105)


def test_missing_and_foreign_files_are_refused(device: CpuDevice, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.onnx"
    foreign.write_bytes(b"no network")
    empty = tmp_path / "empty.onnx"
    empty.touch()
    for path in (foreign, empty, tmp_path / "missing.onnx", tmp_path):
        with pytest.raises(EngineError, match=f"ONNX Runtime cannot load {path}"):
            OnnxEngine.build(device, str(path), 2, "uint8", SHAPE)


def test_another_device_is_refused(make_model: MakeModel) -> None:
    class Other:
        kind = "cuda"

    with pytest.raises(EngineError, match="onnx infers on device cpu, not on cuda: use engine tensorrt"):
        OnnxEngine.build(Other(), make_model(), 2, "uint8", SHAPE)  # type: ignore[arg-type]
