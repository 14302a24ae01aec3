"""Charts of several storages: servers stay apart, and dates have their intervals."""

from pathlib import Path

from inferkit.records.host import Host
from inferkit.records.notebooks import Stored
from inferkit.report.charts.pipeline import comparison
from inferkit.report.charts.theme import Nothing
from inferkit.report.charts.trend import trend
from inferkit.report.dates import moment
from inferkit.report.store import table
from tests.report.charts.test_pipeline import DATES, rows_of
from tests.report.conftest import MakeRun


def test_comparison_keeps_servers_apart_that_call_their_storage_the_same(make_run: MakeRun) -> None:
    hosts = [Host.model_validate({"cpu": "x", "identity": {"hostname": name, "user": "u"}}) for name in "ab"]
    chart = comparison(table(Stored(make_run(58, host=host), Path("a.ipynb")) for host in hosts))
    assert not isinstance(chart, Nothing)
    assert [row["storage"] for row in rows_of(chart.to_dict())] == ["shm on a", "shm on b"]


def test_a_trend_draws_each_date_with_its_interval(make_run: MakeRun) -> None:
    dates = [make_run(rate, started=day) for rate, day in zip((58, 50), DATES, strict=True)]
    chart = trend(dates)
    assert not isinstance(chart, Nothing)
    rows = rows_of(chart.to_dict())
    assert [(row["date"], row["value"], round(row["high"] - row["low"], 3)) for row in rows] == [
        ("2026-11-01", 58.0, 1.16),
        ("2026-11-03", 50.0, 1.0),
    ]
    for few in (trend(dates[:1]), trend([]), trend(dates, since=moment("2026-11-02"))):
        assert isinstance(few, Nothing)
        assert few.why.startswith("no trend")
