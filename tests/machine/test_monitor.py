import threading
from time import monotonic, sleep

import pytest

from inferkit.machine import monitor as monitor_module
from inferkit.machine.monitor import SOURCES, HostCpu, Monitor
from inferkit.machine.samples import MOST_SAMPLES, Samples, total


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_module, "PERIOD_S", 0.005)


def sampled(*samples: tuple[float, float], start: float = 100.0, end: float = 200.0) -> list[float | None]:
    """Return the series of samples that were taken at these times."""
    monitor = Monitor({"x": ("W", lambda: 0.0)})
    for sample in samples:
        monitor.samples["x"].add(*sample)
    series = monitor.series(start, end)
    return series["x"].values if series else []


def test_means_over_each_second() -> None:
    assert sampled((100.2, 2), (100.9, 4), (101.0, 8), (101.99, 8), (102.5, 1)) == [3, 8, 1]


def test_a_second_withoutsamples_is_unknown() -> None:
    assert sampled((100.2, 2), (103.1, 5)) == [2, None, None, 5]


def test_what_was_before_the_start_is_left_out() -> None:
    assert sampled((90.0, 7), (99.99, 9), (100.0, 1), (101.2, 2)) == [1, 2]
    assert sampled((90.0, 7)) == []


def test_what_was_after_the_end_is_left_out() -> None:
    assert sampled((100.2, 4), (101.1, 8), (101.6, 0), (109.0, 0), end=101.5) == [4, 8]
    assert sampled((101.0, 7), end=100.5) == []


def testsamples_while_entered_and_no_longer() -> None:
    calls: list[float] = []

    def sample() -> float:
        calls.append(monotonic())
        return 0.5

    with Monitor({"power": ("W", sample)}) as monitor:
        start = monotonic()
        while len(calls) < 4:
            sleep(0.005)
    count = len(calls)
    (power,) = monitor.series(start, monotonic()).values()
    assert (power.unit, set(power.values)) == ("W", {0.5})
    sleep(0.02)
    assert len(calls) == count
    assert not [thread for thread in threading.enumerate() if thread.name == "monitor"]


def test_a_monitor_notices_that_the_process_was_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_module, "LATE_S", 0.0)  # every sample is late by a little
    start = monotonic()
    with Monitor({}) as monitor:
        while len(monitor.stops.rows()) < 3:
            sleep(0.005)
    assert 0 < monitor.stopped_s(start, monotonic()) <= monotonic() - start
    assert monitor.stopped_s(start - 10, start) == 0
    monitor.stops = Samples(2, total)
    for stop in ((10.0, 0.3), (11.0, 0.5), (12.0, 0.7)):
        monitor.stops.add(*stop)
    assert monitor.stopped_s(10.5, 12.0) == pytest.approx(1.2)


def test_host_cpu_is_the_share_of_the_time_since_it_was_last_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([{"cpu": (100, 1000)}, {"cpu": (130, 1040)}, {"cpu": (130, 1040)}, {}])
    monkeypatch.setattr(monitor_module, "cpu_ticks", lambda: next(readings))
    host_cpu = HostCpu()
    assert [host_cpu() for _ in range(4)] == [0.1, 0.75, None, None]


def test_host_cpu_of_this_machine_is_a_share() -> None:
    unit, sample = SOURCES["host_cpu"]
    share = sample()
    assert unit == "share"
    assert share is not None
    assert 0 <= share <= 1


def test_the_latest_samples_are_told_of_sources_that_have_any() -> None:
    monitor = Monitor({"x": ("W", lambda: 0.0), "y": ("W", lambda: None)})
    monitor.samples["x"].add(1.0, 2.0)
    monitor.samples["x"].add(2.0, 3.0)
    assert monitor.latest() == {"x": 3.0}


def test_of_hours_a_bin_is_longer_than_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_module, "PERIOD_S", 0.2)
    monitor = Monitor({"x": ("W", lambda: 0.0)})
    for k in range(8 * MOST_SAMPLES):
        monitor.samples["x"].add(0.2 * k, 5.0 + k % 2)
    found = monitor.series(1000.0, 9000.0)["x"]
    assert found.step_s == 4.0
    assert len(found.values) == 2000
    assert set(found.values) == {5.5}
