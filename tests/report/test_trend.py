"""Storages over dates: which line is shown, and that a change is told only where it is sure."""

from typing import Any

import numpy as np
import pytest

from inferkit.records.host import Host
from inferkit.records.run import Run
from inferkit.report.dates import NEVER, moment
from inferkit.report.repetitions import Side
from inferkit.report.trend import NOTHING, Line, Trend, change_of, trends
from tests.report.conftest import MakeRun
from tests.report.test_compare import POINT, host, rows_from


def day(number: int, hour: int = 0) -> str:
    return f"2026-11-{number:02d}T{hour:02d}:00:00+00:00"


def lines(*runs: Run, **options: Any) -> list[Line]:
    return trends(rows_from(*runs), **options)


def days(*rates: float, half: float | None = 0.005) -> list[Side]:
    starts = [{"started": day(number)} for number in range(1, len(rates) + 1)]
    pairs = zip(starts, rates, strict=True)
    return [Side(row, rate, None if half is None else half * rate, 1, NEVER) for row, rate in pairs]


def test_a_regression_is_said_with_its_date_and_what_changed_with_it(make_run: MakeRun) -> None:
    rates = (100, 101, 100, 101, 92, 93, 92)
    kernels = ["6.1"] * 4 + ["6.5"] * 3
    hosts = [Host.model_validate({"cpu": "x", "kernel": kernel}) for kernel in kernels]
    runs = [
        make_run(rate, storage="nvme", started=day(18 + k), host=hosts[k], profile="quick")
        for k, rate in enumerate(rates)
    ]
    (line,) = lines(*reversed(runs))
    assert line.text == (
        "since 2026-11-22 nvme is 9.0 ± 1.1 % slower for onnx resnet18 float32; changed with it: kernel 6.1 → 6.5"
    )
    assert [f"{side.until:%d}" for side in line.days] == ["18", "19", "20", "21", "22", "23", "24"]
    assert line.text in " ".join(str(Trend([line])).split())
    assert "2026-11-22" in Trend([line]).html()


@pytest.mark.parametrize(
    "rates",
    [(100.0, 100.4), (100.0, 103.0, 95.0), (100.0, 90.0, 101.0, 91.0, 100.0, 90.0), (100.0,) * 5],
    ids=["within", "few", "to and fro", "equal"],
)
def test_what_is_not_sure_is_no_change(rates: tuple[float, ...]) -> None:
    assert change_of(days(*rates)) is None


def test_two_dates_are_told_apart_by_their_own_intervals_alone(make_run: MakeRun) -> None:
    change = change_of(days(100, 92))
    assert change is not None
    assert (round(change.share, 3), round(change.half, 4)) == (-0.08, 0.0065)
    assert change_of(days(100, 92, half=None)) is None
    (line,) = lines(make_run(100, started=day(1)), make_run(92, started=day(2)))
    assert line.text.endswith("two dates do not tell how much dates differ by themselves")


def test_a_storage_that_only_varies_is_rarely_called_slower() -> None:
    rng = np.random.default_rng(0)
    told = [change_of(days(*(100 + rng.normal(0, 3, 8)))) for _ in range(300)]
    assert sum(change is not None for change in told) < 30
    slower = [change_of(days(*(100 + rng.normal(0, 2, 5)), *(85 + rng.normal(0, 2, 4)))) for _ in range(100)]
    found = [change.since for change in slower if change]
    assert len(found) > 90
    assert sum(f"{since:%d}" == "06" for since in found) > 90


def test_the_point_with_the_most_dates_is_shown_and_others_are_counted(make_run: MakeRun) -> None:
    batch: list[dict[str, Any]] = [{**POINT, "batch_size": size} for size in (8, 64)]
    often = [make_run(50, point=batch[0], started=day(k)) for k in range(1, 4)]
    rarely = [make_run(rate, point=batch[1], started=day(k)) for rate, k in ((100, 1), (50, 2))]
    (line,) = lines(*often, *rarely)
    assert "batch size 8" in line.where
    assert line.text.endswith("(3 dates); 1 of 1 other points became slower")


def test_machines_profiles_and_what_is_not_valid_are_kept_apart(make_run: MakeRun) -> None:
    runs = [
        make_run(50, storage="nvme", host=host(name), started=day(k), profile=profile)
        for name, k, profile in (("a", 1, "quick"), ("a", 2, "quick"), ("b", 1, "quick"), ("b", 2, "demo"))
    ]
    bad = make_run(20, storage="nvme", host=host("a"), started=day(3), verdict="INVALID", reasons=["x"])
    (line,) = lines(*runs, bad)
    assert (line.label, len(line.days)) == ("nvme on a", 2)


def test_runs_of_one_date_are_one_figure(make_run: MakeRun) -> None:
    runs = [make_run(rate, started=day(1, hour)) for hour, rate in ((0, 58), (5, 60))]
    assert lines(*runs) == []
    assert str(Trend(lines(*runs))) == NOTHING
    (line,) = lines(*runs, make_run(70, started=day(2)))
    assert [(side.rate, side.n) for side in line.days] == [(59, 2), (70, 1)]
    assert lines(*runs, make_run(70, started=day(2)), since=moment("2026-11-02")) == []
