"""The form: a control for each question, with its help beside it, or what is wrong with it."""

from collections.abc import Callable, Iterable, Mapping
from html import escape
from typing import Any

import ipywidgets as widgets

from inferkit.cockpit.questions import SECTIONS, Question, questions
from inferkit.errors import ParameterError
from inferkit.records.faults import faults
from inferkit.records.params import MEASURING

UNSET = object()
"""What nobody asked for: the notebooks then take their default."""
LABEL = "130px"
INPUT = {"width": "330px", "flex": "0 0 auto"}
STYLE = {"description_width": LABEL}
WORDS = {True: "yes", False: "no", "": "none"}


def label(words: str) -> widgets.HTML:
    """Return words that stand before boxes as the label of a field stands before it."""
    made = widgets.HTML(escape(words), layout=widgets.Layout(width=LABEL, flex="0 0 auto", margin="2px 8px 2px 2px"))
    made.add_class("inferkit-label")
    return made


def folding(words: str, folded: widgets.Box, *, shown: bool) -> widgets.ToggleButton:
    """Return a button that shows and hides a box, and says which of the two it does."""
    button = widgets.ToggleButton(shown, layout=widgets.Layout(width="180px"))

    def follow(pressed: bool) -> None:
        folded.layout.display = "flex" if pressed else "none"
        button.description = f"{'Hide' if pressed else 'Show'} {words}"

    button.observe(lambda change: follow(change["new"]), names="value")
    follow(shown)
    return button


class Control:
    """One question, and what is said of it.

    Parameters
    ----------
    question
        What is asked.
    changed
        Is called whenever the answer is another one.
    """

    def __init__(self, question: Question, changed: Callable[[], None]) -> None:
        self.question = question
        self._changed = changed
        self._order: list[Any] = []
        self._boxes: dict[Any, widgets.Checkbox] = {}
        room = "120px" if question.kind == "several" else "300px"
        self._beside = widgets.HTML(layout=widgets.Layout(flex=f"1 1 {room}", min_width="0"))
        self._input = self._built()
        self.widget = widgets.HBox([self._input, self._beside], layout=widgets.Layout(flex_flow="row wrap"))
        self.widget.add_class("inferkit-row")
        self.say([])

    def _built(self) -> widgets.Widget:
        asked = self.question
        shared = {"description": asked.title, "tooltip": asked.help, "style": STYLE}
        if asked.kind == "several":
            self._list = widgets.HBox(layout=widgets.Layout(flex_flow="row wrap"))
            self._offer(asked.options)
            wide = widgets.Layout(min_width=INPUT["width"], flex="0 1 auto")
            return widgets.HBox([label(asked.title), self._list], layout=wide)
        if asked.kind == "choice":
            made = widgets.Dropdown(options=self._choices(asked.options), layout=INPUT, **shared)
        else:
            kind = widgets.Textarea if asked.kind == "rules" else widgets.Text
            hint = asked.text(asked.default) or "\u200b"
            made = kind(placeholder=hint, continuous_update=True, layout=INPUT, **shared)
        made.observe(lambda _: self._changed(), names="value")
        return made

    def _choices(self, options: Iterable[Any]) -> list[tuple[str, Any]]:
        default = WORDS.get(self.question.default, self.question.default)
        head = "as found" if default == "none" else f"{default} (default)"
        return [(head, UNSET), *((WORDS.get(option, str(option)), option) for option in options)]

    def _offer(self, options: Iterable[Any]) -> None:
        """Show a box for each option that has none yet."""
        for option in options:
            if option not in self._boxes:
                box = widgets.Checkbox(description=str(option), indent=False, layout=widgets.Layout(width="auto"))
                box.observe(lambda change, option=option: self._ticked(option, change["new"]), names="value")
                self._boxes[option] = box
        self._list.children = tuple(self._boxes.values())

    def _ticked(self, option: Any, on: bool) -> None:
        self._order = [name for name in self._order if name != option] + [option] * on
        self._changed()

    @property
    def value(self) -> Any:
        """What is asked for, or :data:`UNSET`.

        Raises
        ------
        ParameterError
            If what was typed cannot be read.
        """
        if self.question.kind == "several":
            return list(self._order) or UNSET
        answer = self._input.value
        if self.question.kind == "choice":
            return answer
        return self.question.value(answer) if answer.strip() else UNSET

    def fill(self, value: Any) -> None:
        """Show a value, also one that is refused."""
        kind = self.question.kind
        if kind == "several":
            wanted = [] if value is UNSET else value if isinstance(value, list) else [value]
            self._offer(wanted)
            for option, box in self._boxes.items():
                box.value = option in wanted
            self._order = list(dict.fromkeys(wanted))
        elif kind == "choice":
            known = self.question.options
            self._input.options = self._choices(known if value is UNSET or value in known else [*known, value])
            self._input.value = value
        else:
            self._input.value = "" if value is UNSET else self.question.text(value)

    def say(self, faults: Iterable[str]) -> None:
        """Show what is wrong, or the help."""
        wrong = "".join(f'<div class="inferkit-fault" role="alert">✗ {escape(fault)}</div>' for fault in faults)
        self._beside.value = wrong or f'<span class="inferkit-help">{escape(self.question.help)}</span>'


class Form:
    """All questions; what few people ask for is folded away.

    Parameters
    ----------
    changed
        Is called after each change of an answer.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._quiet = False
        self._notify = changed
        self.controls = {name: Control(asked, self._told) for name, asked in questions().items()}
        shown = {name for names in SECTIONS.values() for name in names}
        parts = [widget for title, names in SECTIONS.items() for widget in self._section(title, names)]
        rest = widgets.VBox([self.controls[name].widget for name in self.controls if name not in shown])
        self.more = folding("more settings", rest, shown=False)
        self._rest = frozenset(self.controls) - shown
        self.widget = widgets.VBox([*parts, self.more, rest])

    def _section(self, title: str, names: Iterable[str]) -> list[widgets.Widget]:
        head = widgets.HTML(f'<h3 class="inferkit-head">{escape(title)}</h3>')
        return [head, *(self.controls[name].widget for name in names)]

    def _told(self) -> None:
        if not self._quiet:
            self._notify()

    def fill(self, values: Mapping[str, Any]) -> None:
        """Show the values of a parameter file; what it does not name is left to the default."""
        self._quiet = True
        try:
            for name, control in self.controls.items():
                control.fill(values.get(name, UNSET))
        finally:
            self._quiet = False
        self._notify()

    def answers(self) -> tuple[dict[str, Any], dict[str, list[str]]]:
        """Return what is asked for, by parameter, and what is wrong with it, in words."""
        values, wrong = {}, {}
        for name, control in self.controls.items():
            try:
                value = control.value
            except ParameterError as error:
                wrong[name] = [str(error)]
                continue
            if value is not UNSET:
                values[name] = value
        return values, wrong | faults(values, MEASURING.values())

    def say(self, wrong: Mapping[str, list[str]]) -> None:
        """Show beside each control what is wrong with it; a control that is folded away is shown then."""
        for name, control in self.controls.items():
            control.say(wrong.get(name, ()))
        if self._rest & set(wrong):
            self.more.value = True
