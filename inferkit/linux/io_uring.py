"""Many reads in flight on one thread: Linux's io_uring, through its system calls.

No maintained library reads into memory that somebody else allocated. Little is needed: a ring of requests that only
this thread fills, a ring of completions that only the kernel fills, and one system call that hands over the first and
waits for the second. See io_uring(7), io_uring_setup(2), io_uring_enter(2) and <linux/io_uring.h>.
"""

import ctypes
import errno
import mmap
import os
import struct
from collections.abc import Callable, Iterable
from contextlib import ExitStack

from inferkit.errors import ReadError

Read = tuple[int, int, int, int]
"""Descriptor, offset in the file, address in memory, bytes."""

# The same numbers on x86-64 and aarch64, as those of all system calls since Linux 5.1.
_SETUP, _ENTER = 425, 426
_GETEVENTS = 1
_READ = 22
_READ_CAME_WITH = 1 << 3
"""IORING_FEAT_RW_CUR_POS: of Linux 5.6, which brought plain reads (IORING_OP_READ); the single mapping is of 5.4."""
_REQUESTS_AT = 0x10000000
"""Where to map the requests themselves; both rings lie at 0."""

# struct io_uring_params as 32-bit words: those that are needed here. Offsets of ring words are in bytes.
_WORDS = 30
_REQUESTS, _COMPLETIONS, _FEATURES = 0, 1, 5
_SQ_HEAD, _SQ_TAIL, _SQ_ARRAY = 10, 11, 16
_CQ_HEAD, _CQ_TAIL, _CQ_CQES = 20, 21, 25

_REQUEST = struct.Struct("=BBHiQQIIQ24x")  # struct io_uring_sqe
_COMPLETION = struct.Struct("=QiI")  # struct io_uring_cqe
_WRAP = 0xFFFFFFFF
_WHY = {
    errno.ENOSYS: "; this kernel, or what stands in for it, has none",
    errno.EPERM: "; kernel.io_uring_disabled or the container's seccomp profile forbids it",
}


def _system_call() -> Callable[..., int]:
    """Return ``syscall(2)``; it releases the interpreter lock while it waits."""
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.argtypes, call.restype = [ctypes.c_long] * 7, ctypes.c_long
    return call


class ReadQueue:
    """Keeps reads in flight, for one thread.

    Parameters
    ----------
    depth
        How many reads may be in flight: a power of two.
    group
        How many reads one system call hands over: at most ``depth``.

    Raises
    ------
    ReadError
        If the kernel or the container does not permit io_uring.

    Notes
    -----
    Memory order: this thread writes the requests and then makes the call in which the kernel reads them. No kernel
    thread polls for them, so no processor needs a barrier. Of the completions, only as many are taken as the call
    waited for: the kernel saw these, with the barriers that this takes, before it returned. It therefore does not
    matter whether loads are reordered (aarch64) or not (x86-64). Only a later call reuses places in either ring.
    """

    def __init__(self, depth: int, group: int) -> None:
        self._call = _system_call()
        self._depth, self._group = depth, group
        self._tail = self._head = 0  # requests filled in, completions taken
        found = (ctypes.c_uint32 * _WORDS)()
        self._ring = self._checked(_SETUP, depth, ctypes.addressof(found), 0, 0, 0, 0)
        with ExitStack() as undo:
            undo.callback(os.close, self._ring)
            self._map(list(found))
            undo.pop_all()

    def _checked(self, *arguments: int) -> int:
        value = self._call(*arguments)
        if value >= 0:
            return value
        number = ctypes.get_errno()
        if arguments[0] == _ENTER and number in (errno.EINTR, errno.EAGAIN):
            return 0
        message = (
            f"io_uring is refused: {os.strerror(number)} (errno {number}){_WHY.get(number, '')}: use reader direct"
        )
        raise ReadError(message)

    def _map(self, found: list[int]) -> None:
        if not found[_FEATURES] & _READ_CAME_WITH:
            message = "io_uring of this kernel has no plain reads, which came with Linux 5.6: use reader direct"
            raise ReadError(message)
        requests, completions = found[_REQUESTS], found[_COMPLETIONS]
        nbytes = max(found[_SQ_ARRAY] + 4 * requests, found[_CQ_CQES] + _COMPLETION.size * completions)
        try:
            self._rings = mmap.mmap(self._ring, nbytes)
            self._requests = mmap.mmap(self._ring, _REQUEST.size * requests, offset=_REQUESTS_AT)
        except OSError as error:
            message = f"io_uring's rings cannot be mapped: {error.strerror} (errno {error.errno}): use reader direct"
            raise ReadError(message) from error
        self._words = memoryview(self._rings).cast("I")
        self._taken_at, self._tail_at = found[_SQ_HEAD] // 4, found[_SQ_TAIL] // 4
        self._head_at, self._ended_at = found[_CQ_HEAD] // 4, found[_CQ_TAIL] // 4
        self._completions_at = found[_CQ_CQES]
        self._request_mask, self._completion_mask = requests - 1, completions - 1
        for index in range(requests):  # the ring names requests by their place: each has its own
            self._words[found[_SQ_ARRAY] // 4 + index] = index

    def read(self, reads: Iterable[Read]) -> list[int]:
        """Read, and return once nothing is in flight, whatever happened.

        Parameters
        ----------
        reads
            What to read, taken one by one as the reads proceed. A descriptor must stay open until ``group`` more are
            taken: once a read is handed over, the kernel itself holds the file.

        Returns
        -------
        results
            For each read: how many bytes came, or the negative errno.

        Raises
        ------
        ReadError
            If the kernel refuses to take requests. What ``reads`` raises is passed on.
        """
        results: list[int] = []
        try:
            for descriptor, offset, address, nbytes in reads:
                place = (self._tail & self._request_mask) * _REQUEST.size
                request = (_READ, 0, 0, descriptor, offset, address, nbytes, 0, len(results))
                _REQUEST.pack_into(self._requests, place, *request)
                results.append(0)
                self._tail += 1
                if not len(results) % self._group:
                    self._hand_over(results)
            self._finish(results)
        finally:
            self._finish(results)  # what an exception left in flight
        return results

    def _hand_over(self, results: list[int]) -> None:
        """Hand over the filled requests, and wait until there is room for another group."""
        room = self._depth - self._group
        while (self._tail - self._words[self._taken_at]) & _WRAP or self._tail - self._head > room:
            self._enter(max(0, self._tail - self._head - room), results)

    def _finish(self, results: list[int]) -> None:
        while self._tail != self._head:
            self._enter(self._tail - self._head, results)

    def _enter(self, ended: int, results: list[int]) -> None:
        """Hand over the filled requests, wait until so many reads have ended, and note their results."""
        words = self._words
        words[self._tail_at] = self._tail & _WRAP
        filled = (self._tail - words[self._taken_at]) & _WRAP
        self._checked(_ENTER, self._ring, filled, ended, _GETEVENTS, 0, 0)
        if (words[self._ended_at] - self._head) & _WRAP < ended:  # a signal came
            return
        for index in range(self._head, self._head + ended):
            place = self._completions_at + (index & self._completion_mask) * _COMPLETION.size
            which, result, _ = _COMPLETION.unpack_from(self._rings, place)
            results[which] = result
        self._head += ended
        words[self._head_at] = self._head & _WRAP

    def close(self) -> None:
        """Give the rings back; calling it again does nothing."""
        if self._ring >= 0:
            self._words.release()
            self._rings.close()
            self._requests.close()
            os.close(self._ring)
            self._ring = -1
