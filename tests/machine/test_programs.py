"""Other programs: how to get them, how they are asked, and what is told when they fail."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inferkit.errors import PeerError
from inferkit.machine import programs
from inferkit.machine.programs import install, missing, output_of, words
from inferkit.records.place import Place
from tests.processes import alive, wait_for
from tests.stand_ins import StandIn, stand_in


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    return stand_in(tmp_path, "there", monkeypatch)


@pytest.mark.parametrize(
    ("release", "command"),
    [
        ({"ID": "debian"}, "apt-get install fio"),
        ({"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "dnf install fio"),
        ({"ID": "opensuse-leap", "ID_LIKE": "suse opensuse"}, "zypper install fio"),
        ({}, "apt-get install or dnf install fio"),
    ],
)
def test_the_distribution_s_installer(monkeypatch: pytest.MonkeyPatch, release: dict[str, str], command: str) -> None:
    monkeypatch.setattr(programs, "os_release", lambda: release)
    assert install("fio") == command


@pytest.mark.parametrize(
    ("name", "how"),
    [("nvbandwidth", "github.com/NVIDIA/nvbandwidth"), ("trtexec", "TensorRT's tar"), ("tensorrt_rtx", "pip has none")],
)
def test_what_no_distribution_packages_says_where_it_comes_from(
    name: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert missing(name).startswith(f"{name} is not installed: ")
    assert how in missing(name)
    stand_in(tmp_path, name, monkeypatch)
    assert missing(name) == ""


def test_a_program_sees_the_gpus_of_its_place_and_inherits_its_cpus(there: StandIn) -> None:
    cpu = min(os.sched_getaffinity(0))
    there.answer("done", before="nproc")
    place = Place(gpus=(2, 0), cpus=(cpu,))
    assert output_of(["there", "--now"], timeout_s=30, place=place) == "1\ndone"
    assert there.calls == ["PCI_BUS_ID 2,0 --now"]
    assert len(os.sched_getaffinity(0)) >= 1


def test_files_and_variables_are_handed_on(there: StandIn) -> None:
    read, write = os.pipe()
    os.write(write, b"plan")
    os.close(write)
    there.answer("", before=f'cat /dev/fd/{read}; printf %s "$WORD"')
    try:
        told = output_of(["there"], timeout_s=30, variables={"WORD": "!"}, descriptors=[read])
    finally:
        os.close(read)
    assert told == "plan!"


def test_a_failure_is_told_with_what_was_said(there: StandIn) -> None:
    there.answer("nothing", errors="no\n  such engine", code=3)
    with pytest.raises(PeerError, match=r"^there ended with exit code 3: no such engine$"):
        output_of(["there"], timeout_s=30)
    there.answer("on its output", code=1)
    with pytest.raises(PeerError, match=r"exit code 1: on its output$"):
        output_of(["there"], timeout_s=30)


def test_one_that_hangs_is_ended(there: StandIn) -> None:
    there.answer("", before="exec sleep 60")
    with pytest.raises(PeerError, match=r"^there was ended: it had not finished after 0.2 s$"):
        output_of(["there"], timeout_s=0.2)


def test_one_that_is_no_program_did_not_run(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match=r"absent cannot be started: No such file"):
        output_of([str(tmp_path / "absent")], timeout_s=30)


ASKS = """
import sys
from inferkit.machine.programs import output_of
output_of(["sh", "-c", "echo $$ > $0; exec sleep 60", sys.argv[1]], timeout_s=60)
"""


def test_one_ends_with_whoever_asked_it(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", ASKS, note]) as asking:
        wait_for(lambda: note.exists() and note.read_text(), 30)
        asking.kill()
    wait_for(lambda: not alive(int(note.read_text())), 10)


def test_a_call_is_written_as_a_person_would_type_it() -> None:
    assert words(["fio", "--name=a b"], variables={"A": "1"}) == "A=1 fio '--name=a b'"
    told = words(["nvbandwidth"], Place(gpus=(0, 1)))
    assert told == "CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=0,1 nvbandwidth"
    assert len(words(["fio", "x" * 1000])) < 200
