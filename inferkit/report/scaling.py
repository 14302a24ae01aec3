"""Several processes side by side: weak scaling, strong scaling, exploration, and which number of them wins.

*Weak scaling*: the batch per process stays, resources grow. *Strong scaling*: the images under way together stay, so
the batch shrinks as processes are added. *Exploration*: every combination.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeVar

import altair as alt

from inferkit.report.tables import html_table, text_table
from inferkit.report.theme import WIDTH, Chart, Rows, base, message, series_scale, styled
from inferkit.report.words import (
    BATCH,
    READER,
    THREADS,
    axis_text,
    network_text,
    number_text,
    quoting_text,
    rank,
    share_text,
)
from inferkit.run import Run
from inferkit.units import duration

RANKS, GPUS, CORES = "ranks", "gpus", "cores"
Key = TypeVar("Key", bound=Hashable)
STEP = 24


def multi(runs: Sequence[Run]) -> list[Run]:
    """Return the pipelines of several processes, and of the one that they are compared with."""
    return [run for run in runs if run.measure == "pipeline" and {RANKS, BATCH} <= set(run.point)]


def rate_of(run: Run) -> float | None:
    """Return images per second."""
    return run.measured.images_per_s if run.measured else None


def resources(run: Run) -> int:
    """Return the GPUs that a run used, else the cores that were given to it; 1 where all cores were shared out."""
    return int(run.point.get(GPUS) or run.point.get(CORES) or 1)


def workers(run: Run) -> int:
    """Return how many batches are inferred side by side: one per process, or per GPU where a process has several."""
    return max(int(run.point[RANKS]), int(run.point.get(GPUS, 1)))


def setting(run: Run) -> str:
    """Word what is compared: ``2 GPUs, 1 process``."""
    counts = [(int(run.point[name]), unit) for name, unit in ((GPUS, "GPU"), (CORES, "core")) if name in run.point]
    ranks = int(run.point[RANKS])
    words = [f"{count} {unit}{'s' if count > 1 else ''}" for count, unit in counts]
    return ", ".join([*words, f"{ranks} process{'es' if ranks > 1 else ''}"])


def _work(run: Run) -> str:
    """Word what is the same among runs that are compared, but for the batch."""
    words = [network_text(run), axis_text(READER, run.point.get(READER, ""))]
    words += [axis_text(THREADS, run.point[THREADS])] if THREADS in run.point else []
    return " · ".join(word for word in words if word)


def _grouped(runs: Sequence[Run], key: Callable[[Run], Key]) -> Iterator[tuple[Key, list[Run]]]:
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


class ScalingTable:
    """A table that a notebook shows as HTML and a terminal as text."""

    def __init__(self, head: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
        self.head, self.rows, self._empty = list(head), [list(row) for row in rows], empty

    def _numbers(self) -> list[int]:
        return [i for i, name in enumerate(self.head) if name not in {"work", "setting", "verdict"}]

    def __str__(self) -> str:
        return "\n".join(text_table(self.rows, self.head, numbers=self._numbers())) if self.rows else self._empty

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """Return what a notebook shows (the name is IPython's)."""
        html = html_table(self.rows, self.head, numbers=self._numbers()) if self.rows else f"<p>{self._empty}</p>"
        return {"text/html": html, "text/plain": str(self)}


def weak_scaling(runs: Sequence[Run]) -> ScalingTable:
    """Return, for each batch size, what each number of processes reaches: batch time, rate, speedup, efficiency."""
    rows = []
    for (work, batch), group in _grouped(multi(runs), lambda run: (_work(run), int(run.point[BATCH]))):
        rows += [[work, f"{batch}", *_row(run, smallest_of(group), batch)] for run in group]
    head = ["work", "batch per process", *_COLUMNS]
    return ScalingTable(head, rows, "weak scaling: no run of several processes")


def strong_scaling(runs: Sequence[Run]) -> ScalingTable:
    """Return what each number of processes makes of as many images under way together."""
    rows = []
    for (work, total), group in _grouped(multi(runs), lambda run: (_work(run), int(run.point[BATCH]) * workers(run))):
        if len({workers(run) for run in group}) > 1:
            rows += [[work, f"{total}", *_row(run, smallest_of(group), total // workers(run))] for run in group]
    head = ["work", "images under way", *_COLUMNS]
    return ScalingTable(
        head, rows, "strong scaling: name batch sizes such as [32, 64, 128], so that processes × batch comes out equal"
    )


_COLUMNS = ("setting", "batch time", "images/s", "± error", "speedup", "efficiency", "verdict")


def _row(run: Run, smallest: Run, batch: int) -> list[str]:
    rate, gain = rate_of(run), Gain(run, smallest)
    batch_time = duration(batch * workers(run) / rate) if rate else "–"
    speedup = "–" if gain.speedup is None else f"{gain.speedup:.2f}"
    verdict = quoting_text(run.verdict, run.profile)
    return [setting(run), batch_time, number_text(rate), error_text(run), speedup, share_text(gain.efficiency), verdict]


def error_text(run: Run) -> str:
    """Word the error of the sum, in percent of it."""
    relative = run.facts.get("together", {}).get("relative_error")
    return "–" if relative is None else f"{relative * 100:.2f} %"


def exploration(runs: Sequence[Run]) -> ScalingTable:
    """Return images per second of every batch size and setting; the best of each row's work is marked."""
    kept = multi(runs)
    settings = list(dict.fromkeys(map(setting, kept)))
    rows = []
    for work, group in _grouped(kept, _work):
        best = min(group, key=rank)
        for batch, own in _grouped(group, lambda run: int(run.point[BATCH])):
            by_setting = {setting(run): run for run in own}
            rows.append([work, f"{batch}", *(_cell(by_setting.get(name), best) for name in settings)])
    return ScalingTable(["work", "batch per process", *settings], rows, "exploration: no run of several processes")


def _cell(run: Run | None, best: Run) -> str:
    if run is None:
        return ""
    flag = "" if run.verdict == "VALID" else f" {run.verdict}"
    return f"{number_text(rate_of(run))}{flag}{' ★' if run is best and rate_of(run) else ''}"


def winners(runs: Sequence[Run]) -> Iterator[tuple[str, str]]:
    """Name, for each work, the setting that wins on the most resources, and by how much over one process."""
    for work, group in _grouped(multi(runs), _work):
        most = max(resources(run) for run in group)
        rivals = [run for run in group if resources(run) == most or CORES in run.point]
        best = min(rivals, key=rank)
        if rate_of(best) is None:
            continue
        single = [run for run in rivals if int(run.point[RANKS]) == 1 and run is not best and rate_of(run)]
        told = [f"{number_text(rate_of(best))} images/s (± {error_text(best)}) with batches of {best.point[BATCH]}"]
        told += [_against(best, min(single, key=rank))] if single else []
        told += [f"{best.binding} binds"] if best.binding else []
        yield (
            f"{work}: {setting(best)} win{'s' if best.point[RANKS] == 1 else ''}",
            "; ".join([*told, quoting_text(best.verdict, best.profile)]),
        )


def _against(best: Run, single: Run) -> str:
    ratio = (rate_of(best) or 0.0) / (rate_of(single) or 1.0)
    same = "one process on the same resources" if resources(best) == resources(single) else setting(single)
    return f"{ratio:.2f} times {same} ({number_text(rate_of(single))})"


def scaling(runs: Sequence[Run]) -> Chart:
    """Draw a bar per setting, with the error of the sum, and beside it speedup and efficiency."""
    rows = [row for _, group in _groups(runs) for row in _bars(group)]
    if not rows:
        return message("scaling: no run of several processes")
    order = list(dict.fromkeys(row["setting"] for row in rows))
    panels = list(dict.fromkeys(row["panel"] for row in rows))
    y, x = alt.Y("setting:N", sort=order, title=None), alt.X("value:Q", title="images/s", axis=alt.Axis(tickCount=6))
    plot = alt.Chart().properties(width=WIDTH, height=alt.Step(STEP))
    opacity = alt.condition("datum.verdict == 'VALID'", alt.value(1.0), alt.value(0.35))
    layers = [
        plot.mark_bar(height=14, color="#0072B2").encode(y=y, x=x, opacity=opacity),
        plot.mark_rule(color="#222222", strokeWidth=1.5).encode(y=y, x=alt.X("low:Q"), x2="high:Q"),
        plot.mark_text(align="left", fontSize=11).encode(y=y, x=alt.value(WIDTH + 10), text="note:N"),
    ]
    header = alt.Header(labelOrient="top", labelAnchor="start", labelAngle=0, labelPadding=4)
    facet = alt.Facet("panel:N", sort=panels, header=header, title=None)
    chart = alt.layer(*layers).facet(facet=facet, columns=1, data=base(rows).data, spacing=14)
    chart = chart.resolve_scale(x="independent", y="independent")
    return styled(
        chart, "Several processes (images/s)", "line: ± error of the sum · pale: no valid result", demo_text(runs)
    )


def demo_text(runs: Sequence[Run]) -> str:
    """Word that figures of the demo profile are not for quoting; empty where there are none."""
    return "demo profile: not for quoting" if any(run.profile == "demo" for run in runs) else ""


def _groups(runs: Sequence[Run]) -> Iterator[tuple[str, list[Run]]]:
    def name(run: Run) -> str:
        return f"{_work(run)} · {axis_text(BATCH, run.point[BATCH])}"

    yield from _grouped(multi(runs), name)


def _bars(group: Sequence[Run]) -> Rows:
    smallest = smallest_of(group)
    rows: Rows = []
    for run in group:
        value, gain = rate_of(run), Gain(run, smallest)
        error = (value or 0.0) * (run.facts.get("together", {}).get("relative_error") or 0.0)
        words = [
            number_text(value),
            "" if gain.speedup is None else f"× {gain.speedup:.2f}",
            share_text(gain.efficiency),
        ]
        words += [] if run.verdict == "VALID" else [run.verdict]
        rows.append(
            {
                "panel": f"{_work(run)} · {axis_text(BATCH, run.point[BATCH])}",
                "setting": setting(run),
                "value": value,
                "low": None if value is None else value - error,
                "high": None if value is None else value + error,
                "note": " · ".join(filter(None, words)),
                "verdict": run.verdict,
            }
        )
    return rows


def speedup(runs: Sequence[Run]) -> Chart:
    """Draw the speedup over the batches inferred side by side, and what would be ideal (dashed)."""
    rows: Rows = []
    for name, group in _groups(runs):
        smallest = smallest_of(group)
        for count, own in _grouped(sorted(group, key=workers), workers):
            best = min(own, key=rank)
            gain = Gain(best, smallest).speedup
            if gain is not None:
                rows.append({"series": name, "workers": count, "speedup": gain})
    if not rows:
        return message("speedup: no run of several processes")
    least = min(row["workers"] for row in rows)
    counts = sorted({row["workers"] for row in rows})
    ideal = [{"workers": n, "speedup": n / least} for n in counts]
    axis = alt.Axis(values=counts, format="d")
    x = alt.X("workers:Q", title="processes, or GPUs of one process", axis=axis, scale=alt.Scale(zero=False))
    y = alt.Y("speedup:Q", title="speedup over the smallest", scale=alt.Scale(domainMin=0))
    colour = alt.Color("series:N", scale=series_scale(str(row["series"]) for row in rows), title=None)
    line = base(rows).mark_line(point=alt.OverlayMarkDef(size=40)).encode(x=x, y=y, color=colour)
    dashed = base(ideal).mark_line(strokeDash=[5, 3], color="#222222").encode(x=x, y=y)
    chart = alt.layer(dashed, line).properties(width=WIDTH, height=220)
    key = "dashed: as many times as there are processes, which needs as many times the resources"
    return styled(chart, "Speedup", key, demo_text(runs))
