import ctypes
import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from inferkit.errors import ReadError
from inferkit.linux import io_uring as iouring
from inferkit.linux.io_uring import Read, ReadQueue

BYTES = 100_000


@pytest.fixture
def queue() -> Iterator[ReadQueue]:
    try:
        queue = ReadQueue(8, 4)
    except ReadError as error:
        pytest.skip(str(error))
    yield queue
    queue.close()
    queue.close()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "file"
    path.write_bytes(np.random.default_rng(0).bytes(BYTES))
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


class Target:
    """Memory to read into."""

    def __init__(self, nbytes: int = BYTES) -> None:
        self.array = np.zeros(nbytes, np.uint8)
        self.address = int(self.array.ctypes.data)


def later(seconds: float, do: Callable[[], object]) -> threading.Thread:
    def wait() -> None:
        time.sleep(seconds)
        do()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.parametrize("reads", [0, 1, 3, 4, 5, 8, 9, 12, 13, 1000])
def test_any_number_of_reads_bring_their_own_bytes(queue: ReadQueue, file: int, reads: int) -> None:
    bounds = np.linspace(0, BYTES, reads + 1).astype(int).tolist()
    for _ in range(3):  # the rings wrap
        target = Target()
        places = list(pairwise(bounds))
        results = queue.read((file, low, target.address + low, high - low) for low, high in places[::-1])
        assert results == [high - low for low, high in places[::-1]]
        assert target.array[: bounds[-1]].tobytes() == os.pread(file, bounds[-1], 0)


def test_the_counters_wrap(queue: ReadQueue, file: int) -> None:
    target = Target()
    for _ in range(70):
        assert queue.read((file, at, target.address + at, 1000) for at in range(0, BYTES, 1000)) == [1000] * 100
    assert target.array.tobytes() == os.pread(file, BYTES, 0)


def test_each_read_has_a_result_of_its_own(queue: ReadQueue, file: int) -> None:
    target = Target()
    reads = [
        (file, 0, target.address, 1000),
        (9999, 0, target.address + 1000, 1000),
        (file, BYTES - 10, target.address + 2000, 1000),
        (file, BYTES, target.address + 3000, 1000),
        (file, 0, 0, 1000),
        (file, 4000, target.address + 4000, 1000),
    ]
    assert queue.read(reads) == [1000, -errno.EBADF, 10, 0, -errno.EFAULT, 1000]
    assert target.array[:1000].tobytes() == os.pread(file, 1000, 0)
    assert target.array[4000:5000].tobytes() == os.pread(file, 1000, 4000)


def test_nothing_is_in_flight_after_an_error(queue: ReadQueue, pipe: tuple[int, int], file: int) -> None:
    target = Target(1000)

    def reads(count: int) -> Iterator[Read]:
        for index in range(count):
            yield (pipe[0] if not index else file), 0, target.address + 5 * index, 5
        message = "no such file"
        raise FileNotFoundError(message)

    for count in (1, 4, 5, 11):
        target.array[:] = 0
        writer = later(0.05, lambda: os.write(pipe[1], b"hello"))
        with pytest.raises(FileNotFoundError):
            queue.read(reads(count))
        assert target.array[:5].tobytes() == b"hello"
        assert target.array[5 : 5 * count].tobytes() == os.pread(file, 5, 0) * (count - 1)
        writer.join()
    assert queue.read([(file, 0, target.address, 100)]) == [100]


def test_a_file_may_be_closed_once_its_read_was_handed_over(queue: ReadQueue, file: int) -> None:
    target = Target(100)
    into, out = os.pipe()
    other = os.open("/dev/zero", os.O_RDONLY)

    def reads() -> Iterator[Read]:
        for index in range(4):  # a group
            yield (into if not index else file), 0, target.address + 10 * index, 10
        os.dup2(other, into)  # now the number means another file
        yield file, 0, target.address + 40, 10

    writer = later(0.05, lambda: os.write(out, b"from pipe!"))
    assert queue.read(reads()) == [10] * 5
    assert target.array[:10].tobytes() == b"from pipe!"
    writer.join()
    for descriptor in (into, out, other):
        os.close(descriptor)


def test_signals_interrupt_nothing(queue: ReadQueue, pipe: tuple[int, int], file: int) -> None:
    target = Target(1000)
    beats: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: beats.append(number))
    reads = [(pipe[0] if index == 2 else file, 0, target.address + 5 * index, 5) for index in range(21)]
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
        writer = later(0.1, lambda: os.write(pipe[1], b"hello"))
        assert queue.read(reads) == [5] * 21
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    writer.join()
    assert beats
    assert target.array[10:15].tobytes() == b"hello"


def test_a_handler_that_raises_leaves_nothing_in_flight(queue: ReadQueue, pipe: tuple[int, int], file: int) -> None:
    target = Target(1000)

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    writer = later(0.1, lambda: os.write(pipe[1], b"hello"))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.03)
        with pytest.raises(KeyboardInterrupt):
            queue.read([(pipe[0], 0, target.address, 5), (file, 0, target.address + 5, 5)])
    finally:
        signal.signal(signal.SIGALRM, before)
    writer.join()
    assert target.array[:5].tobytes() == b"hello"
    assert queue.read([(file, 0, target.address, 100)]) == [100]


def answering(number: int) -> Callable[[], Callable[..., int]]:
    """A kernel that answers every call with this errno."""

    def call(*arguments: int) -> int:
        ctypes.set_errno(number)
        return -1

    return lambda: call


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSYS, r"Function not implemented \(errno 38\); this kernel, or what stands in for it, has none"),
        (errno.EPERM, r"Operation not permitted \(errno 1\); kernel.io_uring_disabled or the container's seccomp prof"),
        (errno.ENOMEM, r"Cannot allocate memory \(errno 12\)"),
    ],
)
def test_where_it_is_forbidden_that_is_said(monkeypatch: pytest.MonkeyPatch, number: int, told: str) -> None:
    monkeypatch.setattr(iouring, "_system_call", answering(number))
    with pytest.raises(ReadError, match=f"io_uring is refused: {told}.*: use reader direct"):
        ReadQueue(8, 4)


def test_a_kernel_without_plain_reads_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iouring, "_system_call", lambda: lambda *arguments: os.open("/dev/null", os.O_RDONLY))
    with pytest.raises(ReadError, match=r"Linux 5\.6: use reader direct"):
        ReadQueue(8, 4)


def test_rings_that_cannot_be_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    def call(number: int, depth: int, found: int, *rest: int) -> int:
        (ctypes.c_uint32 * 30).from_address(found)[5] = 8
        return os.open("/dev/null", os.O_RDONLY)

    monkeypatch.setattr(iouring, "_system_call", lambda: call)
    with pytest.raises(ReadError, match="rings cannot be mapped"):
        ReadQueue(8, 4)


def test_a_call_that_fails_is_told(queue: ReadQueue, file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "_call", answering(errno.EPERM)())
    with pytest.raises(ReadError, match=r"refused: Operation not permitted \(errno 1\)"):
        queue.read([(file, 0, Target().address, 10)])


def test_a_kernel_that_lacks_memory_is_asked_again(
    queue: ReadQueue, file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, answers = iouring._system_call(), [errno.EAGAIN, 0, errno.EAGAIN, errno.EINTR, 0]

    def call(*arguments: int) -> int:
        number = answers.pop(0) if answers else 0
        ctypes.set_errno(number)
        return -1 if number else real(*arguments)

    monkeypatch.setattr(queue, "_call", call)
    target = Target()
    assert queue.read((file, at, target.address + at, 1000) for at in range(0, BYTES, 1000)) == [1000] * 100
    assert target.array.tobytes() == os.pread(file, BYTES, 0)
    assert not answers
