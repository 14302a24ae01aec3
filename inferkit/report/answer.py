"""The top of a notebook: one sentence and one picture, there from the start and filled in as points are measured.

The cell that makes an :class:`Answer` is the notebook's first. What it shows are displays with a name of their own,
which later cells replace in place: so the answer stands above the code that found it, live and in the executed
notebook.
"""

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from IPython.display import DisplayHandle, display

from inferkit.records.packed import Packer
from inferkit.records.run import STOPPED, Run
from inferkit.report.charts.nodes import over_nodes
from inferkit.report.charts.pipeline import ceilings, throughput
from inferkit.report.charts.sweeps import read_sweep, transfer_sweep
from inferkit.report.charts.theme import Chart, Nothing
from inferkit.report.display import chart_bundle
from inferkit.report.headline import Headline, best_pipeline, counts, headline, machine_text, rival
from inferkit.report.labels import DEMO_REASON, NOT_FOR_QUOTING
from inferkit.report.nodes import compared, knees
from inferkit.report.palette import VERDICT_COLOURS
from inferkit.report.points import points_table
from inferkit.report.record import show
from inferkit.report.tables import badge

WAITING = "Nothing is measured yet. Run all cells to fill in the answer here."
NO_ANSWER = "no answer"
STOPPED_LEAD = "Stopped before the end. So far: "
EMPTY = {"text/plain": ""}


class Answer:
    """Displays the answer of a notebook where it is made, and keeps it up to date.

    Attributes
    ----------
    line
        A display for what is under way, between the sentence and the picture.
    """

    def __init__(self) -> None:
        self._head = _displayed(_bundle(WAITING, f"<p>{WAITING}</p>"))
        self.line = _displayed(EMPTY)
        self._picture = _displayed(EMPTY)
        self._points = _displayed(EMPTY)
        self._drawn: str | None = None

    def show_all(self, runs: Iterable[Run]) -> list[Run]:
        """Display each record in this cell as it arrives, and the answer so far at the top.

        Returns
        -------
        list of Run
            All of them.
        """
        kept: list[Run] = []
        packer, ended = Packer(), False
        try:
            for run in runs:
                kept.append(show(run, packer))
                self._fill(kept, "So far: ")
            ended = not any(run.failure and run.failure.kind == STOPPED and not run.taken_from for run in kept)
        finally:
            self._fill(kept, "" if ended else STOPPED_LEAD, done=True)
        return kept

    def _fill(self, runs: Sequence[Run], lead: str, *, done: bool = False) -> None:
        answer = headline(runs)
        self._head.update(_head(answer, runs, lead), raw=True)
        self._points.update(points_table(runs) if len(runs) > 1 else EMPTY, raw=True)
        best = answer.run.id if answer.run else None
        if done or best != self._drawn:
            chart = picture(answer, runs)
            self._picture.update(EMPTY if isinstance(chart, Nothing) else chart_bundle(chart), raw=True)
            self._drawn = best


def _displayed(bundle: dict[str, str]) -> DisplayHandle:
    handle = display(bundle, raw=True, display_id=True)
    return handle or DisplayHandle()  # None where there is no notebook


def _bundle(text: str, html: str) -> dict[str, str]:
    return {"text/html": html, "text/plain": text}


def _head(answer: Headline, runs: Sequence[Run], lead: str) -> dict[str, str]:
    """Return the sentence, and below it verdict, profile, date and machine."""
    sentence, about = " ".join([lead + answer.sentence, *_knee(answer, runs)]), _about(answer, runs)
    style = "font-size:1.5em;line-height:1.35;max-width:44em;margin:0.2em 0 0.4em 0"
    html = f'<div style="{style}">{escape(sentence)}</div><div>{_badge(answer)} {escape(about)}</div>'
    verdict = answer.run.verdict if answer.run else NO_ANSWER
    return _bundle(f"{sentence}\n{verdict} · {about}", html)


def _knee(answer: Headline, runs: Sequence[Run]) -> Iterator[str]:
    """Yield what became of the bottleneck as machines were added."""
    for _, told in knees(compared(answer.run, runs) if answer.run else []):
        yield f"{told[:1].upper()}{told[1:]}."


def _badge(answer: Headline) -> str:
    if answer.run is None:
        return badge(NO_ANSWER, VERDICT_COLOURS["FAILED"])
    return badge(answer.run.verdict, VERDICT_COLOURS[answer.run.verdict])


def _about(answer: Headline, runs: Sequence[Run]) -> str:
    run = answer.run or (runs[-1] if runs else None)
    if run is None:
        return ""
    demo = f"{NOT_FOR_QUOTING}: {DEMO_REASON}" if run.profile == "demo" else f"profile {run.profile}"
    taken = f"taken from {run.taken_from}" if run.taken_from else ""
    version = run.host.packages.get("inferkit", "")
    words = [demo, counts(runs), rival(run, runs) if answer.run else "", taken]
    words += [run.started.replace("T", " "), machine_text(run.host), f"inferkit {version}" if version else ""]
    return " · ".join(filter(None, words))


def picture(answer: Headline, runs: Sequence[Run]) -> Chart:
    """Draw the answer: over the machines; a pipeline's ceilings and figure; bandwidth over size, or over threads."""
    shown = answer.run or best_pipeline([run for run in runs if run.ceilings])
    if shown is None:
        return Nothing("no picture without a figure")
    if several := compared(shown, runs):
        return over_nodes(several)
    if shown.measure == "pipeline":
        return ceilings(shown) if len(shown.ceilings) > 1 else throughput(runs)
    if shown.measure == "copy":
        return transfer_sweep(runs)
    return read_sweep(runs) if shown.measure == "read" else Nothing("the sentence says it all")
