"""YAML as parameters need it: names, numbers, text, lists and rules. What else YAML knows is refused by its name.

No tags, so that nothing is made of a text but what it says; no key twice, in whatever spelling, of which PyYAML takes
the last; no aliases by which a few lines become gigabytes. Dates and ``12:30`` are text, ``010`` and ``1e6`` are too: a
person means no minutes in seconds and no octal number.
"""

import re
from typing import Any, NoReturn

import yaml

from inferkit.errors import ParameterError
from inferkit.text import quoted, shortened

MOST_BYTES = 1 << 18
"""Of a parameter file: thousands of rules. PyYAML reads about as much in three seconds."""
DEEPEST = 20
"""Lists and rules in one another; ``grid`` has four."""
MOST_VALUES = 100_000
"""With those that aliases stand for."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with nothing but plain values."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._deepest = self._values = 0
        self._anchored: dict[str, tuple[int, int]] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            _refuse(f"the tag {quoted(event.tag)}", "write the value alone, in quotes if it is text", event)
        alias = isinstance(event, yaml.AliasEvent)
        levels, values = self._anchored.get(str(event.anchor), (1, 0)) if alias else (1, 1)
        above, before, self._deepest = self._deepest, self._values, self._depth + levels
        self._values += values
        if self._deepest > DEEPEST:
            _refuse(f"more than {DEEPEST} levels of lists", "parameters need fewer", event)
        if self._values > MOST_VALUES:
            _refuse(f"more than {MOST_VALUES:,} values", "parameters need fewer", event)
        self._depth += 1
        if event.anchor and not alias:
            self._anchored[event.anchor] = (DEEPEST, 1)  # within itself it has no end
        node = super().compose_node(parent, index)
        self._depth -= 1
        if event.anchor and not alias:
            self._anchored[event.anchor] = (self._deepest - self._depth, self._values - before)
        self._deepest = max(above, self._deepest)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, yaml.ScalarNode] = {}
        for key in (own for own, _ in node.value if isinstance(own, yaml.ScalarNode)):
            value = self.construct_object(key)
            if value in seen:
                same = f"{quoted(seen[value].value)} of line {seen[value].start_mark.line + 1}"
                _refuse(f"{quoted(key.value)}, the same key as {same}", "leave out one of them", key)
            seen[value] = key
        return super().construct_mapping(node, deep=deep)


def _refuse(found: str, fix: str, where: Any) -> NoReturn:
    problem = f"found {found}: {fix}"
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=where.start_mark)


_KINDS = {
    "null": (r"~|null|Null|NULL|", [*"~nN", ""]),
    "bool": (r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", list("yYnNtTfFoO")),
    "int": (r"[-+]?(?:0|[1-9][0-9_]{0,30})|0x[0-9a-fA-F]{1,16}", list("-+0123456789")),
    "float": (
        r"[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+][0-9]+)?|[-+]?\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+0123456789."),
    ),
}
"""What is no text, as YAML 1.1 and papermill have it, less what nobody means."""
_Loader.yaml_implicit_resolvers = {}
for _kind, (_pattern, _first) in _KINDS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"^(?:{_pattern})$"), _first)


def plain_yaml(text: str | bytes) -> Any:
    """Read YAML.

    Parameters
    ----------
    text
        Bytes are UTF-8.

    Raises
    ------
    ParameterError
        Saying, to come after the name of the file, why it is not read.
    """
    if len(text) > MOST_BYTES:
        message = f"holds more than {MOST_BYTES:,} bytes, expected a file of parameters"
        raise ParameterError(message)
    try:
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        return yaml.load(decoded, _Loader)
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        message = f"is no text in UTF-8: byte 0x{error.object[error.start]:02x} in line {line}: save it as UTF-8"
        raise ParameterError(message) from error
    except yaml.YAMLError as error:
        message = f"is not YAML: {_told(error)}"
        raise ParameterError(message) from error


def _told(error: yaml.YAMLError) -> str:
    """Word what is wrong on one line, and where."""
    mark = getattr(error, "problem_mark", None)
    where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    parts = [getattr(error, name, None) for name in ("context", "problem")]
    told = ": ".join(filter(None, parts)) or str(error)
    return shortened(" ".join(told.split()), 300) + where
