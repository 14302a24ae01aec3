"""Records of one notebook, packed: what they have in common stands once, what repeats names is a table.

A hundred records of a server with eight GPUs are three megabytes otherwise. ``inferkit run`` packs what it wrote;
whoever reads a notebook (records/notebooks.py) gets each record whole. A packed record has schema 3 and differs from
schema 2 in this alone:

- ``host``, ``params`` and ``unverified`` are the ``id`` of an earlier record of the notebook that has the same;
- series ``gpu0_busy``, ``gpu1_busy`` … are one table under ``gpu*_busy``, and the facts ``gpus`` are a table:
  ``of`` has the numbers of its rows, ``same`` what all rows have in common, ``each`` a list of what each has. Where all
  of that are whole numbers, so many zeros are left off their ends as ``zeros`` says.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from inferkit.records.figures import Json
from inferkit.records.run import PACKED, SCHEMA

MOST_ZEROS = 18
"""Of what is counted in a record, bytes of a second at the most, none has more."""
SHARED = ("host", "params", "unverified")
TABLE = {"of", "same", "each", "zeros"}
_OF_GPU = re.compile(r"gpu(\d+)_(.+)")
_OF_GPUS = "gpu*_"


def pack(records: Iterable[Json]) -> list[Json]:
    """Pack a notebook's records, in their order; what is no record of schema 2, or repeats an id, stays as it is."""
    owners: dict[tuple[str, str], str] = {}
    seen: set[str] = set()
    packed = []
    for record in records:
        if _is(record, SCHEMA) and record["id"] not in seen:
            packed.append(_with_tables(record) | {"schema": PACKED} | _references(record, owners))
        else:
            packed.append(record)
        if _is(record, SCHEMA) or _is(record, PACKED):
            seen.add(record["id"])
    return packed


def unpack(records: Iterable[Json]) -> list[Json]:
    """Return a notebook's records, each whole; a packed one stays so where the notebook lacks what it refers to."""
    owners: dict[tuple[str, str], Json] = {}
    whole = []
    for record in records:
        if _is(record, SCHEMA) or _is(record, PACKED):
            for name in SHARED:
                if isinstance(record.get(name), dict | list):
                    owners.setdefault((name, record["id"]), record[name])
        whole.append(_whole(record, owners) if _is(record, PACKED) else record)
    return whole


def _is(record: Json, schema: int) -> bool:
    return isinstance(record, dict) and record.get("schema") == schema and isinstance(record.get("id"), str)


def _references(record: Mapping[str, Json], owners: dict[tuple[str, str], str]) -> dict[str, str]:
    """Return what of a record an earlier one has as well, as that one's id."""
    found = {}
    for name in SHARED:
        if not isinstance(record.get(name), dict | list):
            continue
        owner = owners.setdefault((name, _text(record[name])), record["id"])
        if owner != record["id"]:
            found[name] = owner
    return found


def _whole(record: Json, owners: Mapping[tuple[str, str], Json]) -> Json:
    """Return a packed record as schema 2 has it; itself if it refers to what is not there."""
    wanted = [(name, record[name]) for name in SHARED if isinstance(record.get(name), str)]
    if not all(each in owners for each in wanted):
        return record
    found = {name: owners[name, owner] for name, owner in wanted}
    return _without_tables(record) | {"schema": SCHEMA} | found


def _with_tables(record: Mapping[str, Json]) -> dict[str, Json]:
    made = dict(record)
    facts, series = record.get("facts"), record.get("series")
    if isinstance(facts, dict) and alike(facts.get("gpus")):
        made["facts"] = facts | {"gpus": table(facts["gpus"])}
    if isinstance(series, dict):
        made["series"] = _packed_series(series)
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
    return json.dumps(value, sort_keys=True)
