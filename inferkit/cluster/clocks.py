"""How far another machine's clock is ahead of ours, and how well that is known."""

from collections.abc import Callable
from time import monotonic_ns
from typing import NamedTuple

ROUNDS = 9
"""Round trips, of which the shortest counts: what was not delayed knows best."""


class Offset(NamedTuple):
    """Another clock's time minus ours; the truth lies within ``error_ns`` of it, however the way there and back differ.

    Both are ``CLOCK_MONOTONIC``, which no administrator and no NTP server sets back.
    """

    offset_ns: int
    error_ns: int


def offset_of(ask: Callable[[], int], rounds: int = ROUNDS) -> Offset:
    """Compare clocks by round trips (Cristian's algorithm, 1989).

    Parameters
    ----------
    ask
        Returns the other machine's clock, in nanoseconds.
    """
    found = []
    for _ in range(rounds):
        sent = monotonic_ns()
        theirs = ask()
        back = monotonic_ns()
        found.append(Offset(theirs - (sent + back) // 2, (back - sent) // 2 + 1))
    return min(found, key=lambda own: own.error_ns)


def moved_s(before: Offset, after: Offset) -> float:
    """Return by how many seconds a clock moved against ours, beyond what the errors explain; 0 if by none."""
    apart = abs(after.offset_ns - before.offset_ns)
    return max(0, apart - before.error_ns - after.error_ns) / 1e9
