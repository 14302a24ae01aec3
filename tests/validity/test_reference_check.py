"""Outputs beside ONNX Runtime's, of an engine that computes something else by a chosen share of the largest output."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inferkit.devices.base import Slot
from inferkit.devices.cpu import CpuDevice
from inferkit.engines.onnx import OnnxEngine
from inferkit.errors import EngineError
from inferkit.readers import READERS
from inferkit.readers.base import Reader
from inferkit.validity import reference_check as truth
from inferkit.validity.reference_check import IMAGES, TOLERANCES, check_outputs
from tests.conftest import write_dataset
from tests.engines.conftest import MakeModel

SHAPE = (3, 5, 7)


class Off(OnnxEngine):
    """Adds a share of the largest output to one value, or puts another value there."""

    share = 0.0
    instead: float | None = None

    def output(self, slot: Slot) -> Any:
        found = super().output(slot)
        assert found is not None
        largest = np.abs(found).max()
        found[1, 2] = found[1, 2] + self.share * largest if self.instead is None else self.instead
        return found


@pytest.fixture(params=["buffered", "mapped"])
def reader(request: pytest.FixtureRequest, tmp_path: Path, device: CpuDevice) -> Iterator[Reader]:
    known = write_dataset(tmp_path / "set", (20, 20), SHAPE)
    with READERS[request.param](known.dataset, device) as reader:
        yield reader


def facts_of(device: CpuDevice, reader: Reader, model: str, **changes: Any) -> Any:
    with Off.build(device, model, 32, "uint8", SHAPE) as engine:
        for name, value in changes.items():
            setattr(engine, name, value)
        slot = device.slot(32 * 105)
        return check_outputs(device, engine, reader, slot, model, 32)


def test_the_same_outputs_are_told_to_be_the_same(device: CpuDevice, reader: Reader, make_model: MakeModel) -> None:
    facts = facts_of(device, reader, make_model(shape=SHAPE))
    assert facts == {"images": IMAGES, "largest_difference": 0.0, "top1_agreement": 1.0}


@pytest.mark.parametrize("kind", TOLERANCES)
def test_what_precision_explains_is_told_and_more_is_refused(
    device: CpuDevice, reader: Reader, make_model: MakeModel, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(truth, "quantised_to", lambda model: kind if kind != "float" else "")
    model, allowed = make_model(shape=SHAPE), TOLERANCES[kind]
    facts = facts_of(device, reader, model, share=0.9 * allowed)
    assert 0.3 * allowed < facts["largest_difference"] < allowed  # the largest of the other images' outputs counts too
    with pytest.raises(EngineError, match=rf"{kind}.*differently from ONNX Runtime.*{allowed} is allowed"):
        facts_of(device, reader, model, share=3.0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_refused(device: CpuDevice, reader: Reader, make_model: MakeModel, value: float) -> None:
    with pytest.raises(EngineError, match="differently from ONNX Runtime"):
        facts_of(device, reader, make_model(shape=SHAPE), instead=value)
