"""Processes that decode: they end with their parent, and what each is at is known although it ended."""

import os
import signal
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from typing import Any

import cv2

from inferkit.closing import Closing

_SPAWN = get_context("spawn")  # a fork would copy the locks of this process's other threads

_PLACE = struct.Struct("<q")
BEGUN = -1


class Places(Closing):
    """What each task of several processes is at: a number from 1, :data:`BEGUN` before these, 0 before and afterwards.

    It lies in memory that outlives the processes, so that one that was killed has told what it was at.

    Attributes
    ----------
    path
        For :func:`noting`, in this process or a child of it.
    """

    def __init__(self) -> None:
        self._memory = os.memfd_create("places")
        self.path = f"/proc/{os.getpid()}/fd/{self._memory}"

    def __getitem__(self, task: int) -> int:
        found = os.pread(self._memory, _PLACE.size, task * _PLACE.size)
        return int(_PLACE.unpack(found)[0]) if found else 0

    def clear(self) -> None:
        """Forget all."""
        os.ftruncate(self._memory, 0)

    def close(self) -> None:
        """Give the memory back."""
        os.close(self._memory)


@contextmanager
def noting(path: str, task: int) -> Iterator[Callable[[int], object]]:
    """Note that a task has begun, and give what notes the place that it is at; a block that ends well notes 0."""
    memory = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        note = partial(_note, memory, task)
        note(BEGUN)
        yield note
        note(0)
    finally:
        os.close(memory)


def _note(memory: int, task: int, place: int) -> None:
    os.pwrite(memory, _PLACE.pack(place), task * _PLACE.size)


def run_alone(function: Callable[..., object], *arguments: Any) -> int:
    """Call a function in a process of its own; return how that ended: 0, an exit code, or minus a signal's number."""
    process = _SPAWN.Process(target=function, args=arguments, daemon=True)
    process.start()
    process.join()
    return process.exitcode or 0


@contextmanager
def processes(count: int) -> Iterator[Executor]:
    """Start worker processes that never outlive the block or this process, however these end."""
    with _held_back(signal.SIGHUP):  # what removes the pool's semaphores inherits that, and outlives a closed terminal
        resource_tracker.ensure_running()
    with _held_back(signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # till it knows of them
        leash, ours = _SPAWN.Pipe(duplex=False)
        pool = ProcessPoolExecutor(count, mp_context=_SPAWN, initializer=_begin_work, initargs=(leash,))
    try:
        yield pool
        pool.shutdown()
    finally:
        ours.close()
        pool.shutdown(cancel_futures=True)
        leash.close()


@contextmanager
def _held_back(*signals: signal.Signals) -> Iterator[None]:
    """Let signals wait until the block ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_work(leash: Connection) -> None:
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it
    threading.Thread(target=_end_with_parent, args=(leash,), daemon=True).start()


def _end_with_parent(leash: Connection) -> None:
    leash.poll(None)  # returns when the parent closes its end or dies
    os._exit(1)
