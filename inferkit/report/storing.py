"""Store JPEG files or tensors? What an image takes in storage, and how many are inferred of it, by each way to read."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from inferkit.records.run import Run
from inferkit.report.decoding import decoder_text
from inferkit.report.labels import (
    BATCH,
    ENGINE,
    NULL,
    READER,
    THREADS,
    axis_text,
    best_valid,
    images_text,
    network_text,
    number_text,
    point_text,
    rate_text,
)
from inferkit.report.remarks import by_network, grouped
from inferkit.report.scaling import GPUS, RANKS
from inferkit.report.tables import Table
from inferkit.units import bandwidth, gigabytes

JPEG, TENSORS = "JPEG", "tensors"
ITEM_BYTES = {"uint8": 1, "float32": 4}
EXPLAINED = 0.9
"""From this share of the reading alone on, reading is what holds reading and copying at once back."""
LARGEST = 1e12
"""Bytes that no image takes: a record that says so was made up."""
ALIKE = 0.975
"""Ceilings that differ by less are called the same: a figure of profile quick has so wide an interval."""
MISSING = (
    "needs VALID pipelines that read JPEG files and such that read tensors: readers: [jpeg, nvjpeg, direct, mapped]"
)


class Way(NamedTuple):
    """One way to store images and to read them, by its best pipeline.

    Parameters
    ----------
    run
        The pipeline.
    stored
        ``JPEG`` or ``tensors``.
    nbytes
        What one image takes in storage.
    ceiling
        Images per second where reading is no limit.
    reads
        Bytes per second that reading alone reaches; None where it takes no time of its own, and where the threads that
        read decode as well.
    """

    run: Run
    stored: str
    nbytes: float
    ceiling: float
    reads: float | None

    @property
    def name(self) -> str:
        """``JPEG, decoded by the GPU's decoder (nvjpeg)``, or ``tensors (direct)``."""
        by = decoder_text(self.run)
        decoded = f", decoded by {by}" if self.stored == JPEG and by else ""
        return f"{self.stored}{decoded} ({axis_text(READER, self.run.point.get(READER, ''))})"

    @property
    def rate(self) -> float:
        """Images per second, as measured."""
        return (self.run.measured and self.run.measured.images_per_s) or 0.0

    def at(self, bytes_per_s: float) -> float:
        """Return the images per second that a storage of this bandwidth lets through."""
        return min(self.ceiling, bytes_per_s / self.nbytes)


def ways(runs: Sequence[Run]) -> dict[str, list[Way]]:
    """Return, by network, the best VALID pipeline of each reader; of those networks alone that have both stores.

    Pipelines that infer nothing answer only where no others do.
    """
    pipelines = [run for run in runs if run.verdict == "VALID" and run.measure == "pipeline" and "storage" in run.facts]
    return _ways([run for run in pipelines if run.point.get(ENGINE) != NULL]) or _ways(pipelines)


def _ways(pipelines: Sequence[Run]) -> dict[str, list[Way]]:
    found = {}
    for _, group in by_network(pipelines):
        bests = [best_valid(own) for _, own in grouped(group, [str(run.point.get(READER, "")) for run in group])]
        there = [way for run in bests if run and (way := _way(run))]
        if len({way.stored for way in there}) > 1:
            found[network_text(group[0]) or "pipeline"] = there
    return found


def _way(run: Run) -> Way | None:
    """Return a pipeline as a way to store; None where the record tells no images, or not what one takes."""
    encoded = (run.facts.get("reader") or {}).get("bytes_per_file")
    nbytes = encoded or _image_bytes(run)
    if not 0 < nbytes < LARGEST or not (run.measured and run.measured.images_per_s):
        return None
    alone = None if _serial(run) or "read" not in run.ceilings else run.ceilings["read"].images_per_s
    reads = alone * nbytes if alone else None
    return Way(run, JPEG if encoded else TENSORS, nbytes, _unlimited(run), reads)


def _serial(run: Run) -> bool:
    """Tell whether the threads that read decode as well, so that none of the two is measured by itself."""
    return "decode" in run.ceilings and not run.facts.get("decoders")


def _image_bytes(run: Run) -> int:
    shape, dtype = run.facts.get("shape"), run.facts.get("dtype")
    return math.prod(shape) * ITEM_BYTES.get(dtype, 0) if shape and dtype else 0


def _unlimited(run: Run) -> float:
    """Return the lowest ceiling but that of reading, or what was measured where that is higher or nothing is known."""
    rates = {name: figure.images_per_s for name, figure in run.ceilings.items() if figure.images_per_s}
    read = rates.pop("read", math.inf)
    pace = 1 / (1 / read + 1 / rates["decode"]) if _serial(run) and "decode" in rates else read
    if rates.get("feed", 0.0) >= EXPLAINED * pace:
        del rates["feed"]
    return max(min(rates.values(), default=0.0), (run.measured and run.measured.images_per_s) or 0.0)


def here(compared: Sequence[Way]) -> float | None:
    """Return the storage's bandwidth: the highest that reading alone reached; None where nothing tells it."""
    return max((way.reads for way in compared if way.reads), default=None)


def answer(compared: Sequence[Way]) -> str:
    """Word which store gives more images per second, at which bandwidth of the storage; and what was measured here."""
    best = [max(own, key=lambda way: way.ceiling) for _, own in grouped(compared, [way.stored for way in compared])]
    small, large = sorted(best, key=lambda way: way.nbytes)
    if small.ceiling >= ALIKE * large.ceiling:
        told = f"{small.stored} at any bandwidth: as many images/s or more, of fewer bytes"
    else:
        turn = bandwidth(small.ceiling * large.nbytes)
        told = f"{small.stored} where the storage delivers less than {turn}, {large.stored} where it delivers more"
    fastest = [max(own, key=lambda way: way.rate) for _, own in grouped(compared, [way.stored for way in compared])]
    measured = " and ".join(f"{rate_text(way.run)} from {way.name}" for way in fastest)
    return f"{told}; measured here: {measured}"


def answers(runs: Sequence[Run]) -> Iterator[tuple[str, str]]:
    """Yield the question, with its network where there are several, and the answer."""
    found = ways(runs)
    for network, compared in found.items():
        yield "Store JPEG or tensors" + (f", {network}" if len(found) > 1 else ""), answer(compared)


def stored(runs: Sequence[Run]) -> Table:
    """Return what each way makes of a byte in storage, of a CPU core and of a joule."""
    rows = [_row(network, way) for network, compared in ways(runs).items() for way in compared]
    return Table(_HEAD, rows, "images per byte, core and joule: nothing to compare")


_HEAD = (
    *("network", "stored as", "setting", "bytes per image", "images per GB", "images/s"),
    *("cores", "images/s per core", "images per joule of the GPUs"),
)


def _row(network: str, way: Way) -> list[str]:
    cores, joules = way.run.cores, way.run.facts.get("images_per_joule")
    size = [gigabytes(way.nbytes), f"{1e9 / way.nbytes:,.0f}", images_text(way.run.measured)]
    used = ["–", "–"] if cores is None else [f"{cores:.2f}", number_text(way.rate / cores) if cores else "–"]
    setting = point_text(way.run, [THREADS, BATCH, RANKS, GPUS])
    return [network, way.name, setting, *size, *used, "–" if joules is None else f"{joules:.3g}"]
