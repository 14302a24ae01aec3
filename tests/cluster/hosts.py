"""Machines of their own on one, joined by a switch: each a network, mounts, shared memory, a clock, name and boot id.

What is started in them ends with the test, and with the process that tests, however that ends; then the kernel removes
networks and mounts, which nobody uses any more.
"""

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from inferkit.linux.parent import leashed

PROGRAMS = ("ip", "unshare", "nsenter", "mount", "hostname")
SEARCHED = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin", "/sbin"])
_ENTERED = ("--net", "--mount", "--uts", "--time")
ADDRESS = "10.77.0.{}"
APART_S = 1_000_000
"""Hosts were booted so long one before the other."""
_SWITCH = "ip link add switch type bridge; ip link set switch up; echo; exec sleep infinity"
_SETUP = """
hostname "$1"
mount --bind "$2" /proc/sys/kernel/random/boot_id
mount -t tmpfs -o size="$3" shm /dev/shm
ip link set lo up
echo
exec sleep infinity
"""


class Network:
    """A switch, and the hosts that are plugged into it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack = folder, stack
        self._hosts = 0
        self.switch = self._holding("--net", "sh", "-ec", _SWITCH)

    def host(self, name: str, shm: str = "64m") -> "Host":
        """Plug in one more host; its shared memory has so much room."""
        self._hosts += 1
        folder = self.folder / name
        folder.mkdir()
        boot = folder / "boot_id"
        boot.write_text(f"{name}\n")
        clock = ("--time", "--monotonic", f"{self._hosts * APART_S}")
        pid = self._holding("--net", "--mount", "--uts", *clock, "sh", "-ec", _SETUP, "sh", name, str(boot), shm)
        host = Host(self, folder, pid, f"port{self._hosts}", ADDRESS.format(self._hosts))
        self.inside("ip", "link", "add", host.port, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        self.inside("ip", "link", "set", host.port, "master", "switch", "up")
        for words in (f"addr add {host.address}/24 dev eth0", "link set eth0 up", "route add default dev eth0"):
            host.run("ip", *words.split())
        return host

    def inside(self, *words: str) -> None:
        """Let a command do something to the switch."""
        subprocess.run(["nsenter", "--target", str(self.switch), "--net", *words], check=True)

    def _holding(self, *words: str) -> int:
        """Start what keeps namespaces in being, and return its process."""
        holder = self.stack.enter_context(subprocess.Popen(leashed(["unshare", *words]), stdout=subprocess.PIPE))
        self.stack.callback(holder.kill)
        assert holder.stdout is not None
        if not holder.stdout.readline():
            pytest.skip(f"namespaces of one's own cannot be had here: unshare ended with {holder.wait()}")
        return holder.pid


class Host:
    """One machine: commands run in it."""

    def __init__(self, network: Network, folder: Path, pid: int, port: str, address: str) -> None:
        self.network, self.folder, self.pid, self.port, self.address = network, folder, pid, port, address

    def _command(self, *words: str) -> dict[str, Any]:
        inside = ["nsenter", "--target", str(self.pid), *_ENTERED, f"--wd={self.folder}", *words]
        path = os.pathsep.join(filter(None, sys.path))
        return {"args": leashed(inside), "env": {**os.environ, "PATH": SEARCHED, "PYTHONPATH": path}}

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        return subprocess.run(**self._command(*words), check=False, capture_output=True, text=True)

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        """Start a command, whose words go to a file of its own; it is ended with the test."""
        log = self.network.stack.enter_context(self.log(*words).open("wb"))
        started = self.network.stack.enter_context(subprocess.Popen(**self._command(*words), stdout=log, stderr=log))
        self.network.stack.callback(started.terminate)
        return started

    def log(self, *words: str) -> Path:
        """Return the file for what such a command says."""
        return self.folder / f"{words[0]}-{words[1]}.log"

    def plug(self, state: str) -> None:
        """Pull its cable (``down``), or put it back (``up``)."""
        self.network.inside("ip", "link", "set", self.port, state)


def missing() -> str:
    """Return why there can be no such machines; empty if there can."""
    if os.geteuid():
        return "namespaces need root"
    lacking = [program for program in PROGRAMS if shutil.which(program, path=SEARCHED) is None]
    return f"no {', '.join(lacking)}" if lacking else ""
