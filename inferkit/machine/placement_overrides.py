"""Lines that override the plan of ranks: ``rank=1 cpus=8-15 node=1 gpus=2,3 data=/dev/shm/x``."""

import re
from collections.abc import Collection, Sequence
from typing import Any

from inferkit.errors import ParameterError
from inferkit.linux.procfs import cpu_list
from inferkit.machine.topology import PciDevice, Topology
from inferkit.objects.place import is_other_url, is_url
from inferkit.records.place import Place, Placement, cpu_ranges
from inferkit.text import quoted

KEYS = ("ranks", "rank", "gpus", "cpus", "node", "data")
"""What a line may set. The first two say in which plan (by default in all) and for which rank."""
_MAY_BE_EMPTY = ("cpus", "node")  # not bound
_LIST = re.compile(r"[0-9]{1,20}(-[0-9]{1,20})?(,[0-9]{1,20}(-[0-9]{1,20})?)*")


def overridden(plan: Placement, lines: Sequence[str], machine: Topology, allowed: set[int]) -> Placement:
    """Return a plan, changed as some lines say.

    Parameters
    ----------
    plan
        As :func:`inferkit.machine.placement.place_ranks` made it.
    lines
        Words ``key=value``; an empty ``node=`` binds no memory, an empty ``cpus=`` no CPU.
    machine, allowed
        What the machine has, and the CPUs that may be used.

    Raises
    ------
    ParameterError
        If a line makes no sense, asks for something that is not there, or gives a core to two ranks.
    """
    places = tuple(_override(place, lines, machine, allowed) for place in plan.places)
    if [place.cpus for place in places] != [place.cpus for place in plan.places]:
        _refuse_shared_cpus(places)
    return plan.model_copy(update={"places": places})


def parsed(line: str) -> dict[str, Any]:
    """Read a line: numbers of ``rank``, ``ranks`` and ``node``, tuples of ``cpus`` and ``gpus``, and ``data``.

    Raises
    ------
    ParameterError
        If it makes no sense on any machine.
    """
    try:
        pairs = _pairs(line)
        values: dict[str, Any] = {key: _value(key, text) for key, text in pairs.items()}
        if not pairs.keys() - {"rank", "ranks"}:
            message = "it sets nothing"
            raise ValueError(message)
    except ValueError as error:
        message = f"placement {quoted(line)}: {error}; write such as 'rank=1 cpus=8-15 node=1 gpus=0,1 data=/dev/shm/x'"
        raise ParameterError(message) from error
    return values


def _value(key: str, text: str) -> Any:
    """Return what a line's word says: a folder's name is taken as it is."""
    if key in ("cpus", "gpus"):
        return _numbers(key, text)
    if key == "data":
        return text
    return _number(key, text) if text else None


def _pairs(line: str) -> dict[str, str]:
    words = [word.partition("=") for word in line.split()]
    keys = [key for key, _, _ in words]
    if bad := [key for key in keys if key not in KEYS]:
        message = f"{quoted(bad[0])} is no key ({', '.join(KEYS)})"
        raise ValueError(message)
    if twice := [key for key in keys if keys.count(key) > 1]:
        message = f"{twice[0]} stands there twice"
        raise ValueError(message)
    if without := [key for key, equals, value in words if not equals or not (value or key in _MAY_BE_EMPTY)]:
        message = f"{without[0]} has no value"
        raise ValueError(message)
    if "rank" not in keys:
        message = "it names no rank by its number"
        raise ValueError(message)
    pairs = {key: value for key, _, value in words}
    if is_other_url(pairs.get("data", "")) or is_url(pairs.get("data", "")):
        message = "data is a URL, and ranks read folders"
        raise ValueError(message)
    return pairs


def _number(key: str, value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", value):
        message = f"{key} is {quoted(value)}, no number"
        raise ValueError(message)
    return int(value)


def _numbers(key: str, value: str) -> tuple[int, ...]:
    if not value:
        return ()
    parts = [cpu_list(part) for part in value.split(",")] if _LIST.fullmatch(value) else [[]]
    found = [number for part in parts for number in part]
    if not all(parts) or len(set(found)) < len(found):
        message = f"{key} is {quoted(value)}: numbers are written as 0-3,8, each once"
        raise ValueError(message)
    return tuple(found)


def _override(place: Place, lines: Sequence[str], machine: Topology, allowed: set[int]) -> Place:
    for line in lines:
        wanted = parsed(line)
        if wanted.pop("ranks", place.ranks) != place.ranks or wanted.pop("rank") != place.rank:
            continue
        place = place.model_copy(update=_values(line, wanted, machine, allowed))
    return place


def _values(line: str, values: dict[str, Any], machine: Topology, allowed: set[int]) -> dict[str, Any]:
    """Check the values of an override against the machine."""
    have = _have(machine, allowed)
    for key, known in have.items():
        asked = {values[key]} - {None} if key == "node" and key in values else set(values.get(key, ()))
        if not asked <= known:
            found, have_them = cpu_ranges(asked - known), cpu_ranges(known) or "nothing"
            message = f"placement {quoted(line)}: {key} {found} is not to be had here, {have_them} is"
            raise ParameterError(message)
    return {"folder" if key == "data" else key: value for key, value in values.items()}


def _have(machine: Topology, allowed: Collection[int]) -> dict[str, set[int]]:
    return {"gpus": set(machine.whole_gpus), "cpus": set(allowed), "node": set(machine.nodes)}


def elsewhere(
    lines: Sequence[str], machine: Topology, allowed: Collection[int]
) -> tuple[Topology, set[int], dict[str, set[int]]]:
    """Give a machine all that some lines name, for a plan that is made for another one.

    Returns
    -------
    machine, allowed, lacking
        As :func:`overridden` takes them, and what was added: GPUs, CPUs and nodes, by the lines' keys.
    """
    lacking: dict[str, set[int]] = {}
    for key, known in _have(machine, allowed).items():
        named: set[int] = set()
        for line in lines:
            value = parsed(line).get(key)
            named.update((value,) if isinstance(value, int) else value or ())
        if named - known:
            lacking[key] = named - known
    gpus = (PciDevice(kind="gpu", name=str(gpu)) for gpu in sorted(lacking.get("gpus", ())))
    nodes = (*machine.nodes, *sorted(lacking.get("node", ())))
    there = machine.model_copy(update={"devices": (*machine.devices, *gpus), "nodes": nodes})
    return there, set(allowed) | lacking.get("cpus", set()), lacking


def _refuse_shared_cpus(places: Sequence[Place]) -> None:
    owner: dict[int, int] = {}
    for place in places:
        for cpu in place.cpus:
            if owner.setdefault(cpu, place.rank) != place.rank:
                message = f"placement gives CPU {cpu} to ranks {owner[cpu]} and {place.rank}: name the CPUs of both"
                raise ParameterError(message)
