"""The bandwidth of this host's memory: the point of notebook 02 that measures it, and its Run for other notebooks."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from inferkit.errors import RecordError
from inferkit.linux.cgroups import cpus
from inferkit.machine.facts import facts
from inferkit.plan.context import batch_log_of
from inferkit.plan.fingerprint import same_machine
from inferkit.plan.points import Point
from inferkit.records.groups import Windows
from inferkit.records.job import CopyJob, DeviceOptions
from inferkit.records.notebooks import notebooks_under, raw_records
from inferkit.records.params import HostToDevice
from inferkit.records.project import resolve
from inferkit.records.run import Run
from inferkit.records.windows import window_of

MEASURE = "memory"
COPY_BYTES = 64 << 20
"""Of each copy: with the buffers of all cores more than caches hold."""


def memory_point(params: HostToDevice) -> Point:
    """Return the point at which all cores copy within the host at once."""
    cores = _cores()
    job = CopyJob(
        window=window_of(params),
        batch_log=batch_log_of(params),
        device=DeviceOptions(kind="cpu", numbers=tuple(range(cores))),
        nbytes=COPY_BYTES,
        host_memory="pageable",
    )
    return Point(MEASURE, {"threads": cores}, (job,))


def memory_of_host(params: Windows) -> Run | None:
    """Return the newest VALID Run that measured this host's memory, of the same profile; None if there is none.

    Looked for where earlier notebooks lie: it is a property of the machine, which no point of this notebook changes.
    """
    found: list[Run] = []
    for notebook in notebooks_under(resolve(params.earlier)):
        if notebook.stem == HostToDevice.file_stem:
            found += _memory_runs(notebook)
    here = [
        run
        for run in found
        if run.verdict == "VALID"
        and run.profile == params.profile
        and run.point.get("threads") == _cores()
        and same_machine(run.host, facts())
    ]
    return max(here, key=lambda run: run.started, default=None)


def _cores() -> int:
    return max(1, int(cpus()))


def _memory_runs(notebook: Path) -> Iterator[Run]:
    """Yield what a notebook has of memory; what cannot be read is no measurement."""
    with suppress(RecordError):
        for record in raw_records(notebook):
            if isinstance(record, dict) and record.get("measure") == MEASURE:
                with suppress(RecordError):
                    yield Run.from_dict(record)
