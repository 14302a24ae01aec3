"""One figure of several ranks: the sum of their rates while all were running, with its error."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inferkit.records.figures import FOREIGN_CPU, Histogram, Quantiles, Repeat, Series, Stage
from inferkit.records.outcome import Outcome, ProgressTrace
from inferkit.records.windows import Window
from inferkit.stats import MOST_PARTS, Floats


@dataclass(frozen=True)
class Sum:
    """What several ranks reached together.

    Parameters
    ----------
    begin_s, end_s
        The part of the agreed windows in which all were running, since the agreed start.
    overlap
        That part ÷ the agreed windows, the warm-up left out.
    images_per_s, bytes_per_s
        Rates in it, one row per equal part of it and one column per rank.
    batches
        That each rank completed in it.
    """

    begin_s: float
    end_s: float
    overlap: float
    images_per_s: Floats
    bytes_per_s: Floats
    batches: Floats

    @property
    def rates(self) -> Floats:
        """Images per second where there are images, else bytes: parts × ranks."""
        return self.images_per_s if self.images_per_s.any() else self.bytes_per_s

    @property
    def course(self) -> Floats:
        """The sum of the ranks' rates in each part."""
        return np.asarray(self.rates.sum(axis=1), np.float64)


def add_up(traces: Sequence[ProgressTrace], window: Window) -> Sum:
    """Add up the ranks' rates inside the window in which all were running.

    Notes
    -----
    A least-squares line through cumulative counts would give a flattering error, since their residuals are not
    independent. There are as many parts as the slowest rank completed batches, and none shorter than a trace's step.
    """
    last = end_of(traces, window)
    begin = max(window.warmup_s, *(trace.began_s for trace in traces))
    end = min(last, *(trace.ended_s for trace in traces))
    whole = last - window.warmup_s
    overlap = max(0.0, end - begin) / whole
    end = max(end, begin + 1e-9)
    batches = np.array([np.ptp(_at(trace, trace.batches, np.array([begin, end]))) for trace in traces])
    parts = min(MOST_PARTS, batches.min(), (end - begin) / max(trace.step_s for trace in traces))
    edges = np.linspace(begin, end, max(1, int(parts)) + 1)
    images, nbytes = (
        np.stack([_rates(trace, getattr(trace, name), edges) for trace in traces], axis=1)
        for name in ("images", "nbytes")
    )
    return Sum(begin, end, min(1.0, overlap), images, nbytes, batches)


def end_of(traces: Sequence[ProgressTrace], window: Window) -> float:
    """Return when the windows end: at the agreed instant; where images are demanded, once all ranks have theirs."""
    counted = min(trace.ended_s for trace in traces)
    return max(window.seconds, counted) if window.images else window.seconds


def _at(trace: ProgressTrace, values: Sequence[float], instants: Floats) -> Floats:
    times = np.arange(len(values)) * trace.step_s
    return np.asarray(np.interp(instants, times, values), np.float64)


def _rates(trace: ProgressTrace, values: Sequence[float], edges: Floats) -> Floats:
    return np.asarray(np.diff(_at(trace, values, edges)) / np.diff(edges), np.float64)


def common_repeats(outcomes: Sequence[Outcome], traces: Sequence[ProgressTrace], window: Window) -> list[Repeat]:
    """Return the agreed windows, the warm-up first, with what all ranks completed in them.

    While they still run there are no outcomes, and their CPU time is not known.
    """
    inside = np.linspace(window.warmup_s, end_of(traces, window), window.repeats + 1)
    edges = np.concatenate([[0.0], inside])
    sums = {
        name: np.diff(sum(_at(trace, getattr(trace, name), edges) for trace in traces))
        for name in ("images", "nbytes", "batches")
    }
    cpu = [sum(outcome.repeats[k].cpu_s or 0.0 for outcome in outcomes) for k in range(window.repeats + 1)]
    return [
        Repeat(
            start_s=float(edges[k]),
            seconds=max(float(edges[k + 1] - edges[k]), 1e-9),
            images=round(sums["images"][k]),
            nbytes=round(sums["nbytes"][k]),
            batches=round(sums["batches"][k]),
            warmup=k == 0,
            cpu_s=cpu[k] if outcomes else None,
        )
        for k in range(window.repeats + 1)
    ]


def common_series(outcomes: Sequence[Outcome], traces: Sequence[ProgressTrace], window: Window) -> dict[str, Series]:
    """Return the throughput of all ranks over time, and what they sampled of the machine.

    The bins are those of the rank whose batches take longest. The machine's are the first rank's, a GPU's its own
    rank's; what others had of the ranks' CPUs is added.
    """
    series = dict(outcomes[0].series)
    for outcome in outcomes:
        series |= {name: own for name, own in outcome.series.items() if name.startswith("gpu")}
    if others := [outcome.series[FOREIGN_CPU] for outcome in outcomes if FOREIGN_CPU in outcome.series]:
        added = [sum(map(float, values)) for values in zip(*(each.values for each in others), strict=False)]
        series[FOREIGN_CPU] = others[0].model_copy(update={"values": added})
    for name, field in (("images_per_s", "images"), ("bytes_per_s", "nbytes")):
        own = series.pop(name, None)
        step_s = max((other.series[name].step_s for other in outcomes if name in other.series), default=1.0)
        edges = np.arange(0.0, end_of(traces, window) + 1e-9, step_s)
        if own is not None and len(edges) > 1:
            values = [_rates(trace, getattr(trace, field), edges) for trace in traces]
            series[name] = Series(unit=own.unit, step_s=step_s, values=np.sum(values, axis=0).tolist())
    return series


def common_stages(outcomes: Sequence[Outcome]) -> dict[str, Stage]:
    """Put the ranks' stages together: rates and workers added, quantiles those of the slowest rank at each."""
    names = [name for name in outcomes[0].stages if all(name in outcome.stages for outcome in outcomes)]
    return {name: _stage([outcome.stages[name] for outcome in outcomes]) for name in names}


def _stage(stages: Sequence[Stage]) -> Stage:
    def total(field: str) -> float | None:
        values = [getattr(stage, field) for stage in stages]
        return None if None in values else sum(values)

    busy = total("busy")
    quantiles = [stage.quantiles for stage in stages if stage.quantiles is not None]
    slowest = (
        {name: max(getattr(own, name) for own in quantiles) for name in Quantiles.model_fields} if quantiles else {}
    )
    return Stage(
        images_per_s=total("images_per_s"),
        bytes_per_s=total("bytes_per_s"),
        busy=None if busy is None else busy / len(stages),
        workers=sum(stage.workers for stage in stages),
        quantiles=Quantiles(**slowest) if slowest else None,
        histogram=_merged([stage.histogram for stage in stages if stage.histogram is not None]),
    )


def _merged(histograms: Sequence[Histogram]) -> Histogram | None:
    """Add histograms up; their edges are powers of the same base, so that they lie on one grid."""
    if not histograms:
        return None
    base = min((own.edges_s for own in histograms), key=lambda edges: edges[0])
    step = np.log10(base[1] / base[0])
    last = max(own.edges_s[-1] for own in histograms)
    counts = np.zeros(round(np.log10(last / base[0]) / step), np.int64)
    for own in histograms:
        first = round(np.log10(own.edges_s[0] / base[0]) / step)
        counts[first : first + len(own.counts)] += own.counts
    edges = base[0] * 10.0 ** (step * np.arange(len(counts) + 1))
    return Histogram(edges_s=edges.tolist(), counts=counts.tolist())
