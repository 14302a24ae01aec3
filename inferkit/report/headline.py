"""The answer in one sentence: what this server reached, from where, the limit, and how far the rest could go."""

import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from inferkit.records.host import Host
from inferkit.records.run import DOING, NO_PREDICTION, STAGES, Run
from inferkit.records.wellformed import READS_NOTHING
from inferkit.report.decoding import decoder_text
from inferkit.report.labels import (
    BATCH,
    DEVICE,
    DIRECTION,
    ENGINE,
    GPU,
    HOST_COPY,
    MEMORY,
    MODEL,
    NODE,
    NULL,
    PRECISION,
    READER,
    SIZE,
    THREADS,
    apart,
    axis_text,
    gpu_name,
    limits_of,
    link,
    measured_text,
    network_text,
    point_text,
    rate_of,
    rate_text,
    sort_key,
    verdict_text,
)
from inferkit.report.scaling import GPUS, NODES, RANKS
from inferkit.units import bandwidth, gibibytes

MORE = {"read": "feed", "decode": "feed", "copy": "feed", "infer": "take", "out": "take"}
"""To what it is that a stage could do more."""
LONGEST = 400
"""Characters of a sentence that says why there is no figure."""


class Headline(NamedTuple):
    """The answer of one notebook, and the record that it is of; None where no record has a valid figure."""

    sentence: str
    run: Run | None


def headline(runs: Iterable[Run]) -> Headline:
    """Word the answer of a notebook's records: of its best VALID point, inference before ``null``.

    A pipeline answers before stages measured alone. Where nothing is VALID, the sentence says so, and why most often.
    """
    kept = list(runs)
    if not kept:
        return Headline("Nothing is measured yet.", None)
    measure = next((name for name in _WORDED if any(run.measure == name for run in kept)), kept[-1].measure)
    group = [run for run in kept if run.measure == measure]
    group = [run for run in group if not _aside(run)] or group
    best = _best(group)
    return Headline(_flawed(group, kept), None) if best is None else Headline(_WORDED.get(measure, _alone)(best), best)


def _alone(run: Run) -> str:
    return f"{run.measure} alone reaches {measured_text(run)}."


def _flawed(runs: Sequence[Run], among: Sequence[Run]) -> str:
    """Word that there is no valid figure, and why: by the point that comes nearest to one, ``among`` all records."""
    flawed = [run for run in runs if run.verdict != "VALID"]
    if not flawed:  # such as reading mapped files
        told = (text for run in runs for text in run.warnings if READS_NOTHING in text)
        return _brief(f"There is no figure: {next(told, 'nothing was measured')}") + "."
    run = min(flawed, key=sort_key)
    if run.measure == "plan" and run.failure:
        return _brief(f"Nothing was measured: {run.failure.message}") + "."
    verdict, _, why = verdict_text(run).partition(": ")
    found = f"{measured_text(run)} was measured ({point_text(run)}), which is {verdict}" if run.measured else verdict
    point, points = (f"{words}{_beside(run)}" if len(among) > len(runs) else words for words in ("point", "points"))
    what = f"none of {len(runs)} {points} is" if len(runs) > 1 else f"the only {point} is not"
    if len(flawed) < len(runs):  # the others have none
        what = f"{len(flawed)} of {len(runs)} {points} {'is' if len(flawed) == 1 else 'are'} not"
    answer = _brief(f"No valid figure: {what} VALID. {found[:1].upper()}{found[1:]}: {why}") + "."
    return " ".join([answer, *_without(run, among)])


def _beside(run: Run) -> str:
    """Word which points an answer is of, where there are others."""
    if run.measure == "pipeline":
        return " without inference" if _aside(run) else " with inference"
    return f" of {DOING.get(run.measure, run.measure)}"


def _without(run: Run, among: Sequence[Run]) -> Iterator[str]:
    """Yield what the pipeline reaches without inference, where it is inference that has no valid figure."""
    best = _best([other for other in among if other.point.get(ENGINE) == NULL and other.measure == "pipeline"])
    if best is not None and run.measure == "pipeline":
        yield f"Without inference, {rate_text(best)} stream from {source_text(best)}."


def _brief(text: str) -> str:
    """Return a sentence on one line, without its full stop; a reason of a page stands in the record."""
    return textwrap.shorten(text, LONGEST, placeholder=" …").rstrip(".: ")


def _best(runs: Sequence[Run]) -> Run | None:
    """Return the best VALID run."""
    valid = [run for run in runs if run.verdict == "VALID" and (rate_of(run) or run.measure == "dataset")]
    return min(valid, key=sort_key, default=None)


def best_pipeline(runs: Sequence[Run]) -> Run | None:
    """Return the pipeline that a notebook's answer is of: VALID before not, inference before none, then the faster."""
    pipelines = [run for run in runs if run.measure == "pipeline"]
    return min(pipelines, key=lambda run: (run.verdict != "VALID", _aside(run), *sort_key(run)), default=None)


def _aside(run: Run) -> bool:
    """Tell whether a run answers a question beside the main one: no inference, copies back, a certain NUMA node."""
    return run.point.get(ENGINE) == NULL or run.point.get(DIRECTION, "in") != "in" or NODE in run.point


def counts(runs: Sequence[Run]) -> str:
    """Word how many points are valid, where not all are: ``9 of 12 points are VALID, 2 INVALID, 1 FAILED``."""
    found = Counter(run.verdict for run in runs)
    if len(runs) == found["VALID"] or all(run.measure == "plan" for run in runs):
        return ""
    rest = [f"{found[verdict]} {verdict}" for verdict in ("INVALID", "FAILED") if found[verdict]]
    return ", ".join([f"{found['VALID']} of {len(runs)} points VALID", *rest])


def _pipeline(run: Run) -> str:
    infers = run.point.get(ENGINE) != NULL
    verb, what = ("infer", _network(run)) if infers else ("stream", f"to {_target(run)}, no inference")
    details = ", ".join(filter(None, [what, *_details(run)]))
    reached = rate_text(run) if infers else measured_text(run)  # who infers nothing asks for bytes
    told = [f"{_who(run, verb)} {reached} ({details}) from {source_text(run)}", *_limit(run)]
    return "; ".join(told) + "."


def _who(run: Run, *verbs: str) -> str:
    """Word who does something: ``This server infers``, ``These 4 machines read and decode``."""
    count = int(run.point.get(NODES, 1))
    if count > 1:
        return f"These {count} machines {' and '.join(verbs)}"
    return f"This server {' and '.join(f'{verb}s' for verb in verbs)}"


def _network(run: Run) -> str:
    """Word what infers: ``resnet50 float16 by tensorrt``."""
    words = [axis_text(name, run.point.get(name, "")) for name in (MODEL, PRECISION)]
    engine = str(run.point.get(ENGINE, ""))
    return " ".join(filter(None, [*words, f"by {engine}" if engine else ""]))


def _target(run: Run) -> str:
    return "the GPU" if run.params.get(DEVICE) == "cuda" else "the CPU"


def _details(run: Run) -> Iterator[str]:
    """Yield what else a figure depends on: batch size, processes and GPUs."""
    if BATCH in run.point:
        yield f"batch {run.point[BATCH]}"
    for name, unit in ((RANKS, "process"), (GPUS, "GPU")):
        count = int(run.point.get(name, 0))
        if count > 1:
            yield f"{count} {unit}{'es' if unit == 'process' else 's'}"


def source_text(run: Run) -> str:
    """Word where images came from: the storage's name, else the folder; and whether memory held them."""
    data = str(run.params.get("data") or "")
    name = run.storage or (Path(data).name if data else "")
    if run.point.get(READER) == "memory" or not (data or run.params.get("images")):
        return f"{name} (random images in memory)" if name else "random images in memory"
    held = " (held in memory)" if run.params.get("source") == "memory" else ""
    return f"{name}{held}"


def _limit(run: Run) -> Iterator[str]:
    """Yield what the bottleneck is, and how much more the other end of the pipeline could do."""
    yield from (text.rpartition(": ")[0] for text in run.warnings if text.startswith(NO_PREDICTION))
    limits = limits_of(run)
    if not limits:
        return
    words = [stage_text(stage, run) for stage in limits]
    verb = "are" if words == ["the GPUs"] else "is"
    yield f"{' or '.join(words)} {verb} the bottleneck"
    ours = rate_of(run)
    others = [stage for stage in STAGES if stage in run.ceilings and stage not in limits]
    for stage in [stage for stage in ("read", "decode") if stage in others] or others[-1:]:
        ceiling = run.ceilings[stage].images_per_s
        if ours and ceiling and ceiling / ours >= 1.1:
            times = ceiling / ours
            by = f" by {decoder_text(run)}" if stage == "decode" else ""
            count = f"{times:,.0f}" if times >= 100 else f"{times:.1f}"
            yield f"{DOING[stage]}{by} could {MORE[stage]} {count} times as many"


def stage_text(stage: str, run: Run) -> str:
    """Name what limits a run by the part of the machine that does it."""
    on_gpu = run.params.get(DEVICE) == "cuda"
    several = int(run.point.get(GPUS, 1)) > 1 or len(str(run.point.get(GPU, "")).split("+")) > 1
    if stage == "infer":
        return ("the GPUs" if several else "the GPU") if on_gpu else "inference on the CPU"
    if stage == "read":
        return "the storage" if run.params.get("source") == "storage" else "reading"
    if stage == "copy":
        return "the link to the GPUs" if on_gpu and several else "the link to the GPU" if on_gpu else "copying"
    names = {
        "decode": f"decoding JPEG by {decoder_text(run)}",
        "feed": f"{_at_once(run)} at once",
        "out": "copying results back",
        "device": "decoding and inference at once on one device",
        "cpu": "the time of the CPU cores",
        "memory": "the bandwidth of the host's memory",
    }
    return names.get(stage, stage)


def _at_once(run: Run) -> str:
    """Word what fills a slot: a device that decodes makes no copy of its own."""
    decodes = "decode" in run.stages
    own = [stage for stage in ("read", "decode", "copy") if stage in run.stages] if decodes else ["read", "copy"]
    *lead, last = [DOING[stage] for stage in own]
    return f"{', '.join(lead)} and {last}" if lead else last


def _read(run: Run) -> str:
    axes = ", ".join(filter(None, [axis_text(READER, run.point.get(READER, "")), *_threads(run), *_details(run)]))
    peers = [f"{peer.ratio:.2f} times what {peer.name} reads" for peer in run.peers if peer.ratio is not None]
    does = ("read", "decode") if "decode" in run.stages else ("read",)
    told = [f"{_who(run, *does)} {measured_text(run)} from {source_text(run)} ({axes})", *peers]
    return "; ".join(told) + "."


def _threads(run: Run) -> Iterator[str]:
    if THREADS in run.point:
        count = run.point[THREADS]
        yield f"{count} thread{'' if count == 1 else 's'}"


def _copy(run: Run) -> str:
    several = len(str(run.point.get(GPU, "")).split("+"))
    gpu = f"{several} GPUs at once ({gpu_name(run)})" if several > 1 else gpu_name(run) or "the GPU"
    where = "within host memory" if link(run) == HOST_COPY else f"from host memory to {gpu}"
    if run.point.get(DIRECTION) == "out":
        where = f"from {gpu} to host memory"
    size = [f"{gibibytes(int(run.point[SIZE]))} each"] if SIZE in run.point else []
    about = ", ".join([f"{run.point.get(MEMORY, '')} memory".strip(), *size, *filter(None, [point_text(run, [NODE])])])
    least = run.ceilings.get("link")
    share = (
        [f"the link allows {bandwidth(least.bytes_per_s)}"]
        if least is not None and least.bytes_per_s is not None
        else []
    )
    return "; ".join([f"Copies {where} reach {measured_text(run)} ({about})", *share]) + "."


def _dataset(run: Run) -> str:
    skipped = run.facts.get("skipped") or 0
    count = skipped if isinstance(skipped, int) else len(skipped)
    left = f"; {count:,} file{'' if count == 1 else 's'} could not be used" if count else ""
    made = f"{run.facts.get('images', 0):,} images"
    speed = f" at {measured_text(run)}" if run.measured else " were there already"
    return f"The data set of {made}{' is made' if run.measured else ''}{speed}{left}."


_WORDED: dict[str, Callable[[Run], str]] = {"pipeline": _pipeline, "read": _read, "copy": _copy, "dataset": _dataset}
"""What answers a notebook's question, the first that there is."""


def machine_text(host: Host) -> str:
    """Name a machine by what computes: its GPUs, CPUs and memory."""
    gpus = Counter(gpu.name for gpu in host.gpus)
    words = [f"{count} × {name}" if count > 1 else name for name, count in gpus.items()]
    cpus = host.threads or host.threads_total
    words += [host.cpu] if host.cpu else []
    words += [f"{cpus} CPU{'' if cpus == 1 else 's'}"] if cpus else []
    words += [gibibytes(host.memory_bytes)] if host.memory_bytes else []
    return ", ".join(words) or "unknown machine"


def rival(run: Run, runs: Sequence[Run]) -> str:
    """Word that another point is as good as far as their intervals tell; empty where none is."""
    same = [other for other in runs if other is not run and other.measure == run.measure and other.verdict == "VALID"]
    same = [other for other in same if network_text(other) == network_text(run) and rate_of(other)]
    near = [other for other in same if not apart(run, other)]
    if not near or run.measure not in ("pipeline", "read"):
        return ""
    return f"no difference found to {len(near)} other point{'' if len(near) == 1 else 's'} of the same network"
