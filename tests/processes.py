"""What processes there are below one, for tests of what is left behind."""

import time
from collections.abc import Callable
from pathlib import Path

from inferkit.machine.contention import launched_by
from inferkit.machine.watched import descendants


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def ranks_below(pid: int) -> list[int]:
    return [child for child in descendants(pid) if launched_by(child) is not None]
