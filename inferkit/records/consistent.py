"""Whether a record's figure is what its own windows, parts and ceilings say: a figure that was edited by hand is not.

No record proves that it was measured: who edits all that stands in it alike is not found out here.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from statistics import fmean
from typing import TYPE_CHECKING, Any

from inferkit.records.figures import Figure, Repeat
from inferkit.records.windows import PROFILES
from inferkit.text import quoted
from inferkit.units import percent

if TYPE_CHECKING:
    from inferkit.records.run import Run

ROUNDED = 1e-3
"""How far two roundings of one number may lie apart: those of records are of five digits, and windows are summed up."""
APART = 0.15
"""How far the windows of several ranks may lie from the sum of their rates, which is of what they had in common."""
OVER = 1.03
"""More than this of a prediction is no measuring error: a ceiling was too low."""
WIDER = 1.01
"""By so much may what a profile demands be missed without a word: by rounding."""

FROM_STORAGE = 0.9
"""Least share of the read bytes that must have come from the storage for a run that declares so."""
ITEM_BYTES = {"uint8": 1, "float16": 2, "float32": 4}

SERIAL = ("read", "decode")
"""Stages that the same threads do, one after the other, where reading alone measured both."""
FED = (*SERIAL, "copy")
"""What does not count beside a ceiling of all of it at once (``feed``)."""
PREDICTING = (*FED, "feed", "infer", "out", "device", "cpu", "memory")


def contradictions(run: "Run") -> Iterator[str]:
    """Say what in a record does not fit its figure: what was found, and what was expected."""
    yield from _of_windows(run)
    yield from _of_parts(run)
    yield from _of_prediction(run)
    yield from _of_images(run)
    if run.verdict == "VALID":
        yield from _of_verdict(run)


def _of_windows(run: "Run") -> Iterator[str]:
    """Hold the figure against the windows; that of bare copies against what the copies took, without their gaps."""
    figure, kept = run.measured, run.measured_windows
    if figure is not None and not kept and run.verdict == "VALID" and run.windowed:
        yield "it is VALID, and has no window that was measured"
    if figure is None or not kept or not _comparable(run):
        return
    for name in ("images_per_s", "bytes_per_s"):
        found = getattr(figure, name)
        if found is None:
            continue
        low, high = _expected(run, kept, name)
        if not low * (1 - ROUNDED) <= found <= high * (1 + ROUNDED):
            yield f"its {name} is {found:g}, and its windows give {(low + high) / 2:.7g}"


def _comparable(run: "Run") -> bool:
    """Tell whether figure and windows are of the same time: not where ranks had none in common, which is INVALID."""
    return not run.facts.get("ranks") or run.verdict == "VALID"


def _expected(run: "Run", kept: Sequence[Repeat], name: str) -> tuple[float, float]:
    """Return between which values a figure lies that was made of these windows."""
    assert run.measured is not None
    if bare_copies(run):
        told = run.stages["copy"].bytes_per_s or 0.0
        return told, told
    rates = [_rate(part, name) for part in _by_process(run, kept)]
    if run.measured.cov is not None:  # of schema 1, which did not say of what it is the mean
        rates = [getattr(repeat, name) for repeat in kept]
        return min(rates), max(rates)
    mean, apart = fmean(rates), APART if run.facts.get("ranks") else 0.0
    return mean * (1 - apart), mean * (1 + apart)


def bare_copies(run: "Run") -> bool:
    """Tell whether a record is of copies alone, whose figure leaves out the gaps between them."""
    return run.measured is not None and run.measured.images_per_s is None and list(run.stages) == ["copy"]


def _by_process(run: "Run", kept: Sequence[Repeat]) -> list[Sequence[Repeat]]:
    """Return the windows of each process: each of several that measured one after another has as many."""
    told = run.facts.get("processes")
    processes = len(told) if isinstance(told, list) and told else 1
    each = max(1, len(kept) // processes)
    return [kept[first : first + each] for first in range(0, len(kept), each)]


def _rate(windows: Sequence[Repeat], name: str) -> float:
    done = sum(window.images if name == "images_per_s" else window.nbytes for window in windows)
    return done / sum(window.seconds for window in windows)


def _of_parts(run: "Run") -> Iterator[str]:
    """Hold the figure against those of processes, whose mean it is, and of nodes or ranks, whose sum it is."""
    figure = run.measured
    found = figure and (figure.images_per_s or figure.bytes_per_s)
    if not found or bare_copies(run):
        return
    processes = _numbers(run.facts.get("processes"))
    ranks = _rates(run.facts.get("nodes") or run.facts.get("ranks"))
    for what, expected in (("its processes give", processes and fmean(processes)), ("its ranks give", sum(ranks))):
        if expected and not _same(found, expected):
            yield f"its figure is {found:g}, and {what} {expected:.7g}"


def _rates(parts: Any) -> list[float]:
    told = parts if isinstance(parts, list) else []
    return _numbers([own.get("rate") if isinstance(own, Mapping) else None for own in told])


def _numbers(told: Any) -> list[float]:
    """Return numbers; none where something else is among them: facts are an open list."""
    known = isinstance(told, list) and all(isinstance(each, int | float) for each in told)
    return list(told) if known else []


def _same(found: float, expected: float) -> bool:
    return abs(found - expected) <= ROUNDED * expected


def _of_prediction(run: "Run") -> Iterator[str]:
    """Hold what was predicted against the lowest ceiling."""
    predicted = run.predicted and run.predicted.images_per_s
    possible = _predictions(run.ceilings)
    if predicted and possible and not any(_same(predicted, rate) for rate in possible):
        yield f"it predicts {predicted:g} images/s, and its lowest ceiling is {max(possible):.7g}"


def _predictions(ceilings: Mapping[str, Figure]) -> list[float]:
    """Return what may be predicted of ceilings: threads that read and decode one after the other need both times."""
    rates = {name: rate for name in PREDICTING if name in ceilings and (rate := ceilings[name].images_per_s)}
    together = [1 / rates[name] for name in SERIAL if name in rates]
    if "feed" in rates:
        rates = {name: rate for name, rate in rates.items() if name not in FED}
        together = []
    lowest = min(rates.values(), default=0.0)
    return [min(lowest, rate) for rate in (lowest, 1 / sum(together) if together else lowest) if rate]


def _of_images(run: "Run") -> Iterator[str]:
    """Hold what an image has by its dtype and shape against the bytes of the windows."""
    item, shape = ITEM_BYTES.get(str(run.facts.get("dtype"))), run.facts.get("shape")
    images, nbytes = (sum(getattr(own, name) for own in run.measured_windows) for name in ("images", "nbytes"))
    if not item or not shape or not images or run.facts.get("ranks"):
        return
    each = item * prod(shape)
    if abs(nbytes - images * each) > ROUNDED * nbytes:
        yield f"its windows have images of {nbytes / images:g} bytes, and its dtype and shape give {each}"


def _of_storage(run: "Run") -> Iterator[str]:
    """Say where parameters declare storage, and what was counted says that something else was read."""
    storage, readers = run.facts.get("storage"), run.params.get("readers")
    declared = (
        run.params.get("source") == "storage" and isinstance(readers, list) and run.point.get("reader") in readers
    )
    if not declared or not isinstance(storage, Mapping):
        return
    share = storage.get("from_storage")
    if storage.get("in_memory") is True:
        yield "it is VALID with source storage, and its files lay in memory"
    if isinstance(share, int | float) and share < FROM_STORAGE:
        yield f"it is VALID with source storage, and {percent(share)} of its bytes came from it"


def _of_verdict(run: "Run") -> Iterator[str]:
    """Say why a record that is VALID cannot be: of what is not for quoting, only that it says so everywhere."""
    if run.params.get("profile", run.profile) != run.profile:
        yield f"its profile is {quoted(run.profile)}, and that of its parameters {quoted(run.params['profile'])}"
    yield from _of_storage(run)
    if run.profile == "demo" or run.profile not in PROFILES or run.measured is None or not run.windowed:
        return
    reached = run.reached or 0.0
    if "link" not in run.ceilings and reached > OVER * (1 + ROUNDED):
        yield f"it is VALID with {percent(reached)} of its prediction, expected {percent(OVER)} at the most"
    yield from _of_profile(run, run.measured)


def _of_profile(run: "Run", figure: Figure) -> Iterator[str]:
    """Hold windows and error of what is VALID against what its profile demands."""
    profile, kept = PROFILES[run.profile], run.measured_windows
    half_width, shortest = figure.half_width or 0.0, min((own.seconds for own in kept), default=0.0)
    wants = f"and profile {run.profile} demands"
    if len(kept) < profile.repeats:
        yield f"it is VALID with {len(kept)} windows, {wants} {profile.repeats}"
    elif shortest * WIDER < profile.duration_s:
        yield f"it is VALID with a window of {shortest:g} s, {wants} {profile.duration_s:g} s"
    if half_width > profile.target * WIDER:
        yield f"it is VALID and known to ± {percent(half_width)}, {wants} ± {percent(profile.target)}"
