"""What the kernel lets a process have, as far as the process itself may ask for more or less."""

import errno
import resource
import threading
from contextlib import suppress
from pathlib import Path

from inferkit.errors import ParameterError
from inferkit.os_errors import explained, system_refusal

FIRST_TO_GO = "1000"
"""Of /proc/PID/oom_score_adj: where memory runs out, this process ends before all others (proc(5))."""


LEAST_OPEN_FILES = 128
"""With 96 a run of one point works, with 64 its kernel does not."""
LEAST_THREADS = 32
"""Command, kernel and rank start about 30 processes and threads; the libraries of some abort where one is refused."""


def check_room() -> None:
    """Refuse to begin a run where the system allows too few open files or threads.

    Raises
    ------
    ParameterError
        Saying which limit to raise.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < LEAST_OPEN_FILES:
        words = explained(OSError(errno.EMFILE, f"only {hard} files may be open here, a run needs {LEAST_OPEN_FILES}"))
        raise ParameterError(words)
    end = threading.Event()
    waiting = [threading.Thread(target=end.wait) for _ in range(LEAST_THREADS)]
    try:
        for thread in waiting:
            thread.start()
    except RuntimeError as error:
        message = f"a run needs {LEAST_THREADS} threads and processes: {system_refusal(error) or error}"
        raise ParameterError(message) from error
    finally:
        end.set()
    for thread in waiting:
        thread.join()


def raise_open_files() -> None:
    """Raise the limit of open files from the soft one, which is for programs that use select(2), to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):  # a hard limit above what the kernel now allows
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def end_first_without_memory() -> None:
    """Let the kernel end this process, not who waits for it, where memory runs out: whoever waits can tell of it."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO)
