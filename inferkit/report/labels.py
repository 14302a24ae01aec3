"""How a record is put into words: one wording for tables, charts and conclusions."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from inferkit.records.figures import OUTPUTS, Figure, Json, Scalar
from inferkit.records.run import Run
from inferkit.units import bandwidth, duration, gibibytes, percent, rate, scaled_bandwidth

STAGE_TITLES = {
    "01": "data set",
    "02": "host to device",
    "03a": "storage to host",
    "03b": "one process",
    "03c": "several processes",
    "03d": "several machines",
}
SIZE, MEMORY, DEVICE, GPU, DIRECTION = "transfer_bytes", "memory", "device", "gpu", "direction"
NODE = "node"
READER, THREADS, BATCH = "reader", "threads", "batch_size"
ENGINE, MODEL, PRECISION = "engine", "model", "precision"
NULL = "null"
"""The engine that infers nothing."""
HOST_COPY = "host-to-host copy (no GPU)"
DEVICE_COPY = "host-to-device copy"
EXACT = 1e-6
"""Errors that are less of their value are below the digits that a record keeps."""
STANDARD_ERRORS = 2.0
"""In a 95 % interval of a mean of 30 values or more (Student's t)."""
VERDICTS = ("VALID", "INVALID", "FAILED")
"""Verdicts from the best to the worst."""
NOT_FOR_QUOTING = "not for quoting"
DEMO = f"demo profile: {NOT_FOR_QUOTING}"
DEMO_REASON = "the demo profile measures for seconds only"


def axis_text(name: str, value: Scalar) -> str:
    """Word one coordinate of a point: ``threads 4``, ``64 KiB``, ``resnet18``; empty where there is none."""
    if isinstance(value, bool):
        return name if value else f"no {name}"
    if isinstance(value, str):
        if name == GPU and value:
            return f"gpus {value}"
        return _model_text(value) if name == MODEL else value
    return gibibytes(value) if name == SIZE else f"{name.replace('_', ' ')} {value:g}"


def _model_text(value: str) -> str:
    """Word a model by its label; records of earlier versions may have a file's whole path."""
    return Path(value).stem if value.endswith(".onnx") else value


def network_text(run: Run) -> str:
    """Word what infers: ``onnx resnet18 float32``."""
    words = (axis_text(name, run.point.get(name, "")) for name in (ENGINE, MODEL, PRECISION))
    return " ".join(word for word in words if word)


def point_text(run: Run, names: Sequence[str] | None = None) -> str:
    """Word a point, or only the axes ``names`` of it."""
    words = (axis_text(name, value) for name, value in run.point.items() if names is None or name in names)
    return " · ".join(word for word in words if word)


def where_text(run: Run) -> str:
    """Word which point a run is of: ``read · threads 4``; of what could not be planned, ``plan``."""
    return " · ".join(filter(None, (run.measure, point_text(run))))


def varying(runs: Sequence[Run]) -> list[str]:
    """Return the names of the axes on which the runs' points differ, in the order of their first appearance."""
    names = dict.fromkeys(name for run in runs for name in run.point)
    return [name for name in names if len({run.point.get(name) for run in runs}) > 1]


def labels(runs: Sequence[Run], told: Sequence[str] = ()) -> list[str]:
    """Name each run by what sets it apart from the others, no two alike; one alone by all that is not ``told``."""
    names = varying(runs) or [name for run in runs for name in run.point if name not in told]
    lead = [run.storage if len({other.storage for other in runs}) > 1 else "" for run in runs]
    pairs = zip(lead, runs, strict=True)
    words = [" · ".join(filter(None, (storage, point_text(run, names)))) or run.measure for storage, run in pairs]
    seen: Counter[str] = Counter()
    unique = []
    for word in words:
        seen[word] += 1
        unique.append(word if seen[word] == 1 else f"{word} ({seen[word]})")
    return unique


def varying_points(runs: Sequence[Run]) -> list[str]:
    """Word each point by the axes that differ among the runs."""
    names = varying(runs)
    return [point_text(run, names) for run in runs]


def figure_text(figure: Figure | None) -> str:
    """Word a throughput with its error: ``45,527 ± 40 images/s · 8.75 MB/s``; bandwidth has it where it is alone."""
    if figure is None:
        return "–"
    parts = []
    if figure.images_per_s is not None:
        parts.append(f"{images_text(figure)} images/s")
    if figure.bytes_per_s is not None:
        parts.append(bandwidth(figure.bytes_per_s) if parts else bandwidth_text(figure))
    if figure.cov is not None and figure.half_width is None:
        parts.append(f"windows vary by {percent(figure.cov)}")
    return " · ".join(parts) or "–"


def plus_minus(value: float, half_width: float) -> str:
    """Word a value and half its 95 % interval: two digits of this, and the value to the same place.

    ``45527.3, 40.2`` is ``"45,527 ± 40"``. An interval of no width is none: the value stands alone.
    """
    if half_width <= EXACT * abs(value):
        return number_text(value)
    error = float(f"{half_width:.1e}")
    places = 1 - math.floor(math.log10(error))
    return f"{round(value, places):,.{max(0, places)}f} ± {round(error, places):,.{max(0, places)}f}"


def images_text(figure: Figure | None) -> str:
    """Word images per second with their error and without the unit; a dash where they are unknown."""
    if figure is None or figure.images_per_s is None or figure.half_width is None:
        return number_text(figure.images_per_s if figure else None)
    return plus_minus(figure.images_per_s, figure.images_per_s * figure.half_width)


def bandwidth_text(figure: Figure) -> str:
    """Word bytes per second with their error: ``8.751 ± 0.021 GB/s``; a dash where they are unknown."""
    if figure.bytes_per_s is None or figure.half_width is None:
        return "–" if figure.bytes_per_s is None else bandwidth(figure.bytes_per_s)
    value, unit = scaled_bandwidth(figure.bytes_per_s)
    return f"{plus_minus(value, value * figure.half_width)} {unit}"


def error_text(figure: Figure | None) -> str:
    """Word where the error comes from; empty where there is none."""
    if figure is None or not figure.half_width or figure.block_s is None:
        return ""
    return f"± {percent(figure.half_width)} (95 %), by blocks of {duration(figure.block_s)}"


def rate_of(run: Run) -> float | None:
    """Return images per second; bytes where there are no images, None where nothing was measured."""
    figure = run.measured or Figure()
    return figure.images_per_s or figure.bytes_per_s


def interval_of(run: Run) -> tuple[float, float] | None:
    """Return the 95 % interval of a run's throughput, in the unit of :func:`rate_of`; None where nothing tells it."""
    value, half = rate_of(run), error_of(run)
    return None if value is None or half is None else interval(value, half)


def interval(value: float, half: float) -> tuple[float, float]:
    """Return the ends of an interval whose half is a share of the value; nothing is slower than standing still."""
    return value * max(0.0, 1 - half), value * (1 + half)


def error_of(run: Run) -> float | None:
    """Return half the interval as a share of the figure; None where nothing tells it."""
    return run.measured.half_width if run.measured else None


def apart(one: Run, other: Run) -> bool:
    """Tell whether one of two runs is faster for sure: both intervals are known and do not overlap."""
    ours, theirs = interval_of(one), interval_of(other)
    return ours is not None and theirs is not None and (ours[0] > theirs[1] or theirs[0] > ours[1])


def best_valid(runs: Iterable[Run]) -> Run | None:
    """Return the fastest run that is VALID and has a figure."""
    return min((run for run in runs if run.verdict == "VALID" and rate_of(run)), key=sort_key, default=None)


def rate_text(run: Run) -> str:
    """Word a throughput with its interval: ``45,527 ± 40 images/s``, or ``10.00 ± 0.09 GB/s`` without images."""
    if run.measured is None or rate_of(run) is None:
        return "–"
    if run.measured.images_per_s is None:
        return bandwidth_text(run.measured)
    return f"{images_text(run.measured)} images/s"


def with_error(value: float | None, error: float | None) -> str:
    """Word a number of images per second and half its interval, given as a share of it."""
    return number_text(value) if value is None or error is None else plus_minus(value, value * error)


def measured_text(run: Run) -> str:
    """Word what was measured: ``45,527 ± 40 images/s · 6.85 GB/s``."""
    figure = run.measured
    beside = figure is not None and figure.images_per_s is not None and figure.bytes_per_s is not None
    return " · ".join([rate_text(run), *([bandwidth(figure.bytes_per_s or 0.0)] if figure and beside else [])])


def reached_text(run: Run) -> str:
    """Word what was reached of the prediction, with both numbers: ``96 % (58 of predicted 60.3)``; else empty."""
    if run.reached is None or run.measured is None or run.predicted is None:
        return ""
    pair = (run.measured.images_per_s, run.predicted.images_per_s)
    known = None not in pair
    ours, ceiling = map(number_text, pair) if known else map(_bandwidth, (run.measured, run.predicted))
    return f"{share_text(run.reached)} ({ours} of predicted {ceiling})"


def _bandwidth(figure: Figure) -> str:
    return bandwidth(figure.bytes_per_s or 0.0)


def caveats(run: Run) -> list[str]:
    """Word what must stand beside a figure wherever it is told: that it is an older one, what is odd about outputs."""
    taken = [f"taken from {run.taken_from}"] if run.taken_from else []
    return [*taken, *(text for text in run.warnings if text.startswith(OUTPUTS))]


def limits_of(run: Run) -> list[str]:
    """Return the bottleneck and what may limit a run as well, as far as errors tell; empty where nothing is known."""
    own = run.ceilings.get(run.bottleneck or "") or run.predicted
    if not run.bottleneck:
        return []
    if own is None or own.images_per_s is None:
        return [run.bottleneck]
    upper = own.images_per_s * (1 + (own.half_width or 0.0))
    near = [
        stage
        for stage, figure in run.ceilings.items()
        if stage not in (run.bottleneck, "feed", "device")
        and figure.images_per_s is not None
        and figure.images_per_s * (1 - (figure.half_width or 0.0)) <= upper
    ]
    return [run.bottleneck, *near]


def bottleneck_text(run: Run) -> str:
    """Word what limits a run, with what may limit it as well; empty where nothing is known."""
    limits = limits_of(run)
    tie = ": their ceilings are not apart" if len(limits) > 1 else ""
    return f"{' or '.join(limits)} is the bottleneck{tie}" if limits else ""


def share_text(share: float | None) -> str:
    """Word a share in whole percent, as ``96 %``; a dash where it is unknown."""
    return "–" if share is None else f"{share * 100:.0f} %"


def number_text(value: float | None) -> str:
    """Word a number of images per second without its unit; a dash where it is unknown."""
    return "–" if value is None or value != value else rate(value).removesuffix(" images/s")


def quoting_text(verdict: str, profile: str) -> str:
    """Word a verdict and whether its figure may be quoted."""
    return f"{verdict}, {NOT_FOR_QUOTING} (demo profile)" if verdict == "VALID" and profile == "demo" else verdict


def demo_text(profiles: Iterable[object]) -> str:
    """Word that figures are not for quoting where one of their profiles is ``demo``; empty where none is."""
    return DEMO if "demo" in profiles else ""


def verdict_text(run: Run) -> str:
    """Word the verdict with its reasons."""
    why = "; ".join(run.reasons)
    if run.failure is not None:
        why = f"{run.failure.kind}: {run.failure.message}"
    verdict = quoting_text(run.verdict, run.profile)
    return f"{verdict}: {why}" if why else verdict


def title(run: Run) -> str:
    """Name a run: ``03b one process · pipeline · shm``."""
    stage = f"{run.notebook} {STAGE_TITLES.get(run.notebook, '')}".strip()
    return " · ".join(filter(None, (stage, run.measure, run.storage)))


def sort_key(run: Run) -> tuple[int, float]:
    """Return what sorts runs from the best to the worst: VALID first, then the faster."""
    figure = run.measured or Figure()
    return VERDICTS.index(run.verdict), -(figure.images_per_s or figure.bytes_per_s or 0.0)


def gpu_name(run: Run) -> str:
    """Return the model of the GPU that a run was measured on; empty where it used none."""
    if run.point.get(DEVICE, run.params.get(DEVICE)) == "cpu":
        return ""
    asked = run.point.get(GPU)  # a number, several as in 0+1, or none: all
    used = [gpu for gpu in run.host.gpus if asked is None or str(gpu.index) in str(asked).split("+")]
    return " + ".join(dict.fromkeys(gpu.name for gpu in used))


def link(run: Run) -> str:
    """Name what was copied over; a copy within the host must never pass for a GPU's."""
    if run.point.get(DEVICE, run.params.get(DEVICE)) == "cpu":
        return HOST_COPY
    return " · ".join(filter(None, (DEVICE_COPY, gpu_name(run))))


def series_names(runs: Sequence[Run], axis: str, drawn: Sequence[str]) -> list[str]:
    """Name each run's line: its ``axis``, and whatever else varies and is not drawn otherwise."""
    names = [axis, *(name for name in varying(runs) if name not in (axis, *drawn))]
    return [point_text(run, names) or "all" for run in runs]


def flatten(value: Json, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield ``(path, text)`` for every leaf of nested JSON; a list of plain values is one leaf."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from flatten(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for index, item in enumerate(value):
            yield from flatten(item, f"{path}[{index}]")
    else:
        yield path, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
