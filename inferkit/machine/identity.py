"""Everything by which this machine and its user can be told: names, addresses, serial numbers, identifiers.

It opens on any system: what Linux tells lies in files, and is missing elsewhere.
"""

import getpass
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path("/")
_IDENTIFIERS = (
    *("etc/machine-id", "var/lib/dbus/machine-id", "proc/sys/kernel/random/boot_id", "etc/hostid"),
    *(f"sys/class/dmi/id/{kind}" for kind in ("product_serial", "product_uuid", "board_serial", "chassis_serial")),
    *("sys/class/dmi/id/board_asset_tag", "sys/class/dmi/id/chassis_asset_tag", "sys/class/dmi/id/product_sku"),
    *("sys/firmware/devicetree/base/serial-number", "etc/iscsi/initiatorname.iscsi", "etc/nvme/hostid"),
    *("etc/nvme/hostnqn", "sys/fs/cgroup/cgroup.machine_id"),
)
"""Files that hold an identifier of the machine or of its boot; most can be read by root alone."""
_DISKS = ("wwid", "serial", "uuid", "nguid", "device/serial", "device/wwid", "dm/uuid", "dm/name", "md/uuid")
"""Files in a block device's folder in sysfs that tell which disk it is."""
_LINKS = ("by-uuid", "by-partuuid", "by-id", "by-label", "by-partlabel", "by-dname")
"""Folders of /dev/disk whose names do."""
_FABRIC = ("infiniband/*/node_guid", "infiniband/*/sys_image_guid", "infiniband/*/ports/*/gids/0")
_NONE = re.compile(r"(?:none|unknown|default.*|to be filled.*|not .*|n/a|system .*|0[0:.x-]*|f[f:-]*)?", re.IGNORECASE)
"""What firmware and the kernel write where there is nothing."""


class Known(NamedTuple):
    """What identifies a machine or a person, and its kind: ``host``, ``user``, ``id``, ``address`` or ``path``."""

    kind: str
    text: str


def identity(root: Path = ROOT) -> list[Known]:
    """Return what identifies this machine and its user.

    Parameters
    ----------
    root
        Where /proc, /sys, /etc and /dev lie; tests feed trees of their own.
    """
    found = [
        *(Known("host", name) for name in _hosts(root)),
        *(Known("user", name) for name in _users()),
        *(Known("id", text) for text in _identifiers(root)),
        *(Known("address", text) for text in _addresses(root)),
        *(Known("path", str(path)) for path in _places()),
    ]
    return [known for known in dict.fromkeys(found) if not _NONE.fullmatch(known.text)]


def _hosts(root: Path) -> Iterator[str]:
    names = [socket.gethostname(), _text(root / "proc/sys/kernel/hostname"), _text(root / "etc/hostname")]
    for line in _text(root / "etc/hosts").splitlines():
        address, *others = line.partition("#")[0].split() or [""]
        own = any(name in others for name in names if name)
        names += others if own and address else []
    domain = _text(root / "proc/sys/kernel/domainname")
    for name in names:
        yield name
        yield name.partition(".")[0]
    yield "" if domain == "(none)" else domain


def _users() -> Iterator[str]:
    with suppress(OSError, KeyError, ImportError):  # a container may run under a number that has no name
        yield getpass.getuser()
    yield from (os.environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME", "SUDO_USER"))
    with suppress(ImportError, KeyError):
        import pwd  # Unix only

        told = pwd.getpwuid(os.getuid())
        yield from (told.pw_name, told.pw_gecos.partition(",")[0])


def _places() -> Iterator[Path]:
    with suppress(RuntimeError):  # no home
        yield Path.home()
    yield from (Path.cwd(), Path(tempfile.gettempdir()))


def _identifiers(root: Path) -> Iterator[str]:
    for name in _IDENTIFIERS:
        yield _text(root / name).rpartition("InitiatorName=")[2]
    for disk in _glob(root / "sys/block", "*"):
        yield from (_text(file) for name in _DISKS for file in (disk / name, *_glob(disk, f"*/{name}")))
    for folder in _LINKS:
        yield from (path.name for path in _glob(root / "dev/disk" / folder, "*"))
    for information in _glob(root / "proc/driver/nvidia/gpus", "*/information"):
        yield from re.findall(r"GPU UUID:\s*(\S+)", _text(information))


def _addresses(root: Path) -> Iterator[str]:
    yield from (_text(file) for file in _glob(root / "sys/class/net", "*/address"))
    yield from (_text(file) for name in _FABRIC for file in _glob(root / "sys/class", name))
    yield from re.findall(r"\|-- ([\d.]+)\n\s+/32 host LOCAL", _text(root / "proc/net/fib_trie"))
    for line in _text(root / "proc/net/if_inet6").splitlines():
        with suppress(OSError, ValueError):
            yield socket.inet_ntop(socket.AF_INET6, bytes.fromhex(line.split()[0]))


def _text(path: Path) -> str:
    """Return what a file says; empty where it is missing, or not ours to read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _glob(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []
