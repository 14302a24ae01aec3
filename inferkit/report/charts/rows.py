"""From runs to the few rows that a chart draws: never raw batches, only figures, quantiles and bins."""

from collections.abc import Sequence
from typing import NamedTuple

from inferkit.records.figures import Figure
from inferkit.records.run import Run
from inferkit.report.labels import (
    ENGINE,
    NULL,
    bandwidth_text,
    error_of,
    images_text,
    interval,
    labels,
    network_text,
    number_text,
    rate_text,
    share_text,
    sort_key,
)
from inferkit.report.palette import NO_STAGE, stage_order
from inferkit.report.remarks import grouped
from inferkit.units import bandwidth, duration

Rows = list[dict[str, object]]
BARS = 12
PANELS = 3
BINS = 4000
"""How many bars, panels and bins a chart shows at most; what is left out is said in its subtitle."""


class Quantity(NamedTuple):
    """What an axis shows: a field of Figure, divided by ``scale``, in ``unit``."""

    field: str
    unit: str
    scale: float

    def of(self, figure: Figure | None) -> float | None:
        """Return a figure's value in the unit; None where it lacks it."""
        value: float | None = None if figure is None else getattr(figure, self.field)
        return None if value is None else value / self.scale

    def text(self, value: float | None) -> str:
        """Word a value of this quantity, with its unit where that is not images per second."""
        if value is None or self.scale == 1.0:
            return number_text(value)
        return bandwidth(value * self.scale)

    def measured(self, figure: Figure) -> str:
        """Word a figure with its interval as :meth:`text` does a value; empty where it lacks it."""
        if self.of(figure) is None:
            return ""
        return images_text(figure) if self.scale == 1.0 else bandwidth_text(figure)


IMAGES = Quantity("images_per_s", "images/s", 1.0)
BYTES = Quantity("bytes_per_s", "GB/s", 1e9)


def quantity(runs: Sequence[Run]) -> Quantity:
    """Return images per second where the runs have them, else bandwidth."""
    return IMAGES if any(IMAGES.of(run.measured) is not None for run in runs) else BYTES


def ranked(runs: Sequence[Run], limit: int | None = None) -> tuple[list[Run], str]:
    """Return the best runs of each engine and model, what infers before what does not; and a note on the others.

    Parameters
    ----------
    limit
        How many there may be of all networks together; each has an equal share, and one at least. None: all.
    """
    networks = sorted(grouped(runs, [network_text(run) for run in runs]), key=lambda each: _aside(each[1]))
    share = len(runs) if limit is None else max(1, limit // max(1, len(networks)))
    kept = [run for _, group in networks for run in sorted(group, key=sort_key)[:share]]
    if len(kept) == len(runs):
        return kept, ""
    each = "" if len(networks) == 1 else " of each network"
    return kept, f"the best {share}{each}: {len(kept)} of {len(runs)} points"


def is_drawn(run: Run, unit: Quantity) -> bool:
    """Tell whether a bar shows anything of a run: a figure, a prediction or a ceiling."""
    return any(unit.of(figure) is not None for figure in (run.measured, run.predicted, *run.ceilings.values()))


def _aside(runs: Sequence[Run]) -> tuple[bool, bool]:
    """Return what sorts networks: those with a valid point first, and of these the ones that infer."""
    return all(run.verdict != "VALID" for run in runs), runs[0].point.get(ENGINE, NULL) == NULL


def throughput_rows(runs: Sequence[Run], told: Sequence[str] = ()) -> tuple[Rows, Rows]:
    """Return one row per bar and one row per mark (ceilings, prediction) beside it; axes ``told`` stand in the heading.

    Ceilings far above what was measured would squeeze the bars: what lies beyond 1.6 times the largest of the measured
    and predicted figures is drawn at the edge, as ``beyond``.
    """
    unit = quantity(runs)
    near = [value for run in runs for figure in (run.measured, run.predicted) if (value := unit.of(figure)) is not None]
    edge = 1.6 * max(near, default=0.0)
    bars: Rows = []
    marks: Rows = []
    for label, run in zip(labels(runs, told), runs, strict=True):
        bars.append({"label": label, **_bar(run, unit)})
        ceilings = [(name, "ceiling", run.ceilings[name]) for name in stage_order(run.ceilings)]
        predicted = [(run.bottleneck or NO_STAGE, "predicted", run.predicted)] if run.predicted else []
        for stage, kind, figure in [*ceilings, *predicted]:
            if (value := unit.of(figure)) is not None:
                beyond = value > edge > 0
                shown = min(value, edge) if edge else value
                marks.append(
                    {
                        "label": label,
                        "stage": stage,
                        "kind": "beyond" if beyond else kind,
                        "value": shown,
                        "actual": value,
                    }
                )
    return bars, marks


def _bar(run: Run, unit: Quantity) -> dict[str, object]:
    value = unit.of(run.measured)
    spread = error_of(run) or 0.0
    low, high = (None, None) if value is None else interval(value, spread)
    note = " · ".join(filter(None, [_of_predicted(run, unit), flaw(run)]))
    return {
        "value": value,
        "low": low,
        "high": high,
        "stage": run.bottleneck or NO_STAGE,
        "verdict": run.verdict,
        "note": note,
    }


def _of_predicted(run: Run, unit: Quantity) -> str:
    """Word what was measured, with its interval, and what was predicted: ``58.00 ± 0.58 of 60.3``."""
    measured = "" if run.measured is None else unit.measured(run.measured)
    predicted = unit.of(run.predicted)
    return " of ".join(filter(None, [measured, "" if predicted is None else unit.text(predicted)]))


def _predicted(run: Run) -> str:
    unit = quantity([run])
    return unit.text(unit.of(run.predicted))


def flaw(run: Run) -> str:
    """Return what a reader must see beside a bar that is no VALID result."""
    if run.verdict == "FAILED":
        return f"FAILED: {run.failure.kind}" if run.failure else "FAILED"
    return "" if run.verdict == "VALID" else run.verdict


def ceiling_rows(runs: Sequence[Run]) -> Rows:
    """Return one row per run and ceiling, with what was measured; ceilings beyond 3 times the lowest are cut."""
    rows: Rows = []
    for label, run in zip(labels(runs), runs, strict=True):
        unit = quantity([run])
        values = {
            name: value for name in stage_order(run.ceilings) if (value := unit.of(run.ceilings[name])) is not None
        }
        measured = unit.of(run.measured)
        edge = 3.0 * max(min(values.values(), default=0.0), measured or 0.0)
        panel = f"{label}\n{_found(run)}"
        for name, value in values.items():
            note = (
                f"{unit.text(value)}{' →' if value > edge else ''}{' · bottleneck' if name == run.bottleneck else ''}"
            )
            own = {"stage": name, "value": min(value, edge), "actual": value, "measured": measured, "note": note}
            rows.append({"panel": panel, **own, "bottleneck": name == run.bottleneck})
    return rows


def _found(run: Run) -> str:
    if run.measured is None:
        return flaw(run)
    reached = "" if run.reached is None else f"{share_text(run.reached)} of predicted {_predicted(run)}"
    return ", ".join(filter(None, [f"measured {rate_text(run)}", reached, flaw(run)]))


def time_rows(runs: Sequence[Run]) -> Rows:
    """Return one row per run and stage: quantiles of its time per batch, in milliseconds."""
    rows: Rows = []
    for label, run in zip(labels(runs), runs, strict=True):
        flag = flaw(run)
        for name in stage_order(run.stages):
            times = run.stages[name].quantiles
            if times is not None:
                spans = {"p50": times.p50_s, "p90": times.p90_s, "p99": times.p99_s}
                note = f"{duration(times.p50_s)} … {duration(times.p99_s)}"
                # A logarithmic axis has no zero: nothing takes less than a nanosecond.
                values = {key: max(value, 1e-9) * 1e3 for key, value in spans.items()}
                rows.append({"panel": f"{label}: {flag}" if flag else label, "stage": name, "note": note, **values})
    return rows


def series_rows(runs: Sequence[Run], name: str) -> tuple[Rows, str]:
    """Return the bins of a series per run, the windows of its warm-up, and the unit; GB/s of a bandwidth."""
    rows: Rows = []
    kept = [(label, run) for label, run in zip(labels(runs), runs, strict=True) if name in run.series]
    unit, scale = (
        (BYTES.unit, BYTES.scale) if name == BYTES.field else (kept[0][1].series[name].unit if kept else "", 1.0)
    )
    for label, run in kept:
        panel = f"{label}: {flaw(run)}" if flaw(run) else label
        series = run.series[name].thinned(BINS // len(kept))
        times = [series.start_s + series.step_s * (i + 0.5) for i in range(len(series.values))]
        bins = zip(times, series.values, strict=True)
        values = [(t, None if value is None else value / scale) for t, value in bins]
        rows += [{"panel": panel, "kind": "bin", "t": t, "value": value} for t, value in values]
        warm = [(repeat.start_s, repeat.start_s + repeat.seconds) for repeat in run.repeats if repeat.warmup]
        rows += [{"panel": panel, "kind": "warm-up", "t": start, "end": end} for start, end in warm]
    return rows, unit
