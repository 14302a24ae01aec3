"""Processes that the kernel ends with the one that started them: PR_SET_PDEATHSIG of prctl(2).

As a script, ``python parent.py PID PROGRAM …``, this becomes a program of others that knows of no parent. It is read by
its path and imports nothing of ours, so that it starts fast.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Let the kernel kill this process when the thread that started it ends, whatever it is stuck in then."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def leashed(command: Sequence[str]) -> list[str]:
    """Return the command that runs a program so that it ends with the thread that starts it."""
    return [sys.executable, "-IS", __file__, str(os.getpid()), *command]


def main(parent: str, *command: str) -> None:
    """Become a program; end at once if the parent is gone already."""
    end_with_parent()
    if os.getppid() != int(parent):
        sys.exit("the process that started this is gone")
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]} cannot be started: {error.strerror}")


if __name__ == "__main__":
    main(*sys.argv[1:])
