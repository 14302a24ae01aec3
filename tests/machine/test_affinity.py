"""Binding a process to its place, and looking whether it is there."""

import errno
import mmap
import os
import platform
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from inferkit.linux import numa_pages as pages
from inferkit.linux.numa_pages import file_nodes, own_nodes, page_nodes, share_on
from inferkit.machine import affinity as binding_module
from inferkit.machine.affinity import Binding, binding, check_whereabouts, environment, inherited, whereabouts
from inferkit.records.place import Place

CPU = min(os.sched_getaffinity(0))


@pytest.fixture
def told() -> None:
    """Skip where the kernel or the container does not tell on which node a page lies."""
    try:
        own_nodes()
    except OSError as error:
        pytest.skip(f"move_pages: {error}")


def test_a_place_without_cpus_and_node_is_not_bound() -> None:
    assert binding(Place()) == Binding()


def test_numactl_binds_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binding_module, "_refused", lambda options: "")
    assert binding(Place(cpus=(1, 2, 3), node=4)).prefix == ("numactl", "--physcpubind=1-3", "--membind=4")
    assert binding(Place(node=0)).prefix == ("numactl", "--membind=0")


def test_without_numactl_cpus_are_bound_and_the_memory_is_said_not_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    binding_module._refused.cache_clear()
    found = binding(Place(rank=2, cpus=(CPU,), node=0))
    binding_module._refused.cache_clear()
    assert found.prefix == ()
    assert found.cpus == (CPU,)
    assert found.lacking == (
        "memory of rank 2 is not bound to node 0: numactl is not installed (apt-get install numactl)",
    )


def test_a_refusal_of_numactl_is_kept_in_its_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "numactl"
    script.write_text("#!/bin/sh\necho 'set_mempolicy: Operation not permitted' >&2\nexit 1\n")
    script.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    binding_module._refused.cache_clear()
    found = binding(Place(cpus=(CPU,), node=0))
    binding_module._refused.cache_clear()
    assert "numactl: set_mempolicy: Operation not permitted" in found.lacking[0]


def test_what_a_thread_starts_inherits_its_cpus_and_the_thread_keeps_its_own() -> None:
    before = os.sched_getaffinity(0)
    code = "import os; print(sorted(os.sched_getaffinity(0)))"
    with inherited((CPU,)):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"[{CPU}]"
    assert os.sched_getaffinity(0) == before
    with inherited(()):
        assert os.sched_getaffinity(0) == before


def test_a_rank_sees_its_gpus_alone_and_counts_them_as_nvml_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    bound, unbound = environment(Place(gpus=(2, 3))), environment(Place())
    assert bound["CUDA_VISIBLE_DEVICES"] == "2,3"
    assert "CUDA_VISIBLE_DEVICES" not in unbound
    assert bound["CUDA_DEVICE_ORDER"] == unbound["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert unbound["PATH"] == os.environ["PATH"]


@pytest.mark.usefixtures("told")
def test_pages_that_were_touched_have_a_node() -> None:
    with mmap.mmap(-1, 16 * mmap.PAGESIZE) as memory:
        array = np.frombuffer(memory, np.uint8)
        start = int(array.ctypes.data)
        every = range(start, start + len(array), mmap.PAGESIZE)
        assert sum(page_nodes(every).values()) == 0
        array.flags.writeable = True
        array[: 4 * mmap.PAGESIZE] = 1
        assert sum(page_nodes(every).values()) == 4
        del array


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("size", [1, 4096, 4097, 3 * 4096 + 5])
def test_every_page_of_a_file_is_counted(size: int, shm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_WINDOW_BYTES", 2 * mmap.PAGESIZE)
    (shm / "file").write_bytes(b"x" * size)
    assert sum(file_nodes(shm / "file").values()) == -(-size // mmap.PAGESIZE)


def test_large_writable_or_shared_mappings_are_looked_at() -> None:
    maps = "\n".join(
        [
            "100000000-100200000 rw-p 00000000 00:00 0 ",
            "200000000-200200000 r--p 00000000 08:01 5    /usr/lib/big.so",
            "300000000-300200000 r--s 00000000 00:1a 7    /dev/shm/data/images.tensors",
            "400000000-400001000 rw-p 00000000 00:00 0 ",
            "500000000-500200000 ---p 00000000 00:00 0 ",
            "600000000-600200000 rw-s 00000000 00:05 9    /dev/nvidia-uvm",
            "700000000-700200000 rw-p 00000000 00:00 0    [vvar]",
        ]
    )
    assert [start for start, _ in pages._large(maps)] == [0x100000000, 0x300000000]


def test_a_share_of_nothing_is_unknown() -> None:
    assert share_on(Counter(), 0) is None
    assert share_on(Counter({0: 3, 1: 1}), 0) == 0.75
    assert share_on(Counter({0: 3}), None) is None


def test_an_architecture_whose_call_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(OSError, match="riscv64"):
        page_nodes([0])


def test_where_a_process_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binding_module, "own_nodes", lambda: Counter({1: 9, 0: 1}))
    found = whereabouts(Place(node=1))
    assert found["cpus"] == sorted(os.sched_getaffinity(0))
    assert (found["pages"], found["on_node"], found["unknown"]) == ({"0": 1, "1": 9}, 0.9, "")
    assert check_whereabouts(Place(node=1), found) == ([], [])


def test_where_a_process_is_reads_unknown_where_it_is_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden() -> Counter[int]:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(binding_module, "own_nodes", forbidden)
    found = whereabouts(Place(rank=3, node=1))
    assert (found["pages"], found["on_node"]) == (None, None)
    reasons, unverified = check_whereabouts(Place(rank=3, node=1), found)
    assert reasons == []
    assert unverified == ["NUMA node of the pages of rank 3: Operation not permitted"]
    assert check_whereabouts(Place(rank=3), found) == ([], [])  # nothing was to be bound
