"""nvbandwidth: what it is asked for, and what is read from what its versions write."""

import json
from pathlib import Path
from typing import Any

import pytest

from inferkit.errors import PeerError
from inferkit.measure import nvbandwidth
from inferkit.measure.nvbandwidth import SUM, Task, command, parse, run, task_of, version, words
from inferkit.records.job import CopyJob, DeviceOptions
from inferkit.records.place import Place
from inferkit.records.windows import Window
from tests.stand_ins import StandIn, stand_in

HELP = "nvbandwidth Version: v0.8\nBuilt from Git version: v0.8\n\nnvbandwidth CLI:\n  -h [ --help ]  Produce help\n"
INVALID = "nvbandwidth Version: v0.4\nBuilt from Git version: v0.4\n\nERROR: Invalid Arguments \nnvbandwidth --json :\n"
ALL = "host_to_all_memcpy_ce"


def job_of(gpus: int = 1, **changes: Any) -> CopyJob:
    values = {"nbytes": 64 * 2**20, "host_memory": "pinned", "device": DeviceOptions(kind="cuda", numbers=range(gpus))}
    return CopyJob(window=Window(), **values | changes)


def task(gpus: int = 1, test: str = "host_to_device_memcpy_ce") -> Task:
    return Task(test, 64, Place(gpus=tuple(range(gpus))))


def written(test: dict[str, Any], **more: Any) -> str:
    """Return what version 0.8 writes; 0.5 to 0.7 lack the list of devices."""
    head = {
        "CUDA Runtime Version": 13000,
        "Driver Version": "580.95.05",
        "GPU Device list": ["0: NVIDIA H100 80GB HBM3 (00000000:0f:00): (node)"],
        "git_version": "v0.8",
        "testcases": [test],
        "version": "v0.8",
        "warning": "NOTE: You have chosen a buffer size that is smaller than the default buffer size.",
    }
    return json.dumps({"nvbandwidth": head | more}, indent=3) + "\n\n"


def passed(name: str, *rates: str) -> dict[str, Any]:
    return {
        "bandwidth_description": "memcpy CE CPU(row) -> GPU(column) bandwidth (GB/s)",
        "bandwidth_matrix": [list(rates)],
        "name": name,
        "status": "Passed",
        "sum": sum(float(rate) for rate in rates if rate != "N/A"),
    }


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    return stand_in(tmp_path, "nvbandwidth", monkeypatch)


@pytest.mark.parametrize(
    ("gpus", "direction", "test"),
    [
        (1, "in", "host_to_device_memcpy_ce"),
        (1, "out", "device_to_host_memcpy_ce"),
        (1, "both", "host_to_device_bidirectional_memcpy_ce"),
        (2, "in", ALL),
        (4, "out", "all_to_host_memcpy_ce"),
        (2, "both", "host_to_all_bidirectional_memcpy_ce"),
    ],
)
def test_each_copy_has_its_test(gpus: int, direction: str, test: str) -> None:
    place = Place(gpus=tuple(range(gpus)))
    assert task_of(job_of(gpus, direction=direction), place) == Task(test, 64, place)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"host_memory": "pageable"}, "pinned memory alone, and this is pageable: add pinned"),
        ({"host_memory": "mapped"}, "pinned memory alone, and this is mapped"),
        ({"nbytes": 4816896}, "whole MiB, .*: add such to transfer_bytes"),
        ({"nbytes": 65536}, "whole MiB"),
        ({"device": DeviceOptions()}, "the device is cpu: set device: cuda"),
    ],
)
def test_what_it_cannot_copy_is_said(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(PeerError, match=why):
        task_of(job_of(**changes), Place(gpus=(0,)))


def test_the_same_bytes_and_the_mean_are_asked_for_on_the_cpus_that_it_was_started_on() -> None:
    asked = command(task())
    assert asked[:3] == ["nvbandwidth", "--testcase=host_to_device_memcpy_ce", "--bufferSize=64"]
    assert {"--useMean", "--disableAffinity", "--json"} <= set(asked)


@pytest.mark.parametrize("rates", [["54.2345"], ["54.2345", "53.9"], ["27.1", "27.2", "26.9", "27.05"]])
def test_the_rates_of_gpus_are_added_up_in_bytes_per_second(rates: list[str]) -> None:
    found = parse(written(passed(ALL, *rates)), task(len(rates), ALL))
    assert found == pytest.approx(sum(map(float, rates)) * 1e9)


def test_numbers_that_are_no_text_and_more_fields_are_read_as_well() -> None:
    test = passed("host_to_device_memcpy_ce", "1") | {"bandwidth_matrix": [[54.5]], "coefficient_of_variation": "0.00"}
    assert parse(f"a note\n{written(test)}", task()) == 54.5e9


@pytest.mark.parametrize(
    ("output", "why"),
    [
        ("", "wrote no result"),
        ("Segmentation fault", "wrote no result"),
        ('{"nvbandwidth": {"testca', "wrote no result"),
        ('{"nvbandwidth": []}', "wrote no result"),
        ("{}", "wrote no result"),
        (written({"name": ALL, "status": "Waived"}), f"no result of {ALL}: its status is Waived"),
        (written({"name": ALL, "status": "ERROR"}), "its status is ERROR"),
        (written({"name": ALL, "status": "Running"}, error="[CUDA_ERROR_X] y"), r"\[CUDA_ERROR_X\] y"),
        (written({"name": "other", "status": "Passed"}), "it does not know it"),
        (written(passed(ALL, "54.2")), r"measured \[54.2\] GB/s, expected a figure for each of 2 GPUs"),
        (written(passed(ALL, "54.2", "N/A")), "for each of 2 GPUs"),
        (written(passed(ALL, "54.2", "0")), "for each of 2 GPUs"),
        (written(passed(ALL, "54.2", "1") | {"bandwidth_matrix": [["fast", "slow"]]}), "wrote no result"),
    ],
)
def test_what_is_no_result_is_said(output: str, why: str) -> None:
    with pytest.raises(PeerError, match=why):
        parse(output, task(2, ALL))


def test_it_sees_the_gpus_of_the_copy_alone(program: StandIn) -> None:
    program.answer(written(passed(ALL, "50", "52")))
    assert run(Task(ALL, 64, Place(gpus=(3, 1)))) == 102e9
    assert program.calls[0].startswith(f"PCI_BUS_ID 3,1 --testcase={ALL} --bufferSize=64 ")


def test_the_error_in_its_json_is_told(program: StandIn) -> None:
    error = "[CUDA_ERROR_NO_DEVICE] no CUDA-capable device is detected in expression cuInit(0)"
    program.answer(json.dumps({"nvbandwidth": {"error": error, "git_version": "v0.8", "version": "v0.8"}}), code=1)
    with pytest.raises(
        PeerError, match=r"nvbandwidth ended with exit code 1: \[CUDA_ERROR_NO_DEVICE\] no CUDA-capable"
    ):
        run(task())


def test_a_version_without_json_and_a_missing_library_are_told(program: StandIn) -> None:
    program.answer(INVALID, code=1)
    with pytest.raises(PeerError, match=r"exit code 1: nvbandwidth Version: v0\.4 .*Invalid Arguments"):
        run(task())
    program.answer("", errors="nvbandwidth: error while loading shared libraries: libcuda.so.1", code=127)
    with pytest.raises(PeerError, match=r"exit code 127: .*libcuda\.so\.1"):
        run(task())


def test_one_that_hangs_is_ended(program: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvbandwidth, "LONGEST_S", 0.2)
    program.answer("", before="exec sleep 60")
    with pytest.raises(PeerError, match="had not finished after"):
        run(task())


def test_the_call_is_told_with_its_version_and_what_several_gpus_sum(program: StandIn) -> None:
    program.answer("", help_text=HELP)
    assert version() == "nvbandwidth v0.8"
    alone, together = words(task()), words(task(2, ALL))
    assert alone.endswith("--json  # nvbandwidth v0.8")
    assert together.startswith(
        "CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=0,1 nvbandwidth --testcase=host_to_all"
    )
    assert together.endswith(SUM)


def test_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "github.com/NVIDIA/nvbandwidth" in nvbandwidth.missing()
