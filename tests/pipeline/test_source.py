"""A job's reader at work: who reads what, and what is told of it afterwards."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from inferkit.dataset.synthetic import make_synthetic
from inferkit.devices.base import HostMemory
from inferkit.devices.cpu import CpuDevice
from inferkit.errors import ReadError
from inferkit.pipeline.held_source import HeldSource
from inferkit.pipeline.loop import read_only
from inferkit.pipeline.resident_source import ResidentSource
from inferkit.pipeline.ring import Ring
from inferkit.pipeline.source import Source
from inferkit.pipeline.timeline import Timeline
from inferkit.readers import READERS
from inferkit.readers.base import Reader
from inferkit.readers.split import split
from inferkit.records.job import Images, ReadOptions
from inferkit.records.params import MakeDataset
from inferkit.records.place import Place
from tests.dataset.pictures import folder_of
from tests.pipeline.conftest import SHORT, ignore

SHAPE = (3, 8, 8)
COUNT = 23


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def options(tmp_path: Path) -> ReadOptions:
    """Read 23 images of three files, one by one."""
    make_synthetic(MakeDataset(data=str(tmp_path / "data"), limit=COUNT, shape=list(SHAPE), images_per_file=9))
    return ReadOptions(reader="buffered", folder=str(tmp_path / "data"), dtype="uint8", shape=SHAPE)


@pytest.fixture
def jpegs(tmp_path: Path) -> ReadOptions:
    folder = folder_of(tmp_path / "photographs", 5)
    return ReadOptions(reader="jpeg", folder=str(folder), dtype="uint8", shape=SHAPE, verify_batches=2)


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> ReadOptions:
    """As many random images in memory."""
    monkeypatch.setattr("inferkit.readers.memory.SYNTHETIC_BYTES", COUNT * 192)
    return ReadOptions(reader="memory", dtype="uint8", shape=SHAPE)


def epoch_of(source: Source, batches: int) -> list[int]:
    """Take so many batches, and return the images that they hold."""
    images: list[int] = []
    for _ in range(batches):
        batch = source.batches.get()
        assert batch is not None
        images += [image for s in batch.segments for image in range(s.first, s.first + s.images)]
        batch.release()
    return images


def test_what_processes_before_read_comes_last(options: ReadOptions, stack: ExitStack) -> None:
    source = Source(options.changed(skip=20), stack.enter_context(CpuDevice()), stack)
    source.start(None, in_flight=1, threads=True)
    assert epoch_of(source, COUNT) == [20, 21, 22, *range(20)]


def own_images(source: Source, rank: int, ranks: int, threads: int) -> int:
    """Return how many images one of some ranks reads, by the rule that shares them out."""
    files = [file.images for file in source.reader.dataset.files]
    shares = split(files, threads * ranks, "uniform")[rank::ranks]
    return sum(piece.images for share in shares for piece in share)


def ran(source: Source) -> Timeline:
    """Read for a moment."""
    timeline = Timeline(SHORT, source.stages, ignore)
    with CpuDevice() as device:
        read_only(source.batches, device, timeline, source.verifier)
    return timeline


@pytest.mark.parametrize("reader", ["buffered", "mapped"])
@pytest.mark.parametrize(("ranks", "threads"), [(1, 1), (1, 4), (3, 1), (3, 2), (4, 5), (23, 1)])
def test_ranks_and_their_threads_share_out_what_lies_in_files(
    options: ReadOptions, device: CpuDevice, reader: str, ranks: int, threads: int
) -> None:
    left = set(range(COUNT))
    for rank in range(ranks):
        with ExitStack() as stack:
            source = Source(options.changed(reader=reader, threads=threads), device, stack)
            source.start(Place(rank=rank, ranks=ranks), in_flight=2, threads=source.reader.capabilities.has_ceiling)
            share: set[int] = set()
            while len(share) < own_images(source, rank, ranks, threads):  # a thread may wait long for its CPU
                share |= set(epoch_of(source, 1))
            share |= set(epoch_of(source, 2 * COUNT))
        assert share <= left  # disjoint
        assert len(share) == own_images(source, rank, ranks, threads)
        left -= share
    assert not left  # complete


def test_without_a_place_one_process_reads_all(options: ReadOptions, device: CpuDevice, stack: ExitStack) -> None:
    source = Source(options, device, stack)
    source.start(None, in_flight=1, threads=True)
    assert epoch_of(source, COUNT) == list(range(COUNT))


def test_split_all_gives_every_rank_every_image(options: ReadOptions, device: CpuDevice) -> None:
    orders = []
    for rank in range(3):
        with ExitStack() as stack:
            source = Source(options.changed(split="all"), device, stack)
            source.start(Place(rank=rank, ranks=3), in_flight=1, threads=True)
            orders.append(epoch_of(source, COUNT))
    assert [sorted(order) for order in orders] == [list(range(COUNT))] * 3
    assert len(set(map(tuple, orders))) > 1  # each in an order of its own


@pytest.mark.parametrize("threads", [False, True])
def test_every_rank_has_all_images_that_lie_in_memory(
    in_memory: ReadOptions, device: CpuDevice, *, threads: bool
) -> None:
    for rank in range(3):
        with ExitStack() as stack:
            source = Source(in_memory, device, stack)
            source.start(Place(rank=rank, ranks=3), in_flight=1, threads=threads)
            assert epoch_of(source, COUNT) == list(range(COUNT))


def test_what_its_batches_hold_is_known_before_it_reads(
    options: ReadOptions, device: CpuDevice, stack: ExitStack
) -> None:
    told = options.changed(dtype="", shape=(), batch_size=6)  # the manifest knows
    source = Source(told, device, stack)
    assert source.images == Images(dtype="uint8", shape=SHAPE, batch_size=6)
    assert source.workers == {}


WAYS = [
    (name, threads)
    for name, reader in READERS.items()
    if not reader.capabilities.passes_cache  # where that is forbidden they cannot be opened
    for threads in ([True] if reader.capabilities.has_ceiling else [False, True])
]
"""Readers, and whether threads read: what takes time to read is never read without."""


@pytest.mark.parametrize(("name", "threads"), WAYS)
def test_stages_have_workers_where_threads_read(
    request: pytest.FixtureRequest, device: CpuDevice, stack: ExitStack, name: str, *, threads: bool
) -> None:
    fixture = "jpegs" if READERS[name].capabilities.decodes else {"memory": "in_memory"}.get(name, "options")
    given: ReadOptions = request.getfixturevalue(fixture)
    source = Source(given.changed(reader=name, threads=2), device, stack)
    source.start(None, in_flight=1, threads=threads)
    assert isinstance(source.batches, Ring if threads else ResidentSource)
    assert source.stages == READERS[name].capabilities.stages
    assert source.workers == (dict.fromkeys(source.stages, 2) if threads else {})


@pytest.mark.parametrize(("host_batches", "buffers"), [(0, 2 + 3 + 1), (5, 5)])
def test_buffers_are_enough_for_threads_and_what_is_under_way_unless_a_number_is_asked_for(
    options: ReadOptions,
    device: CpuDevice,
    stack: ExitStack,
    host_batches: int,
    buffers: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    allocated: list[int] = []
    allocate = device.allocate

    def counted(nbytes: int, memory: str = "") -> HostMemory:
        allocated.append(nbytes)
        return allocate(nbytes, memory)

    monkeypatch.setattr(device, "allocate", counted)
    source = Source(options.changed(threads=2, host_batches=host_batches, batch_size=4), device, stack)
    source.start(None, in_flight=3, threads=True)
    assert allocated == [4 * 192] * buffers


def test_facts_come_in_the_order_of_the_way(options: ReadOptions, device: CpuDevice, stack: ExitStack) -> None:
    source = Source(options.changed(batch_size=4, verify_batches=3, threads=2), device, stack)
    source.start(None, in_flight=2, threads=True)
    timeline = ran(source)
    facts = source.facts(timeline)
    assert list(facts) == ["dtype", "shape", "verified_images", "reading", "storage"]
    assert facts["verified_images"] == 12
    assert len(facts["reading"]["bytes_per_thread"]) == 2
    delivered = sum(repeat.nbytes for repeat in timeline.repeats)
    assert facts["storage"]["delivered_bytes"] == delivered
    assert facts["storage"]["read_bytes"] == sum(facts["reading"]["bytes_per_thread"]) >= delivered
    assert source.batches.get() is None  # telling them ends the reading


def test_a_reader_that_has_something_to_tell_does_so_last(
    jpegs: ReadOptions, device: CpuDevice, stack: ExitStack
) -> None:
    source = Source(jpegs, device, stack)
    source.start(None, in_flight=1, threads=True)
    facts = source.facts(ran(source))
    assert list(facts) == ["dtype", "shape", "verified_images", "reading", "storage", "reader"]
    assert facts["verified_images"] == 0  # nobody hashed what they decode to
    assert facts["reader"] == source.reader.facts


def test_where_no_thread_reads_nobody_counts_threads(options: ReadOptions, device: CpuDevice, stack: ExitStack) -> None:
    source = Source(options.changed(reader="mapped", verify_batches=2), device, stack)
    source.start(None, in_flight=1, threads=False)
    facts = source.facts(ran(source))
    assert list(facts) == ["dtype", "shape", "verified_images", "storage"]
    assert facts["verified_images"] == 2


@pytest.mark.parametrize("threads", [False, True])
def test_what_lies_in_memory_has_no_storage(
    in_memory: ReadOptions, device: CpuDevice, stack: ExitStack, *, threads: bool
) -> None:
    source = Source(in_memory.changed(verify_batches=2), device, stack)
    source.start(None, in_flight=1, threads=threads)
    facts = source.facts(ran(source))
    assert list(facts) == ["dtype", "shape", "verified_images", *(["reading"] if threads else [])]
    assert facts["verified_images"] == 0


@pytest.mark.parametrize("reader", ["buffered", "mapped"])
def test_a_file_that_changed_meanwhile_is_told_after_the_last_batch(
    options: ReadOptions, device: CpuDevice, stack: ExitStack, reader: str
) -> None:
    source = Source(options.changed(reader=reader), device, stack)
    source.start(None, in_flight=1, threads=reader == "buffered")
    timeline = ran(source)
    path = source.reader.dataset.path(1)
    other = path.with_name("other")
    other.write_bytes(bytes(path.stat().st_size))
    other.replace(path)
    with pytest.raises(ReadError, match=f"{path} was replaced or written to"):
        source.facts(timeline)


def test_the_stack_closes_the_ring_before_its_reader(
    options: ReadOptions, device: CpuDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []

    def watch(name: str, what: Ring | Reader) -> None:
        close = what.close

        def told() -> None:
            closed.append(name)
            close()

        monkeypatch.setattr(what, "close", told)

    with ExitStack() as stack:
        source = Source(options, device, stack)
        source.start(None, in_flight=1, threads=True)
        assert isinstance(source.batches, Ring)
        watch("reader", source.reader)
        watch("ring", source.batches)
    assert closed == ["ring", "reader"]
    assert source.batches.get() is None


@pytest.mark.parametrize("reader", ["buffered", "jpeg"])
def test_held_batches_are_read_before_and_delivered_again_and_again(
    options: ReadOptions, jpegs: ReadOptions, device: CpuDevice, stack: ExitStack, reader: str
) -> None:
    given = {"buffered": options, "jpeg": jpegs}[reader].changed(held=3, batch_size=2, threads=2)
    source = Source(given, device, stack)
    source.start(None, in_flight=2, threads=True)
    assert isinstance(source.batches, HeldSource)
    assert source.workers == {}
    if reader == "jpeg":
        shutil.rmtree(given.folder)  # nothing is read any more
    first = [tuple(epoch_of(source, 1)) for _ in range(3)]
    assert len({image for batch in first for image in batch}) == (6 if reader == "buffered" else 5)
    assert [tuple(epoch_of(source, 1)) for _ in range(6)] == first * 2


def test_held_batches_come_from_no_storage_and_have_no_reading(
    options: ReadOptions, device: CpuDevice, stack: ExitStack
) -> None:
    source = Source(options.changed(held=2, batch_size=2), device, stack)
    source.start(None, in_flight=1, threads=True)
    facts = source.facts(ran(source))
    assert list(facts) == ["dtype", "shape", "verified_images"]


def test_every_rank_holds_batches_of_its_own_share(options: ReadOptions, device: CpuDevice) -> None:
    seen = []
    for rank in range(2):
        with ExitStack() as stack:
            source = Source(options.changed(held=4, batch_size=2), device, stack)
            source.start(Place(rank=rank, ranks=2), in_flight=1, threads=True)
            seen.append(set(epoch_of(source, 4)))
    assert not seen[0] & seen[1]
