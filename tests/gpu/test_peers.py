"""On a real GPU: NVIDIA's own programs beside our points, where they are installed."""

from typing import Any

import pytest

from inferkit.errors import EngineError
from inferkit.machine.facts import facts
from inferkit.measure import nvbandwidth, trtexec
from inferkit.measure.measure import measure
from inferkit.plan.build import plan
from inferkit.records.params import HostToDevice, SingleProcess
from inferkit.records.run import Peer
from tests.verdicts import verdict

pytestmark = pytest.mark.gpu
BRIEF: dict[str, Any] = {"device": "cuda", "warmup_s": 0.2, "duration_s": 0.5, "repeats": 2}


@pytest.fixture(autouse=True)
def _gpu() -> None:
    if not facts().gpus:
        pytest.skip("no NVIDIA GPU that its driver shows")


def held(peer: Peer) -> None:
    assert peer.figure is not None, peer.missing
    assert peer.figure.half_width is not None
    assert peer.ratio is not None
    assert peer.interval is not None
    assert peer.interval[0] <= peer.ratio <= peer.interval[1]


@pytest.mark.skipif(bool(nvbandwidth.missing()), reason=nvbandwidth.missing())
def test_copies_of_each_gpu_and_of_all_at_once_beside_nvbandwidth() -> None:
    asked = {"memories": ["pinned"], "transfer_bytes": [2**26], "directions": ["in", "out", "both"]}
    *runs, memory = measure(plan(HostToDevice.check({**BRIEF, **asked, "peer": "nvbandwidth"})))
    assert memory.measure == "memory"
    for run in runs:
        assert verdict(run) != "FAILED", run.failure
        held(run.peers[0])


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_inference_alone_beside_trtexec(*, cuda_graph: bool) -> None:
    try:
        from inferkit.engines.tensorrt_library import trt
    except EngineError as error:
        pytest.skip(str(error))
    if why := trtexec.missing(trt.__name__):
        pytest.skip(why)
    asked = {"engines": ["tensorrt"], "readers": ["memory"], "gpus": [0], "batch_sizes": [8], "shape": [3, 64, 64]}
    given = {**BRIEF, **asked, "peer": "trtexec", "cuda_graph": cuda_graph}
    (alone,) = [run for run in measure(plan(SingleProcess.check(given))) if run.measure == "infer"]
    held(alone.peers[0])
