"""Executed notebooks are read and written here: their storage may never answer."""

import sys
from collections.abc import Callable
from typing import TypeVar
from warnings import warn

from inferkit.records.notebooks import Tell

T = TypeVar("T")


def ask(work: Callable[[Tell], T], tell: Tell = warn) -> T:
    """Do work that asks a user's storage, and return what it returns or raise what it raises.

    Records open on any system. On Linux the work is done in a copy of this process, as :func:`watched` says: storage
    that never answers is given up, and Ctrl-C works.

    Parameters
    ----------
    work
        Is given what to tell of what is left out.
    tell
        Is told of it, in this process.

    Raises
    ------
    ReadError
        If the storage gave no answer.
    """
    if sys.platform != "linux":
        return work(tell)
    from inferkit.machine.watched import watched  # asks for Linux as it is imported

    return watched(work, tell)
