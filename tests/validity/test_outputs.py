"""Networks that are wrong in one way each, through the CPU's engine."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from inferkit.devices.cpu import CpuDevice
from inferkit.engines.onnx import OnnxEngine
from inferkit.errors import EngineError
from inferkit.readers import READERS
from inferkit.readers.base import Reader
from inferkit.readers.memory import MemoryReader, in_memory
from inferkit.records.figures import OUTPUTS
from inferkit.validity.outputs import look_at_outputs
from tests.conftest import write_dataset

SHAPE = (3, 5, 7)
Nodes = list[onnx.NodeProto]
MakeNetwork = Callable[..., str]
node = helper.make_node

ONE_OF_A_BATCH: Nodes = [node("Gather", ["flat", "zero"], ["output"])]
ONE_AS_IT_RUNS: Nodes = [node("Compress", ["flat", "keep"], ["output"], axis=0)]
TILED: Nodes = [node("Gather", ["flat", "zero"], ["first"]), node("Mul", ["flat", "none"], ["nothing"]),
                node("Add", ["nothing", "first"], ["output"])]  # fmt: skip
HALF: Nodes = [node("Add", ["flat", "half"], ["sum"]), node("Mul", ["sum", "mask"], ["output"])]
NAN: Nodes = [node("Div", ["flat", "none"], ["inf"]), node("Sub", ["inf", "inf"], ["output"])]
INFINITE: Nodes = [node("Add", ["flat", "half"], ["more"]), node("Div", ["more", "none"], ["output"])]
CONSTANT: Nodes = [node("Mul", ["flat", "none"], ["output"])]
PLACES: Nodes = [node("Mul", ["flat", "none"], ["nothing"]), node("Add", ["nothing", "count"], ["output"])]
FIRST: Nodes = [
    node("Slice", ["flat", "zero", "four", "zero"], ["some"]),
    node("Gather", ["some", "nearest"], ["output"]),
]
RANDOM: Nodes = [node("RandomUniformLike", ["flat"], ["output"], dtype=TensorProto.FLOAT)]
PIXEL: Nodes = [node("Gather", ["flat", "zero"], ["one"], axis=1), node("Add", ["one", "half"], ["output"])]
SAME: Nodes = [node("Mul", ["flat", "none"], ["nothing"]), node("Add", ["nothing", "half"], ["output"])]
CLASSES: Nodes = [node("ArgMax", ["flat"], ["largest"], axis=1), node("Mod", ["largest", "three"], ["class"]),
                  node("Cast", ["class"], ["output"], to=TensorProto.FLOAT)]  # fmt: skip


@pytest.fixture
def make_network(tmp_path: Path) -> MakeNetwork:
    """Write a network: its images as floats, one row each, then the nodes."""

    def make(nodes: Nodes, batch: int | str = "batch") -> str:
        values: dict[str, Any] = {
            "zero": np.zeros(1, np.int64),
            "none": np.zeros(1, np.float32),
            "half": np.full(1, 0.5, np.float32),
        }
        values["three"] = np.full(1, 3, np.int64)
        values["count"] = np.arange(1, 9, dtype=np.float32)[:, None]
        values["four"] = np.full(1, 4, np.int64)
        values["nearest"] = np.minimum(np.arange(8), 3)
        values["keep"] = np.array([True])
        values["mask"] = np.array([[1.0]] * 4 + [[0.0]] * 4, np.float32)
        flat = [node("Cast", ["input"], ["cast"], to=TensorProto.FLOAT), node("Flatten", ["cast"], ["flat"])]
        graph = helper.make_graph(
            [*flat, *nodes],
            "wrong",
            [helper.make_tensor_value_info("input", TensorProto.UINT8, [batch, *SHAPE])],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(value, name) for name, value in values.items()],
        )
        path = tmp_path / "wrong.onnx"
        onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)]), path)
        return str(path)

    return make


@pytest.fixture(params=["buffered", "mapped"])
def reader(request: pytest.FixtureRequest, tmp_path: Path, device: CpuDevice) -> Iterator[Reader]:
    known = write_dataset(tmp_path / "set", (20, 1, 1, 20), SHAPE)
    with READERS[request.param](known.dataset, device) as reader:
        yield reader


def looked(device: CpuDevice, reader: Reader, model: str, batch_size: int = 16) -> tuple[Any, list[str]]:
    with OnnxEngine.build(device, model, batch_size, "uint8", SHAPE) as engine:
        return look_at_outputs(device, engine, reader, device.slot(batch_size * 105), batch_size)


def test_a_network_that_is_right(device: CpuDevice, reader: Reader, make_network: MakeNetwork) -> None:
    facts, doubts = looked(device, reader, make_network([node("Identity", ["flat"], ["output"])]))
    assert facts == {
        "different_images": 16,
        "different_outputs": 16,
        "repeat_difference": 0.0,
        "place_difference": 0.0,
        "unseen_parts": 0,
    }
    assert doubts == []


@pytest.mark.parametrize(
    ("nodes", "doubt"),
    [
        (CONSTANT, "the same for 8 different images: does the network look at them?"),
        (TILED, "the same for 8 different images: does the network look at them?"),
        (HALF, "only 5 different ones for 8 different images: does the network look at all of a batch?"),
        (RANDOM, "random: two inferences of the same images differ by "),
        (PLACES, "of places: the same images elsewhere in the batch differ by 0.88 of the largest output"),
        (FIRST, "of places: the same images elsewhere in the batch differ by "),
        (PIXEL, "of a part of the images: 3 of 4 parts of each image change and they do not"),
    ],
    ids=["constant", "tiled", "half", "random", "places", "first", "pixel"],
)
def test_what_a_network_cannot_mean_is_told(
    device: CpuDevice, reader: Reader, make_network: MakeNetwork, nodes: Nodes, doubt: str
) -> None:
    _, (told,) = looked(device, reader, make_network(nodes), 8)
    assert told.startswith(OUTPUTS + doubt)


@pytest.mark.parametrize("nodes", [NAN, INFINITE], ids=["nan", "infinity"])
def test_what_is_no_number_is_refused(
    device: CpuDevice, reader: Reader, make_network: MakeNetwork, nodes: Nodes
) -> None:
    with pytest.raises(EngineError, match=r"engine onnx gives NaN or infinity for images of .*set"):
        looked(device, reader, make_network(nodes))


def test_one_result_for_a_whole_batch_is_refused(device: CpuDevice, reader: Reader, make_network: MakeNetwork) -> None:
    with pytest.raises(EngineError, match=r"gives 1 results \(shape \[1, 105\]\) for a batch of 16 images: export"):
        looked(device, reader, make_network(ONE_AS_IT_RUNS))
    with pytest.raises(EngineError, match=r"wrong.onnx gives 1 results .* for a batch of 16 images"):
        looked(device, reader, make_network(ONE_OF_A_BATCH))
    assert looked(device, reader, make_network(ONE_OF_A_BATCH), batch_size=1)[1] == []


def test_images_may_share_their_class(device: CpuDevice, reader: Reader, make_network: MakeNetwork) -> None:
    facts, doubts = looked(device, reader, make_network(CLASSES))
    assert 1 < facts["different_outputs"] < 16
    assert doubts == []


def test_a_fixed_batch_is_filled_with_what_there_is(
    device: CpuDevice, tmp_path: Path, make_network: MakeNetwork
) -> None:
    known = write_dataset(tmp_path / "few", (2, 1), SHAPE)
    model = make_network([node("Identity", ["flat"], ["output"])], batch=16)
    with READERS["buffered"](known.dataset, device) as reader:
        facts, doubts = looked(device, reader, model)
    assert (facts["different_images"], facts["different_outputs"], doubts) == (3, 3, [])


def test_equal_images_have_equal_outputs(device: CpuDevice, make_network: MakeNetwork) -> None:
    with MemoryReader(in_memory(SHAPE, "uint8", images=1), device) as reader:
        facts, doubts = looked(device, reader, make_network([node("Identity", ["flat"], ["output"])]))
        _, (told,) = looked(device, reader, make_network(SAME))
    assert (facts["different_images"], facts["different_outputs"], doubts) == (1, 1, [])
    assert told.startswith(OUTPUTS + "of a part of the images: 4 of 4 parts")
