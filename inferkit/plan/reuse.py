"""Points that were measured before, found by their fingerprints: their Runs stand in place of measuring again.

Executed notebooks are searched; no more of them is read than their records.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from inferkit.dataset.pixels import image_hash
from inferkit.dataset.sample import sampled
from inferkit.dataset.tensors import Dataset
from inferkit.errors import DatasetError, RecordError
from inferkit.plan.fingerprint import Fingerprints
from inferkit.plan.points import Plan, reads_files
from inferkit.records.figures import Json
from inferkit.records.groups import Windows
from inferkit.records.notebooks import Stored, notebooks_under, raw_records
from inferkit.records.project import resolve
from inferkit.records.run import REUSED, Run

FINGERPRINT = "fingerprint"
"""Its name in a Run's facts."""


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
            if _mark(record) in wanted:
                with suppress(RecordError):
                    yield Run.from_dict(record)


def _mark(record: Json) -> str:
    """Return a record's fingerprint, before anybody knows whether the record is well-formed; empty if it has none."""
    facts = record.get("facts") if isinstance(record, dict) else None
    return str(facts.get(FINGERPRINT, "")) if isinstance(facts, dict) else ""


def with_earlier(plan: Plan) -> Plan:
    """Give each point its fingerprint, and find the Runs that stand in place of measuring it again."""
    if not isinstance(plan.params, Windows):
        return plan
    fingerprints = Fingerprints(plan.params, plan.dataset)
    points = [replace(point, fingerprint=fingerprints.of(point)) for point in plan.points]
    return taken_over(replace(plan, points=points), plan.params)


def taken_over(plan: Plan, params: Windows) -> Plan:
    """Find the Runs that stand in place of measuring points again, by their fingerprints."""
    if params.rerun == "always":
        return plan
    found = find(resolve(params.earlier), {point.fingerprint for point in plan.points})
    return _unless_altered(plan, {mark: one for mark, one in found.items() if reusable(one.run, params.rerun)})


def _unless_altered(plan: Plan, earlier: Mapping[str, Stored]) -> Plan:
    """Take earlier Runs over; of what reads files only if a sample of them is still what their hashes say."""
    reading = [point for point in plan.points if point.fingerprint in earlier and reads_files(point.job)]
    altered = altered_image(plan.dataset) if reading and plan.dataset is not None else ""
    if not altered:
        return replace(plan, earlier=dict(earlier))
    left_out = {point.fingerprint for point in reading}
    kept = {mark: one for mark, one in earlier.items() if mark not in left_out}
    return replace(plan, earlier=kept, remarks=(*plan.remarks, f"measured again: {altered}"))


def altered_image(dataset: Dataset) -> str:
    """Say what speaks against a data set's images being those that its sidecar tells, by a sample; empty if nothing."""
    try:
        hashes = dataset.hashes() if dataset.files else None
        if hashes is None:
            return ""
        wrong = [k for k in sampled(dataset) if image_hash(dataset.read_images(k, 1)) != hashes[k]]
    except (DatasetError, OSError) as error:
        return str(error)
    return f"image {wrong[0]} of {dataset.folder} is not what its hashes say: inferkit dataset verify" if wrong else ""


def reusable(run: Run, rerun: str) -> bool:
    """Tell whether ``rerun`` lets an earlier Run stand."""
    return rerun == "never" or (rerun == "failed" and run.verdict == "VALID")


def shown_again(earlier: Stored) -> Run:
    """Return an earlier Run with a warning that says from which notebook it comes, and when it was measured."""
    run = earlier.run
    if run.taken_from:
        return run  # that notebook had it from another, and says so
    return run.model_copy(update={"warnings": [f"{REUSED}{earlier.notebook} ({run.started})", *run.warnings]})
