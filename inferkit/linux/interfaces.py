"""Network interfaces: which one has an address, and the bytes that it received."""

import fcntl
import socket
import struct
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from inferkit.linux.procfs import ROOT, integer, text

_SIOCGIFADDR = 0x8915
"""Of netdevice(7)."""
LOOPBACK = "lo"


def interface_of(address: str, root: Path = ROOT) -> str:
    """Return the interface that has an address of this machine; empty where none is found.

    Parameters
    ----------
    address
        IPv4 or IPv6, as a socket's own name has it.
    root
        Where /proc is mounted.
    """
    try:
        wanted = ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    wanted = getattr(wanted, "ipv4_mapped", None) or wanted
    if wanted.is_loopback:
        return LOOPBACK
    if wanted.version == 6:
        lines = (line.split() for line in (text(root / "proc/net/if_inet6") or "").splitlines())
        return next((words[-1] for words in lines if int(words[0], 16) == int(wanted)), "")
    return next((name for _, name in socket.if_nameindex() if _ipv4(name) == str(wanted)), "")


def _ipv4(name: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            told = fcntl.ioctl(any_socket, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
        except OSError:
            return ""
    return socket.inet_ntoa(told[20:24])


def is_here(address: str) -> bool:
    """Tell whether an address is this machine's own: what answers there sends nothing over a network."""
    return bool(address) and interface_towards(address, 1) == LOOPBACK


def interface_towards(host: str, port: int) -> str:
    """Return the interface by which this machine reaches another; empty where none is found. Nothing is sent."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except OSError:
        return ""
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as any_socket, suppress(OSError):
            any_socket.connect(address)
            return interface_of(str(any_socket.getsockname()[0]))
    return ""


def received_bytes(name: str, sys: Path = ROOT / "sys") -> int | None:
    """Return the bytes that an interface received since it is up, of all programs; None where it does not tell."""
    return integer(sys / "class/net" / name / "statistics/rx_bytes") if name else None
