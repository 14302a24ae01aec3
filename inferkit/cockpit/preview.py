"""What a run would do, worked out while the form is filled in: by the code of `inferkit run --dry-run`."""

import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any

from inferkit.cli.configure import Configuration, planned
from inferkit.errors import InferkitError, ParameterError
from inferkit.machine.watched import Unwanted, watched
from inferkit.objects.place import is_url
from inferkit.plan.points import LATER, Plan, reads_files
from inferkit.records.params import MakeDataset
from inferkit.records.project import project_root, resolve
from inferkit.report.labels import STAGE_TITLES
from inferkit.report.tables import folded, html_table
from inferkit.units import duration, gigabytes

SETTLED_S = 0.3
"""Seconds without a change after which the form is planned."""
PLACE = Path("form")
OUT = "--out"
"""How a refusal of the place for results begins."""


class Planner:
    """Plans on a thread of its own what was asked for last, once nothing has changed for a moment.

    Parameters
    ----------
    show
        Is given, on that thread, the configuration or why there is none; never what was asked for earlier than the
        last.
    """

    def __init__(self, show: Callable[[Configuration | str], None]) -> None:
        self._show = show
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._asked = 0

    def ask(self, values: Mapping[str, Any], only: Sequence[str], out: str) -> None:
        """Plan this in a moment."""
        self.forget()
        self._timer = threading.Timer(SETTLED_S, self._plan, (self._asked, dict(values), list(only), out))
        self._timer.daemon = True
        self._timer.start()

    def forget(self) -> None:
        """Show no plan of what was asked for."""
        self._asked += 1
        if self._timer is not None:
            self._timer.cancel()

    def _plan(self, number: int, values: dict[str, Any], only: list[str], out: str) -> None:
        with self._lock, suppress(Unwanted):  # one at a time: each takes a CPU
            if number != self._asked:
                return
            found = plan_or_refusal(values, only, out, lambda: number == self._asked)
            if number == self._asked:
                self._show(found)


def plan_or_refusal(
    values: Mapping[str, Any], only: Sequence[str], out: str, wanted: Callable[[], bool] = lambda: True
) -> Configuration | str:
    """Plan parameters, or say why they cannot run here.

    Raises
    ------
    Unwanted
        If nobody wants to know any more: storage that never answers holds up nothing but itself.
    """

    def work(_: object) -> Configuration:
        return planned(values, PLACE, project_root(), only=only, out=_place(out))

    try:
        return watched(work, wanted=wanted)
    except InferkitError as error:
        return str(error).removeprefix(f"{PLACE}: ")
    except ModuleNotFoundError as error:
        return f"{error.name} is not installed: pip install 'inferkit[measure]'"
    except OSError as error:
        return f"{error.filename or 'a file'} cannot be used: {error.strerror}"


def _place(out: str) -> Path:
    try:
        return resolve(out)
    except ParameterError as error:
        message = f"{OUT}: {error}"
        raise ParameterError(message) from error


def blamed(refusal: str, values: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Return the parameters that a refusal is about.

    Those that it begins with (``readers: …``, ``model 'x' …``, ``mean, std and scale …``; of several, those with a
    value), else those whose path it begins with (``/models/a.onnx: …``).
    """
    lead = re.match(r"[a-z0-9_]+((, | and )[a-z0-9_]+)*", refusal)
    words = re.split(", | and ", lead[0]) if lead else []
    found = [name for name in names if name in words or name.removesuffix("s") in words]
    return [name for name in found if name in values] or found or _of_path(refusal.lstrip("'"), values)


def _of_path(refusal: str, values: Mapping[str, Any]) -> list[str]:
    """Return the parameter whose path a refusal begins with."""
    asked = [(name, value if isinstance(value, list) else [value]) for name, value in values.items()]
    written = [(name, text) for name, own in asked for path in own if isinstance(path, str) for text in _written(path)]
    return [name for name, text in written if re.match(rf"'?{re.escape(text)}(?=[':\s/]|$)", refusal)][:1]


def _written(path: str) -> Iterator[str]:
    """Yield how a refusal may write a path: as it was typed, its bucket alone, or in full; the storage is not asked."""
    if "/" in path:
        yield path
    if is_url(path):
        yield "/".join(path.split("/")[:3])
    elif path:
        yield os.path.normpath(project_root() / os.path.expanduser(path))  # noqa: PTH111 - of no user it raises


def preview(configuration: Configuration) -> str:
    """Return the plan as HTML: points, bytes and the least time of each notebook, and all points folded away."""
    rows = [_row(notebook, plan) for notebook, plan in configuration.plans.items()]
    seconds = sum(plan.seconds for plan in configuration.plans.values())
    points = sum(len(plan.todo) for plan in configuration.plans.values())
    total = ["all", str(points), "", duration(seconds) if seconds else "–"]
    table = html_table([*rows, total], ("notebook", "points", "reads", "at least"), numbers=(1, 3))
    texts = [f"{name} {STAGE_TITLES[name]}\n{plan}" for name, plan in configuration.plans.items() if plan.points]
    skipped = [f"{name} {STAGE_TITLES[name]} does not run: {why}" for name, why in configuration.skipped.items()]
    return "".join(
        [
            table,
            *(f'<div class="inferkit-help">{escape(line)}</div>' for line in skipped),
            folded("All points", f"<pre>{escape(chr(10).join(texts))}</pre>") if texts else "",
        ]
    )


def _row(notebook: str, plan: Plan) -> list[str]:
    title = f"{notebook} {STAGE_TITLES[notebook]}"
    if not plan.points:
        return [title, "–", "makes the data set" if notebook == MakeDataset.notebook else LATER, "–"]
    reading = any(reads_files(point.job) for point in plan.todo)
    known = plan.dataset is not None and plan.dataset.files and reading
    reads = f"{gigabytes(plan.dataset.nbytes)}, again and again" if known and plan.dataset else ""
    return [title, str(len(plan.todo)), reads, duration(plan.seconds)]
