import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import spox
import spox.opset.ai.onnx.v17 as op
import xxhash

from inferkit.errors import ModelError
from inferkit.models import cache
from inferkit.models.cache import model_path
from inferkit.models.model_file import ModelFile
from inferkit.models.onnx_file import digest_of
from inferkit.models.reference import reference_session
from tests.ownership import give_away, root_only


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "inferkit" / "models"


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    image = spox.argument(spox.Tensor(np.float32, (1, 8, 6, 3)))
    onnx.save(
        spox.build({"input": image}, {"y": op.flatten(op.transpose(image, perm=(0, 3, 1, 2)))}), tmp_path / "mine.onnx"
    )
    return tmp_path / "mine.onnx"


def _identity(path: Path) -> tuple[int, int]:
    return path.stat().st_ino, path.stat().st_mtime_ns


@pytest.mark.usefixtures("adapted_here")
@root_only
@pytest.mark.parametrize("suffix", [".onnx", ".json"])
def test_a_network_that_others_could_have_written_is_made_anew(user_file: Path, suffix: str) -> None:
    first = model_path(str(user_file), shape=(3, 8, 6))
    assert {path.stat().st_mode & 0o077 for path in first.path.parent.iterdir()} == {0}
    planted = first.path.with_suffix(suffix)
    give_away(planted)
    assert model_path(str(user_file), shape=(3, 8, 6)) == first
    assert planted.stat().st_uid == os.geteuid()


class TestZoo:
    def test_what_is_known_of_the_file(self, folder: Path) -> None:
        file = model_path("text_cnn")
        assert file.path.parent == folder
        assert file == ModelFile(
            path=file.path,
            source="zoo:text_cnn",
            digest=xxhash.xxh3_128_hexdigest(file.path.read_bytes()),
            input_name="input",
            input_dtype="uint8",
            input_shape=(1, 59, 128),
            output_shape=(10,),
            precision="float32",
            batch=None,
        )
        assert ort.InferenceSession(file.path, providers=["CPUExecutionProvider"]).get_inputs()[0].name == "input"

    def test_is_built_once(self) -> None:
        first = model_path("text_cnn")
        before = _identity(first.path)
        assert model_path("text_cnn") == first
        assert _identity(first.path) == before

    def test_everything_that_shapes_it_makes_another_file(self) -> None:
        options: list[dict[str, Any]] = [{}, {"precision": "float16"}, {"dtype": "float32"}, {"seed": 1}]
        files = [model_path("text_cnn", **each) for each in options]
        assert len({file.path for file in files}) == len({file.digest for file in files}) == len(options)
        assert model_path("sensor_net").path not in {file.path for file in files}
        assert [file.input_dtype for file in files] == ["uint8", "uint8", "float32", "uint8"]

    def test_the_shape_makes_another_file(self) -> None:
        files = [model_path("resnet18", shape=shape) for shape in (None, (3, 40, 48))]
        assert [file.input_shape for file in files] == [(3, 224, 224), (3, 40, 48)]
        assert files[0].path != files[1].path

    def test_another_version_of_the_code_makes_another_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        first = model_path("text_cnn")
        monkeypatch.setattr(cache, "_versions", lambda: {"code": "other"})
        assert model_path("text_cnn").path != first.path

    def test_unknown_names_and_options_leave_nothing_behind(self, folder: Path) -> None:
        for options, message in (
            ({"name_or_path": "resnet51"}, "did you mean 'resnet5"),
            ({"name_or_path": "text_cnn", "precision": "int3"}, "'int3' is unknown"),
            ({"name_or_path": "text_cnn", "mean": 1.0}, "normalises pixels itself"),
            ({"name_or_path": "text_cnn", "shape": (3, 5, 5)}, "cannot take images"),
        ):
            with pytest.raises(ModelError, match=message):
                model_path(**options)
        assert not folder.exists()


@pytest.mark.usefixtures("adapted_here")
class TestCalibration:
    IMAGES = np.random.default_rng(0).integers(0, 256, (4, 1, 59, 128)).astype(np.uint8)

    def test_the_images_make_another_file(self) -> None:
        first, again = (model_path("text_cnn", precision="int8", calibration=self.IMAGES) for _ in range(2))
        other = model_path("text_cnn", precision="int8", calibration=self.IMAGES[::2])
        assert first == again
        assert first.path != other.path
        assert first.precision == "int8"

    def test_precisions_that_need_none_are_not_shaped_by_images(self) -> None:
        assert model_path("text_cnn", calibration=self.IMAGES) == model_path("text_cnn")

    def test_images_of_another_dtype_and_none_are_refused(self, folder: Path) -> None:
        with pytest.raises(ModelError, match="images for calibration are float32, the network is to take uint8"):
            model_path("text_cnn", precision="int8", calibration=self.IMAGES.astype(np.float32))
        with pytest.raises(ModelError, match="calibrated on images, and there are none"):
            model_path("text_cnn", precision="int8")
        assert not folder.exists()

    def test_a_users_network_is_calibrated_behind_its_preprocessing(self, tmp_path: Path) -> None:
        image = spox.argument(spox.Tensor(np.float32, ("batch", 3, 6, 6)))
        weight = op.const(np.random.default_rng(1).normal(size=(4, 3, 3, 3)).astype(np.float32))
        scores = op.flatten(op.global_average_pool(op.conv(image, weight)))
        onnx.save(spox.build({"image": image}, {"scores": scores}), tmp_path / "mine.onnx")
        x = np.random.default_rng(2).integers(0, 256, (8, 3, 6, 6)).astype(np.uint8)
        outputs = []
        for precision in ("float32", "int8"):
            file = model_path(str(tmp_path / "mine.onnx"), precision=precision, mean=128, std=64, calibration=x)
            session = reference_session(file.path)
            outputs.append(session.run(None, {file.input_name: x})[0])
        assert np.abs(outputs[1] - outputs[0]).max() < 0.05 * np.abs(outputs[0]).max()


class TestDamage:
    @pytest.mark.parametrize("suffix", [".onnx", ".json"])
    @pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
    def test_is_made_good(self, suffix: str, damage: str) -> None:
        file = model_path("text_cnn")
        path, content = file.path.with_suffix(suffix), file.path.with_suffix(suffix).read_bytes()
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(content[:-9] if damage == "cut" else content[:20] + b"\xff" + content[21:])
        assert model_path("text_cnn") == file
        assert path.read_bytes() == content

    def test_a_write_that_fails_leaves_no_file(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(self: Path, target: Path) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "replace", fail)
        with pytest.raises(ModelError, match=r"cannot be written: No space left on device \(errno 28\): free space"):
            model_path("text_cnn")
        assert list(folder.iterdir()) == []

    def test_writers_at_the_same_time_agree(self, folder: Path) -> None:
        code = "from inferkit.models.cache import model_path; print(model_path('text_cnn').digest)"
        writers = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
        digests = {writer.communicate(timeout=60)[0].strip() for writer in writers}
        assert digests == {model_path("text_cnn").digest}
        assert len(list(folder.iterdir())) == 2


@pytest.mark.usefixtures("adapted_here")
class TestUserFile:
    def test_is_adapted_and_described(self, user_file: Path) -> None:
        file = model_path(str(user_file), mean=(1, 2, 3))
        assert (file.path.name[:5], file.input_name, file.input_dtype) == ("mine-", "input_", "uint8")
        assert file.source == digest_of(user_file)
        assert (file.input_shape, file.output_shape, file.batch) == ((3, 8, 6), (144,), None)
        x = np.arange(2 * 144, dtype=np.uint8).reshape(2, 3, 8, 6)
        y = ort.InferenceSession(file.path, providers=["CPUExecutionProvider"]).run(None, {"input_": x})[0]
        expected = x - np.array([1, 2, 3], np.float32).reshape(1, 3, 1, 1)
        np.testing.assert_array_equal(y, expected.reshape(2, 144))

    def test_in_float16(self, user_file: Path) -> None:
        file = model_path(str(user_file), precision="float16", scale=1 / 256)
        x = np.arange(144, dtype=np.uint8).reshape(1, 3, 8, 6)
        y = ort.InferenceSession(file.path, providers=["CPUExecutionProvider"]).run(None, {"input_": x})[0]
        np.testing.assert_array_equal(y, x.reshape(1, 144).astype(np.float32) / 256)

    def test_its_bytes_and_options_make_another_file(self, user_file: Path) -> None:
        paths = {model_path(str(user_file)).path, model_path(str(user_file), mean=1.0).path}
        model = onnx.load(user_file)
        model.producer_name = "another"
        onnx.save(model, user_file)
        assert len({*paths, model_path(str(user_file)).path}) == 3

    def test_its_external_data_make_another_file(self, tmp_path: Path) -> None:
        image = spox.argument(spox.Tensor(np.float32, (1, 3, 8, 6)))
        weight = spox.argument(spox.Tensor(np.float32, (3, 8, 6)))
        model = spox.build({"image": image, "weight": weight}, {"y": op.flatten(op.mul(image, weight))})
        model.graph.input.pop()
        path, found = tmp_path / "external.onnx", []
        for factor in (1, 2):
            copy = onnx.ModelProto()
            copy.CopyFrom(model)
            values = np.full((3, 8, 6), factor, np.float32)
            copy.graph.initializer.append(onnx.numpy_helper.from_array(values, "weight"))
            (tmp_path / "w.bin").unlink(missing_ok=True)
            onnx.save(copy, path, save_as_external_data=True, location="w.bin", size_threshold=0)
            file = model_path(str(path))
            session = reference_session(file.path)
            found.append((file.path, float(session.run(None, {"input": np.ones((1, 3, 8, 6), np.uint8)})[0][0, 0])))
        assert [value for _, value in found] == [1.0, 2.0]
        assert found[0][0] != found[1][0]

    def test_a_fixed_batch_is_recorded(self, tmp_path: Path) -> None:
        image = spox.argument(spox.Tensor(np.float32, (3, 3, 8, 6)))
        model = spox.build(
            {"image": image}, {"y": op.flatten(op.mul(image, op.const(np.ones((3, 3, 8, 6), np.float32))))}
        )
        onnx.save(model, tmp_path / "fixed.onnx")
        assert model_path(str(tmp_path / "fixed.onnx")).batch == 3

    def test_an_output_of_open_shape_is_measured(self, tmp_path: Path) -> None:
        image = spox.argument(spox.Tensor(np.float32, ("batch", 3, 8, 6)))
        size = op.reduce_sum(
            op.cast(op.mul(op.reduce_max(image, axes=(1, 2, 3)), op.const(np.float32(0))), to=np.int64)
        )
        width = op.add(op.reshape(size, op.const([1], dtype=np.int64)), op.const([144], dtype=np.int64))
        shape = op.concat([op.const([-1], dtype=np.int64), width], axis=0)
        onnx.save(spox.build({"image": image}, {"y": op.reshape(image, shape)}), tmp_path / "open.onnx")
        assert model_path(str(tmp_path / "open.onnx")).output_shape == (144,)

    def test_missing_external_data_is_refused_by_name(self, user_file: Path) -> None:
        model = onnx.load(user_file)
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((64, 64), np.float32), "weight"))
        onnx.save(model, user_file, save_as_external_data=True, location="weights.bin", size_threshold=0)
        assert model_path(str(user_file)).output_shape == (144,)
        (user_file.parent / "weights.bin").unlink()
        with pytest.raises(ModelError, match=r"weights.bin: cannot be read .*external data must lie beside it"):
            model_path(str(user_file))

    def test_a_missing_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"gone.onnx: not a valid ONNX file"):
            model_path(str(tmp_path / "gone.onnx"))
