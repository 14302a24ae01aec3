"""What a run does at the moment, and what it found so far, in words: made of the events of its feed (cli/feed.py)."""

import os
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from inferkit.cli.parameter_files import STANDARD_INPUT
from inferkit.records.run import Run
from inferkit.report.labels import STAGE_TITLES, VERDICTS, axis_text, point_text, rate_text, verdict_text
from inferkit.report.palette import NO_STAGE_COLOUR, STAGE_COLOURS, stage_order
from inferkit.report.tables import folded, html_table
from inferkit.units import bandwidth, duration, rate

COURSE = 300
"""Rates that are drawn: a minute's, at five a second."""
WAIT = "wait"
DOING = {
    "read": "being read",
    "decode": "being decoded",
    "copy": "being copied",
    "infer": "being inferred",
    "out": "returning results",
    WAIT: "waiting between stages (the queue)",
}
SENSORS = {
    "busy": lambda value: f"{value:.0%} busy",
    "power_w": lambda value: f"{value:.0f} W",
    "temperature_c": lambda value: f"{value:.0f} °C",
    "clock_hz": lambda value: f"{value / 1e9:.2f} GHz",
}
WIDTH, HEIGHT = 300, 48


class Live:
    """A run, as far as it was told of.

    Attributes
    ----------
    runs
        The records so far.
    notebooks
        Paths of those that are written.
    """

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.notebooks: list[Path] = []
        self._planned: Mapping[str, Any] = {}
        self._progress: Mapping[str, Any] = {}
        self._errors: list[str] = []
        self._point: tuple[str, int] = "", -1
        self._course: deque[float] = deque(maxlen=COURSE)

    def hear(self, event: Mapping[str, Any]) -> None:
        """Take in an event."""
        kind = event["event"]
        if kind == "planned":
            self._planned = event
        elif kind == "progress":
            self._progress = event
            self._note(event)
        elif kind == "record":
            self.runs.append(Run.from_dict(event["run"]))
        elif kind == "executed":
            self._progress = {}
            self.notebooks.append(Path(event["path"]))
            if event["error"]:
                self._errors.append(event["error"])

    def _note(self, progress: Mapping[str, Any]) -> None:
        live = progress["live"] or {}
        point = progress["notebook"], live.get("index", -1)
        if point != self._point:
            self._point = point
            self._course.clear()
        latest = live.get("latest") or {}
        now = latest.get("images_per_s") or latest.get("bytes_per_s")
        if now and (not self._course or now != self._course[-1]):  # the same is told again until a batch is completed
            self._course.append(now)

    def moving(self) -> str:
        """Return the point under way as HTML: throughput, where batches are, and the machine."""
        live = self._progress.get("live")
        if not self._progress:
            return ""
        if not live or live["note"]:
            return _bar(self._progress["fraction"], self._headline(live))
        latest = live["latest"]
        parts = [_bar(self._progress["fraction"], self._headline(live)), self._throughput(latest)]
        return "".join([*parts, _batches(latest["batches"]), _machine(latest["machine"])])

    def _headline(self, live: Mapping[str, Any] | None) -> str:
        notebook = self._progress["notebook"]
        lead = f"{notebook} {STAGE_TITLES.get(notebook, '')}"
        if not live:
            return f"{lead}: {self._progress['text']}"
        axes = " · ".join(text for name, value in live["axes"].items() if (text := axis_text(name, value)))
        end = "the last point, press Stop again to end it at once" if live["stopping"] else _left(live["seconds_left"])
        note = f" · {live['note']}" if live["note"] else ""
        return f"{lead}, point {live['index'] + 1} of {live['total']}: {live['measure']} {axes}{note} · {end}"

    def _throughput(self, latest: Mapping[str, Any]) -> str:
        speed = rate(latest["images_per_s"]) if latest["images_per_s"] else ""
        words = " · ".join(filter(None, (speed, bandwidth(latest["bytes_per_s"]))))
        drawn = _course(self._course)
        return f'<div class="inferkit-now"><b>Throughput now: {words}</b>{drawn}</div>'

    def status(self) -> str:
        """Say in one line where the run is; it changes as points begin and end."""
        if not self._planned:
            return "Starting"
        names = ", ".join(self._planned["notebooks"])
        return f"Running notebooks {names} of {self._planned['storage']}, results so far: {len(self.runs)}"

    def verdicts(self) -> str:
        """Count the results by verdict: ``2 VALID, 1 INVALID``."""
        counts: Counter[str] = Counter(run.verdict for run in self.runs)
        return ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]) or "no results"

    def results(self, below: Path) -> str:
        """Return what was found so far, as HTML that needs no widget: results, errors, and links to the notebooks.

        Parameters
        ----------
        below
            The folder that links are relative to.
        """
        rows = [_result(run) for run in self.runs]
        head = ("notebook", "measure", "point", "measured", "bottleneck", "verdict")
        table = html_table(rows, head) if rows else ""
        errors = "".join(f"<div>✗ {escape(error)}</div>" for error in self._errors)
        return table + errors + _links(self.notebooks, below)


def _result(run: Run) -> Sequence[str]:
    return run.notebook, run.measure, point_text(run), rate_text(run), run.bottleneck or "–", verdict_text(run)


def _links(notebooks: Iterable[Path], below: Path) -> str:
    named = [
        f'<li><a href="{escape(os.path.relpath(path, below), quote=True)}">{escape(str(path))}</a></li>'
        for path in notebooks
    ]
    return f"<div>Executed notebooks:</div><ul>{''.join(named)}</ul>" if named else ""


def _left(seconds: float) -> str:
    return f"at least {duration(round(seconds))} left"


def _bar(fraction: float, words: str) -> str:
    return (
        f'<div class="inferkit-point">{escape(words)}</div>'
        f'<div class="inferkit-bar" role="progressbar" aria-label="of this notebook" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{fraction * 100:.0f}"><div style="width:{fraction:.1%}"></div></div>'
    )


def _course(values: Sequence[float]) -> str:
    """Draw rates, one after another, from zero up."""
    if len(values) < 2:
        return ""
    top = max(values)
    points = " ".join(
        f"{index * WIDTH / (len(values) - 1):.1f},{HEIGHT - value * (HEIGHT - 2) / top:.1f}"
        for index, value in enumerate(values)
    )
    words = f"Throughput of this point so far, from {rate(min(values))} to {rate(top)}".replace(" images/s", "")
    return (
        f'<svg role="img" aria-label="{escape(words)}" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}"><polyline points="{points}"/></svg>'
    )


def _batches(batches: Mapping[str, float]) -> str:
    """Tell where batches are, on average: a bar of shares, and each in words."""
    total = sum(batches.values())
    if not total:
        return ""
    names = [*stage_order(name for name, there in batches.items() if there and name != WAIT), WAIT]
    shares = {name: batches.get(name, 0.0) / total for name in names}
    bar = "".join(
        f'<span style="width:{share:.2%};background:{STAGE_COLOURS.get(name, NO_STAGE_COLOUR)}"></span>'
        for name, share in shares.items()
    )
    words = [
        f'<span class="inferkit-key"><i style="background:{STAGE_COLOURS.get(name, NO_STAGE_COLOUR)}"></i>'
        f"{escape(DOING.get(name, name))}: {batches.get(name, 0.0):.1f} ({share:.0%})</span>"
        for name, share in shares.items()
    ]
    lead = f"Batches under way, on average: {total:.1f}"
    return f'<div>{lead}</div><div class="inferkit-shares">{bar}</div><div>{"".join(words)}</div>'


def _machine(samples: Mapping[str, float]) -> str:
    lines = [f"All CPUs of this machine: {samples['host_cpu']:.0%} busy"] if "host_cpu" in samples else []
    return "".join(f"<div>{escape(line)}</div>" for line in [*lines, *_gpus(samples)])


def _gpus(samples: Mapping[str, float]) -> Iterator[str]:
    numbers = sorted({int(found[1]) for name in samples if (found := re.match(r"gpu(\d+)_", name))})
    for number in numbers:
        known = {name: samples.get(f"gpu{number}_{name}") for name in SENSORS}
        yield f"GPU {number}: " + " · ".join(SENSORS[name](value) for name, value in known.items() if value is not None)


def refusal(words: str) -> str:
    """Return what the command printed as the form says it: it knows the form's answers as standard input."""
    told = words.rpartition(f"inferkit: {STANDARD_INPUT}: ")[2]
    return told.replace(str(STANDARD_INPUT), "these parameters").strip()


def printed(words: str, *, refused: bool) -> str:
    """Return what the command printed, folded away unless it says why nothing ran."""
    text = f"<pre>{escape(refusal(words))}</pre>"
    return text if refused else folded("What inferkit run printed", text)
