"""Past what can be run: how many servers, GPUs and bytes a second a target takes, from measured ceilings.

A server adds what it reached; the storage gives what the law says that was fitted to measurements; the lower of the two
counts. Every assumption is written out. Nothing is planned on a record that is not VALID.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from inferkit.errors import RecordError
from inferkit.records.run import Run
from inferkit.report.headline import machine_text
from inferkit.report.labels import NOT_FOR_QUOTING, rate_of
from inferkit.report.nodes import Step, of_nodes
from inferkit.report.scaling import GPUS, NODES
from inferkit.report.storage_curve import Curve, fit
from inferkit.text import text_table
from inferkit.units import bandwidth, duration, rate

OUTLOOK = (1, 8, 64, 512)
"""Numbers of servers that are looked ahead to."""
MOST = 1 << 20
"""Servers beyond which nobody plans."""


@dataclass(frozen=True)
class Base:
    """What was measured of one kind of work, and so what is planned on.

    Parameters
    ----------
    work
        In words.
    run
        Of the fewest servers.
    server
        Images per second that a server adds.
    how
        Where that comes from.
    storage
        Images per second that the storage gives; None where nothing is read.
    image_bytes
        Read for an image; None where unknown.
    """

    work: str
    run: Run
    server: float
    how: str
    storage: Curve | None
    image_bytes: float | None

    @property
    def gpus(self) -> int:
        """GPUs of a server; 0 where none computes."""
        return int(self.run.point.get(GPUS, 1)) if self.run.params.get("device") == "cuda" else 0

    def reaches(self, servers: int) -> float:
        """Return images per second of so many servers."""
        fed = self.storage.at(servers) if self.storage else None
        return self.server * servers if fed is None else min(self.server * servers, fed)

    def servers_for(self, wanted: float) -> int | None:
        """Return the fewest servers (to a thousandth) that reach so many images per second; None where none do."""
        if self.storage and self.storage.best < wanted:
            return None
        count = max(1, ceil(wanted / self.server - 1e-9))
        while count <= MOST and self.reaches(count) < wanted * (1 - 1e-9):
            count += max(1, count // 1000)
        return count if count <= MOST else None


def base_of(runs: Sequence[Run]) -> Base:
    """Find what to plan on: the fastest work of the records, by its pipelines.

    Raises
    ------
    RecordError
        If a pipeline of it is not VALID, or there is none.
    """
    found = [(name, steps) for name, steps in of_nodes(runs, alone=True) if steps[0].run.measured is not None]
    inferring = [own for own in found if own[1][0].run.point.get("engine") != "null"] or found
    if not inferring:
        message = "no record of a pipeline that was measured: plan on an executed notebook 03b, 03c or 03d"
        raise RecordError(message)
    name, steps = max(inferring, key=lambda own: max(rate_of(step.run) or 0.0 for step in own[1]))
    for step in steps:
        if step.run.verdict != "VALID":
            why = "; ".join(step.run.reasons) or (step.run.failure.message if step.run.failure else "")
            servers = f"{step.nodes} server{'s' if step.nodes > 1 else ''}"
            message = f"{name} with {servers} is {step.run.verdict} ({why}): nothing is planned on it; measure it again"
            raise RecordError(message)
    first = steps[0]
    server, how = _server(first)
    fed = {step.nodes: step.fed.images_per_s for step in steps if step.fed and step.fed.images_per_s}
    return Base(name, first.run, server, how, fit(fed) if fed else None, _image_bytes(first.run))


def _server(first: Step) -> tuple[float, str]:
    """Return what a server adds: what it reached, unless the storage held even the fewest back."""
    reached, many = rate_of(first.run) or 0.0, f"{first.nodes} server{'s' if first.nodes > 1 else ''}"
    if first.run.bottleneck == "read" and first.own:
        return first.own / first.nodes, f"the lowest ceiling but reading, with {many}"
    return reached / first.nodes, f"what the whole pipeline reached with {many}"


def _image_bytes(run: Run) -> float | None:
    read = run.ceilings.get("read") or run.measured
    return read.bytes_per_s / read.images_per_s if read and read.bytes_per_s and read.images_per_s else None


@dataclass(frozen=True)
class Sizing:
    """What a target takes, as a terminal and a notebook show it.

    Parameters
    ----------
    answer
        In words; empty where there is no target.
    rows
        By number of servers.
    assumptions
        All of them.
    """

    answer: str
    rows: list[list[str]]
    assumptions: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        head = ["servers", "GPUs", "images/s", "from storage", "limit", "time", "measured"]
        table = text_table(self.rows, head, numbers=[0, 1, 2])
        lines = [self.answer, "", *table, "", "Assumed:", *(f"- {text}" for text in self.assumptions)]
        return "\n".join(lines if self.answer else lines[2:])


def size(runs: Sequence[Run], images: float = 0.0, within_s: float = 0.0) -> Sizing:
    """Plan for a target, or look ahead without one.

    Parameters
    ----------
    runs
        Of executed notebooks.
    images, within_s
        The target: so many images in so many seconds. 0: none.

    Raises
    ------
    RecordError
        As of :func:`base_of`.
    """
    base = base_of(runs)
    counts = {*OUTLOOK, *(int(run.point.get(NODES, 1)) for run in runs if run.measure == "pipeline")}
    answer = ""
    if images and within_s:
        needed = base.servers_for(images / within_s)
        counts |= {needed} if needed else set()
        answer = _answer(base, images, within_s, needed)
    measured = base.storage.largest if base.storage else int(base.run.point.get(NODES, 1))
    rows = [_row(base, count, images, measured) for count in sorted(counts)]
    return Sizing(answer, rows, _assumptions(base))


class Outlook:
    """What a notebook shows of its records without a target; why, where they allow no plan."""

    def __init__(self, text: str) -> None:
        self.text = text

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show plain text in a notebook (the name is IPython's)."""
        printer.text(self.text)


def outlook(runs: Sequence[Run]) -> Outlook:
    """Look ahead to more servers than were measured."""
    try:
        return Outlook(str(size(runs)))
    except RecordError as error:
        return Outlook(f"no outlook: {error}")


def _answer(base: Base, images: float, within_s: float, servers: int | None) -> str:
    wanted = images / within_s
    goal = f"{images:,.0f} images within {duration(within_s)} are {rate(wanted)}"
    goal += f", {bandwidth(wanted * base.image_bytes)} from the storage" if base.image_bytes else ""
    if servers is None:
        assert base.storage is not None
        alone = f"{ceil(wanted / base.server):,} servers would do with a faster one"
        return f"{goal}: this storage gives at most {rate(base.storage.best)}. {alone}."
    gpus = f" with {servers * base.gpus:,} GPUs" if base.gpus else ""
    reached = base.reaches(servers)
    many = f"{servers:,} server{'s' if servers > 1 else ''}{gpus}"
    return f"{goal}: {many}, done in {duration(images / reached)}{_energy(base, images)}."


def _energy(base: Base, images: float) -> str:
    per_joule = base.run.facts.get("images_per_joule")
    return f", {images / per_joule / 3.6e6:,.3g} kWh for the GPUs" if per_joule else ""


def _row(base: Base, servers: int, images: float, measured: int) -> list[str]:
    reached = base.reaches(servers)
    limit = "servers" if reached >= base.server * servers * (1 - 1e-9) else "storage"
    beyond = "yes" if servers <= measured else f"no: {servers / measured:.3g} times the most"
    read = bandwidth(reached * base.image_bytes) if base.image_bytes else "–"
    gpus = f"{servers * base.gpus:,}" if base.gpus else "–"
    return [f"{servers:,}", gpus, f"{reached:,.0f}", read, limit, duration(images / reached) if images else "–", beyond]


def _assumptions(base: Base) -> list[str]:
    run = base.run
    told = [
        f"every server is as the one that was measured: {machine_text(run.host)}",
        f"every server adds {rate(base.server)}: {base.how}",
        f"the work is {base.work}, all images of the size that was measured"
        + (f" ({base.image_bytes:,.0f} bytes)" if base.image_bytes else ""),
    ]
    if base.storage is None:
        told.append("nothing was read from a storage, so none limits")
    else:
        told.append(f"the storage follows {base.storage}; measured were up to {base.storage.largest}")
        told.append("it is the same storage, with no other load and the same files, each read once")
        if run.params.get("source") != "storage":
            told.append("source was memory: what was read was no storage, and a real one may give less")
    told.append("starting, building engines, copying data and failures take no time")
    if run.facts.get("images_per_joule"):
        told.append("energy is of the GPUs alone, at the measured images per joule")
    if run.profile == "demo":
        told.append(f"the figures are of profile demo: {NOT_FOR_QUOTING}")
    return told
