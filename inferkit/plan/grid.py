"""Rules over the product of the axes: which points are left out, and which are measured otherwise.

A rule is plain YAML. ``when`` names axes and the values for which it holds (left out: always); ``skip: true`` leaves
such points out and ``skip: false`` brings them back; ``set`` changes their windows. Later rules win::

    grid:
      - skip: true
      - {when: {model: resnet50, batch_size: [128, 256]}, skip: false, set: {batches: 300}}
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from inferkit.errors import ParameterError
from inferkit.plan.networks import place
from inferkit.records import bounds
from inferkit.records.figures import Scalar
from inferkit.records.windows import Window
from inferkit.text import quoted

MODEL = "model"
AXES = ("device", "gpus", "ranks", "batch_size", "engine", MODEL, "precision", "reader", "threads")
"""What rules can ask for: ``gpus`` and ``ranks`` are numbers of them."""
KEYS = ("when", "set", "skip")
SETTINGS: dict[str, type[int] | type[float]] = {"batches": int, "repeats": int, "warmup_s": float, "duration_s": float}
"""What rules can set. A window lasts at least so many batches (on each GPU) and so many seconds."""

MOST = {"batches": bounds.IMAGES, "repeats": bounds.REPEATS, "warmup_s": bounds.SECONDS, "duration_s": bounds.SECONDS}

Settings = dict[str, float]


@dataclass(frozen=True)
class Rule:
    """One rule, checked.

    Parameters
    ----------
    when
        Values of axes for which it holds.
    settings
        What it sets.
    skip
        Whether it leaves points out; None leaves that as it is.
    """

    when: dict[str, tuple[Scalar, ...]] = field(default_factory=dict)
    settings: Settings = field(default_factory=dict)
    skip: bool | None = None

    def holds(self, axes: Mapping[str, Scalar], aliases: Collection[str] = ()) -> bool:
        """Tell whether the rule is about a point; an axis that the point has not is equal to nothing.

        ``aliases`` are other names of its model.
        """
        own = {axis: [found, *(aliases if axis == MODEL else ())] for axis, found in axes.items()}
        return all(any(_among(name, values) for name in own.get(axis, ())) for axis, values in self.when.items())


def _among(found: Scalar, values: Sequence[Scalar]) -> bool:
    return any(type(found) is type(value) and found == value for value in values)  # True is no 1


class Grid:
    """Rules, and how many points each was about.

    Parameters
    ----------
    rules
        As the parameter ``grid`` holds them.

    Raises
    ------
    ParameterError
        Naming the rule, what was found in it, and the nearest that is allowed.
    """

    def __init__(self, rules: Sequence[Mapping[str, Any]]) -> None:
        self._rules = [_rule(f"grid, rule {number}", rule) for number, rule in enumerate(rules, 1)]
        self._points = [0] * len(self._rules)
        self.skipped = 0

    def settle(self, axes: Mapping[str, Scalar], aliases: Collection[str] = ()) -> Settings | None:
        """Return what the rules set for a point, whose model has other names too; None if they leave it out."""
        settings: Settings = {}
        skip = False
        for number, rule in enumerate(self._rules):
            if rule.holds(axes, aliases):
                self._points[number] += 1
                settings |= rule.settings
                skip = skip if rule.skip is None else rule.skip
        self.skipped += skip
        return None if skip else settings

    @property
    def remarks(self) -> tuple[str, ...]:
        """How many points were left out, and which rules were about none."""
        told = [f"grid: {self.skipped} points of the product are left out"] if self.skipped else []
        idle = [str(number) for number, points in enumerate(self._points, 1) if not points]
        return (*told, *(f"grid, rule {number} is about no point" for number in idle))


def windowed(window: Window, settings: Mapping[str, float], images_per_batch: int) -> Window:
    """Return a window with what rules set; a batch on every GPU holds ``images_per_batch`` images."""
    changes: dict[str, float] = {name: value for name, value in settings.items() if name != "batches"}
    if "batches" in settings:
        changes["images"] = max(window.images, int(settings["batches"]) * images_per_batch)
    return window.changed(**changes)


def _rule(where: str, rule: Mapping[str, Any]) -> Rule:
    _known(where, rule, KEYS)
    skip, settings, when = rule.get("skip"), rule.get("set") or {}, rule.get("when") or {}
    if skip is not None and not isinstance(skip, bool):
        message = f"{where}: skip is {skip!r}; expected true or false"
        raise ParameterError(message)
    for key, value in (("when", when), ("set", settings)):
        if not isinstance(value, Mapping):
            message = f"{where}: {key} is {value!r}; expected `name: value` pairs"
            raise ParameterError(message)
    if (skip is None and not settings) or (skip and settings):
        message = f"{where} has {'both' if skip else 'neither'} skip: true and set; expected one of them"
        raise ParameterError(message)
    _known(f"{where}, when", when, AXES)
    _known(f"{where}, set", settings, SETTINGS)
    values = {axis: _values(f"{where}, when: {axis}", axis, found) for axis, found in when.items()}
    changes = {name: _setting(f"{where}, set: {name}", name, found) for name, found in settings.items()}
    return Rule(values, changes, skip)


def _known(where: str, found: Mapping[str, Any], allowed: Collection[str]) -> None:
    for name in found:
        if name not in allowed:
            near = get_close_matches(str(name), allowed, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"allowed are {', '.join(allowed)}"
            message = f"{where}: {quoted(name)} is unknown: {hint}"
            raise ParameterError(message)


def _values(where: str, axis: str, found: object) -> tuple[Scalar, ...]:
    # The engine is meant: YAML reads a bare null as None.
    values = ["null" if value is None else value for value in (found if isinstance(found, list) else [found])]
    scalars = [value for value in values if isinstance(value, str | int | float)]
    if not values or len(scalars) != len(values):
        message = f"{where} is {quoted(found)}; expected a value, or a list of values"
        raise ParameterError(message)
    return tuple(place(value) if axis == MODEL and isinstance(value, str) else value for value in scalars)


def _setting(where: str, name: str, found: object) -> float:
    whole = SETTINGS[name] is int
    if isinstance(found, int if whole else int | float) and not isinstance(found, bool) and 0 < found <= MOST[name]:
        return found
    what = "a whole number" if whole else "seconds"
    message = f"{where} is {quoted(found)}; expected {what} above 0, at most {MOST[name]:,}"
    raise ParameterError(message)
