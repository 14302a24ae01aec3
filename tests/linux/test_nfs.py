from pathlib import Path

import pytest

from inferkit.linux.mounts import public
from inferkit.linux.nfs import MountStatistics, mount_statistics

RECORDED = Path(__file__).parents[1] / "fixtures" / "host" / "mountstats.txt"


@pytest.fixture(scope="module")
def recorded() -> str:
    return RECORDED.read_text()


def found(recorded: str, mount_point: str) -> MountStatistics:
    statistics = mount_statistics(Path(mount_point), recorded)
    assert statistics is not None
    return statistics


def test_bytes_that_the_server_delivered(recorded: str) -> None:
    assert found(recorded, "/mnt/nas").server_read_bytes == 6165626880
    assert found(recorded, "/mnt/old nas").server_read_bytes == 77


def test_transport_with_the_number_of_connections(recorded: str) -> None:
    assert found(recorded, "/mnt/nas").transport == "2 × tcp"
    assert found(recorded, "/mnt/old nas").transport == "rdma"


def test_options_without_what_names_a_machine(recorded: str) -> None:
    options = found(recorded, "/mnt/nas").options
    assert "clientaddr=10.0.0.7" in options
    told = public(options)
    assert "vers=4.2" in told
    assert "nconnect=4" in told
    assert not any("10.0.0" in option for option in [*told, *public(found(recorded, "/mnt/old nas").options)])


@pytest.mark.parametrize("mount_point", ["/", "/proc", "/mnt", "/mnt/nas/x"])
def test_other_file_systems_have_none(recorded: str, mount_point: str) -> None:
    assert mount_statistics(Path(mount_point), recorded) is None


def test_the_last_of_several_mounts_on_one_point_counts(recorded: str) -> None:
    again = recorded + "device other:/x mounted on /mnt/nas with fstype nfs4 statvers=1.1\n\tbytes:\t0 0 0 0 5 0 0 0\n"
    assert found(again, "/mnt/nas") == MountStatistics((), "", 5)


@pytest.mark.parametrize("content", ["", "device", "device x mounted on /mnt/nas with fstype nfs4 statvers=1.1"])
def test_a_table_without_figures(content: str) -> None:
    assert mount_statistics(Path("/mnt/nas"), content) in (None, MountStatistics((), "", None))


def test_this_machines_own_table() -> None:
    assert mount_statistics(Path("/proc")) is None
