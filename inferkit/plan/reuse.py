"""Points that were measured before: the same parameters, data, model and environment give the same fingerprint.

Each Run keeps its fingerprint. Executed notebooks are searched for it; no more of them is read than their records.
"""

import json
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import xxhash

from inferkit.dataset.manifest import HASHES_NAME, MANIFEST_NAME
from inferkit.dataset.tensors import Dataset
from inferkit.errors import RecordError
from inferkit.machine.facts import facts
from inferkit.plan.points import Plan, Point, reads_files
from inferkit.records.notebooks import Stored, notebooks_under, raw_records
from inferkit.records.params import Parameters, Windows, resolve
from inferkit.records.run import Run

FINGERPRINT = "fingerprint"
"""Its name in a Run's facts."""
_JUDGED = ("profile", "source", "peer")
"""Parameters that shape a Run and are in no job."""
_NO_MATTER: Any = {"batch_log": True, "inference": {"model": True}}
"""Parts of a job that shape no figure, or are told otherwise."""
_UNSTEADY: Any = {"identity": True, "memory_bytes": True, "numa_nodes": {"__all__": {"memory_bytes"}}}
"""What of the machine does not count: who uses it, and how much memory a virtual one has at the moment."""
REUSED = "not measured again: from "


def fingerprint(params: Parameters, point: Point, data: str) -> str:
    """Return 32 hexadecimal digits that are the same for the same measurement.

    Parameters
    ----------
    params, point
        What was asked, and one point of it.
    data
        Digest of the data set, see :func:`data_digest`.
    """
    told = {
        "measure": point.measure,
        "notebook": params.notebook,
        "params": params.model_dump(mode="json", include=set(_JUDGED)),
        "jobs": [job.model_dump(mode="json", exclude=_NO_MATTER) for job in point.jobs],
        "ceilings": sorted(point.ceilings),
        "data": data if reads_files(point.job) else "",
        "model": point.network.file.digest if point.network else "",
        "host": facts().model_dump(mode="json", exclude=_UNSTEADY),
    }
    return xxhash.xxh3_128_hexdigest(json.dumps(told, sort_keys=True).encode())


def data_digest(dataset: Dataset | None) -> str:
    """Return a digest of a data set's manifest and hashes; without those, of its files' names, sizes and times."""
    digest = xxhash.xxh3_128()
    if dataset is None:
        return digest.hexdigest()
    described = [dataset.folder / name for name in (MANIFEST_NAME, HASHES_NAME)]
    if dataset.described and described[0].is_file():
        for path in described:
            digest.update(path.read_bytes() if path.is_file() else b"")
        return digest.hexdigest()
    for index, file in enumerate(dataset.files):
        path = dataset.path(index)
        changed = path.stat().st_mtime_ns if path.is_file() else 0
        digest.update(f"{file.name} {file.nbytes} {changed}\n".encode())
    return digest.hexdigest()


def find(folder: Path, wanted: Collection[str]) -> dict[str, Stored]:
    """Return the latest Run of each wanted fingerprint under a folder; a missing folder holds none.

    Notebooks that cannot be read, and records of other schemas, are left alone: they are no earlier measurement.
    """
    found: dict[str, Stored] = {}
    for notebook in notebooks_under(folder):
        for run in _runs(notebook, set(wanted)):
            mark = run.facts[FINGERPRINT]
            if mark not in found or found[mark].run.started < run.started:
                found[mark] = Stored(run, notebook)
    return found


def _runs(notebook: Path, wanted: set[str]) -> Iterator[Run]:
    with suppress(RecordError):
        for record in raw_records(notebook):
            facts = record.get("facts")
            if isinstance(facts, dict) and facts.get(FINGERPRINT) in wanted:
                yield Run.from_dict(record)


def with_earlier(plan: Plan) -> Plan:
    """Give each point its fingerprint, and find the Runs that stand in place of measuring it again."""
    params = plan.params
    if not isinstance(params, Windows):
        return plan
    data = data_digest(plan.dataset)
    marked = [replace(point, fingerprint=fingerprint(params, point, data)) for point in plan.points]
    if params.rerun == "always":
        return replace(plan, points=marked)
    found = find(resolve(params.earlier), {point.fingerprint for point in marked})
    earlier = {mark: one for mark, one in found.items() if reusable(one.run, params.rerun)}
    return replace(plan, points=marked, earlier=earlier)


def reusable(run: Run, rerun: str) -> bool:
    """Tell whether ``rerun`` lets an earlier Run stand."""
    return rerun == "never" or (rerun == "failed" and run.verdict == "VALID")


def shown_again(earlier: Stored) -> Run:
    """Return an earlier Run with a warning that says from which notebook it comes."""
    run = earlier.run
    if any(warning.startswith(REUSED) for warning in run.warnings):
        return run  # that notebook had it from another, and says so
    return run.model_copy(update={"warnings": [f"{REUSED}{earlier.notebook} ({run.started})", *run.warnings]})
