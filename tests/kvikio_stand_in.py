"""A stand-in for KvikIO on a machine without a GPU: reads files as it does, to memory that the host can see."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from inferkit.devices.base import OWN, HostMemory
from inferkit.devices.cpu import CpuDevice

SOURCE = "KvikIO failure at: /build/kvikio/cpp/src/file_handle.cpp:91: "


class CompatMode(Enum):
    OFF, ON, AUTO = range(3)


@dataclass
class Kvikio:
    """What the stand-in does, and what was done to it.

    Parameters
    ----------
    refuses
        What cuFile says when a file is opened for GPUDirect Storage; empty: it takes it.
    largest
        Bytes of one read at most, as cuFile may return fewer than asked for.
    unmappable
        What cuFile says to memory that disks shall write to.
    """

    refuses: str = ""
    largest: int = 2**40
    unmappable: str = ""
    settings: dict[str, Any] = field(default_factory=lambda: {"compat_mode": CompatMode.AUTO})
    modes: list[CompatMode] = field(default_factory=list)
    opened: int = 0
    reads: list[tuple[int, int, int]] = field(default_factory=list)
    registered: set[int] = field(default_factory=set)

    def set(self, name: str, value: Any) -> Any:
        before, self.settings[name] = self.settings.get(name), value

        @contextmanager
        def back() -> Iterator[None]:
            try:
                yield
            finally:
                self.settings[name] = before

        return back()

    def register(self, view: Any) -> None:
        if self.unmappable:
            raise RuntimeError(SOURCE + self.unmappable)
        self.registered.add(view.__cuda_array_interface__["data"][0])

    def deregister(self, view: Any) -> None:
        self.registered.remove(view.__cuda_array_interface__["data"][0])


class CuFile:
    """An open file."""

    def __init__(self, kvikio: Kvikio, path: Path) -> None:
        mode = kvikio.settings["compat_mode"]
        if mode is not CompatMode.ON and kvikio.refuses:
            raise RuntimeError(SOURCE + kvikio.refuses)
        kvikio.modes.append(mode)
        kvikio.opened += 1
        self._kvikio, self._descriptor = kvikio, os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def fileno(self) -> int:
        return self._descriptor

    def raw_read(self, view: Any, size: int, file_offset: int, dev_offset: int) -> int:
        told = view.__cuda_array_interface__
        assert told["typestr"] == "|u1"
        assert 0 <= dev_offset <= dev_offset + size <= told["shape"][0]
        self._kvikio.reads.append((size, file_offset, dev_offset))
        got = os.pread(self._descriptor, min(size, self._kvikio.largest), file_offset)
        if not got and size:
            raise RuntimeError(SOURCE + "POSIX error on pread: EOF")
        ctypes.memmove(told["data"][0] + dev_offset, got, len(got))
        return len(got)

    def close(self) -> None:
        os.close(self._descriptor)
        self._kvikio.opened -= 1


def install(monkeypatch: pytest.MonkeyPatch) -> Kvikio:
    """Put the stand-in where KvikIO is imported from; cuFile's environment is as before when the test has ended."""
    kvikio = Kvikio()
    package, driver, defaults = (ModuleType(f"kvikio{name}") for name in ("", ".cufile_driver", ".defaults"))
    contents: dict[str, Any] = {
        "__path__": [],
        "__version__": "26.10.00",
        "CompatMode": CompatMode,
        "CuFile": lambda path: CuFile(kvikio, path),
        "memory_register": kvikio.register,
        "memory_deregister": kvikio.deregister,
        "cufile_driver": driver,
        "defaults": defaults,
    }
    vars(package).update(contents)
    vars(driver).update(libcufile_version=lambda: (1, 15))
    vars(defaults).update(set=kvikio.set)
    for module in (package, driver, defaults):
        module.__spec__ = ModuleSpec(module.__name__, None)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    for name in ("CUFILE_ALLOW_COMPAT_MODE", "CUFILE_FORCE_COMPAT_MODE", "CUFILE_LOGFILE_PATH"):
        monkeypatch.setenv(name, "true")
    return kvikio


class StorageDevice(CpuDevice):
    """A CPU with memory 'of its own', which is the host's."""

    def allocate(self, nbytes: int, memory: str = "") -> HostMemory:  # type: ignore[override]
        return super().allocate(nbytes, "" if memory == OWN else memory)
