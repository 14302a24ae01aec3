from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import spox
import spox.opset.ai.onnx.v17 as op

from inferkit.errors import ModelError
from inferkit.models import agreement
from inferkit.models.agreement import top1_agreement
from inferkit.models.cache import model_path
from inferkit.models.model_file import ModelFile
from inferkit.models.reference import reference_session
from inferkit.readers.memory import in_memory


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def brightest(folder: Path, name: str, order: list[int], batch: int | str = "batch") -> ModelFile:
    """A network whose class is the place in `order` of the brightest of four pixels."""
    image = spox.argument(spox.Tensor(np.float32, (batch, 1, 2, 2)))
    scores = op.gather(op.flatten(image), op.const(order, dtype=np.int64), axis=1)
    onnx.save(spox.build({"image": image}, {"scores": scores}), folder / f"{name}.onnx")
    return model_path(str(folder / f"{name}.onnx"))


def images(*places: int) -> Any:
    found = np.zeros((len(places), 4), np.uint8)
    found[np.arange(len(places)), places] = 255
    return found.reshape(-1, 1, 2, 2)


@pytest.mark.parametrize("batch", ["batch", 3])
def test_it_is_the_share_of_equal_classes(tmp_path: Path, batch: Any) -> None:
    one, other = brightest(tmp_path, "one", [0, 1, 2, 3], batch), brightest(tmp_path, "other", [0, 1, 3, 2], batch)
    seen = images(0, 1, 2, 3, 0, 1, 0, 0, 1, 2)
    assert top1_agreement(one, one, seen) == 1.0
    assert top1_agreement(one, other, seen) == pytest.approx(0.7)


def test_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = brightest(tmp_path, "one", [0, 1, 2, 3]), brightest(tmp_path, "other", [0, 1, 3, 2])
    first = top1_agreement(one, other, images(0, 2))
    monkeypatch.setattr(agreement, "_classes", None)
    assert top1_agreement(one, other, images(0, 2)) == first == 0.5


def test_a_network_that_does_not_run_is_told(tmp_path: Path) -> None:
    one = brightest(tmp_path, "one", [0, 1, 2, 3])
    with pytest.raises(ModelError, match="ONNX Runtime cannot run it"):
        top1_agreement(one, one, np.zeros((2, 1, 3, 3), np.uint8))


def test_fp8_is_computed_as_its_graph_says(tmp_path: Path) -> None:
    """ONNX Runtime's optimisations get it wrong: 0.6 of these images would be the same (seen in 1.32)."""
    dataset = in_memory((1, 28, 28), "uint8", images=200)
    reference = model_path("deep_mnist")
    fp8 = model_path("deep_mnist", precision="fp8", calibration=dataset)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain = ort.InferenceSession(fp8.path, options, providers=["CPUExecutionProvider"])
    seen = np.random.default_rng(1).integers(0, 256, (32, 1, 28, 28)).astype(np.uint8)
    session = reference_session(fp8.path)
    expected, found = (each.run(None, {"input": seen})[0] for each in (plain, session))
    np.testing.assert_allclose(found, expected, atol=0.1)
    assert top1_agreement(fp8, reference, dataset) > 0.75
