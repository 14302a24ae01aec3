"""Where notebooks are read: in a copy that is watched on Linux, in this process elsewhere."""

import sys

import pytest

from inferkit.records.notebooks import Tell
from inferkit.report.asking import ask


@pytest.mark.parametrize(("platform", "here"), [("linux", False), ("darwin", True), ("win32", True)])
def test_records_are_read_on_any_system(monkeypatch: pytest.MonkeyPatch, platform: str, here: bool) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    told: list[str] = []
    changed: list[int] = []

    def work(tell: Tell) -> str:
        changed.append(1)
        tell("left out")
        return "read"

    assert ask(work, told.append) == "read"
    assert told == ["left out"]
    assert bool(changed) is here
