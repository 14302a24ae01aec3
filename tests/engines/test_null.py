import pytest

from inferkit.batch import Segment
from inferkit.devices.cpu import CpuDevice
from inferkit.engines import ENGINES, engine_class
from inferkit.engines.null import NullEngine
from inferkit.errors import EngineError, ParameterError


def test_is_done_with_the_copy(device: CpuDevice) -> None:
    source, slot = device.allocate(10), device.slot(10)
    copied = device.copy_in([Segment("ring", source.address, 10, 0, 1, 0)], slot)
    with NullEngine.build(device, "", 1, "uint8", (10,)) as engine:
        assert engine.infer(slot, 1, copied) is copied
        copied.wait()
        assert engine.output(slot) is None
        assert engine.facts == {}
        assert not engine.has_ceiling


def test_has_no_ceiling_to_measure(device: CpuDevice) -> None:
    with pytest.raises(EngineError, match=r"null infers nothing.*measure the copy"):
        NullEngine().infer(device.slot(10), 1, None)


def test_engines_are_found_by_name() -> None:
    assert engine_class("null") is NullEngine
    assert [engine_class(name).name for name in ("null", "onnx")] == ["null", "onnx"]
    with pytest.raises(ParameterError, match=f"'caffe' is none: use one of {', '.join(ENGINES)}"):
        engine_class("caffe")
