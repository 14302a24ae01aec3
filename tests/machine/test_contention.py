"""Who else is there, by recorded and by real processes."""

import os
import subprocess
import sys
from pathlib import Path

from inferkit.linux.procfs import cpu_ticks, cpu_times, swapped_pages
from inferkit.machine.contention import Process, other_ranks, process_s, processes, share_on, took
from tests.machines import write

CPU = min(os.sched_getaffinity(0))


def test_ranks_of_other_runs_are_found_by_what_they_run(tmp_path: Path) -> None:
    rank, server = "python\0-m\0inferkit.ranks.rank\0", "python\0-m\0inferkit.ranks.forkserver\0"
    for pid, parent, command, cpus in (
        (7, 1, rank, "0-3"),
        (8, os.getppid(), rank, "0-3"),
        (9, 1, "vim\0inferkit/pipeline/rank.py\0", "0-3"),
        (10, 1, rank, "4-7"),
        (20, os.getppid(), server, "0-3"),
        (21, 20, server, "0-3"),  # forked by our launcher's server
        (30, 12, server, "0-3"),
        (31, 30, server, "0-3"),
    ):
        write(tmp_path, f"{pid}/cmdline", command)
        write(tmp_path, f"{pid}/status", f"Name: x\nPPid: {parent}\nCpus_allowed_list: {cpus}\n")
    (tmp_path / "11").mkdir()  # ended meanwhile
    assert other_ranks({2, 3}, tmp_path) == {7: [2, 3], 31: [2, 3]}


def test_programs_and_threads_of_the_kernel_are_told_apart(tmp_path: Path) -> None:
    for pid, name, flags in ((2, "kworker/u8:1-rpciod", 0x04208060), (7, "a) (b", 0x400000)):
        write(tmp_path, f"{pid}/stat", f"{pid} ({name}) S 1 1 1 0 -1 {flags} 0 0 0 0 150 50 0 0 20 0 1 0")
    (tmp_path / "9").mkdir()  # ended meanwhile
    found = processes(tmp_path)
    assert {pid: (own.name, own.kernel) for pid, own in found.items()} == {
        2: ("kworker/u8:1-rpciod", True),
        7: ("a) (b", False),
    }
    assert found[7].cpu_s == 200 / os.sysconf("SC_CLK_TCK")


def test_what_processes_computed_meanwhile() -> None:
    def known(**seconds: float) -> dict[int, Process]:
        return {int(pid[1:]): Process(pid, kernel=False, cpu_s=own) for pid, own in seconds.items()}

    spent = took(known(p1=1.0, p2=5.0, p3=9.0), known(p1=1.0, p2=7.0, p4=0.5))
    assert {pid: own.cpu_s for pid, own in spent.items()} == {2: 2.0, 4: 0.5}


def test_this_process_is_known_and_its_share_of_some_cpus() -> None:
    assert not processes()[os.getpid()].kernel
    assert process_s(os.getpid()) > 0
    assert process_s(1 << 22) == 0.0
    code = f"import os; os.sched_setaffinity(0, {{{CPU}}}); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert share_on(other.pid, {CPU, CPU + 1}) == 1.0
        assert share_on(other.pid, {CPU + 1}) == 0.0
        other.kill()
    assert share_on(other.pid, {CPU}) == 0.0


def test_busy_time_is_all_but_idle_and_waiting_for_disks(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text(
        "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 100 20 30 5000 700 1 2 3 0 0\ncpu1 1 0 0 9 9 0 0 0 0 0\ncpu10 7 0 0 0 0\n"
    )
    assert cpu_ticks(stat) == {"cpu": (54, 72), "cpu0": (156, 5856), "cpu1": (1, 19), "cpu10": (7, 7)}
    assert cpu_ticks(tmp_path / "none") == {}


def test_times_of_some_cpus_keep_interrupts_and_what_was_stolen_apart(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 100 20 30 5000 700 1 2 3 0 0\ncpu1 1 0 0 9 9 8 7 6 0 0\nintr 5\n")
    ticks = os.sysconf("SC_CLK_TCK")
    assert [round(seconds * ticks) for seconds in cpu_times({0, 1}, stat)] == [151, 5718, 9]
    assert [round(seconds * ticks) for seconds in cpu_times({1}, stat)] == [1, 18, 6]
    assert cpu_times({5}, stat) == (0, 0, 0)


def test_pages_swapped_in_and_out(tmp_path: Path) -> None:
    write(tmp_path, "vmstat", "pgpgin 5\npswpin 7\npswpout 11\nswap_ra 3\n")
    assert swapped_pages(tmp_path / "vmstat") == 18
    assert swapped_pages(tmp_path / "none") == 0
    assert swapped_pages() >= 0
