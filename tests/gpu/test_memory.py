"""A GPU whose memory another program has, for real: points fail by name, and work once the memory is free."""

from pathlib import Path

import pytest

from inferkit.dataset.synthetic import make_synthetic
from inferkit.engines import engine_class
from inferkit.errors import DeviceError, EngineError
from inferkit.measure.measure import measure
from inferkit.plan.build import plan
from inferkit.records.params import MakeDataset, SingleProcess
from inferkit.records.run import Run

pytestmark = pytest.mark.gpu
SHAPE = [3, 224, 224]
BATCH = 256


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    try:
        from inferkit.devices.cuda import CudaDevice

        CudaDevice(0).close()
        engine_class("tensorrt")
    except (DeviceError, EngineError) as error:
        pytest.skip(f"no GPU with TensorRT: {error}")
    folder = tmp_path_factory.mktemp("images") / "data"
    make_synthetic(MakeDataset(data=str(folder), limit=2 * BATCH, shape=SHAPE, images_per_file=BATCH))
    return str(folder)


def runs(data: str) -> list[Run]:
    given = {
        "data": data,
        "device": "cuda",
        "gpus": [0],
        "engines": ["null", "tensorrt"],
        "models": ["resnet50"],
        "precisions": ["float16"],
        "batch_sizes": [BATCH],
        "readers": ["buffered"],
        "threads": [2],
        "warmup_s": 0.1,
        "duration_s": 0.3,
        "repeats": 1,
        "verify_batches": 1,
    }
    return list(measure(plan(SingleProcess.check(given))))


@pytest.mark.parametrize("left", [0, 2**29, 2**29 + 2**28, 2**30])  # none, or too little for a context, or a network
def test_gpu_memory_that_another_program_has_fails_points_by_name_until_it_is_free(
    data: str, left: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pycuda.driver as drv

    from inferkit.devices.cuda import CudaDevice

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with CudaDevice(0) as other:
        with other.pushed("asking for free memory"):
            free, _ = drv.mem_get_info()
        other.slot(free - left)
        full = runs(data)
    failed = [run.failure for run in full if run.failure]
    assert failed
    assert {failure.kind for failure in failed} == {"DeviceError"}
    assert all(failure.message.startswith("CUDA_ERROR_OUT_OF_MEMORY: ") for failure in failed)
    free_again = runs(data)
    assert not [run.failure for run in free_again if run.failure]
    assert all(run.measured for run in free_again)
