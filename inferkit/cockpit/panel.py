"""The cockpit: form, plan, Start, Stop, and what is going on, in one cell of a notebook."""

import threading
from collections.abc import Callable
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import ipywidgets as widgets
from IPython.display import HTML, display

from inferkit.cli.configure import Configuration
from inferkit.cli.parameter_files import configurations, read
from inferkit.cli.refusals import FAILED, INVALID, OK, REFUSED
from inferkit.cockpit.form import INPUT, STYLE, Form, folding, label
from inferkit.cockpit.live import Live, printed, refusal
from inferkit.cockpit.parameter_file import as_yaml, save
from inferkit.cockpit.preview import OUT, Planner, blamed, preview
from inferkit.cockpit.process import Event, Running
from inferkit.errors import InferkitError, ParameterError
from inferkit.records.faults import unknown_parameter
from inferkit.records.params import MEASURING
from inferkit.records.project import project_root
from inferkit.report.attended import attended
from inferkit.report.labels import STAGE_TITLES
from inferkit.report.tables import folded

BLANK = "blank: all at their defaults"
UNNAMED = "cockpit"
"""The storage's name where none was given."""
ENDS = {OK: "Done", FAILED: "Not everything was measured", REFUSED: "Refused before anything ran", INVALID: "Done"}
"""By the exit code of `inferkit run`."""
STOPS = ("Stop after this point", "Stop at once", "Kill the notebook", "Killing the notebook")
"""What the next press of Stop does."""
TEXT_WITHOUT = (
    "The cockpit needs JupyterLab: open notebooks/start.ipynb there (make lab), click on its cell and press "
    "Shift + Enter. Without it, `inferkit run quickstart` in a terminal measures the same; `inferkit run` lists the "
    "parameter files."
)
WHERE = '<span class="inferkit-help">folder of executed notebooks</span>'
WITHOUT = f"<p>{TEXT_WITHOUT}</p>"


class Cockpit:
    """The widgets, and the run that they started, if any."""

    def __init__(self) -> None:
        self.live = Live()
        self.running: Running | None = None
        self._lock = threading.Lock()  # events come from the run's thread, presses from the kernel's
        self._planner = Planner(self._show_plan)
        self._ready = False
        self._results: Any = None
        self._words = ""  # what the command printed, as HTML
        self.form = Form(self._changed)
        self.config = widgets.Dropdown(
            options=[BLANK, *configurations()],
            description="Start from",
            tooltip="A parameter file of this project",
            style=STYLE,
            layout=INPUT,
        )
        self.config.observe(lambda change: self._load(change["new"]), names="value")
        self.notebooks = {name: self._notebook(name) for name in MEASURING}
        self.out = self._text("Results go to", "runs", "folder of executed notebooks")
        self.beside_out = widgets.HTML(WHERE, layout={"flex": "1 1 300px", "min_width": "0"})
        self.file = self._text("File name", "", "of the parameter file, in parameters/")
        self.start = self._button("Start", self._start, "success")
        self.stop = self._button(STOPS[0], self._stop, "warning")
        self.save = self._button("Save parameters", self._save)
        self.stop.disabled = True
        self.plan, self.status, self.moving, self.saved = (widgets.HTML() for _ in range(4))
        self.widget = self._laid_out()
        self._changed()

    def _notebook(self, name: str) -> widgets.Checkbox:
        words = f"{name} {STAGE_TITLES[name]}"
        box = widgets.Checkbox(description=words, indent=False, layout=widgets.Layout(width="auto"))
        box.observe(lambda _: self._changed(), names="value")
        return box

    def _text(self, title: str, value: str, words: str) -> widgets.Text:
        made = widgets.Text(value, description=title, tooltip=words, style=STYLE, layout=INPUT)
        made.observe(lambda _: self._changed(), names="value")
        return made

    def _button(self, words: str, press: Callable[[], None], style: str = "") -> widgets.Button:
        made = widgets.Button(description=words, button_style=style, layout={"width": "auto"})
        made.on_click(lambda _: press())
        return made

    def _laid_out(self) -> widgets.VBox:
        wrap = widgets.Layout(flex_flow="row wrap", align_items="center")
        among = widgets.Layout(flex_flow="row wrap", align_items="baseline", flex="1 1 0", min_width="0")
        ticks = widgets.HBox([*self.notebooks.values(), _help("none ticked: all that apply")], layout=among)
        style = files("inferkit.cockpit").joinpath("cockpit.css").read_text(encoding="utf-8")
        asked = widgets.VBox(
            [
                widgets.HBox([label("Notebooks"), ticks], layout={"align_items": "baseline"}),
                self.form.widget,
                widgets.HBox([self.out, self.beside_out], layout=wrap),
                widgets.HBox([self.file, self.save, self.saved], layout=wrap),
            ]
        )
        self.settings = folding("settings", asked, shown=True)
        made = widgets.VBox(
            [
                widgets.HTML(f"<style>{style}</style>", layout={"display": "none"}),
                widgets.HBox([self.config, self.start, self.stop], layout=wrap),
                self.status,
                self.moving,
                self.plan,
                self.settings,
                asked,
            ]
        )
        made.add_class("inferkit-cockpit")
        return made

    def show(self) -> None:
        """Display the cockpit, and below it, without widgets, what a run finds."""
        view = self.widget._repr_mimebundle_() or {}
        display({**view, "text/html": WITHOUT, "text/plain": TEXT_WITHOUT}, raw=True)
        self._results = display(HTML(self._report()), display_id=True)

    def _load(self, name: str) -> None:
        try:
            values = {} if name == BLANK else {"storage": name, **read(configurations()[name])}
            for key in values:
                if key not in self.form.controls:
                    raise ParameterError(unknown_parameter(key, set(self.form.controls), f"{name}.yaml"))
        except InferkitError as error:
            self._planner.forget()
            self._allow(ready=False)
            self.plan.value = _fault(str(error))
            return
        self.form.fill(values)

    def _only(self) -> list[str]:
        return [name for name, box in self.notebooks.items() if box.value]

    def _asked(self) -> tuple[dict[str, Any], dict[str, list[str]]]:
        values, wrong = self.form.answers()
        return {"storage": UNNAMED, **values}, wrong

    def _changed(self) -> None:
        values, wrong = self._asked()
        self.form.say(wrong)
        self.beside_out.value = WHERE
        self._planner.forget()
        self._allow(ready=False)
        self.saved.value = ""
        self.file.placeholder = f"{values['storage']}.yaml"
        if wrong:
            titles = ", ".join(self.form.controls[name].question.title for name in wrong)
            self.plan.value = _fault(f"to be mended first: {titles}")
            return
        self.plan.value = '<span class="inferkit-help">planning …</span>'
        self._planner.ask(values, self._only(), self.out.value or "runs")

    def _show_plan(self, found: Configuration | str) -> None:
        if isinstance(found, str):
            self._blame(found)
            self.plan.value = _fault(found)
            return
        self._out = found.out
        self.plan.value = f"<b>What will be measured</b>{preview(found)}"
        self._allow(ready=bool(found.notebooks))

    def _blame(self, refused: str) -> None:
        """Show a refusal beside the fields that it names."""
        values, _ = self._asked()
        self.form.say({name: [refused] for name in blamed(refused, values, self.form.controls)})
        self.beside_out.value = _fault(refused.removeprefix(f"{OUT}: ")) if refused.startswith(OUT) else WHERE

    def _allow(self, *, ready: bool) -> None:
        self._ready = ready
        self.start.disabled = self.running is not None or not ready
        self.save.disabled = not ready

    def _start(self) -> None:
        with self._lock:
            values, wrong = self._asked()
            if wrong or not self._ready or self.running is not None:
                return
            self.live = Live()
            self._parameters = as_yaml(values)
            self.running = Running(self._parameters, self._only(), self._out, self._hear, self._end)
        self._allow(ready=self._ready)
        self.stop.disabled, self.stop.description = False, STOPS[0]
        self.settings.value = False  # so that what is found comes into view
        self._tell(self.live.status())
        self._refresh()

    def _stop(self) -> None:
        with self._lock:
            if self.running is None:
                return
            self.running.stop()
            presses = self.running.presses
            self.stop.description = STOPS[min(presses, len(STOPS) - 1)]
            self.stop.disabled = presses >= len(STOPS) - 1
        self._tell("Stopping at once" if presses > 1 else "Stopping: the point under way is finished first")

    def _hear(self, event: Event) -> None:
        self.live.hear(event)
        self.moving.value = self.live.moving()
        if event["event"] != "progress":
            if self.running is not None and not self.running.presses:
                self._tell(self.live.status())
            self._refresh()

    def _end(self, code: int, words: str) -> None:
        with self._lock:
            self.running = None
            self.stop.disabled, self.stop.description = True, STOPS[0]
        self.moving.value = ""
        self._allow(ready=self._ready)
        self._tell(f"{ENDS.get(code, 'The command was stopped')}: {self.live.verdicts()}")
        if code == REFUSED:
            self._blame(refusal(words))
            self.settings.value = True
        self._refresh(printed(words, refused=code == REFUSED))

    def _tell(self, words: str) -> None:
        self.status.value = f'<div class="inferkit-status" role="status" aria-live="polite">{escape(words)}</div>'

    def _report(self) -> str:
        parameters = getattr(self, "_parameters", "")
        if not parameters:
            return ""
        asked = folded("Parameters of this run, as a file", f"<pre>{escape(parameters)}</pre>")
        return self.live.results(Path.cwd()) + self._words + asked

    def _refresh(self, words: str = "") -> None:
        self._words = words
        if self._results is not None:
            self._results.update(HTML(self._report()))

    def _save(self) -> None:
        values, _ = self._asked()
        try:
            path = save(values, self.file.value or f"{values['storage']}.yaml")
        except InferkitError as error:
            self.saved.value = _fault(str(error))
            return
        self.saved.value = f"saved: <code>inferkit run {escape(str(path.relative_to(project_root())))}</code>"


def _help(words: str) -> widgets.HTML:
    return widgets.HTML(f'<span class="inferkit-help">{escape(words)}</span>')


def _fault(words: str) -> str:
    return f'<div class="inferkit-fault" role="alert">✗ {escape(words)}</div>'


_shown: list[Cockpit] = []
"""The one that this kernel has: a page that is loaded again has lost what it showed."""


def cockpit() -> None:
    """Show the cockpit; where nobody sits who could use it, say what to do.

    Executed again, it shows what it showed: the form as it was filled in, the run that goes on, or what it found.
    """
    if not attended():
        display({"text/html": WITHOUT, "text/plain": TEXT_WITHOUT}, raw=True)
        return
    if not _shown:
        _shown.append(Cockpit())
    _shown[0].show()
