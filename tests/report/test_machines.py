"""Records of one machine are told from those of another, as far as records tell."""

from typing import Any

import pytest

from inferkit.records.host import Host
from inferkit.report.machines import machines, same_machine
from tests.report.conftest import MakeRun


def host(name: str = "", cpu: str = "x", **serials: str) -> Host:
    named = {key.replace("_", " "): value for key, value in serials.items()}
    identity: Any = {"hostname": name, "user": "u", "serials": named} if name or named else None
    return Host.model_validate({"cpu": cpu, "identity": identity})


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (host("a"), host("a"), True),
        (host("a"), host("b"), False),
        (host("a"), host(), False),
        (host(), host(), True),
        (host("a", cpu="x"), host("a", cpu="y"), False),
        (host("a", machine_serial="S12"), host("b", machine_serial="S12"), True),
        (host("localhost", machine_serial="S12"), host("localhost", machine_serial="S13"), False),
        (host("a", machine_serial="Default string"), host("b", machine_serial="Default string"), False),
        (host("a", machine_serial="0123456789"), host("b", machine_serial="0123456789"), False),
        (host("a", machine_serial="00000000"), host("a", machine_serial="S12"), True),
        (host("pod-1", gpu0_uuid="GPU-1"), host("pod-2", gpu0_uuid="GPU-1", gpu1_uuid="GPU-2"), True),
        (host("pod-1", gpu0_uuid="GPU-2"), host("pod-2", gpu0_uuid="GPU-1", gpu1_uuid="GPU-2"), True),
        (host("ubuntu", gpu0_uuid="GPU-1"), host("ubuntu", gpu0_uuid="GPU-2"), False),
        (host("a", gpu0_uuid="GPU-1"), host("a"), True),
        (host("a", gpu0_uuid="GPU-1"), host("b"), False),
    ],
)
def test_same_machine(one: Host, other: Host, *, same: bool) -> None:
    assert same_machine(one, other) is same
    assert same_machine(other, one) is same


def test_two_machines_never_have_one_name(make_run: MakeRun) -> None:
    hosts = [
        host("localhost", machine_serial="S1"),
        host("localhost", machine_serial="S2"),
        host("renamed", machine_serial="S1"),
        host(cpu="EPYC"),
        host(cpu=""),
    ]
    assert machines([make_run(host=own) for own in hosts]) == [
        *("localhost", "localhost (2)", "localhost", "EPYC", "a machine without a name")
    ]


def test_a_name_that_looks_like_a_numbered_one_stays_alone(make_run: MakeRun) -> None:
    hosts = [host("a", machine_serial="S1"), host("a (2)", machine_serial="S2"), host("a", machine_serial="S3")]
    assert len(set(machines([make_run(host=own) for own in hosts]))) == 3
