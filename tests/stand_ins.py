"""Programs that stand in for others: they note how they were asked, and answer as they are told."""

import os
import shlex
from pathlib import Path

import pytest


class StandIn:
    """An executable of a name, first on PATH.

    Parameters
    ----------
    folder
        Where it and its notes lie.
    name
        Of the program.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self.answer("")

    def answer(self, output: str, *, help_text: str = "", errors: str = "", code: int = 0, before: str = "") -> None:
        """Write the executable.

        Parameters
        ----------
        output, errors, code
            What it writes and how it ends.
        help_text
            What it writes instead where it is asked for help.
        before
            Shell commands that it runs first where it is not.
        """
        lines = [
            "#!/bin/sh",
            f'case " $* " in *" --help "*) printf %s {shlex.quote(help_text)}; exit 0;; esac',
            f'echo "$CUDA_DEVICE_ORDER $CUDA_VISIBLE_DEVICES $*" >> {shlex.quote(str(self._notes))}',
            before,
            f"printf %s {shlex.quote(output)}",
            f"printf %s {shlex.quote(errors)} >&2",
            f"exit {code}",
        ]
        program = self._folder / self._name
        program.write_text("\n".join(lines) + "\n")
        program.chmod(0o755)

    @property
    def _notes(self) -> Path:
        return self._folder / f"{self._name}.notes"

    @property
    def calls(self) -> list[str]:
        """How it was asked so far: the GPUs that it saw and its arguments; calls for help are not counted."""
        return self._notes.read_text().splitlines() if self._notes.exists() else []


def stand_in(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Put a stand-in first on PATH."""
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return StandIn(folder, name)
