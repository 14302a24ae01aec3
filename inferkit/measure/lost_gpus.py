"""GPUs that no process could open, and the points that need not be tried for it."""

from inferkit.errors import NoDeviceError
from inferkit.plan.points import Point
from inferkit.records.job import device_of
from inferkit.records.run import Failure


class LostGpus:
    """What was found of GPUs so far.

    A GPU that fell off the bus, or a driver that does not start, fails every process that wants it, each after seconds:
    the first that could not open it speaks for all. One that failed in the midst of its work may still be opened again.
    """

    def __init__(self) -> None:
        self._lost: list[frozenset[tuple[str, int | str]]] = []
        self._why = ""
        self._left: set[str] = set()

    def note(self, point: Point, failure: Failure | None) -> None:
        """Note why a point failed, if it did because a GPU could not be opened."""
        if failure and failure.kind == NoDeviceError.__name__:
            self._lost.append(_gpus(point))
            self._why = self._why or failure.message

    def needed_by(self, point: Point) -> bool:
        """Tell whether a point needs the GPUs of one that could not open them, or a ceiling that was left out for it.

        If so, it counts as left out.
        """
        beneath = {ceiling.key for ceiling in point.ceilings.values()}
        needed = any(lost <= _gpus(point) for lost in self._lost) or not self._left.isdisjoint(beneath)
        if needed:
            self._left.add(point.key)
        return needed

    def told(self) -> str:
        """Say what was left out, and why; empty if nothing was."""
        if not self._left:
            return ""
        return f"{len(self._left)} more points were not tried, for their GPU cannot be opened. {self._why}"


def _gpus(point: Point) -> frozenset[tuple[str, int | str]]:
    """Return the GPUs that a point needs, each with its host; none if it needs none."""
    found: set[tuple[str, int | str]] = set()
    for job in point.jobs:
        device, place = device_of(job), job.place
        if device is not None and device.kind == "cuda":
            gpus = place.gpus if place and place.gpus else device.numbers
            found |= {(place.host if place else "", gpu) for gpu in gpus}
    return frozenset(found)
