"""From what several ranks answered to one outcome: their sum, what each did, and what speaks against the figure."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from inferkit.machine.affinity import check_whereabouts
from inferkit.machine.topology import topology
from inferkit.pipeline.steadiness import drifted, with_error
from inferkit.ranks.aggregate import Sum, add_up, common_repeats, common_series, common_stages
from inferkit.records.figures import Figure, Json, Repeat
from inferkit.records.job import Job
from inferkit.records.outcome import Outcome, ProgressTrace
from inferkit.records.place import Place, cpu_ranges, gpu_names
from inferkit.records.windows import Window
from inferkit.stats import interval
from inferkit.units import duration, percent
from inferkit.validity.io_accounting import COUNTERS, shares

LEAST_OVERLAP = 0.9
"""Share of the agreed windows in which all ranks must have been running (patatrack drops repeats below the same)."""
UNEVEN = 0.9
LATE_S = 0.25
OWN = ("batch_log", "cpus", "pauses")
"""Facts that stay each rank's own."""


def figure_of_sum(total: Sum, repeats: Sequence[Repeat]) -> Figure:
    """Return the sum of the ranks' rates with its error.

    Parameters
    ----------
    total, repeats
        The ranks added up, and the agreed windows with what all completed in them.
    """
    images, nbytes = (float(rates.mean(axis=0).sum()) for rates in (total.images_per_s, total.bytes_per_s))
    return with_error(Figure(images_per_s=images or None, bytes_per_s=nbytes or None), total.course, repeats)


def combine(jobs: Sequence[Job], outcomes: Sequence[Outcome], more: Mapping[str, Json]) -> Outcome:
    """Put the ranks' outcomes together.

    Parameters
    ----------
    jobs, outcomes
        Of each rank.
    more
        Facts of the group as such: seconds to the barrier.
    """
    window = jobs[0].window
    traces = [trace for outcome in outcomes for trace in outcome.traces]
    total = add_up(traces, window)
    repeats = common_repeats(outcomes, traces, window)
    reasons, unverified = _placement(jobs, outcomes)
    return Outcome(
        repeats=repeats,
        stages=common_stages(outcomes),
        series=common_series(outcomes, traces, window),
        measured=figure_of_sum(total, repeats),
        facts=_facts(jobs, outcomes, traces, total) | {"group": in_common(total) | dict(more)},
        warnings=[
            *said_once(outcomes, "warnings"),
            *_warnings(jobs, traces, total),
            *drifted(total.course),
            *_taking_turns(jobs, outcomes),
        ],
        unverified=[*said_once(outcomes, "unverified"), *unverified],
        reasons=[*said_once(outcomes, "reasons"), *overlap_reasons(total, window, repeats[1:]), *reasons],
        traces=traces,
    )


def said_once(outcomes: Sequence[Outcome], field: str) -> list[str]:
    """Say once what several ranks say."""
    return list(dict.fromkeys(text for outcome in outcomes for text in getattr(outcome, field)))


def in_common(total: Sum) -> dict[str, Json]:
    """Return what a record tells of the windows that all had in common."""
    return {
        "overlap": total.overlap,
        "begin_s": total.begin_s,
        "end_s": total.end_s,
        "sum": float(total.course.mean()),
        "unit": "images/s" if total.images_per_s.any() else "bytes/s",
    }


def _facts(
    jobs: Sequence[Job], outcomes: Sequence[Outcome], traces: Sequence[ProgressTrace], total: Sum
) -> dict[str, Json]:
    facts: dict[str, Json] = {
        name: value
        for name, value in outcomes[0].facts.items()
        if name not in {"whereabouts", "gpus", "storage", "verified_images", *OWN}
    }
    facts["ranks"] = [_rank(*each) for each in zip(jobs, outcomes, traces, total.rates.T, strict=True)]
    gpus = [outcome.facts["gpus"] for outcome in outcomes if "gpus" in outcome.facts]
    if gpus:
        facts["gpus"] = {gpu: told for own in gpus for gpu, told in own.items()}
    verified = [outcome.facts.get("verified_images") for outcome in outcomes]
    if None not in verified:
        facts["verified_images"] = sum(verified) if all(verified) else 0
    if "decoders" in facts:
        facts["decoders"] = [own for outcome in outcomes for own in outcome.facts["decoders"]]
        facts["reader"] = added_files([outcome.facts["reader"] for outcome in outcomes])
    storage = [outcome.facts["storage"] for outcome in outcomes if "storage" in outcome.facts]
    if storage:
        facts["storage"] = added_storage(storage)
    return facts


def _rank(job: Job, outcome: Outcome, trace: ProgressTrace, rates: Any) -> dict[str, Json]:
    place = job.place or Place()
    found = interval(rates, np.array([]))
    return {
        **place.model_dump(mode="json", exclude={"ranks", "host"}),
        "rate": float(rates.mean()),
        "half_width": found.half_width if found else None,
        "began_s": trace.began_s,
        "ended_s": trace.ended_s,
        "found": outcome.facts.get("whereabouts"),
        **{name: outcome.facts[name] for name in OWN if name in outcome.facts},
    }


def added_files(told: Sequence[dict[str, Json]]) -> dict[str, Json]:
    """Add up how many files the ranks have seen, and how many of them were decoded in software; the rest is alike."""
    software: Counter[str] = Counter()
    for own in told:
        software.update(own["files_in_software"])
    return {**told[0], "files_seen": sum(own["files_seen"] for own in told), "files_in_software": dict(software)}


def added_storage(told: Sequence[dict[str, Json]]) -> dict[str, Json]:
    """Add up where the ranks' bytes came from: a process counts for itself, disk and mount for all of them.

    So of a disk's counter the first and the last reading count, and of the resident pages those before any rank read.
    """

    def put_together(name: str, how: Callable[[list[Any]], Any]) -> Any:
        values = [own[name] for own in told if own.get(name) is not None]
        return how(values) if len(values) == len(told) else None

    def first_and_last(name: str) -> list[int | None]:
        begins, ends = zip(*(own[name] for own in told), strict=True)
        return [None if None in begins else min(begins), None if None in ends else max(ends)]

    summed = ["delivered_bytes", "read_bytes", "whole_bytes", "process_read_bytes"]
    summed += [name for name in ("requests", "connections") if name in told[0]]
    facts = {
        **told[0],
        **({"retries": _added(own["retries"] for own in told)} if "retries" in told[0] else {}),
        **{name: put_together(name, sum) for name in summed},
        **{name: first_and_last(name) for name in COUNTERS},
        "resident_before": put_together("resident_before", min),
    }
    return facts | shares(facts)


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    return dict(sum(map(Counter, counts), Counter[str]()))


def overlap_reasons(total: Sum, window: Window, repeats: Sequence[Repeat]) -> Iterator[str]:
    """Say why the sum is no figure of the windows: too little of them in common, or too few images in one."""
    if total.overlap < LEAST_OVERLAP:
        yield (
            f"all ranks were running for only {percent(total.overlap)} of the windows, {percent(LEAST_OVERLAP)} is the "
            f"least (from {duration(max(total.begin_s, 0.0))} to {duration(max(total.end_s, 0.0))}): lengthen warmup_s"
        )
    if any(repeat.images < window.images for repeat in repeats):
        yield f"a window holds fewer than the {window.images:,} images that the profile demands: lengthen duration_s"


def _placement(jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> tuple[list[str], list[str]]:
    reasons: list[str] = []
    unverified: list[str] = []
    for job, outcome in zip(jobs, outcomes, strict=True):
        place, found = job.place or Place(), outcome.facts.get("whereabouts")
        if found:
            bad, unknown = check_whereabouts(place, found)
            reasons += bad
            unverified += unknown
    known = topology().gpus
    lost = {gpu for job in jobs if job.place for gpu in job.place.gpus if gpu not in known or known[gpu].node is None}
    if lost:
        names = gpu_names(sorted(lost, key=str))
        unverified.append(f"NUMA node of GPU {names}: unknown, so nobody knows if cores and memory are near")
    return reasons, unverified


def _warnings(jobs: Sequence[Job], traces: Sequence[ProgressTrace], total: Sum) -> Iterator[str]:
    numbers = [job.place.rank if job.place else index for index, job in enumerate(jobs)]
    rates = total.rates.mean(axis=0)
    slow, fast = int(rates.argmin()), int(rates.argmax())
    if rates[fast] and rates[slow] < UNEVEN * rates[fast]:
        share = percent(rates[slow] / rates[fast])
        yield f"rank {numbers[slow]} reached only {share} of the rate of rank {numbers[fast]}"
    for rank, trace in zip(numbers, traces, strict=True):
        if trace.began_s > LATE_S:
            yield f"rank {rank} started {duration(trace.began_s)} late"
    yield from _crowded(jobs)


def _crowded(jobs: Sequence[Job]) -> Iterator[str]:
    cpus = [cpu for job in jobs if job.place for cpu in job.place.cpus]
    if len(cpus) > len(set(cpus)):
        yield f"{len(jobs)} ranks shared CPUs {cpu_ranges(set(cpus))}: there are not enough for one each"


def _taking_turns(jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Say where ranks computed on one GPU in turn, which they need not."""
    ranks = Counter(gpu for job in jobs if job.place for gpu in job.place.gpus)
    told = {gpu: own for outcome in outcomes for gpu, own in outcome.facts.get("gpus", {}).items() if gpu != "missing"}
    for gpu, count in sorted(ranks.items(), key=str):
        if count > 1 and told.get(str(gpu), {}).get("mps") is False:
            yield (
                f"{count} ranks took turns on GPU {gpu}: NVIDIA's MPS lets them compute at the same time "
                "(nvidia-cuda-mps-control -d)"
            )
