"""The networks that parameters name: for the images of a data set, and each made once."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from inferkit.dataset.synthetic import make_synthetic
from inferkit.errors import EngineError, ModelError, ParameterError
from inferkit.plan.assumed import Assumed
from inferkit.plan.build import plan
from inferkit.plan.networks import Networks, distinct, labels_of, shape_for
from inferkit.plan.pipelines import infer_choices
from inferkit.plan.points import Point
from inferkit.readers.memory import in_memory
from inferkit.records.job import InferJob
from inferkit.records.params import MakeDataset, SingleProcess
from tests.models.odd_networks import CLASSES, RUN, SHAPE, UNKNOWN_OPERATOR, WEIGHT, image, network, scores, weight


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


def written(path: Path, model: onnx.ModelProto) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return str(path)


def other_network() -> onnx.ModelProto:
    """A network that differs in its weights alone."""
    model = network()
    model.graph.initializer[0].CopyFrom(weight(value=-WEIGHT))
    return model


@pytest.mark.usefixtures("adapted_here")
class TestUsersNetworks:
    def planned(self, *models: str, **changes: object) -> list[Point]:
        params = SingleProcess.check(
            {"engines": ["onnx"], "models": list(models), "readers": ["memory"], "shape": list(SHAPE), **changes}
        )
        return plan(params).points

    def test_two_of_one_file_name_are_two_with_ceilings_of_their_own(self, tmp_path: Path) -> None:
        paths = [
            written(tmp_path / "a" / "model.onnx", network()),
            written(tmp_path / "b" / "model.onnx", other_network()),
        ]
        points = self.planned(*paths)
        alone = [point for point in points if point.measure == "infer"]
        pipelines = [point for point in points if point.measure == "pipeline"]
        assert [point.axes["model"] for point in alone] == ["a/model", "b/model"]
        assert [point.ceilings["infer"].key for point in pipelines] == [point.key for point in alone]
        assert len({point.network.file.source for point in pipelines if point.network}) == 2
        assert len({point.fingerprint for point in points}) == len(points)

    def test_one_content_under_two_names_has_one_ceiling(self, tmp_path: Path) -> None:
        paths = [written(tmp_path / name, network()) for name in ("one.onnx", "other.onnx")]
        points = self.planned(*paths)
        assert [point.axes["model"] for point in points if point.measure == "pipeline"] == ["one", "other"]
        assert [point.axes["model"] for point in points if point.measure == "infer"] == ["one"]

    def test_a_batch_that_the_graph_fixes_is_told_before_anything_runs(self, tmp_path: Path) -> None:
        bias = weight("bias", np.ones((1, CLASSES), np.float32))
        reshaped = RUN["a Reshape to the batch of export"]()
        path = written(tmp_path / "one.onnx", reshaped)
        assert [point.axes["batch_size"] for point in self.planned(path, batch_sizes=[4]) if point.network] == [4, 4]
        fixed = network(
            [
                helper.make_node("Concat", ["image", "image"], ["twice"], axis=0),
                helper.make_node("Reshape", ["twice", "shape"], ["flat"]),
                helper.make_node("Gemm", ["flat", "weight", "bias"], ["scores"]),
            ],
            [image((1, *SHAPE))],
            [scores((1, CLASSES))],
            [weight(value=np.concatenate([WEIGHT, WEIGHT])), bias, weight("shape", np.array([1, -1], np.int64))],
        )
        path = written(tmp_path / "fixed.onnx", fixed)
        with pytest.raises(ParameterError, match=r"network fixed takes batches of 1 only, .*: set batch_sizes: \[1\]"):
            self.planned(path, batch_sizes=[1, 32])
        assert len([point for point in self.planned(path, batch_sizes=[1]) if point.network]) == 2

    def test_an_operator_that_nobody_has_is_told_before_anything_runs(self, tmp_path: Path) -> None:
        path = written(tmp_path / "gelu.onnx", UNKNOWN_OPERATOR)
        with pytest.raises(ModelError, match=r"gelu.onnx: ONNX Runtime cannot run .*com.nobody:Gelu"):
            self.planned(path)

    def test_the_layout_is_a_parameter(self, tmp_path: Path) -> None:
        path = written(tmp_path / "open.onnx", RUN["names for every size"]())
        with pytest.raises(ModelError, match="set layout to NCHW or NHWC"):
            self.planned(path)
        assert self.planned(path, layout="NCHW")


class TestPlans:
    """A user's own plan; engine ``tensorrt``, whose library may be missing, has the traits that a dry run assumes."""

    def planned(self, *models: Path | str, engine: str = "tensorrt", assumed: Assumed | None = None) -> list[Point]:
        values = {"engines": [engine], "models": [*map(str, models)], "precisions": ["float32", "float16"]}
        params = SingleProcess.check({**values, "readers": ["memory"], "shape": list(SHAPE)})
        return plan(params, assumed=assumed or Assumed()).points

    def written(self, path: Path, content: bytes = b"ftrt") -> Path:
        path.write_bytes(content)
        path.chmod(0o600)
        return path

    def test_infers_in_what_it_was_built_for_once_for_all_precisions(self, tmp_path: Path) -> None:
        points = self.planned(self.written(tmp_path / "x.plan"))
        assert [(p.axes["model"], p.axes["precision"]) for p in points if p.network] == [("x.plan", "")] * 2
        first = next(point for point in points if point.measure == "infer")
        assert isinstance(first.jobs[0], InferJob)
        assert first.jobs[0].inference.model == str(tmp_path / "x.plan")
        assert first.network is not None
        assert first.network.top1_agreement is None

    def test_of_other_content_is_another(self, tmp_path: Path) -> None:
        keys = []
        for content in (b"ftrt 1", b"ftrt 2", b"ftrt 1"):
            points = self.planned(self.written(tmp_path / "x.plan", content))
            keys.append({point.fingerprint for point in points if point.network})
        assert keys[0] == keys[2] != keys[1]

    def test_is_for_tensorrt_alone(self, tmp_path: Path) -> None:
        with pytest.raises(ParameterError, match=r"x.plan is a plan, which engine tensorrt runs and engine onnx does"):
            self.planned(self.written(tmp_path / "x.plan"), engine="onnx")

    def test_that_is_not_there_is_assumed_or_refused(self, tmp_path: Path) -> None:
        assumed = Assumed()
        assert self.planned(tmp_path / "x.plan", assumed=assumed)
        assert any("x.plan" in text for text in assumed.told)
        params = SingleProcess()
        with pytest.raises(EngineError, match=r"x\.plan: cannot be read"):
            Networks(params, in_memory(SHAPE, "uint8"))._make(str(tmp_path / "x.plan"), "")

    def test_takes_no_say_in_pixels(self, tmp_path: Path) -> None:
        params = SingleProcess.check({"models": [str(self.written(tmp_path / "x.plan"))], "scale": 0.5})
        with pytest.raises(ParameterError, match="are for ONNX files of yours"):
            infer_choices(params)


@pytest.mark.parametrize(
    ("models", "labels"),
    [
        (["resnet18", "/x/mine.onnx"], ["resnet18", "mine"]),
        (["/x/net.v1.onnx", "/x/net.v2.onnx"], ["net.v1", "net.v2"]),
        (["/a/model.onnx", "/b/model.onnx"], ["a/model", "b/model"]),
        (["/a/c/model.onnx", "/b/c/model.onnx", "/d/model.onnx"], ["a/c/model", "b/c/model", "d/model"]),
        (["resnet18", "/x/resnet18.onnx"], ["resnet18", "x/resnet18"]),
        (["/a/model.onnx", "/b/../a/model.onnx"], ["model", "model"]),
        (["/model.onnx", "/a/model.onnx"], ["//model", "a/model"]),
        (["/a/b\nc.onnx"], ["b c"]),
        (["/a/model.onnx", "/a/model.plan"], ["model", "model.plan"]),
        (["/a/model.plan", "/b/model.plan"], ["a/model.plan", "b/model.plan"]),
    ],
)
def test_labels_are_as_long_as_they_need_to_be(models: list[str], labels: list[str]) -> None:
    assert list(labels_of(models).values()) == labels


def test_a_file_that_is_named_twice_is_one_network(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/model.onnx").touch()
    (tmp_path / "link.onnx").symlink_to("a/model.onnx")
    first = str(tmp_path / "a/model.onnx")
    models = [first, "resnet18", str(tmp_path / "link.onnx"), str(tmp_path / "a/../a/model.onnx"), "resnet18"]
    assert distinct(models) == [first, "resnet18"]
