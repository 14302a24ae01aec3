"""A GPU that fails: each call of CUDA that a run makes, on a driver that stands in for NVIDIA's and fails when told.

NVIDIA's bindings and PyCUDA lie on it as they are, in processes of their own. It is an old driver, which does not know
all that the bindings may ask.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from inferkit.dataset.synthetic import make_synthetic
from inferkit.records.params import MakeDataset
from inferkit.records.run import Run
from tests.stand_in_gpu import Environment, stand_in_gpu

pytestmark = [
    pytest.mark.timeout(900),  # the slow ones, on a machine that is busy
    pytest.mark.xdist_group("stand-in GPU"),  # its driver is compiled, and swept, once
]

TINY = {"warmup_s": 0.05, "duration_s": 0.1, "repeats": 1, "device": "cuda"}
CLEANING = {"cuEventDestroy", "cuStreamDestroy", "cuMemFree", "cuDevicePrimaryCtxRelease"}
"""Where a failure is PyCUDA's to tell, on standard error: nothing is measured any more."""
REFUSED = {
    "cuMemHostUnregister": {"pages"},
    "cuDevicePrimaryCtxRelease": {"contexts"},
    "cuCtxPushCurrent": {"contexts"},
    "cuCtxPopCurrent": {"contexts", "pages"},
}
"""What is left where giving it back is refused, or entering the context for that, or leaving it once pages are ours."""
CAPTURING = "capturing a CUDA graph; cuda_graph: false does without: "
OUT_OF_MEMORY, DEVICE_UNAVAILABLE = 2, 46
AFTER_ALL = CLEANING | {"cuStreamSynchronize", "cuGraphDestroy"}
"""What is called when everything that was measured has been waited for, or with what nothing needs any more."""


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return stand_in_gpu(tmp_path_factory.mktemp("driver"))


@pytest.fixture(scope="module")
def in_memory() -> Iterator[Path]:
    folder = Path("/dev/shm") / f"inferkit-test-{uuid4()}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def run(environment: Environment, *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", *command], env=environment, check=False, capture_output=True, text=True
    )


def made(folder: Path) -> str:
    """Make a small data set."""
    make_synthetic(MakeDataset(data=str(folder), limit=64, shape=[3, 8, 8], images_per_file=32))
    return str(folder)


# ---- what NVML tells ----

STRANGE = """
import json, os
from inferkit.machine.checks import gpu
from inferkit.machine.gpus import detect, instances
from inferkit.records.host import Host
def told(**variables):
    os.environb.update({name.encode(): value for name, value in variables.items()})
    check = gpu(Host(gpus=[own for own, _ in detect()]))
    found = check.status, check.found, instances()
    for name in variables:
        del os.environ[name]
    return found
print(json.dumps([
    told(),
    *[told(STAND_IN_NVML=code) for code in (b"15", b"18", b"999", b"12", b"9")],
    *[told(STAND_IN_NAME=name) for name in (b"NVIDIA \\xff H100", "® <b>|\\x1b[31m".encode(), b" ")],
]))
"""


def test_what_nvml_cannot_tell_is_said_and_stops_nothing(gpu: Environment) -> None:
    done = subprocess.run([sys.executable, "-c", STRANGE], env=gpu, check=True, capture_output=True, text=True)
    sound, lost, mismatch, unknown, *absent, binary, marked, blank = json.loads(done.stdout)
    assert sound == ["present", "0: Stand-in GPU 2 GiB", {}]
    for (state, found, _), words in ((lost, "GPU is lost"), (mismatch, "version mismatch"), (unknown, "NVML")):
        assert state == "limited"
        assert words in found
    assert [state for state, _, _ in absent] == ["absent", "absent"]
    assert [found for _, found, _ in (binary, blank)] == ["0: NVIDIA GPU 2 GiB"] * 2
    assert marked[1].startswith("0: ® <b>|")


# ---- each call ----


class Swept(NamedTuple):
    told: list[dict[str, Any]]

    def failed(self) -> list[dict[str, Any]]:
        return [each for each in self.told if each["fired"]]


def swept(gpu: Environment, folder: Path, *how: str) -> Swept:
    done = run(gpu, "tests.stand_in_gpu.sweep", str(folder), *how)
    assert done.returncode == 0, done.stderr[-3000:]  # it dumps where it is and ends, should a run hang
    return Swept([json.loads(line) for line in done.stdout.splitlines()])


@pytest.fixture(scope="module", params=["few", pytest.param("all", marks=pytest.mark.slow)])
def sweep(request: pytest.FixtureRequest, gpu: Environment, in_memory: Path) -> Swept:
    return swept(gpu, in_memory / f"tensors-{request.param}", request.param)


def test_every_call_that_fails_is_a_named_error(sweep: Swept) -> None:
    assert len({each["fault"][0] for each in sweep.failed()}) >= 41  # all that a run calls
    for each in sweep.failed():
        function, _, code, stays = each["fault"]
        tried_again = function == "cuMemAlloc" and code == OUT_OF_MEMORY and not stays  # PyCUDA frees what it can
        if each["kind"] or not (function in AFTER_ALL or tried_again):
            assert each["kind"] in {"DeviceError", "NoDeviceError"}, each
            error, doing, what_to_do = each["message"].removeprefix(CAPTURING).split(": ", 2)
            assert each["error"] == error or (error, doing.split()[0]) == ("nvJPEG", "EXECUTION_FAILED"), each[
                "message"
            ]
            assert doing, each
            assert what_to_do, each


def test_what_failed_while_the_gpu_was_opened_is_told_as_such(sweep: Swept) -> None:
    opening = {
        "cuInit",
        "cuDeviceGetCount",
        "cuDeviceGetName",
        "cuDevicePrimaryCtxRetain",
        "cuDevicePrimaryCtxSetFlags",
    }
    for each in sweep.failed():
        function, nth, code, _ = each["fault"]
        if function in opening and nth == 1:
            assert each["kind"] == (
                "DeviceError" if code in {OUT_OF_MEMORY, DEVICE_UNAVAILABLE} else "NoDeviceError"
            ), each


def test_nothing_of_ours_is_left(sweep: Swept) -> None:
    """Host memory, registrations and holds of the context are given back, but where that itself is refused."""
    for each in sweep.told:
        function, _, _, stays = each["fault"]
        left = {kind for kind in each["left"] if not kind.startswith("ended")}
        allowed = REFUSED.get(function, set())
        if stays:  # nothing can be given back to a GPU that is lost
            allowed = {"contexts", "modules", "graphs", "streams", "events", "memory", "pages"}
        assert left <= allowed, each
        if not function:
            assert each["left"] == {}, each


# ---- files that change ----

REPLACED = """
import io, json
import numpy as np
from PIL import Image
from inferkit.batch import Segment
from inferkit.devices import nvjpeg_batch, open_device
from inferkit.devices.base import Decoding
from tests.stand_in_gpu.nvjpeg import NvJpeg
nvjpeg_batch.functions = NvJpeg
def encoded(height, width):
    file = io.BytesIO()
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(file, "jpeg")
    return np.frombuffer(file.getvalue(), np.uint8)
def software(segment):
    return np.zeros((3, 8, 8), np.uint8)
with open_device("cuda") as device:
    decoder = device.open_decoder(Decoding(8, False, 1, 1, software))
    found = []
    for height, width in [(20, 30), (20, 30), (44, 10), (21, 10), (20, 30)]:
        data = np.concatenate([encoded(height, width), np.zeros(200, np.uint8)])
        prepared = decoder.prepare([Segment("jpeg", data.ctypes.data, len(data), 0, 1, 0)])
        found.append([prepared.rows[:, :2].tolist(), prepared.refused, prepared[0].kind])
print(json.dumps(found))
"""


def test_a_file_that_became_another_image_is_looked_at_again(gpu: Environment) -> None:
    """Its rows would else not fit their place; what is refused once is decoded in software from then on."""
    done = subprocess.run([sys.executable, "-c", REPLACED], env=gpu, check=True, capture_output=True, text=True)
    software = [[], 1, "ring"]
    assert json.loads(done.stdout) == [
        [[[20, 30]], 0, "jpeg"],
        [[[20, 30]], 0, "jpeg"],
        [[[44, 10]], 0, "jpeg"],
        software,
        software,
    ]


# ---- records ----


class Measured(NamedTuple):
    runs: list[Run]
    said: str

    def of(self, measure: str, **axes: Any) -> Run:
        (found,) = (each for each in self.runs if each.measure == measure and axes.items() <= each.point.items())
        return found


def measured(environment: Environment, notebook: str, **values: Any) -> Measured:
    done = run(environment, "tests.faults.alone", json.dumps({**TINY, **values}), notebook)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return Measured([Run.from_dict(json.loads(line)) for line in done.stdout.splitlines()], done.stderr)


def failure(run: Run) -> tuple[str, str]:
    assert run.verdict == "FAILED", (run.verdict, run.reasons)
    assert run.failure is not None
    return run.failure.kind, run.failure.message


@pytest.fixture(scope="module")
def full_then_lost(gpu: Environment, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """Give what was measured on a GPU with little memory, which is lost while it copies back."""
    faults = {
        "STAND_IN_MEMORY": "1000000",
        "STAND_IN_FAULT": "cuMemcpyDtoHAsync:9:719:stays",
        "STAND_IN_LOST": str(tmp_path_factory.mktemp("bus") / "lost"),
    }
    sizes = {"transfer_bytes": [4096, 10_000_000, 8192], "directions": ["in", "out"], "memories": ["pinned"]}
    return measured(gpu | faults, "02", **sizes)


def test_memory_of_the_gpu_that_is_full_at_one_size_fails_that_alone(full_then_lost: Measured) -> None:
    small, large, next_one = full_then_lost.runs[:3]
    assert small.measured is not None
    assert next_one.measured is not None
    kind, told = failure(large)
    assert kind == "DeviceError"
    full = (
        "CUDA_ERROR_OUT_OF_MEMORY: allocating 9.54 MiB on the GPU, where 977 KiB of 977 KiB are free: lower batch_sizes"
    )
    assert told.startswith(full)


def test_a_lost_gpu_ends_what_needs_it_with_one_reason(full_then_lost: Measured) -> None:
    first, second, memory, rest = full_then_lost.runs[3:]
    assert failure(first)[0] == "DeviceError"
    assert failure(first)[1].startswith("CUDA_ERROR_LAUNCH_FAILED: queueing a copy or an inference: ")
    assert "dmesg | grep -i xid" in failure(first)[1]
    assert failure(second)[0] == "NoDeviceError"
    assert failure(second)[1].startswith("CUDA_ERROR_UNKNOWN: starting CUDA: ")
    assert memory.measure == "memory"  # needs no GPU
    assert memory.measured is not None
    assert rest.measure == "plan"
    assert failure(rest) == (
        "NoDeviceError",
        f"1 more points were not tried, for their GPU cannot be opened. {failure(second)[1]}",
    )


@pytest.mark.slow
def test_a_context_that_cannot_even_be_left_ends_the_process_with_the_reason(gpu: Environment) -> None:
    """PyCUDA aborts such a process, and its last words are a line of dashes."""
    lost = {"STAND_IN_FAULT": "cuEventSynchronize:20:719:all"}
    found = measured(gpu | lost, "02", transfer_bytes=[4096], memories=["pinned"])
    kind, told = failure(found.of("copy"))
    assert kind == "RankError"
    assert "no result: CUDA_ERROR_LAUNCH_FAILED: working on the GPU, and leaving the context: " in told


@pytest.mark.slow
def test_a_gpu_that_never_answers_is_given_up(gpu: Environment, in_memory: Path) -> None:
    values = {"data": made(in_memory / "hang"), "engines": ["null"], "batch_sizes": [8], "ranks": [1], "threads": [1]}
    found = measured(gpu | {"STAND_IN_FAULT": "cuEventSynchronize:200:0"}, "03c", **values, duration_s=1.0)
    assert any("it completed no batch for" in failure(each)[1] for each in found.runs if each.verdict == "FAILED")


# ---- the command, and the suites of the real GPU ----


@pytest.mark.slow
def test_the_command_measures_tells_and_ends(gpu: Environment, in_memory: Path, tmp_path: Path) -> None:
    values = {"data": made(in_memory / "command"), "engines": ["null"], "batch_sizes": [8], "threads": [1]}
    config = tmp_path / "lost.yaml"
    config.write_text(json.dumps({**TINY, **values, "transfer_bytes": [4096, 8192, 16384]}))
    lost = {"STAND_IN_FAULT": "cuMemcpyHtoDAsync:40:999:stays", "STAND_IN_LOST": str(tmp_path / "lost")}
    asked = ("run", str(config), "--only", "02,03b", "--out", str(tmp_path / "runs"))
    done = run(gpu | lost, "inferkit.cli.main", *asked)
    said = " ".join(done.stdout.split())
    assert done.returncode == 1, done.stderr
    assert "CUDA_ERROR_UNKNOWN: queueing a copy to the GPU" in said
    assert "more points were not tried, for their GPU cannot be opened" in said
    assert "Traceback" not in done.stdout + done.stderr


CONFORMANCE = "tests/devices/test_conformance.py"
FEW = "cuda and (4-2-4-3 or not one_epoch)"
"""Of the sizes that arrive whole, one."""
ALL = "not onnx_runtime and not engine and not pipeline_runs and not ceilings_run"


@pytest.mark.parametrize(
    ("suites", "chosen"),
    [
        pytest.param([CONFORMANCE], FEW, id="few"),
        pytest.param(["tests/devices", "tests/gpu/test_cuda.py"], ALL, id="all", marks=pytest.mark.slow),
    ],
)
def test_what_holds_on_a_real_gpu_holds_here(gpu: Environment, suites: list[str], chosen: str) -> None:
    """So the stand-in is one, and whoever changes the device without a GPU sees what breaks."""
    done = run(gpu, "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *suites, "-m", "gpu", "-k", chosen)
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(done.stdout.splitlines()[-1].split(" passed")[0].split()[-1]) > 100, done.stdout[-300:]
