"""The networks that parameters name: for the images of a data set, and each made once."""

from pathlib import Path

import pytest

from inferkit.dataset.synthetic import make_synthetic
from inferkit.errors import ParameterError
from inferkit.plan.networks import Networks, shape_for
from inferkit.readers.memory import in_memory
from inferkit.records.params import MakeDataset, SingleProcess


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


class TestNetwork:
    def test_is_held_against_float32_on_images_that_no_calibration_saw(self, tmp_path: Path) -> None:
        dataset = make_synthetic(MakeDataset(data=str(tmp_path / "set"), limit=40, shape=[1, 59, 128])).dataset
        networks = Networks(SingleProcess(), dataset)
        found, plain = (networks.get("onnx", "text_cnn", precision) for precision in ("int8", "float32"))
        assert found is not None
        assert plain is not None
        assert (found.file.precision, found.reference.precision) == ("int8", "float32")
        assert found.top1_agreement is not None
        assert found.top1_agreement > 0.7
        assert plain.top1_agreement is None

    def test_is_calibrated_on_the_data_set(self, tmp_path: Path) -> None:
        sets = [
            make_synthetic(MakeDataset(data=str(tmp_path / str(seed)), limit=9, shape=[1, 59, 128], seed=seed)).dataset
            for seed in (0, 1)
        ]
        pairs = [Networks(SingleProcess(), dataset).get("onnx", "text_cnn", "int8") for dataset in (*sets, sets[0])]
        files = [pair.file for pair in pairs if pair is not None]
        assert files[0] == files[2]
        assert files[0].digest != files[1].digest

    def test_waits_for_a_data_set_that_is_yet_to_be_made(self) -> None:
        dataset = in_memory((1, 59, 128), "uint8")
        pending = type(dataset)(Path("data/new"), "uint8", (1, 59, 128), files=(), described=True)
        networks = Networks(SingleProcess(), pending)
        pairs = [networks.get("onnx", "text_cnn", precision) for precision in ("int8", "float16")]
        assert [pair.file.precision for pair in pairs if pair is not None] == ["float32", "float16"]

    def test_is_made_once_whatever_infers_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        networks = Networks(SingleProcess(), in_memory((1, 59, 128), "uint8"))
        first = networks.get("onnx", "text_cnn", "float32")
        monkeypatch.setattr("inferkit.models.cache.model_path", None)
        assert networks.get("onnx", "text_cnn", "float32") is first is not None

    def test_there_is_none_where_nothing_is_inferred(self) -> None:
        assert Networks(SingleProcess(), in_memory((1, 59, 128), "uint8")).get("null", "", "") is None

    def test_of_a_precision_that_the_engine_lacks_is_refused_before_it_is_made(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("inferkit.models.cache.model_path", None)
        networks = Networks(SingleProcess(), in_memory((1, 59, 128), "uint8"))
        with pytest.raises(ParameterError, match=r"engine onnx computes no fp8: .* use int8"):
            networks.get("onnx", "text_cnn", "fp8")


@pytest.mark.parametrize(
    ("models", "shape"),
    [
        (["deep_mnist"], (1, 28, 28)),
        (["acoustic_model"], (1, 1, 540)),
        (["inception3", "inception4"], (3, 299, 299)),
        (["resnet50", "vit_b16"], (3, 224, 224)),
        (["resnet50", "inception3"], (3, 224, 224)),
        (["sensor_net", "/models/mine.onnx"], (3, 224, 224)),
        ([], (3, 224, 224)),
    ],
)
def test_images_are_made_in_the_shape_that_all_models_want(models: list[str], shape: tuple[int, ...]) -> None:
    assert shape_for(models) == shape
