"""Points and plans: what is to be measured, and how it is shown before it is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from inferkit.dataset.tensors import Dataset
from inferkit.machine.placement import picture
from inferkit.records.figures import Scalar
from inferkit.records.groups import Parameters
from inferkit.records.host import Host
from inferkit.records.job import CopyJob, Job, reading_of
from inferkit.records.notebooks import Stored
from inferkit.records.place import Placement
from inferkit.records.run import Failure, Run
from inferkit.text import text_table
from inferkit.units import duration, gigabytes

if TYPE_CHECKING:
    from inferkit.models.agreement import NetworkPair

LATER = "planned by its machines, once they have come"
"""What is said of a notebook whose points nobody knows yet."""
START_S = 1.5
"""What starting a rank takes, for the estimate."""


@dataclass(frozen=True)
class Point:
    """One thing to measure.

    Parameters
    ----------
    measure
        ``read``, ``decode``, ``copy``, ``infer``, ``feed``, ``device``, ``memory`` (ceilings) or ``pipeline``.
    axes
        What distinguishes the point from others, for the record.
    jobs
        What each rank is told to do; ranks with a place are one group, whatever their number.
    ceilings
        The points that measure this one's stages alone, by stage.
    network
        That infers; None where none does.
    fingerprint
        The same for the same measurement, whenever it is made.
    """

    measure: str
    axes: dict[str, Scalar]
    jobs: tuple[Job, ...]
    ceilings: dict[str, "Point"] = field(default_factory=dict)
    network: "NetworkPair | None" = None
    fingerprint: str = ""

    @property
    def job(self) -> Job:
        """What the first rank is told to do; the others differ from it in their place alone."""
        return self.jobs[0]

    @property
    def processes(self) -> int:
        """How many measure it, one after another, at the least; see ``Window.repeats``.

        Copies, and what has times per batch but no figure, are measured in one: opening GPUs takes longer than all
        their windows.
        """
        window = self.job.window
        return window.repeats if window.target and not isinstance(self.job, CopyJob) else 1

    @property
    def seconds(self) -> float:
        """The least time that measuring it takes, in all processes together."""
        window = self.job.window
        return self.processes * (window.warmup_s + START_S) + window.repeats * window.duration_s

    @property
    def cold(self) -> bool:
        """Whether it measures reading files that are not in memory, for those that use them where they lie."""
        return bool(self.axes.get("cold"))

    @property
    def key(self) -> str:
        """What makes two points the same measurement: of a network its content counts, its name is a label."""
        network = {"model": self.network.file.source} if self.network and self.network.file.source else {}
        return f"{self.measure} {sorted((self.axes | network).items())}"


@dataclass(frozen=True)
class Plan:
    """All points of a notebook, ceilings before the points that refer to them.

    Parameters
    ----------
    remarks
        What a reader should know of the rules of ``grid``.
    earlier
        Runs that stand in place of measuring points again, by fingerprint.
    memory
        What measured the bandwidth of this host's memory, in notebook 02.
    host
        The machine that measures; None: this one.
    """

    params: Parameters
    points: list[Point]
    dataset: Dataset | None = None
    failure: Failure | None = None
    placements: list[Placement] = field(default_factory=list)
    remarks: tuple[str, ...] = ()
    earlier: dict[str, Stored] = field(default_factory=dict)
    memory: Run | None = None
    host: Host | None = None

    @property
    def todo(self) -> list[Point]:
        """The points that are measured now."""
        return [point for point in self.points if point.fingerprint not in self.earlier]

    @property
    def seconds(self) -> float:
        """The least time that it takes."""
        return seconds_of(self.todo)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show the table in a notebook."""
        printer.text(str(self))

    def _repr_html_(self) -> str:
        """Show the table in a notebook, folded under its last line."""
        text = str(self)
        summary = f"{_counted(self.todo)}, at least {duration(self.seconds)}" if self.failure is None else text
        return f"<details><summary>{escape(summary)}</summary><pre>{escape(text)}</pre></details>"

    def __str__(self) -> str:
        """Return the points as a plain table, with the bytes and the time that they take."""
        if self.failure is not None:
            return f"cannot run: {self.failure.message}"
        names = list(dict.fromkeys(name for point in self.points for name in point.axes))
        rows = [[point.measure, *(str(point.axes.get(name, "")) for name in names)] for point in self.points]
        lines = text_table(rows, ["measure", *names])
        reading = seconds_of([point for point in self.todo if reads_files(point.job)])
        if self.dataset is not None and reading:
            lines.append(f"data set: {size_told(self.dataset)}, read again and again for {duration(reading)}")
        lines += self.remarks
        if again := len(self.points) - len(self.todo):
            lines.append(f"{again} of {len(self.points)} points were measured before and are shown again, not measured")
        lines.append(f"{_counted(self.todo)}, at least {duration(self.seconds)}")
        return "\n".join([*lines, "", picture(self.placements)] if self.placements else lines)


def _counted(points: Sequence[Point]) -> str:
    return f"{len(points)} point{'' if len(points) == 1 else 's'}"


def size_told(dataset: Dataset) -> str:
    """Say how many images and bytes a data set has, or will have once it is made."""
    if dataset.files:
        return f"{dataset.images:,} images, {gigabytes(dataset.nbytes)}"
    if dataset.awaited is None:
        return f"as many images as there are, {gigabytes(dataset.image_bytes)} each, yet to be made"
    return f"{dataset.awaited:,} images, {gigabytes(dataset.awaited * dataset.image_bytes)}, yet to be made"


def reads_files(job: Job) -> bool:
    """Tell whether a job reads a data set's files."""
    reading = reading_of(job)
    return reading is not None and bool(reading.folder)


def seconds_of(points: Sequence[Point]) -> float:
    """Return the least time that points take, one after another."""
    return sum(point.seconds for point in points)
