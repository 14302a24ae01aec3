"""A kernel that waits for storage which never answers is killed: what it displayed before is kept.

What the user names is asked in a way that can be given up (see :mod:`inferkit.machine.watched`), and the command too
can be interrupted; but libraries of a kernel look for things in the home by themselves, such as fonts for a chart.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Protocol

from inferkit.cli.relay import Kernel, process_of
from inferkit.machine.watchdog import Signs, Watchdog, signs
from inferkit.machine.watched import descendants

STUCK_S = 180.0
"""A kernel at work shows signs of life several times a second; what it waits for itself is given up after 120 s."""
LOOK_S = 1.0


class Stuck(Kernel, Protocol):
    """A client of a kernel.

    Attributes
    ----------
    stuck_s
        How long its kernel had shown no sign of life when it was killed for that; 0: it was not.
    """

    stuck_s: float


@contextmanager
def killed_when_stuck(client: Stuck) -> Iterator[None]:
    """Look after a client's kernel for a while: kill it when it has a cell to run and has long not moved."""
    over = threading.Event()
    threading.Thread(target=_look_after, args=(client, over), name="stuck", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _look_after(client: Stuck, over: threading.Event) -> None:
    dog = None
    while not over.wait(LOOK_S):
        pid = process_of(client)
        if pid is None or not client.heard or client.idle_s is not None:
            dog = None
            continue
        dog = dog or Watchdog(partial(_signs, pid))
        if (still_s := dog.seconds("")) > STUCK_S:
            client.stuck_s = still_s
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            return


def _signs(pid: int) -> Signs:
    """Return the signs of life of a kernel and of all that it has started: it may wait for one of them."""
    own = [signs(each) for each in (pid, *descendants(pid))]
    waits = " ".join(each.waits for each in own)
    return Signs(waits, sum(each.cpu_s for each in own), any(each.ready for each in own))
