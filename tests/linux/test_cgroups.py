from pathlib import Path

import pytest

from inferkit.linux.cgroups import io_limits, memory_nodes, read_limits, throttle_files, throttled_s
from tests.machines import write


@pytest.mark.parametrize(("allowed", "found"), [("0-3", {0, 2}), ("2", {2}), ("1,3", set())])
def test_nodes_have_memory_and_are_allowed(tmp_path: Path, allowed: str, found: set[int]) -> None:
    write(tmp_path, "proc/self/status", f"Name:\tx\nMems_allowed_list:\t{allowed}\n")
    for node, kilobytes in ((0, 1024), (1, 0), (2, 512)):
        write(tmp_path, f"sys/devices/system/node/node{node}/meminfo", f"Node {node} MemTotal:  {kilobytes} kB\n")
    assert memory_nodes(tmp_path) == found


def test_this_machines_own_nodes() -> None:
    assert all(node >= 0 for node in memory_nodes())


def test_what_quotas_withheld_is_added_up_over_the_groups_on_the_way_up(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "3:cpu,cpuacct:/pod/own\n1:memory:/pod/own\n")
    write(tmp_path, "sys/fs/cgroup/cpu,cpuacct/pod/own/cpu.stat", "nr_periods 9\nthrottled_time 2500000000\n")
    write(tmp_path, "sys/fs/cgroup/cpu,cpuacct/pod/cpu.stat", "nr_periods 9\nthrottled_time 500000000\n")
    (tmp_path / "sys/fs/cgroup/cpu").symlink_to("cpu,cpuacct")
    assert throttled_s(throttle_files(tmp_path)) == pytest.approx(3.0)


def test_what_quotas_withheld_in_version_2(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/pod\n")
    write(tmp_path, "sys/fs/cgroup/pod/cpu.stat", "usage_usec 5\nnr_throttled 7\nthrottled_usec 1500000\n")
    write(tmp_path, "sys/fs/cgroup/cpu.stat", "usage_usec 9\n")
    assert throttled_s(throttle_files(tmp_path)) == pytest.approx(1.5)


def test_without_groups_nothing_is_withheld(tmp_path: Path) -> None:
    assert throttled_s(throttle_files(tmp_path)) == 0.0


def test_limits_of_reads_are_those_of_all_groups_on_the_way_up(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "5:blkio:/pod/own\n0::/pod\n")
    write(tmp_path, "sys/fs/cgroup/blkio/pod/blkio.throttle.read_bps_device", "254:0 100000000")
    write(tmp_path, "sys/fs/cgroup/blkio/pod/own/blkio.throttle.read_iops_device", "")
    write(tmp_path, "sys/fs/cgroup/pod/io.max", "254:0 rbps=1048576 wbps=max riops=max wiops=max")
    assert io_limits(tmp_path) == [
        "blkio.throttle.read_bps_device 254:0 100000000",
        "io.max 254:0 rbps=1048576 wbps=max riops=max wiops=max",
    ]
    assert read_limits(tmp_path) == {"254:0": {"bytes_per_s": 1048576}}


def test_the_lowest_limit_of_each_disk_counts(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/pod/own\n")
    write(tmp_path, "sys/fs/cgroup/pod/io.max", "8:0 rbps=max wbps=9 riops=500 wiops=max\n8:16 rbps=7 riops=max\n")
    write(tmp_path, "sys/fs/cgroup/pod/own/io.max", "8:0 rbps=3000000 wbps=max riops=900 wiops=max\n")
    assert read_limits(tmp_path) == {"8:0": {"bytes_per_s": 3000000, "reads_per_s": 500}, "8:16": {"bytes_per_s": 7}}


def test_no_limits(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/pod\n")
    write(tmp_path, "sys/fs/cgroup/pod/io.max", "8:0 rbps=max wbps=5 riops=max wiops=5\n")
    assert read_limits(tmp_path) == {}
