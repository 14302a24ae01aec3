from pathlib import Path

import pytest

from inferkit.linux.cgroups import memory_nodes
from tests.machines import write


@pytest.mark.parametrize(("allowed", "found"), [("0-3", {0, 2}), ("2", {2}), ("1,3", set())])
def test_nodes_have_memory_and_are_allowed(tmp_path: Path, allowed: str, found: set[int]) -> None:
    write(tmp_path, "proc/self/status", f"Name:\tx\nMems_allowed_list:\t{allowed}\n")
    for node, kilobytes in ((0, 1024), (1, 0), (2, 512)):
        write(tmp_path, f"sys/devices/system/node/node{node}/meminfo", f"Node {node} MemTotal:  {kilobytes} kB\n")
    assert memory_nodes(tmp_path) == found


def test_this_machines_own_nodes() -> None:
    assert all(node >= 0 for node in memory_nodes())
