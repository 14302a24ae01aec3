"""What CPUs do beside a run: by recorded counts, and by real processes that take time, stop or are held back."""

import os
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest

from inferkit.machine import cpu_monitor
from inferkit.machine.contention import process_s
from inferkit.machine.cpu_monitor import Counts, CpuMonitor, clock, foreign_between, shares_of
from tests.machines import busy_loop


def table(*moments: tuple[float, float, float]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return the counts of two CPUs in moments of a second each: what was at work, idle, and ours."""
    rows = [Counts(100.0, 0, 0, 0, 0, 0, 0)]
    for work, idle, ours in moments:
        last = rows[-1]
        stolen, withheld, pages = 2 - work - idle, 0.5, 7
        grown = (1, work, idle, stolen, ours, withheld, pages)
        rows.append(Counts(*(a + b for a, b in zip(last, grown, strict=True))))
    return np.array(rows)


def test_what_was_at_work_and_not_ours_was_others() -> None:
    found = shares_of(table((1.5, 0.5, 1.0), (1.0, 1.0, 1.0)), 100.0, 102.0, 2, 0.0)
    assert found == pytest.approx(
        {
            "foreign": 0.125,
            "contended": 0.0,
            "ours": 0.5,
            "idle": 0.375,
            "steal": 0.0,
            "throttled_s": 1.0,
            "throttled": 1 / 3,
            "swapped_pages": 14,
        }
    )


def test_only_what_lies_between_the_instants_counts() -> None:
    counts = table((2.0, 0.0, 0.0), (1.0, 1.0, 1.0), (2.0, 0.0, 1.0), (2.0, 0.0, 0.0))
    assert shares_of(counts, 101.0, 103.0, 2, 0.0)["foreign"] == pytest.approx(0.25)
    assert shares_of(counts, 101.5, 102.5, 2, 0.0)["foreign"] == pytest.approx(0.25)
    assert shares_of(counts, 101.0, 102.0, 2, 0.0)["foreign"] == 0.0


def test_what_others_took_from_us_they_took_in_moments_without_an_idle_cpu() -> None:
    bursts = table((2.0, 0.0, 0.2), (0.2, 1.8, 0.2), (2.0, 0.0, 0.2), (0.2, 1.8, 0.2))
    found = shares_of(bursts, 100.0, 104.0, 2, 0.0)
    assert (found["foreign"], found["contended"]) == pytest.approx((0.45, 0.45))
    even = table(*[(1.1, 0.9, 0.2)] * 4)
    assert shares_of(even, 100.0, 104.0, 2, 0.0)["foreign"] == pytest.approx(0.45)
    assert shares_of(even, 100.0, 104.0, 2, 0.0)["contended"] == 0.0


def test_what_the_kernel_s_own_threads_do_is_not_others() -> None:
    found = shares_of(table((2.0, 0.0, 1.0)), 100.0, 101.0, 2, 0.4)
    assert (found["foreign"], found["contended"]) == pytest.approx((0.1, 0.1))
    assert shares_of(table((2.0, 0.0, 1.0)), 100.0, 101.0, 2, 0.7)["foreign"] == 0.0


def test_what_the_hypervisor_took_is_told_apart() -> None:
    found = shares_of(table((1.0, 0.6, 1.0)), 100.0, 101.0, 2, 0.0)
    assert (found["steal"], found["foreign"]) == pytest.approx((0.2, 0.0))


def test_what_others_had_is_told_over_time() -> None:
    counts = table((1.5, 0.5, 1.0), (1.0, 1.0, 1.0), (2.0, 0.0, 0.0))
    edges = np.array([100.0, 101.0, 102.0, 103.0])
    assert foreign_between(counts, edges, 2, 0.0).tolist() == pytest.approx([0.25, 0.0, 1.0])
    assert foreign_between(counts, edges, 2, 0.3).tolist() == pytest.approx([0.0, 0.0, 0.7])
    assert foreign_between(counts, edges[::3], 2, 0.0).tolist() == pytest.approx([1.25 / 3])


def test_all_of_it_on_this_machine() -> None:
    counting = CpuMonitor()
    counting.look()
    counting.begin([])
    begin = counting._counts.rows()[0, 0]
    counting.sample()
    found = counting.facts(begin, begin + 0.1)
    assert found["seconds"] == pytest.approx(0.1)
    assert all(found[name] >= 0 for name in ("foreign", "contended", "kernel", "idle", "steal", "throttled_s"))
    assert all(set(other) == {"pid", "name", "share"} for other in found["others"])
    (series,) = counting.series(begin, begin + 2.5, found["kernel"]).values()
    assert [0 <= share <= 1 for share in series.values if share is not None] == [True, True]


def beside(pid: int, ours: list[int]) -> dict[str, Any]:
    """Count until another process has computed for a tenth of a second."""
    counting = CpuMonitor()
    counting.look()
    counting.begin(ours)
    counting.sample()
    begin, begun_s = monotonic(), process_s(pid)
    while process_s(pid) < begun_s + 0.1:
        sleep(0.01)
    return counting.facts(begin, monotonic())


def test_what_ranks_that_measure_together_compute_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_monitor, "NAMED", 10_000)
    with busy_loop(min(os.sched_getaffinity(0))) as pid:
        monkeypatch.setattr(cpu_monitor, "other_ranks", lambda cpus: {pid: cpus})  # such as another node of this host
        together, alone = beside(pid, [pid]), beside(pid, [])
    assert (together["other_runs"], alone["other_runs"]) == ([], [pid])
    assert pid not in [other["pid"] for other in together["others"]]
    assert pid in [other["pid"] for other in alone["others"]]
    assert together["ours"] > 0
    assert alone["foreign"] > 0


def test_what_a_rank_computed_that_has_ended_is_still_ours() -> None:
    counting = CpuMonitor()
    with busy_loop(min(os.sched_getaffinity(0))) as pid:
        counting.begin([pid])
        while process_s(pid) < 0.1:
            sleep(0.01)
        counting.sample()
    counting.sample()
    ours = [Counts(*row).ours for row in counting._counts.rows()]
    assert ours == sorted(ours)
    assert ours[-1] >= 0.1


def test_the_clock_is_held_against_the_kernel_s() -> None:
    assert clock((10.0, 110.0), (11.0, 112.0)) == 0.5
    assert clock((10.0, 110.0), (10.2, 110.2)) is None  # too short
    assert clock((10.0, None), (12.0, None)) is None
    counting = CpuMonitor()
    counting.begin([])
    sleep(0.6)
    assert counting.facts(0.0, 1.0)["clock"] == pytest.approx(1.0, abs=0.1)
