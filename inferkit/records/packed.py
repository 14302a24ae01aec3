"""Records of one notebook, packed: each says only what an earlier one of its cell does not say as well.

A hundred records of a server with eight GPUs are three megabytes otherwise, half of them the spaces before each number:
papermill and JupyterLab write a line for every value of JSON, but a text as it is. So a cell displays a record of
schema 4:

- ``text`` is the JSON of a record of schema 2, in which what several GPUs did is a table, and the windows are columns;
- ``like`` is the ``id`` of an earlier record: then ``text`` has what is not the same there, and ``without`` the paths
  of what is there alone.

A table has series ``gpu0_busy``, ``gpu1_busy`` … under ``gpu*_busy``, or the facts ``gpus``: ``of`` has the numbers of
its rows, ``same`` what all rows have in common, ``each`` a list of what each has. Where all of that are whole numbers,
so many zeros are left off their ends as ``zeros`` says. Columns have ``null`` for what a window does not have.

Notebooks of schema 3 are read as well: there ``host``, ``params`` and ``unverified`` are the ``id`` of an earlier
record that has the same, and the rest, with its tables, stands as JSON.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from inferkit.records.figures import Json
from inferkit.records.run import PACKED, SCHEMA, SHARED

MOST_ZEROS = 18
"""Of what is counted in a record, bytes of a second at the most, none has more."""
NAMES = ("host", "params", "unverified")
"""What a record of schema 3 may refer to."""
MOST_TEXT = 1 << 26
"""Characters that all packed records of a notebook stand for: those of a hundred points are a million."""
DEEPEST = 100
"""Levels of lists and objects in a notebook; a chart's have about fifteen, and Python gives up at some hundred."""
TABLE = {"of", "same", "each", "zeros"}
_OF_GPU = re.compile(r"gpu(\d+)_(.+)")
_OF_GPUS = "gpu*_"


class Packer:
    """Packs records one by one, in the order in which a cell displays them.

    A record is told against the first one that measured the same, and that one against the first of all. So a cell has
    its own packer: its outputs come and go together, in whatever order cells are run again.
    """

    def __init__(self) -> None:
        self._first: dict[str, dict[str, Json]] = {}
        self._seen: set[str] = set()

    def pack(self, record: Json) -> Json:
        """Return a record packed; as it is if it is none of schema 2, or repeats an id."""
        if not _is(record, SCHEMA) or record["id"] in self._seen:
            return record
        self._seen.add(record["id"])
        own, measure = _with_tables(record), _text(record.get("measure"))
        first = self._first.get(measure) or next(iter(self._first.values()), None)
        self._first.setdefault(measure, own)
        made = {"schema": PACKED, "id": record["id"]}
        if first is None:
            return made | {"text": _text(own)}
        gone = sorted(_gone(first, own))
        return made | {"like": first["id"], "text": _text(_changed(first, own))} | ({"without": gone} if gone else {})


def pack(records: Iterable[Json]) -> list[Json]:
    """Pack a notebook's records, in their order."""
    packer = Packer()
    return [packer.pack(record) for record in unpack(records)]


class Unpacker:
    """Makes packed records whole again, one by one, in the order of their notebook."""

    def __init__(self) -> None:
        self._shared: dict[tuple[str, str], Json] = {}
        self._whole: dict[str, tuple[dict[str, Json], int]] = {}
        self._room = MOST_TEXT

    def unpack(self, record: Json) -> Json:
        """Return a record whole; a packed one as it is where the notebook lacks what it refers to."""
        if packed(record):
            return self._from_text(record)
        whole = self._from_references(record) if _is(record, SHARED) else record
        if _is(record, SCHEMA) or _is(record, SHARED):
            for name in NAMES:
                if isinstance(record.get(name), dict | list):
                    self._shared.setdefault((name, record["id"]), record[name])
        return whole

    def _from_text(self, record: dict[str, Json]) -> Json:
        like, own = record.get("like"), _told(record.get("text"))
        known, length = self._whole.get(like, ({}, 0)) if isinstance(like, str) else ({}, 0)
        length += len(str(record.get("text")))
        self._room -= length
        if own is None or (like is not None and not known) or self._room < 0:
            return record
        for path in _paths(record.get("without")):
            known = _left_out(known, path)
        whole = _merged(known, own)
        self._whole.setdefault(record["id"], (whole, length))
        return _without_tables(whole)

    def _from_references(self, record: Mapping[str, Json]) -> Json:
        wanted = [(name, record[name]) for name in NAMES if isinstance(record.get(name), str)]
        if not all(each in self._shared for each in wanted):
            return record
        found = {name: self._shared[name, owner] for name, owner in wanted}
        return _without_tables(record) | {"schema": SCHEMA} | found


def packed(record: Json) -> bool:
    """Tell whether a record is packed as text; one that was read from its notebook is so where it cannot be whole."""
    return _is(record, PACKED)


def unpack(records: Iterable[Json]) -> list[Json]:
    """Return a notebook's records, each whole."""
    unpacker = Unpacker()
    return [unpacker.unpack(record) for record in records]


def _is(record: Json, schema: int) -> bool:
    return isinstance(record, dict) and record.get("schema") == schema and isinstance(record.get("id"), str)


def _changed(first: Mapping[str, Json], own: Mapping[str, Json]) -> dict[str, Json]:
    """Return what one has that is not the same in the first; of an object that both have, the same of its parts."""
    return {
        name: _changed(first[name], value) if _objects(first.get(name), value) else value
        for name, value in own.items()
        if name not in first or _text(first[name]) != _text(value)
    }


def _gone(first: Mapping[str, Json], own: Mapping[str, Json]) -> Iterator[list[str]]:
    """Yield the paths of what the first has alone."""
    for name, value in first.items():
        if name not in own:
            yield [name]
        elif _objects(value, own[name]):
            yield from ([name, *path] for path in _gone(value, own[name]))


def _left_out(first: dict[str, Json], path: list[str]) -> dict[str, Json]:
    """Return an object without what lies at a path."""
    name, *deeper = path
    if deeper and isinstance(first.get(name), dict):
        return first | {name: _left_out(first[name], deeper)}
    return {key: value for key, value in first.items() if key != name}


def _merged(first: Mapping[str, Json], changed: Mapping[str, Json]) -> dict[str, Json]:
    """Return the first with what is changed, by name, as notebooks sort their JSON."""
    new = {
        name: _merged(first[name], value) if _objects(first.get(name), value) else value
        for name, value in changed.items()
    }
    return dict(sorted({**first, **new}.items()))


def _objects(*values: Json) -> bool:
    return all(isinstance(value, dict) for value in values)


def _told(text: Json) -> dict[str, Json] | None:
    """Return the object that a text is the JSON of; None if it is none, or nested too deep."""
    try:
        told = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) and not nested_deeper(told, DEEPEST) else None


def _paths(without: Json) -> list[list[str]]:
    """Return the paths of what a record is without, as far as they are some."""
    paths = [path for path in without if isinstance(path, list)] if isinstance(without, list) else []
    return [path for path in paths if path and len(path) <= DEEPEST and all(isinstance(name, str) for name in path)]


def nested_deeper(value: Json, levels: int) -> bool:
    """Tell whether lists and objects are nested deeper than so many levels."""
    level = [value]
    for _ in range(levels):
        nested = [item for item in level if isinstance(item, list | dict)]
        level = [inner for item in nested for inner in (item.values() if isinstance(item, dict) else item)]
    return any(isinstance(item, list | dict) for item in level)


def _with_tables(record: Mapping[str, Json]) -> dict[str, Json]:
    made = dict(record)
    facts, series = record.get("facts"), record.get("series")
    if isinstance(facts, dict) and alike(facts.get("gpus")):
        made["facts"] = facts | {"gpus": table(facts["gpus"])}
    if isinstance(series, dict):
        made["series"] = _packed_series(series)
    if _rows(record.get("repeats")):
        made["repeats"] = columns(record["repeats"])
    return made


def _without_tables(record: Mapping[str, Json]) -> dict[str, Json]:
    made = dict(record)
    facts, series = record.get("facts"), record.get("series")
    if isinstance(facts, dict) and _is_table(facts.get("gpus")):
        made["facts"] = facts | {"gpus": rows(facts["gpus"])}
    if isinstance(series, dict):
        made["series"] = {}
        for name, own in series.items():
            several = name.startswith(_OF_GPUS) and _is_table(own)
            each = {f"gpu{k}_{name.removeprefix(_OF_GPUS)}": one for k, one in rows(own).items()} if several else {}
            made["series"] |= each or {name: own}
    if _columns(record.get("repeats")):
        made["repeats"] = windows(record["repeats"])
    return made


def _packed_series(series: Mapping[str, Json]) -> dict[str, Json]:
    groups: defaultdict[str, dict[str, Json]] = defaultdict(dict)
    for name, own in series.items():
        if of_gpu := _OF_GPU.fullmatch(name):
            groups[of_gpu[2]][of_gpu[1]] = own
    made = dict(series)
    for name, own in groups.items():
        if alike(own):
            for gpu in own:
                del made[f"gpu{gpu}_{name}"]
            made[f"{_OF_GPUS}{name}"] = table(own)
    return made


def alike(named: Json) -> bool:
    """Tell whether something is several objects, by numbers, that all have the same keys."""
    if not isinstance(named, dict) or len(named) < 2 or not all(map(str.isdecimal, named)):
        return False
    return all(isinstance(row, dict) for row in named.values()) and len(set(map(frozenset, named.values()))) == 1


def table(named: Mapping[str, Mapping[str, Json]]) -> dict[str, Any]:
    """Return objects that have the same keys as one table."""
    columns = {key: [row[key] for row in named.values()] for key in next(iter(named.values()))}
    same = {key: own[0] for key, own in columns.items() if len({_text(value) for value in own}) == 1}
    each = {key: own for key, own in columns.items() if key not in same}
    zeros = {key: count for key, own in each.items() if (count := _zeros(own))}
    short = {key: _times(own, 10 ** zeros[key], divided=True) if key in zeros else own for key, own in each.items()}
    return {"of": " ".join(named), "same": same, "each": short, "zeros": zeros}


def _zeros(numbers: Json) -> int:
    """Return how many zeros all numbers in a list, or in lists, end with; 0 where one is not whole."""
    flat = [own for each in numbers for own in (each if isinstance(each, list) else [each])]
    if not flat or not all(type(own) is int for own in flat) or not any(flat):
        return 0
    texts = [str(own) for own in flat if own]
    return min(MOST_ZEROS, *(len(text) - len(text.rstrip("0")) for text in texts))


def _times(numbers: Json, factor: int, *, divided: bool = False) -> Json:
    if isinstance(numbers, list):
        return [_times(own, factor, divided=divided) for own in numbers]
    if type(numbers) is not int:
        return numbers
    return numbers // factor if divided else numbers * factor


def rows(packed: Mapping[str, Any]) -> dict[str, dict[str, Json]]:
    """Return a table's objects by their names."""
    zeros = packed["zeros"]
    each = {key: _times(own, 10 ** zeros.get(key, 0)) for key, own in packed["each"].items()}
    numbers = packed["of"].split()
    return {number: packed["same"] | {key: own[k] for key, own in each.items()} for k, number in enumerate(numbers)}


def _rows(value: Json) -> bool:
    """Tell whether something is objects of which none has an unknown value."""
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        return False
    return any(value) and all(own is not None for row in value for own in row.values())


def columns(rows: Sequence[Mapping[str, Json]]) -> dict[str, list[Json]]:
    """Return objects as columns."""
    return {name: [row.get(name) for row in rows] for name in sorted({name for row in rows for name in row})}


def _columns(value: Json) -> bool:
    if not isinstance(value, dict) or not all(isinstance(own, list) for own in value.values()):
        return False
    return len({len(own) for own in value.values()}) == 1


def windows(columns: Mapping[str, Sequence[Json]]) -> list[dict[str, Json]]:
    """Return the objects of columns."""
    rows = zip(*columns.values(), strict=True)
    return [{name: own for name, own in zip(columns, row, strict=True) if own is not None} for row in rows]


def _is_table(value: Json) -> bool:
    if not isinstance(value, dict) or set(value) != TABLE:
        return False
    numbers, same, each, zeros = value["of"], value["same"], value["each"], value["zeros"]
    if not (isinstance(numbers, str) and all(isinstance(own, dict) for own in (same, each, zeros))):
        return False
    if not all(type(count) is int and 0 < count <= MOST_ZEROS for count in zeros.values()):
        return False
    return all(isinstance(own, list) and len(own) == len(numbers.split()) for own in each.values())


def _text(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
