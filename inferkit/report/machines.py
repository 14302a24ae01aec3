"""Which records are of one machine, and what it is called.

Serial numbers tell machines apart, and host names where there are none: a container makes up a name each time it
starts, and servers are installed with the same. What tells too little is never taken for one machine on the strength of
its CPU alone if the names differ: a machine that is shown twice is seen, two that are shown as one are not.
"""

from collections.abc import Sequence
from itertools import chain, count

from inferkit.records.host import Host
from inferkit.records.run import Run

MACHINE_SERIAL = "machine serial"
"""Its name among the serials (machine/facts)."""
UNNAMED = "a machine without a name"


def machines(runs: Sequence[Run]) -> list[str]:
    """Return the name of each run's machine: its host name, else its CPU; two machines never have one name.

    Parameters
    ----------
    runs
        All runs that are looked at together: of equal names, those that come later are numbered.
    """
    known: list[list[Host]] = []
    own = [_place(run.host, known) for run in runs]
    names: list[str] = []
    for hosts in known:
        name = _name(hosts[0])
        numbered = (f"{name} ({number})" for number in count(2))
        names.append(next(free for free in chain([name], numbered) if free not in names))
    return [names[place] for place in own]


def _place(host: Host, known: list[list[Host]]) -> int:
    """Return the number of the machine that a host is; a new one is added to those that are known."""
    for place, hosts in enumerate(known):
        if host in hosts:
            return place
        if any(same_machine(host, other) for other in hosts):
            hosts.append(host)
            return place
    known.append([host])
    return len(known) - 1


def same_machine(one: Host, other: Host) -> bool:
    """Tell whether two records are of one machine, as far as they tell.

    By its serial number where both have it, else by its GPUs' where both tell some, else by host name and CPU.
    """
    ours, theirs = _serials(one), _serials(other)
    if MACHINE_SERIAL in ours and MACHINE_SERIAL in theirs:
        return ours[MACHINE_SERIAL] == theirs[MACHINE_SERIAL]
    if set(ours.values()) & set(theirs.values()):
        return True
    if ours.keys() & theirs.keys():
        return False
    return _hostname(one) == _hostname(other) and _cpu(one) == _cpu(other)


def _serials(host: Host) -> dict[str, str]:
    """Return the serial numbers but those that makers fill in: ``Default string``, ``0123456789``, ``00000000``."""
    told = host.identity.serials if host.identity else {}
    return {what: text for what, text in told.items() if text.strip("0 .-") and _numbered(text)}


def _numbered(text: str) -> bool:
    return any(letter.isdigit() for letter in text) and text not in "01234567890"


def _hostname(host: Host) -> str:
    return host.identity.hostname if host.identity else ""


def _cpu(host: Host) -> tuple[object, ...]:
    return host.cpu, host.sockets, host.cores, host.threads_total


def _name(host: Host) -> str:
    return " ".join((_hostname(host) or host.cpu or UNNAMED).split())
