"""What the kernel lets a process have, as far as the process itself may ask for more or less."""

import resource
from contextlib import suppress
from pathlib import Path

FIRST_TO_GO = "1000"
"""Of /proc/PID/oom_score_adj: where memory runs out, this process ends before all others (proc(5))."""


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
