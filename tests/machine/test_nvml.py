import sys
from types import SimpleNamespace
from typing import Any

import pytest

from inferkit.errors import DeviceError
from inferkit.machine.nvml import nvml


class NVMLError(Exception):
    """As the library raises it."""


def refuse() -> None:
    message = "Driver Not Loaded"
    raise NVMLError(message)


def library(calls: list[str], init: Any = None) -> Any:
    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=init or (lambda: calls.append("begun")),
        nvmlShutdown=lambda: calls.append("ended"),
        ask=refuse,
    )


def test_it_is_begun_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setitem(sys.modules, "pynvml", library(calls))
    with nvml() as told:
        assert told is sys.modules["pynvml"]
        assert calls == ["begun"]
    assert calls == ["begun", "ended"]


def test_what_fails_inside_says_why_and_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setitem(sys.modules, "pynvml", library(calls))
    with pytest.raises(DeviceError, match=r"NVML: Driver Not Loaded.*nvidia-smi"), nvml() as told:
        told.ask()
    assert calls == ["begun", "ended"]


def test_what_cannot_begin_is_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setitem(sys.modules, "pynvml", library(calls, refuse))
    with pytest.raises(DeviceError, match="Driver Not Loaded"), nvml():
        pass
    assert calls == []


def test_without_the_bindings_the_command_that_brings_them_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(DeviceError, match="pip install 'inferkit"), nvml():
        pass
