"""Commands that run where something is forbidden, limited, full or absent: by the real means, else skipped.

``python tests/hindered.py NUMBER=ERRNO… -- COMMAND…`` runs a command whose system calls of these numbers fail.
"""

import ctypes
import errno
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

GROUPS = Path("/sys/fs/cgroup")
CALLS = {
    "mincore": 27,
    "flock": 73,
    "fsync": 74,
    "sched_setaffinity": 203,
    "sched_getaffinity": 204,
    "move_pages": 279,
    "statx": 332,
    "io_uring_setup": 425,
    "cachestat": 451,
}
"""Numbers on x86-64 (arch/x86/entry/syscalls/syscall_64.tbl)."""
FILES = {  # the names of version 1 and of version 2, and what version 2 writes for a value
    "memory": ("memory.limit_in_bytes", "memory.max", "{}"),
    "pids": ("pids.max", "pids.max", "{}"),
    "cpu": ("cpu.cfs_quota_us", "cpu.max", "{} 100000"),
}
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2
_LOAD, _EQUAL, _RETURN, _ERRNO, _ALLOW = 0x20, 0x15, 0x06, 0x00050000, 0x7FFF0000


def refusing(**calls: str) -> list[str]:
    """Return the beginning of a command whose system calls fail: ``refusing(fsync="EINVAL")``."""
    import pytest

    if os.uname().machine != "x86_64":
        pytest.skip("numbers of system calls are known here for x86-64 alone")
    told = [f"{CALLS[name]}={getattr(errno, code)}" for name, code in calls.items()]
    return [sys.executable, __file__, *told, "--"]


def mounting(*lines: str) -> list[str]:
    """Return the beginning of a command before which some lines of shell mount what it sees, and nobody else does."""
    import pytest

    if os.geteuid() or not shutil.which("unshare"):
        pytest.skip("mounting needs root, and unshare of util-linux")
    prefix = ["unshare", "--mount", "sh", "-ec", "\n".join([*lines, 'exec "$@"']), "sh"]
    if subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    return prefix


def limited(**limits: int) -> list[str]:
    """Return the beginning of a command with limits: ``limited(n=64)`` is ``ulimit -n 64``."""
    lines = [f"ulimit -{name} {value}" for name, value in limits.items()]
    return ["bash", "-ec", "\n".join([*lines, 'exec "$@"']), "bash"]


@contextmanager
def group(controller: str, value: int) -> Iterator[list[str]]:
    """Make a control group with a limit; yield the beginning of a command that runs in it."""
    import pytest

    first, second, form = FILES[controller]
    unified = not (GROUPS / controller).is_dir()
    parent = GROUPS if unified else GROUPS / controller
    folder = parent / f"inferkit-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / (second if unified else first)).write_text(form.format(value) if unified else str(value))
    except OSError as error:
        folder.rmdir() if folder.is_dir() else None
        pytest.skip(f"no control group can be made here: {error}")
    try:
        yield ["sh", "-ec", f'echo $$ > {folder}/cgroup.procs; exec "$@"', "sh"]
    finally:
        _removed(folder)


def _removed(folder: Path) -> None:
    end = monotonic() + 20
    while folder.exists() and monotonic() < end:  # its last process may be on its way out
        try:
            folder.rmdir()
        except OSError:
            sleep(0.1)


def forbid(refused: Sequence[tuple[int, int]]) -> None:
    """Let system calls of this process, and of all that it starts, fail with an errno."""
    steps = [struct.pack("HBBI", _LOAD, 0, 0, 0)]
    for number, code in refused:
        steps += [struct.pack("HBBI", _EQUAL, 0, 1, number), struct.pack("HBBI", _RETURN, 0, 0, _ERRNO | code)]
    steps.append(struct.pack("HBBI", _RETURN, 0, 0, _ALLOW))
    program = ctypes.create_string_buffer(b"".join(steps))
    told = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.prctl(_PR_SET_SECCOMP, _FILTER, told, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp is not to be had")


if __name__ == "__main__":
    at = sys.argv.index("--")
    forbid([(int(number), int(code)) for number, code in (word.split("=") for word in sys.argv[1:at])])
    os.execvp(sys.argv[at + 1], sys.argv[at + 1 :])
