"""The point that measures host memory, and how later notebooks find its Run."""

from pathlib import Path
from typing import Any

import nbformat
import pytest

from inferkit.linux.cgroups import cpus
from inferkit.machine.facts import facts
from inferkit.plan.memory import memory_of_host, memory_point
from inferkit.records.figures import Figure, Repeat
from inferkit.records.host import Host
from inferkit.records.job import CopyJob
from inferkit.records.params import HostToDevice, SingleProcess
from inferkit.records.run import MIME, Run


def test_all_cores_copy_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inferkit.plan.memory.cpus", lambda: 3.5)
    point = memory_point(HostToDevice())
    assert isinstance(point.job, CopyJob)
    assert (point.measure, point.axes, point.job.device.numbers) == ("memory", {"threads": 3}, (0, 1, 2))
    monkeypatch.setattr("inferkit.plan.memory.cpus", lambda: 0.5)
    assert memory_point(HostToDevice()).axes == {"threads": 1}


def write(folder: Path, name: str = "02_host_to_device", **values: Any) -> str:
    run = Run.model_validate(
        {
            "notebook": "02",
            "measure": "memory",
            "host": facts(),
            "point": {"threads": max(1, int(cpus()))},
            "verdict": "VALID",
            "measured": Figure(bytes_per_s=1e9, half_width=0.01),
            "repeats": [Repeat(start_s=0, seconds=30, images=0, nbytes=30_000_000_000, batches=9)] * 3,
            **values,
        }
    )
    output = nbformat.v4.new_output("display_data", data={MIME: run.to_dict()})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])])
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, folder / f"{name}.ipynb")
    return run.id


def write_raw(folder: Path, records: list[Any]) -> None:
    outputs = [nbformat.v4.new_output("display_data", data={MIME: record}) for record in records]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=outputs)])
    folder.mkdir()
    nbformat.write(notebook, folder / "02_host_to_device.ipynb")


def found(folder: Path, **values: Any) -> str | None:
    run = memory_of_host(SingleProcess.check({"earlier": str(folder), **values}))
    return None if run is None else run.id


def test_the_newest_valid_run_of_this_machine_and_profile_is_taken(tmp_path: Path) -> None:
    assert found(tmp_path / "nothing") is None
    newest = write(tmp_path / "b", started="2026-02-02T00:00:00+00:00")
    write(tmp_path / "a", started="2026-02-01T00:00:00+00:00")
    write(tmp_path / "c", started="2026-02-03T00:00:00+00:00", verdict="INVALID", reasons=["unsteady"])
    write(tmp_path / "d", started="2026-02-03T00:00:00+00:00", host=Host(cpu="another"))
    write(tmp_path / "e", started="2026-02-03T00:00:00+00:00", profile="quick")
    write(tmp_path / "f", started="2026-02-03T00:00:00+00:00", measure="copy")
    write(tmp_path / "g", name="03b_single_process", started="2026-02-03T00:00:00+00:00")
    write(tmp_path / "i", started="2026-02-03T00:00:00+00:00", point={"threads": 1000})
    write_raw(tmp_path / "k", [1, {"measure": "memory"}, "x"])
    (tmp_path / "h").mkdir()
    (tmp_path / "h" / "02_host_to_device.ipynb").write_text("{")
    assert found(tmp_path) == newest
    assert found(tmp_path, profile="mlperf") is None
