"""What is wrong with parameters, in words: for a terminal, a notebook, and the form of the cockpit."""

import difflib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from inferkit.objects.place import without_user
from inferkit.text import quoted, shortened

NAMED = 60
"""Characters of a name that nobody declares."""


def unknown_parameter(name: str, known: Collection[str], place: str) -> str:
    """Word the refusal of a name that nobody declares, with the nearest that somebody does."""
    near = difflib.get_close_matches(name[:NAMED], known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
    return f"{place}: {quoted(name)} is not a parameter: {hint}"


def refusals(error: ValidationError, known: Collection[str], place: str) -> str:
    """Word all that a notebook's model refuses, a line each: where it stands, what was found, and what is allowed.

    Parameters
    ----------
    known
        Names that the model declares.
    place
        The file, option or notebook that the values come from.
    """
    return "\n".join(
        unknown_parameter(_name(detail), known, place)
        if detail["type"] == "extra_forbidden"
        else f"{place}: {_name(detail)} is {_refusal(place, detail)}"
        for detail in error.errors()
    )


def faults(values: Mapping[str, Any], models: Iterable[type[BaseModel]]) -> dict[str, list[str]]:
    """Say what is wrong with values, whichever models declare them.

    Returns
    -------
    dict
        By parameter: what was found and what is allowed; of a list, by item, the first being 1. Empty if all is well.
    """
    found: dict[str, dict[str, None]] = {}
    for model in models:
        try:
            model.model_validate({name: value for name, value in values.items() if name in model.model_fields})
        except ValidationError as error:
            for detail in error.errors():
                item = "".join(f"item {part + 1}: " for part in detail["loc"][1:2] if isinstance(part, int))
                number = " (write 1000000, not 1e6)" if _reads_as_number(detail["input"]) else ""
                said = f"{item}{_shown(detail['input'])}: {_told(detail)}{number}"
                found.setdefault(str(detail["loc"][0]), {})[said] = None
    return {name: list(texts) for name, texts in found.items()}


def _reads_as_number(found: object) -> bool:
    return isinstance(found, str) and re.fullmatch(r"[0-9.]+[eE][0-9]+", found) is not None


def _name(detail: ErrorDetails) -> str:
    return ".".join(shortened(str(part), NAMED) for part in detail["loc"])


def _shown(found: object) -> str:
    """Quote a value, without the password that may stand in a URL."""
    return quoted(without_user(found) if isinstance(found, str) else found)


def _told(detail: ErrorDetails) -> str:
    return detail["msg"].removeprefix("Value error, ")


def _refusal(place: str, detail: ErrorDetails) -> str:
    """Word what was found and why it is refused."""
    found = detail["input"]
    hint = ""
    if detail["type"] == "list_type" and not str(found).startswith("["):
        hint = f": write {_as_list(_name(detail), found, place)}"
    elif isinstance(found, str) and not detail["type"].startswith(("string", "value", "literal")):
        hint = " (text: YAML reads 1e6 as text, write 1.0e+6 or 1000000; papermill -p passes text, use -y)"
    return f"{_shown(found)}: {_told(detail)}{hint}"


def _as_list(name: str, value: object, place: str) -> str:
    """Write a value as the list that it was to be: in YAML, or in Python where a notebook says so."""
    if place.startswith("notebook "):
        return f"{name} = [{quoted(value)}]"
    plain = isinstance(value, str) and re.fullmatch(r"[\w./,-]+", value)
    told = shortened(value if isinstance(value, str) and plain else json.dumps(value, default=str), NAMED)
    return f"{name}{'=' if place.startswith('--') else ': '}[{told}]"
