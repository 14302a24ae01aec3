"""Who and what disturbed a run: from what was counted beside it to what is said of its figure."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from inferkit.units import duration, percent
from inferkit.validity.data_origin import Finding

LEAST_S = 1.0
"""Of less than this nothing is said: the kernel counts in hundredths of a second, and samples are 0.2 s apart."""
PAGE_IN_S = 1e-4
"""What a page costs that comes back from swap, at the least: one read of an SSD."""


CLOCK_OFF, CLOCK_S, CLOCK_LEAST = 0.1, 0.2, 0.01
"""How far a process's clock may go from the kernel's, at the most; in seconds, since the two are not read at once, on a
busy machine least of all; and how far in a long run."""


class Bounds(NamedTuple):
    """Shares: from ``told`` on there is a warning, from ``most`` on (``demo``: in that profile) the figure is INVALID.

    A demo may run on a busy machine, and ends well there.
    """

    told: float
    most: float
    demo: float = math.inf


FOREIGN = Bounds(0.10, 0.25)
"""Others' share of the CPUs' time. It is lost in part only; figures measured under such loads scattered by 25–30 %."""
LOST = Bounds(0.02, 0.10)
"""Share of the time in which the run could do nothing: a tenth of it is a tenth of the figure."""
STILL = Bounds(0.02, 0.10, 0.50)
"""As before; but what stands still for half of the time demonstrates nothing."""


class Disturbance(NamedTuple):
    """One way in which a run was disturbed.

    Parameters
    ----------
    share, taken
        How much of the time it had, and how much of that was surely taken from the run.
    bounds
        Of both: a warning by ``share``, INVALID by ``taken``.
    what, fix
        What was found, and what to do about it.
    excused
        How much of ``taken`` may be another disturbance's, of which a demo only warns.
    """

    share: float
    taken: float
    bounds: Bounds
    what: str
    fix: str
    excused: float = 0.0


def disturbances(profile: str, processes: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Judge what was counted beside a run by the worst of its processes, and of their ranks where there are several.

    Parameters
    ----------
    profile
        ``demo`` warns where the others refuse.
    processes
        Facts of each: ``cpus`` and ``pauses``, or ``ranks`` that have them; ``storage``.
    """
    ranks: Sequence[Mapping[str, Any]] = [own for facts in processes for own in facts.get("ranks", [facts])]
    known = [own for own in ranks if "cpus" in own and own["cpus"]["seconds"] >= LEAST_S]
    daemon = any(facts.get("storage", {}).get("fuse") for facts in processes)
    for kind in (_pauses, _foreign, _throttled, _stolen, _swapped):
        found = [(kind(own), own) for own in known]
        if found:
            worst, own = max(found, key=lambda each: (each[0].taken, each[0].share))
            who = f"rank {own['rank']}: " if "rank" in own else ""
            yield from _weighed(profile, worst, who, refuse=not (daemon and kind is _foreign))
    yield from _other_runs(profile, known)
    yield from dict.fromkeys(_preloaded([own for own in ranks if "cpus" in own]))
    yield from dict.fromkeys(_changed([own for own in ranks if "cpus" in own]))


def _weighed(profile: str, found: Disturbance, who: str, *, refuse: bool) -> Iterator[Finding]:
    demo = profile == "demo"
    most = found.bounds.demo if demo else found.bounds.most
    if refuse and found.taken - demo * found.excused >= most:
        yield Finding("reason", f"{who}{found.what}; {percent(most)} is too much: {found.fix}")
    elif found.share >= found.bounds.told:
        yield Finding("warning", f"noisy: {who}{found.what}: {found.fix}")


def _pauses(own: Mapping[str, Any]) -> Disturbance:
    """Take what is longer: pauses between completions, or what the process noticed of its own stops.

    Pauses show nothing where batches take longer than the stops do; a process that looks at the clock five times a
    second notices a part of any stop.
    """
    pauses, cpus = own["pauses"], own["cpus"]
    share = max(pauses["stood"], cpus["stopped_s"] / cpus["seconds"])
    lengths = f"longest pause {duration(pauses['longest_s'])}, usual {duration(pauses['usual_s'])}"
    what = f"work stood still for {percent(share)} of a window ({lengths})"
    fix = "find what stopped it (a signal, a quota, a hypervisor, storage that hangs), and measure again"
    excused = float(cpus["contended"] + cpus["steal"] + cpus["throttled"])
    return Disturbance(share, share, STILL, what, fix, excused)


def _foreign(own: Mapping[str, Any]) -> Disturbance:
    """Judge others' programs: what they had while no CPU was idle was taken from the run.

    Storage in user space (FUSE) is another program that works for the run, so there nothing is refused.
    """
    cpus = own["cpus"]
    names = ", ".join(f"{other['name']} {other['pid']}: {percent(other['share'])}" for other in cpus["others"])
    what = (
        f"other programs had {percent(cpus['foreign'])} of the time of CPUs {cpus['on']}, "
        f"{percent(cpus['contended'])} while none was idle" + (f" ({names})" if names else "")
    )
    fix = "end them, or give the run CPUs of its own"
    return Disturbance(cpus["foreign"], cpus["contended"], FOREIGN, what, fix)


def _throttled(own: Mapping[str, Any]) -> Disturbance:
    cpus = own["cpus"]
    what = f"a control group's quota withheld {percent(cpus['throttled'])} of the CPU time that was wanted"
    fix = "raise the quota (cpu.max, docker --cpus), or use as few threads as it allows"
    return Disturbance(cpus["throttled"], cpus["throttled"], LOST, what, fix)


def _stolen(own: Mapping[str, Any]) -> Disturbance:
    cpus = own["cpus"]
    what = f"the hypervisor gave {percent(cpus['steal'])} of the time of CPUs {cpus['on']} to other virtual machines"
    fix = "use a machine with CPUs of its own, or measure when it is quiet"
    return Disturbance(cpus["steal"], cpus["steal"], LOST, what, fix)


def _swapped(own: Mapping[str, Any]) -> Disturbance:
    cpus = own["cpus"]
    share = cpus["swapped_pages"] * PAGE_IN_S / cpus["seconds"]
    what = f"the machine swapped {cpus['swapped_pages']:,.0f} pages"
    return Disturbance(share, share, LOST, what, "free memory, or measure with fewer buffers")


def _other_runs(profile: str, ranks: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Refuse a figure beside which another inferkit measured: disk, link and memory are shared as well as CPUs."""
    pids = sorted({pid for own in ranks for pid in own["cpus"]["other_runs"]})
    if pids:
        kind, lead = ("warning", "noisy: ") if profile == "demo" else ("reason", "")
        processes = ", ".join(map(str, pids))
        told = f"another run of inferkit measured on the same CPUs (process {processes}): wait for it, or end it"
        yield Finding(kind, lead + told)


def _preloaded(ranks: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Name libraries that may take the place of the kernel's answers: of clocks, of reads."""
    for libraries in (rank["cpus"].get("preloaded") for rank in ranks):
        if libraries:
            told = f"{', '.join(libraries)} {'was' if len(libraries) == 1 else 'were'} loaded into the run"
            yield Finding(
                "warning", f"{told} (LD_PRELOAD), and can change clocks and reads: unset it, unless it is known"
            )


def _changed(ranks: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Refuse a figure in any profile where what the run may use was changed under it, or the clock that it goes by."""
    fix = "let nothing (taskset, a container's runtime) change it meanwhile, and measure again"
    for own in (rank["cpus"] for rank in ranks):
        if own["allowed"] != own["on"]:
            yield Finding(
                "reason", f"the run began on CPUs {own['on']}, and then had {own['allowed'] or 'none'}: {fix}"
            )
        off = min(CLOCK_OFF, max(CLOCK_LEAST, CLOCK_S / own["seconds"]))
        if own["clock"] is not None and abs(own["clock"] - 1) > off:
            yield Finding(
                "reason",
                f"the run's clock went {own['clock']:.2f} s in each second of the kernel's (/proc/uptime): let nothing "
                "change it (LD_PRELOAD, faketime), and the machine not sleep",
            )
        if own["regrouped"]:
            yield Finding("reason", f"the run was moved to another control group while it was measured: {fix}")
