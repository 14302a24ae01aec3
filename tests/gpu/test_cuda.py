"""On a real GPU: what arrives is compared byte by byte, and what is inferred with ONNX Runtime on the CPU.

One test holds the device open for all, so that the context is made once; some open and close their own beside it.
"""

import mmap
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
import pytest

from inferkit.batch import Segment
from inferkit.dataset.synthetic import make_synthetic
from inferkit.devices import open_device
from inferkit.devices.base import HostMemory
from inferkit.devices.cpu import POISON
from inferkit.engines import engine_class
from inferkit.engines.base import Engine, Options
from inferkit.errors import DeviceError, EngineError
from inferkit.models.cache import model_path
from inferkit.models.model_file import ModelFile
from inferkit.pipeline.copies import pattern
from inferkit.pipeline.timeline import Timeline
from inferkit.pipeline.workloads import WORKLOADS
from inferkit.records.job import CopyJob, DeviceOptions, Images, InferJob, InferOptions, Job, PipelineJob, ReadOptions
from inferkit.records.outcome import Outcome, RankProgress
from inferkit.records.params import MakeDataset
from inferkit.records.windows import Window

if TYPE_CHECKING:
    from inferkit.devices.cuda import CudaDevice

pytestmark = pytest.mark.gpu
PAGE = mmap.PAGESIZE
BRIEF = Window(warmup_s=0.2, duration_s=0.5, repeats=2)
GPU = DeviceOptions(kind="cuda")


@pytest.fixture(scope="module")
def cuda() -> type["CudaDevice"]:
    """Give the class; skip, with the reason, where it opens no device."""
    try:
        from inferkit.devices.cuda import CudaDevice

        CudaDevice(0).close()
    except DeviceError as error:
        pytest.skip(f"no CUDA device: {error}")
    return CudaDevice


@pytest.fixture(scope="module")
def device(cuda: type["CudaDevice"]) -> Iterator["CudaDevice"]:
    with cuda(0, poison=True) as device:
        yield device


@pytest.fixture
def shared(shm: Path) -> Iterator[tuple[mmap.mmap, int, int]]:
    """Map a file in /dev/shm whose size is no multiple of a page: the mapping, its address and its bytes."""
    nbytes = 3 * 2**20 + 12_345
    path = shm / "pattern"
    path.write_bytes(pattern(nbytes).tobytes())
    with path.open("r+b") as file:
        pages = mmap.mmap(file.fileno(), nbytes, mmap.MAP_SHARED)
    view = np.frombuffer(pages, np.uint8)
    address = int(view.ctypes.data)
    del view
    yield pages, address, nbytes
    pages.close()


def filled(device: "CudaDevice", nbytes: int, memory: str = "") -> HostMemory:
    source = device.allocate(nbytes, memory)
    source.array[:] = pattern(nbytes)
    return source


def segments_of(address: int, *pieces: tuple[int, int]) -> list[Segment]:
    return [Segment("memory", address + offset, nbytes, 0, 0, 0) for offset, nbytes in pieces]


@pytest.mark.parametrize("memory", ["pinned", "pageable"])
@pytest.mark.parametrize("nbytes", [1, PAGE - 1, PAGE, PAGE + 1, 10_000_019])
def test_copy_arrives(device: "CudaDevice", memory: str, nbytes: int) -> None:
    source = filled(device, nbytes, memory)
    slot = device.slot(nbytes)
    assert source.address % PAGE == 0
    device.copy_in(segments_of(source.address, (0, nbytes)), slot).wait()
    assert np.array_equal(device.read_back(slot, nbytes), pattern(nbytes))
    slot.close()
    source.close()


def test_unaligned_segments_lie_behind_one_another_and_the_rest_is_poisoned(device: "CudaDevice") -> None:
    pieces = [(1, 1), (4095, 2), (8193, 100_003), (7, 13), (200_001, 1)]
    total = sum(nbytes for _, nbytes in pieces)
    source = filled(device, 300_000)
    slot = device.slot(total + 9)
    device.copy_in(segments_of(source.address, *pieces), slot).wait()
    expected = np.concatenate([pattern(300_000)[offset : offset + nbytes] for offset, nbytes in pieces])
    found = device.read_back(slot, total + 9)
    assert np.array_equal(found[:total], expected)
    assert (found[total:] == POISON).all()
    source.close()


def test_mapped_pages_are_registered_once_for_all_devices(
    cuda: type["CudaDevice"], device: "CudaDevice", shared: tuple[mmap.mmap, int, int]
) -> None:
    pages, address, nbytes = shared
    with cuda(0) as other:
        registrations = [each.register(address, nbytes, writable=True) for each in (device, other)]
        with pytest.raises(DeviceError, match="close that registration first"):
            device.register(address, nbytes - PAGE, writable=True)
        registrations[0].close()
        registrations[0].close()
        slot = other.slot(nbytes)
        other.copy_in(segments_of(address, (0, nbytes)), slot).wait()
        assert np.array_equal(other.read_back(slot, nbytes), pattern(nbytes))
        registrations[1].close()
    again = device.register(address, nbytes, writable=True)  # refused, had it still been registered
    again.close()
    assert bytes(pages[:100]) == pattern(nbytes)[:100].tobytes()


def test_registration_outlives_the_device_that_made_it(
    cuda: type["CudaDevice"], device: "CudaDevice", shared: tuple[mmap.mmap, int, int]
) -> None:
    _, address, nbytes = shared
    with cuda(0) as other:
        registration = other.register(address, nbytes, writable=True)
    device.register(address, nbytes, writable=True).close()
    registration.close()


def test_read_only_pages_are_copied_from_where_the_device_takes_them(
    device: "CudaDevice", shm: Path, shared: tuple[mmap.mmap, int, int]
) -> None:
    nbytes = shared[2]
    descriptor = os.open(shm / "pattern", os.O_RDONLY)
    pages = mmap.mmap(descriptor, nbytes, mmap.MAP_SHARED, mmap.PROT_READ)
    os.close(descriptor)
    address = int(np.frombuffer(pages, np.uint8).ctypes.data)
    try:
        registration = device.register(address, nbytes, writable=False)
    except DeviceError as error:
        pytest.skip(str(error))
    slot = device.slot(nbytes)
    device.copy_in(segments_of(address, (3, nbytes - 3)), slot).wait()
    assert np.array_equal(device.read_back(slot, nbytes - 3), pattern(nbytes)[3:])
    registration.close()


def test_pages_that_cuda_refuses_are_told_with_its_reason_and_the_limit(
    device: "CudaDevice", shared: tuple[mmap.mmap, int, int]
) -> None:
    _, address, nbytes = shared
    registration = device.register(address, nbytes, writable=True)
    with pytest.raises(DeviceError, match=r"CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED: registering 4 KiB.*ulimit"):
        device.register(address + PAGE, PAGE, writable=True)
    registration.close()


def test_times_are_the_hosts_and_in_order(device: "CudaDevice") -> None:
    nbytes = 64 * 2**20
    source = filled(device, nbytes)
    slot = device.slot(nbytes)
    segments = segments_of(source.address, (0, nbytes))
    device.copy_in(segments, slot).wait()
    before = monotonic_ns()
    spans = [device.copy_in(segments, slot) for _ in range(8)]
    for span in spans:
        span.wait()
    after = monotonic_ns()
    assert all(span.done() for span in spans)
    times = [ns for span in spans for ns in (span.start_ns, span.end_ns)]
    assert before <= times[0]
    assert times == sorted(times)
    assert times[-1] <= after
    assert all(nbytes / (span.end_ns - span.start_ns) < 1000 for span in spans)  # GB/s: none can be so fast
    slot.close()
    source.close()


def test_work_waits_on_the_gpu_for_what_it_follows(device: "CudaDevice") -> None:
    nbytes = 64 * 2**20
    source = filled(device, nbytes)
    slot = device.slot(nbytes)
    for _ in range(5):
        copied = device.copy_in(segments_of(source.address, (0, nbytes)), slot)
        with device.span(device.compute, copied) as following:
            pass
        copied.wait()
        following.wait()
        assert copied.start_ns < copied.end_ns <= following.start_ns <= following.end_ns
    slot.close()
    source.close()


def test_threads_share_a_device(device: "CudaDevice") -> None:
    source = filled(device, 2**20)

    def copies(offset: int) -> None:
        slot = device.slot(1000)
        for turn in range(50):
            start = offset * 1001 + turn
            device.copy_in(segments_of(source.address, (start, 1000)), slot).wait()
            assert np.array_equal(device.read_back(slot, 1000), pattern(2**20)[start : start + 1000])

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(copies, offset) for offset in range(4)]:
            done.result()
    source.close()


def test_devices_may_be_opened_again_and_closed_twice(cuda: type["CudaDevice"]) -> None:
    for spin in (False, True, False):
        opened = cuda(0, spin=spin)
        source, slot = filled(opened, 5000), opened.slot(5000)
        opened.copy_in(segments_of(source.address, (0, 5000)), slot).wait()
        assert np.array_equal(opened.read_back(slot, 5000), pattern(5000))
        source.close()
        unfinished = opened.copy_in([], slot)
        opened.close()
        opened.close()
        with pytest.raises(DeviceError, match="was closed before"):
            unfinished.wait()


def test_device_may_be_opened_and_closed_in_a_thread_that_ends(cuda: type["CudaDevice"]) -> None:
    def work() -> None:
        with cuda(0) as opened:
            opened.copy_in([], opened.slot(1)).wait()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


def test_errors_say_what_there_is(device: "CudaDevice") -> None:
    with pytest.raises(DeviceError, match=r"no GPU 99: CUDA shows \d"):
        open_device("cuda", 99)
    with pytest.raises(DeviceError, match=r"CUDA_ERROR_OUT_OF_MEMORY: allocating .*TiB on the GPU, where .* are free"):
        device.slot(2**44)
    with pytest.raises(DeviceError, match="does not fit a slot"):
        device.copy_in(segments_of(4096, (0, 11)), device.slot(10))
    with pytest.raises(DeviceError, match="no 'mapped' memory"):
        device.allocate(1, "mapped")


@pytest.fixture(scope="module")
def engines() -> type[Engine]:
    try:
        return engine_class("tensorrt")
    except EngineError as error:
        pytest.skip(str(error))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def reference(model: ModelFile, images: Any) -> Any:
    session = ort.InferenceSession(model.path, providers=["CPUExecutionProvider"])
    return session.run(None, {model.input_name: images})[0]


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("precision", "dtype", "tolerance"),
    # float32 is computed in TF32, which has 10 bits of mantissa as float16 has; relative to the largest logit
    [("float32", "uint8", 0.02), ("float16", "uint8", 0.02), ("float16", "float32", 0.02)],
)
@pytest.mark.parametrize("options", [Options(), Options(cuda_graph=True), Options(contexts=2, cuda_graph=True)])
def test_outputs_are_those_of_onnx_runtime(
    device: "CudaDevice", engines: type[Engine], precision: str, dtype: str, tolerance: float, options: Options
) -> None:
    shape = (3, 64, 64)
    model = model_path("resnet18", precision=precision, dtype=dtype, shape=shape)
    images = np.random.default_rng(1).integers(0, 256, (7, *shape)).astype(dtype)
    source = device.allocate(images.nbytes)
    source.array[:] = images.reshape(-1).view(np.uint8)
    slots = [device.slot(images.nbytes) for _ in range(2)]
    with engines.build(device, str(model.path), 7, dtype, shape, options) as engine:
        assert engine.output(slots[0]) is None
        for slot, count in ((slots[0], 7), (slots[1], 3), (slots[0], 1), (slots[0], 7), (slots[1], 7)):
            nbytes = images[:count].nbytes
            copied = device.copy_in(segments_of(source.address, (0, nbytes)), slot)
            inferred = engine.infer(slot, count, copied)
            copied.wait()
            inferred.wait()
            assert copied.end_ns <= inferred.start_ns < inferred.end_ns
            found, expected = engine.output(slot), reference(model, images[:count])
            assert found is not None
            assert found.shape == expected.shape
            assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()
    source.close()


@pytest.mark.usefixtures("cache")
def test_engine_comes_from_the_cache_the_second_time(device: "CudaDevice", engines: type[Engine]) -> None:
    model = model_path("deep_mnist")
    origins = []
    for _ in range(2):
        with engines.build(device, str(model.path), 5, "uint8", model.input_shape) as engine:
            origins.append(engine.facts["engine"])
    assert origins[0].startswith("built in")
    assert origins[1] == "from the cache"


@pytest.mark.usefixtures("cache")
def test_batch_larger_than_the_engine_is_refused(device: "CudaDevice", engines: type[Engine]) -> None:
    model = model_path("deep_mnist")
    with engines.build(device, str(model.path), 5, "uint8", model.input_shape) as engine:
        slot = device.slot(6 * 784)
        with pytest.raises(EngineError, match="built for 5"):
            engine.infer(slot, 6, None)


def work(job: Job) -> Outcome:
    def told(progress: RankProgress) -> None:
        assert progress.fraction <= 1

    return WORKLOADS[job.work](job, lambda stages: Timeline(job.window, stages, told))


@pytest.mark.usefixtures("cache", "device", "engines")
@pytest.mark.parametrize("reader", ["buffered", "mapped", "memory"])
@pytest.mark.parametrize("overlap", [True, False])
def test_pipeline_runs_and_images_arrive(shm: Path, reader: str, *, overlap: bool) -> None:
    make_synthetic(MakeDataset(data=str(shm / "data"), limit=81, shape=[1, 28, 28], images_per_file=50))
    reading = ReadOptions(
        reader=reader,
        folder=str(shm / "data"),
        dtype="uint8",
        shape=(1, 28, 28),
        threads=2,
        batch_size=12,
        verify_batches=3,
    )
    inference = InferOptions(engine="tensorrt", model=str(model_path("deep_mnist").path))
    outcome = work(PipelineJob(window=BRIEF, device=GPU, reading=reading, inference=inference, overlap=overlap))
    assert len(outcome.repeats) == BRIEF.repeats + 1
    assert all(repeat.images for repeat in outcome.repeats)
    assert {"copy", "infer"} <= set(outcome.stages)
    assert outcome.facts["engine"]["library"].startswith("tensorrt")
    assert outcome.facts["verified_images"] == (0 if reader == "memory" else 36)


@pytest.mark.usefixtures("cache", "device", "engines")
@pytest.mark.parametrize("memory", ["pinned", "pageable", "mapped"])
def test_ceilings_run(memory: str) -> None:
    copies = work(CopyJob(window=BRIEF, device=GPU, nbytes=4_816_897, host_memory=memory))
    assert copies.stages["copy"].bytes_per_s
    images = Images(dtype="uint8", shape=(1, 28, 28), batch_size=9)
    inference = InferOptions(engine="tensorrt", model=str(model_path("deep_mnist").path))
    infers = work(InferJob(window=BRIEF, device=GPU, images=images, inference=inference))
    assert infers.stages["infer"].images_per_s
