"""Networks as the world has them: each is run and computes what it says, or is refused with the reason."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from inferkit.errors import ModelError
from inferkit.machine.watched import descendants
from inferkit.models import apart
from inferkit.models.adapt import adapt
from inferkit.models.cache import model_path
from inferkit.models.onnx_file import digest_of, load_model
from inferkit.models.preprocessing import Preprocessing
from inferkit.models.probe import Probe, probe
from inferkit.models.reference import reference_session
from tests.models.odd_networks import (
    CLASSES,
    REFUSED,
    RUN,
    SHAPE,
    UNKNOWN_OPERATOR,
    WEIGHT,
    expected,
    image,
    network,
    plugin,
    scores,
    shift_of_channels,
    slopes_of_channels,
    weight,
)
from tests.models.onnx_fuzz import Trials, mutated, seeds
from tests.processes import alive, wait_for

PIXELS = np.random.default_rng(5).integers(0, 256, (4, *SHAPE), dtype=np.uint8)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def inferred(model: onnx.ModelProto, images: Any) -> Any:
    return reference_session(model.SerializeToString()).run(None, {model.graph.input[0].name: images})[0]


@pytest.mark.parametrize("name", RUN)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_odd_networks_run_and_take_any_batch(name: str, dtype: str) -> None:
    layout = Preprocessing(layout="NCHW" if name == "names for every size" else None)
    adapted = adapt(RUN[name](), dtype=dtype, shape=SHAPE, preprocessing=layout)
    assert probe(adapted) == Probe((CLASSES,))
    assert [dim.dim_param or dim.dim_value for dim in adapted.graph.input[0].type.tensor_type.shape.dim] == [
        "N",
        *SHAPE,
    ]
    np.testing.assert_allclose(inferred(adapted, PIXELS.astype(dtype)), expected(PIXELS), rtol=2e-3, atol=0.5)


def test_values_of_channels_are_added_to_channels_in_opset_6() -> None:
    each = np.arange(1.0, 1 + SHAPE[0], dtype=np.float32) * 100
    adapted = adapt(shift_of_channels(each.tolist()), shape=SHAPE)
    wanted = expected(PIXELS + each[:, None, None])
    assert abs(wanted - expected(PIXELS)).max() > 1  # else any channel would do
    np.testing.assert_allclose(inferred(adapted, PIXELS), wanted, rtol=2e-3, atol=0.5)


def test_slopes_of_channels_bend_channels_in_opset_4() -> None:
    each = np.array([0.1, 0.5, 2.0], np.float32)
    less = PIXELS.astype(np.float32) - 100
    wanted = expected(np.where(less < 0, less * each[:, None, None], less) + 100)
    assert abs(wanted - expected(PIXELS)).max() > 100  # else any channel would do
    adapted = adapt(slopes_of_channels(each.tolist()), shape=SHAPE)
    np.testing.assert_allclose(inferred(adapted, PIXELS), wanted, rtol=2e-3, atol=0.5)


@pytest.mark.parametrize("name", REFUSED)
def test_others_are_refused_with_the_reason(name: str) -> None:
    make, told = REFUSED[name]
    with pytest.raises(ModelError, match=told):
        probe(adapt(make(), shape=SHAPE))


def test_an_operator_that_nobody_has_is_named() -> None:
    assert "com.nobody" in probe(adapt(UNKNOWN_OPERATOR, shape=SHAPE)).lacking
    assert "Gelu" in probe(adapt(UNKNOWN_OPERATOR, shape=SHAPE)).lacking


@pytest.mark.parametrize("domain", ["", "trt.plugins"])
def test_a_plugin_that_is_not_imported_is_kept_for_engines_that_may_have_it(domain: str) -> None:
    assert "EfficientThing_TRT" in probe(adapt(plugin(domain), shape=SHAPE)).lacking


def test_a_batch_that_the_inside_fixes_stays() -> None:
    bias = np.arange(8 * CLASSES, dtype=np.float32).reshape(8, CLASSES)
    model = network(
        [
            onnx.helper.make_node("Flatten", ["image"], ["flat"]),
            onnx.helper.make_node("Gemm", ["flat", "weight", "bias"], ["scores"]),
        ],
        [onnx.helper.make_tensor_value_info("image", TensorProto.FLOAT, [8, *SHAPE])],
        weights=[weight(), weight("bias", bias)],
    )
    adapted = adapt(model, shape=SHAPE)
    assert adapted.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 8
    assert probe(adapted) == Probe((CLASSES,))


@pytest.mark.parametrize(
    ("wanted", "operators"),
    [
        (Preprocessing(scale=1.0, mean=0.0, std=(1.0, 1.0, 1.0)), ["Cast"]),
        (Preprocessing(scale=1.0, mean=(0.0, 0.0, 4.0)), ["Cast", "Sub"]),
        (Preprocessing(scale=0.5, mean=0.0), ["Cast", "Mul"]),
        (Preprocessing(scale=0.5, mean=1.0), ["Cast", "Sub", "Mul"]),
    ],
)
def test_what_changes_no_pixel_is_left_out(wanted: Preprocessing, operators: list[str]) -> None:
    nodes = [node.op_type for node in adapt(network(), preprocessing=wanted).graph.node if node.op_type != "Constant"]
    assert nodes == [*operators, "Flatten", "Gemm"]
    if operators == ["Cast"]:
        uint8 = RUN["uint8"]()
        assert [node.op_type for node in adapt(uint8, preprocessing=wanted).graph.node][:2] == ["Cast", "Cast"]


class TestApart:
    """The whole way, as a plan goes it: in a process of its own, into the cache."""

    @pytest.mark.parametrize("name", ["opset 6, IR version 3", "Gelu of com.microsoft"])
    def test_a_network_is_made_once(self, name: str, tmp_path: Path) -> None:
        path = tmp_path / "model.onnx"
        path.write_bytes(RUN[name]().SerializeToString())
        made = model_path(str(path), scale=1.0, shape=SHAPE)
        assert (made.source, made.output_shape, made.lacking) == (digest_of(path), (CLASSES,), "")
        before = made.path.stat()
        assert model_path(str(path), scale=1.0, shape=SHAPE) == made
        assert made.path.stat().st_ino == before.st_ino
        half = model_path(str(path), precision="float16", scale=1.0, shape=SHAPE)
        assert (half.source, half.precision, half.output_shape) == (made.source, "float16", (CLASSES,))

    def test_what_it_refuses_is_told_with_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "none.onnx"
        path.write_bytes(network(outputs=[]).SerializeToString())
        with pytest.raises(ModelError, match=r"none.onnx: graph 'odd' has no output"):
            model_path(str(path), shape=SHAPE)

    def test_what_its_libraries_stumble_over_is_told_with_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "odd.onnx"
        empty = weight()
        empty.dims[:] = [1 << 32, 5]
        path.write_bytes(network(weights=[empty]).SerializeToString())
        with pytest.raises(
            ModelError, match=r"odd.onnx: tensor 'weight' has shape \[4294967296, 5\].* but holds 2,880"
        ):
            model_path(str(path), shape=SHAPE)
        huge = network(inputs=[image((2**40, *SHAPE))], outputs=[scores((), TensorProto.STRING)])  # it stays fixed
        path.write_bytes(huge.SerializeToString())
        with pytest.raises(ModelError, match=r"odd.onnx: .*more than a GPU has: export a smaller batch"):
            model_path(str(path), shape=SHAPE)

    @pytest.mark.parametrize("name", [b"image", b"scores", b"Flatten", b"com.nobody"])
    def test_a_name_that_is_no_text_is_told_with_the_file(self, name: bytes, tmp_path: Path) -> None:
        path, odd = tmp_path / "odd.onnx", b"\xe7" + name[1:]
        path.write_bytes(UNKNOWN_OPERATOR.SerializeToString().replace(name, odd))
        with pytest.raises(
            ModelError, match=rf"odd.onnx: a name in it is not text in UTF-8 \({re.escape(repr(odd))}\)"
        ):
            model_path(str(path), shape=SHAPE)

    def test_an_operator_that_nobody_has_is_kept_for_engines_that_may_have_it(self, tmp_path: Path) -> None:
        path = tmp_path / "gelu.onnx"
        path.write_bytes(UNKNOWN_OPERATOR.SerializeToString())
        assert "com.nobody" in model_path(str(path), shape=SHAPE).lacking

    @pytest.mark.slow
    def test_one_that_never_ends_is_given_up(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(apart, "LONGEST_S", 6)
        path = tmp_path / "endless.onnx"
        path.write_bytes(REPEATS.SerializeToString())
        with pytest.raises(ModelError, match=r"did not end within 6 s: has it a loop\?"):
            model_path(str(path), shape=SHAPE)

    def test_a_process_that_crashes_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "model.onnx"
        path.write_bytes(network().SerializeToString())
        for code, told in (("kill -SEGV $$", "signal SIGSEGV"), ("echo Bad luck >&2; exit 1", "Bad luck")):
            python = tmp_path / "python"
            python.write_text(f"#!/bin/sh\ncat >/dev/null\n{code}\n")
            python.chmod(0o755)
            monkeypatch.setattr(sys, "executable", str(python))
            with pytest.raises(ModelError, match=rf"model.onnx: the libraries of ONNX fail on it \({told}\)"):
                model_path(str(path), shape=SHAPE)

    @pytest.mark.parametrize(
        "content", [b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"digest": 3}', b'{"batch": "many"}', b""]
    )
    def test_an_entry_of_the_cache_that_says_nothing_is_made_again(self, content: bytes) -> None:
        first = model_path("text_cnn")
        facts = first.path.with_suffix(".json")
        kept = facts.read_bytes()
        facts.write_bytes(content)
        assert model_path("text_cnn") == first
        assert facts.read_bytes() == kept

    def test_an_entry_that_is_no_file_is_replaced(self) -> None:
        first = model_path("text_cnn")
        for path in (first.path, first.path.with_suffix(".json")):
            path.unlink()
            os.mkfifo(path)
            assert model_path("text_cnn") == first


def _repeats() -> onnx.ModelProto:
    model = RUN["a Loop"]()
    times = next(each for each in model.graph.initializer if each.name == "times")
    times.CopyFrom(weight("times", np.int64(2**62)))
    return model


REPEATS = _repeats()


def external(path: Path, place: str = "initializer", **told: str) -> None:
    """Write a network whose weight lies in another file, as ``told``."""
    model = network()
    tensor = model.graph.initializer[0]
    if place == "attribute":
        node = onnx.helper.make_node("Constant", [], ["weight"], value=tensor)
        model.graph.node.insert(0, node)
        del model.graph.initializer[:]
        tensor = model.graph.node[0].attribute[0].t
    elif place == "inner graph":
        model = RUN["an If"]()
        tensor = next(a for a in model.graph.node[3].attribute if a.name == "then_branch").g.node[0].attribute[0].t
    elif place == "function":
        model = RUN["a function"]()
        model.functions[0].node.insert(0, onnx.helper.make_node("Constant", [], ["unused"], value=tensor))
        tensor = model.functions[0].node[0].attribute[0].t
    elif place == "sparse":
        values, indices = weight("weight", np.ones(1, np.float32)), weight("", np.array([0], np.int64))
        del model.graph.initializer[:]
        sparse = onnx.helper.make_sparse_tensor(values, indices, WEIGHT.shape)
        model.graph.sparse_initializer.append(sparse)
        tensor = model.graph.sparse_initializer[0].values
    (path.parent / "w.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", **told}.items():
        tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())


class TestExternalData:
    @pytest.mark.parametrize("place", ["initializer", "attribute", "inner graph", "function", "sparse"])
    def test_belongs_to_the_content_wherever_it_stands(self, place: str, tmp_path: Path) -> None:
        path = tmp_path / "big.onnx"
        external(path, place)
        before, model = digest_of(path), load_model(path)
        assert not any(b"w.bin" in each for each in (model.SerializeToString(),))
        if place != "sparse":
            np.testing.assert_allclose(inferred(adapt(model, shape=SHAPE), PIXELS), expected(PIXELS), rtol=1e-3)
        other = bytearray((tmp_path / "w.bin").read_bytes())
        other[1] ^= 1
        (tmp_path / "w.bin").write_bytes(other)
        assert digest_of(path) != before

    @pytest.mark.parametrize(
        "location", ["/dev/zero", "../w.bin", "a/../../w.bin", "", ".", "/etc/passwd", "w\0.bin", "a/.."]
    )
    def test_never_lies_outside_its_folder(self, location: str, tmp_path: Path) -> None:
        path = tmp_path / "model.onnx"
        external(path, location=location)
        for read in (digest_of, load_model):
            with pytest.raises(
                ModelError, match=r"model.onnx: tensor 'weight' has its data in .*below the model's own"
            ):
                read(path)

    @pytest.mark.parametrize("what", ["pipe", "zero", "socketless", "folder", "loop"])
    def test_is_a_regular_file(self, what: str, tmp_path: Path) -> None:
        path = tmp_path / "model.onnx"
        external(path, location=what)
        made = {
            "pipe": lambda: os.mkfifo(tmp_path / what),
            "zero": lambda: (tmp_path / what).symlink_to("/dev/zero"),
            "folder": lambda: (tmp_path / what).mkdir(),
            "loop": lambda: (tmp_path / what).symlink_to(what),
            "socketless": lambda: None,
        }
        made[what]()
        for read in (digest_of, load_model):
            with pytest.raises(ModelError, match=rf"{what}: cannot be read \(.+\); a model's external data"):
                read(path)

    @pytest.mark.parametrize(
        ("told", "words"),
        [
            ({"offset": "99999999"}, "has a tensor at 99,999,999"),
            ({"offset": "4", "length": "2880"}, "has a tensor at 4 \\+ 2,880"),
            ({"length": "99999999999999"}, "has a tensor at 0 \\+ 99,999,999,999,999|bytes with its weights"),
            ({"offset": "-4"}, "offset and length"),
            ({"length": "-1"}, "offset and length"),
            ({"offset": "many"}, "at no number of bytes"),
            ({"offset": "9" * 5000}, "at no number of bytes"),
            ({"offset": "1e3"}, "at no number of bytes"),
        ],
    )
    def test_holds_what_the_network_says(self, told: dict[str, str], words: str, tmp_path: Path) -> None:
        path = tmp_path / "model.onnx"
        external(path, **told)
        with pytest.raises(ModelError, match=words):
            load_model(path)

    def test_links_to_files_are_followed_as_caches_of_models_have_them(self, tmp_path: Path) -> None:
        blobs, path = tmp_path / "blobs", tmp_path / "snapshot" / "model.onnx"
        for made in (blobs, path.parent):
            made.mkdir()
        external(path)
        for name in ("model.onnx", "w.bin"):
            (path.parent / name).rename(blobs / name)
            (path.parent / name).symlink_to(blobs / name)
        assert load_model(path).graph.initializer[0].raw_data == WEIGHT.tobytes()

    def test_of_too_many_bytes_in_all_is_refused_before_they_are_read(self, tmp_path: Path) -> None:
        path = tmp_path / "model.onnx"
        external(path, location="huge.bin")
        for nbytes, words in ((2**31 - 2**20 - 9, "bytes with its weights; at most"), (2**36, "export float16")):
            with (tmp_path / "huge.bin").open("wb") as file:
                file.truncate(nbytes)
            with pytest.raises(ModelError, match=words):
                load_model(path)


@pytest.mark.parametrize("what", ["pipe", "zero", "huge", "folder", "nul\0"])
def test_a_network_that_is_no_file_is_refused(what: str, tmp_path: Path) -> None:
    path = tmp_path / f"{what}.onnx"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "zero":
        path.symlink_to("/dev/zero")
    elif what == "folder":
        path.mkdir()
    elif what == "huge":
        with path.open("wb") as file:
            file.truncate(2**36)
    for read in (digest_of, load_model):
        with pytest.raises(ModelError, match="not a valid ONNX file"):
            read(path)


@pytest.fixture(scope="module")
def trials() -> Iterator[Trials]:
    opened = Trials()
    yield opened
    opened.close()


SEEDS = seeds()
FUZZ = settings(
    database=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], max_examples=60
)
LONG_FUZZ = settings(FUZZ, max_examples=3000)


def try_one(trials: Trials, random: Any) -> None:
    """Whatever a file holds, the network is made or refused; a library may crash, for it is alone then."""
    told = trials.ended(mutated(random, random.choice(SEEDS)))
    assert told.startswith(("made", "refused: ", "signal "))


@FUZZ
@given(random=st.randoms(use_true_random=False))
def test_altered_files_are_made_or_refused(trials: Trials, random: Any) -> None:
    try_one(trials, random)


@pytest.mark.slow
@LONG_FUZZ
@given(random=st.randoms(use_true_random=False))
def test_many_altered_files_are_made_or_refused(trials: Trials, random: Any) -> None:
    try_one(trials, random)


@pytest.mark.slow
def test_the_process_apart_ends_with_the_one_that_asked(tmp_path: Path) -> None:
    """Killed while it waits for an endless network, nothing of it is left."""
    path = tmp_path / "endless.onnx"
    path.write_bytes(REPEATS.SerializeToString())
    code = f"from inferkit.models.cache import model_path; model_path({str(path)!r}, shape={SHAPE})"
    asking = subprocess.Popen([sys.executable, "-c", code])
    wait_for(lambda: descendants(asking.pid), 60)
    (child,) = descendants(asking.pid)
    asking.kill()
    asking.wait()
    wait_for(lambda: not alive(child), 60)
