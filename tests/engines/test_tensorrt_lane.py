"""Lanes over stand-ins for execution contexts; what runs on a GPU is in tests/gpu."""

import sys
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest

from inferkit.errors import DeviceError, EngineError

ENGINE = SimpleNamespace(get_tensor_shape=lambda name: (4, 3, 5, 7))


class Context:
    """Keeps what it was told to infer."""

    def __init__(self, *, capturable: bool = True) -> None:
        self.capturable = capturable
        self.addresses: dict[str, int] = {}
        self.inferred: list[dict[str, int]] = []

    def is_stream_capturable(self, stream: int) -> bool:
        return self.capturable

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        self.inferred.append(dict(self.addresses))
        return True


class Stream:
    """Counts how often it was waited for."""

    handle = 1

    def __init__(self) -> None:
        self.waits = 0

    def synchronize(self) -> None:
        self.waits += 1


class Graphs:
    """Stands in for CUDA's graphs: what was captured is done at each launch."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.launched: list[dict[str, int]] = []
        self.destroyed = 0

    def capture(self, stream: Stream, work: Any) -> dict[str, int]:
        work()
        return self.context.inferred.pop()

    def launch(self, graph: dict[str, int], stream: Stream) -> None:
        self.launched.append(graph)

    def destroy(self, graph: dict[str, int]) -> None:
        self.destroyed += 1


@pytest.fixture
def lanes() -> Any:
    """Give the module of lanes; skip, with the reason, where there is no TensorRT."""
    try:
        return import_module("inferkit.engines.tensorrt_lane")
    except EngineError as error:
        pytest.skip(str(error))


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Graphs:
    stand_in = Graphs(Context())
    monkeypatch.setitem(sys.modules, "inferkit.devices.graphs", stand_in)
    return stand_in


def buffers(address: int) -> dict[str, Any]:
    return {"y": SimpleNamespace(address=address)}


def test_each_slot_is_captured_once_and_replayed(lanes: Any, graphs: Graphs) -> None:
    stream = Stream()
    lane = lanes.GraphLane(graphs.context, ENGINE, "x", stream, 4)
    for slot in (10, 20, 10, 20, 10):
        lane.enqueue(slot, buffers(slot + 1))
    assert graphs.launched == [{"x": slot, "y": slot + 1} for slot in (10, 20, 10, 20, 10)]
    assert graphs.context.inferred == [{"x": 10, "y": 11}, {"x": 20, "y": 21}]  # once uncaptured before each capture
    assert stream.waits == 2
    lane.close()
    assert graphs.destroyed == 2


def test_slot_whose_outputs_lie_elsewhere_is_captured_anew(lanes: Any, graphs: Graphs) -> None:
    lane = lanes.GraphLane(graphs.context, ENGINE, "x", Stream(), 4)
    lane.enqueue(10, buffers(11))
    lane.enqueue(10, buffers(12))
    assert graphs.launched == [{"x": 10, "y": 11}, {"x": 10, "y": 12}]


def test_model_that_cannot_be_captured_is_refused_with_what_to_set(lanes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "RTX", True)
    with pytest.raises(EngineError, match="cuda_graph: false"):
        lanes.GraphLane(Context(capturable=False), ENGINE, "x", Stream(), 4)


def test_a_slot_that_is_freed_takes_its_graph_along(lanes: Any, graphs: Graphs) -> None:
    lane = lanes.GraphLane(graphs.context, ENGINE, "x", Stream(), 4)
    lane.enqueue(10, buffers(11))
    lane.forget(10, buffers(11))
    lane.forget(20, buffers(21))  # never met
    assert graphs.destroyed == 1
    lane.close()
    assert graphs.destroyed == 1


def test_memory_is_given_back_where_a_graph_is_not(lanes: Any, graphs: Graphs, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    memory = SimpleNamespace(close=lambda: closed.append(True))
    lane = lanes.GraphLane(graphs.context, ENGINE, "x", Stream(), 4, memory)
    lane.enqueue(10, buffers(11))

    def refuse(graph: object) -> None:
        raise DeviceError("illegal address: freeing a CUDA graph")

    monkeypatch.setattr(graphs, "destroy", refuse)
    with pytest.raises(DeviceError, match="freeing"):
        lane.close()
    assert closed


def test_memory_is_given_back_with_the_lane(lanes: Any) -> None:
    closed = []
    memory = SimpleNamespace(close=lambda: closed.append(True))
    lane = lanes.Lane(Context(), ENGINE, "x", Stream(), 4, memory)
    lane.enqueue(10, buffers(11))
    assert not closed
    lane.close()
    assert closed
