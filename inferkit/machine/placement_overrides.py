"""Lines that override the plan of ranks: ``rank=1 cpus=8-15 node=1 gpus=2,3 data=/dev/shm/x``."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from inferkit.errors import ParameterError
from inferkit.linux.procfs import cpu_list
from inferkit.machine.topology import PciDevice, Topology
from inferkit.records.place import Place, Placement, cpu_ranges

KEYS = ("ranks", "rank", "gpus", "cpus", "node", "data")
"""What a line may set. The first two say in which plan (by default in all) and for which rank."""


def overridden(plan: Placement, lines: Sequence[str], machine: Topology, allowed: set[int]) -> Placement:
    """Return a plan, changed as some lines say.

    Parameters
    ----------
    plan
        As :func:`inferkit.machine.placement.place_ranks` made it.
    lines
        Words ``key=value``; an empty ``node=`` binds no memory.
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


def _override(place: Place, lines: Sequence[str], machine: Topology, allowed: set[int]) -> Place:
    for line in lines:
        wanted = _parse(line)
        if int(wanted.pop("ranks", place.ranks)) != place.ranks or int(wanted.pop("rank")) != place.rank:
            continue
        place = place.model_copy(update=_values(line, wanted, machine, allowed))
    return place


def _parse(line: str) -> dict[str, str]:
    pairs = dict(word.partition("=")[::2] for word in line.split())
    bad = sorted(set(pairs) - set(KEYS))
    whole = all(pairs[key].isdigit() for key in ("ranks", "rank") if key in pairs)
    if bad or "rank" not in pairs or not whole:
        found = f"{bad[0]!r} is no key" if bad else "it names no rank by its number"
        message = f"placement {line!r}: {found}; write such as 'rank=1 cpus=8-15 node=1 gpus=0,1 data=/dev/shm/x'"
        raise ParameterError(message)
    return pairs


def _values(line: str, wanted: Mapping[str, str], machine: Topology, allowed: set[int]) -> dict[str, Any]:
    """Read the values of an override and check them against the machine."""
    try:
        values: dict[str, Any] = {key: tuple(cpu_list(wanted[key])) for key in ("gpus", "cpus") if key in wanted}
        if "node" in wanted:
            values["node"] = int(wanted["node"]) if wanted["node"] else None
    except ValueError as error:
        message = f"placement {line!r}: numbers are written as 0-3,8 and node as one number ({error})"
        raise ParameterError(message) from error
    have = _have(machine, allowed)
    for key, known in have.items():
        asked = {values[key]} - {None} if key == "node" and key in values else set(values.get(key, ()))
        if not asked <= known:
            found, have_them = cpu_ranges(asked - known), cpu_ranges(known) or "nothing"
            message = f"placement {line!r}: {key} {found} is not to be had here, {have_them} is"
            raise ParameterError(message)
    return values | ({"folder": wanted["data"]} if "data" in wanted else {})


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
            with suppress(ValueError):  # overridden refuses it, naming the line
                named.update(cpu_list(_parse(line).get(key)))
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
