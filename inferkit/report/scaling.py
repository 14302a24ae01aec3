"""Several processes side by side: weak scaling, strong scaling, exploration, and which number of them wins.

*Weak scaling*: the batch per process stays, resources grow. *Strong scaling*: the images under way stay the
same, so the batch shrinks as processes are added. *Exploration*: every combination.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeVar

from inferkit.records.run import Run
from inferkit.report.labels import (
    BATCH,
    READER,
    THREADS,
    apart,
    axis_text,
    bottleneck_text,
    caveats,
    images_text,
    network_text,
    number_text,
    quoting_text,
    rate_text,
    share_text,
    sort_key,
)
from inferkit.report.tables import Table
from inferkit.units import duration

RANKS, GPUS, CORES, NODES = "ranks", "gpus", "cores", "nodes"
Key = TypeVar("Key", bound=Hashable)


def multi(runs: Sequence[Run]) -> list[Run]:
    """Return the pipelines of several processes, and those of the one process that they are compared with."""
    return [run for run in runs if run.measure == "pipeline" and {RANKS, BATCH} <= set(run.point)]


def rate_of(run: Run) -> float | None:
    """Return images per second."""
    return run.measured.images_per_s if run.measured else None


def resources(run: Run) -> int:
    """Return the GPUs that a run used, else its cores; 1 where all cores were shared out: on all of its machines."""
    return int(run.point.get(NODES, 1)) * int(run.point.get(GPUS) or run.point.get(CORES) or 1)


def workers(run: Run) -> int:
    """Return how many batches are inferred side by side: one per process, or per GPU where a process has several."""
    return int(run.point.get(NODES, 1)) * max(int(run.point[RANKS]), int(run.point.get(GPUS, 1)))


def setting(run: Run) -> str:
    """Word what is compared: ``2 GPUs, 1 process``; of several machines, what each has."""
    units = ((NODES, "machine"), (GPUS, "GPU"), (CORES, "core"))
    counts = [(int(run.point[name]), unit) for name, unit in units if name in run.point]
    ranks = int(run.point[RANKS])
    words = [f"{count} {unit}{'s' if count > 1 else ''}" for count, unit in counts]
    return ", ".join([*words, f"{ranks} process{'es' if ranks > 1 else ''}"])


def work(run: Run) -> str:
    """Word what runs that are compared have in common, apart from the batch."""
    words = [network_text(run), axis_text(READER, run.point.get(READER, ""))]
    words += [axis_text(THREADS, run.point[THREADS])] if THREADS in run.point else []
    return " · ".join(word for word in words if word)


def grouped(runs: Sequence[Run], key: Callable[[Run], Key]) -> Iterator[tuple[Key, list[Run]]]:
    """Yield each value of a key, in the order of appearance, with the runs that have it."""
    for wanted in dict.fromkeys(map(key, runs)):
        yield wanted, [run for run in runs if key(run) == wanted]


class Gain:
    """What a run gained over the smallest of its group.

    Attributes
    ----------
    speedup
        Rate ÷ the smallest run's; None where either has none.
    efficiency
        Speedup ÷ the resources it took.
    """

    def __init__(self, run: Run, smallest: Run) -> None:
        ours, theirs = rate_of(run), rate_of(smallest)
        self.speedup = ours / theirs if ours and theirs else None
        share = resources(run) / resources(smallest)
        self.efficiency = None if self.speedup is None else self.speedup / share


def smallest_of(runs: Sequence[Run]) -> Run:
    """Return the run with the fewest resources and processes that has a figure, else the fewest of all."""
    return min(runs, key=lambda run: (rate_of(run) is None, resources(run), int(run.point[RANKS])))


def weak_scaling(runs: Sequence[Run]) -> Table:
    """Return, for each batch size, what each number of processes reaches: batch time, rate, speedup, efficiency."""
    rows = []
    for (name, batch), group in grouped(multi(runs), lambda run: (work(run), int(run.point[BATCH]))):
        rows += [[name, f"{batch}", *_row(run, smallest_of(group), batch)] for run in group]
    head = ["work", "batch per process", *_COLUMNS]
    return Table(head, rows, "weak scaling: no run of several processes")


def strong_scaling(runs: Sequence[Run]) -> Table:
    """Return what each number of processes reaches with the same number of images under way."""
    rows = []
    for (name, total), group in grouped(multi(runs), lambda run: (work(run), int(run.point[BATCH]) * workers(run))):
        if len({workers(run) for run in group}) > 1:
            rows += [[name, f"{total}", *_row(run, smallest_of(group), total // workers(run))] for run in group]
    head = ["work", "images under way", *_COLUMNS]
    return Table(
        head,
        rows,
        "strong scaling: set batch_sizes such as [32, 64, 128]; settings are compared where processes × batch is equal",
    )


_COLUMNS = ("setting", "batch time", "images/s", "speedup", "efficiency", "verdict")


def _row(run: Run, smallest: Run, batch: int) -> list[str]:
    rate, gain = rate_of(run), Gain(run, smallest)
    batch_time = duration(batch * workers(run) / rate) if rate else "–"
    speedup = "–" if gain.speedup is None else f"{gain.speedup:.2f}"
    verdict = quoting_text(run.verdict, run.profile)
    return [setting(run), batch_time, images_text(run.measured), speedup, share_text(gain.efficiency), verdict]


def exploration(runs: Sequence[Run]) -> Table:
    """Return images per second of every batch size and setting; the best, and what is not apart from it, are marked."""
    kept = multi(runs)
    settings = list(dict.fromkeys(map(setting, kept)))
    rows = []
    for name, group in grouped(kept, work):
        best = best_of_valid(group)
        for batch, own in grouped(group, lambda run: int(run.point[BATCH])):
            by_setting = {setting(run): run for run in own}
            rows.append([name, f"{batch}", *(_cell(by_setting.get(name), best) for name in settings)])
    return Table(["work", "batch per process", *settings], rows, "exploration: no run of several processes")


def _cell(run: Run | None, best: Sequence[Run]) -> str:
    if run is None:
        return ""
    flag = "" if run.verdict == "VALID" else f" {run.verdict}"
    return f"{number_text(rate_of(run))}{flag}{' ★' if run in best else ''}"


def best_of_valid(runs: Sequence[Run]) -> list[Run]:
    """Return the fastest VALID run, and after it those that are not slower for sure; none where none is VALID."""
    valid = sorted((run for run in runs if run.verdict == "VALID" and rate_of(run)), key=sort_key)
    return [run for run in valid if run is valid[0] or not apart(valid[0], run)]


def winners(runs: Sequence[Run]) -> Iterator[tuple[str, str]]:
    """Name, for each work, the setting that wins on the most resources, and by how much over one process.

    Only VALID runs take part, and one wins only where its interval is apart from those of all other settings.
    """
    for name, group in grouped(multi(runs), work):
        valid = [run for run in group if run.verdict == "VALID" and rate_of(run)]
        if not valid:
            yield f"{name}: no winner", f"none of {len(group)} points is VALID"
            continue
        most = max(resources(run) for run in valid)
        rivals = [run for run in valid if resources(run) == most or CORES in run.point]
        bests = [min(own, key=sort_key) for _, own in grouped(rivals, setting)]
        lead, told = _outcome(bests, best_of_valid(bests))
        best = min(bests, key=sort_key)
        yield f"{name}: {lead}", "; ".join([*told, *caveats(best), quoting_text(best.verdict, best.profile)])


def _outcome(bests: Sequence[Run], ahead: Sequence[Run]) -> tuple[str, list[str]]:
    """Word who is ahead: one that wins, several between which there is no difference, or the only one there is."""
    best = ahead[0]
    if len(ahead) > 1:
        return "no difference found", [" and ".join(f"{setting(run)} {_with_batch(run)}" for run in ahead)]
    limit = list(filter(None, [bottleneck_text(best)]))
    if len(bests) == 1:
        return f"{setting(best)} alone", [_with_batch(best), *limit]
    single = [run for run in bests if int(run.point[RANKS]) == 1 and run is not best]
    against = [_against(best, min(single, key=sort_key))] if single else []
    return f"{setting(best)} win{'s' if best.point[RANKS] == 1 else ''}", [_with_batch(best), *against, *limit]


def _with_batch(run: Run) -> str:
    return f"{rate_text(run)} with batches of {run.point[BATCH]}"


def _against(best: Run, single: Run) -> str:
    ratio = (rate_of(best) or 0.0) / (rate_of(single) or 1.0)
    same = "one process on the same resources" if resources(best) == resources(single) else setting(single)
    return f"{ratio:.2f} times {same} ({rate_text(single)})"
