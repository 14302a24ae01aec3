"""Which runs of a point count, and the figure that they are together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit.records.host import Host
from inferkit.records.run import Run
from inferkit.report.compare import compare
from inferkit.report.repetitions import Side
from tests.report.conftest import MakeRun
from tests.report.test_compare import PARAMS, POINT, rows_from


def side_of(*runs: Run) -> Side:
    (group,) = compare(rows_from(*runs)).groups
    (side,) = group.sides
    return side


def hours(*numbers: int) -> list[str]:
    return [f"2026-01-{1 + number // 24:02d}T{number % 24:02d}:00:00+00:00" for number in numbers]


def test_measuring_often_makes_no_storage_faster(make_run: MakeRun) -> None:
    runs = [make_run(rate, started=time) for rate, time in zip((60, 66, 58, 61), hours(0, 1, 2, 3), strict=True)]
    side = side_of(*reversed(runs), runs[1])
    assert (side.rate, side.n) == (61.25, 4)
    assert side.half == pytest.approx(3.182 * 3.4034 / 2, rel=0.02)


def test_one_run_has_its_own_interval_and_many_that_agree_do_not_lose_theirs(make_run: MakeRun) -> None:
    assert side_of(make_run(64)).half == pytest.approx(0.64)
    alike = [make_run(64, started=time) for time in hours(0, 1, 2, 3)]
    assert side_of(*alike).half == pytest.approx(0.64 / 2)


def test_runs_of_the_day_before_are_another_measurement(make_run: MakeRun) -> None:
    runs = [make_run(rate, started=time) for rate, time in zip((90, 60, 62), hours(0, 30, 31), strict=True)]
    side = side_of(*runs)
    assert (side.rate, side.n) == (61, 2)
    assert side.beside == "2 of 3 runs: those that were measured together last"


def test_the_longest_profile_is_taken_then_the_newest(make_run: MakeRun) -> None:
    early, late = hours(0, 1)
    long = make_run(50, profile="mlperf", started=early)
    hasty = make_run(90, profile="demo", started=late)
    other = make_run(95, profile="quick", point=POINT)
    side = side_of(long, hasty, other)
    assert (side.rate, side.row["profile"], side.n) == (50, "mlperf", 1)


def test_another_version_of_inferkit_is_no_repetition(make_run: MakeRun) -> None:
    hosts = [Host.model_validate({"cpu": "x", "packages": {"inferkit": version}}) for version in ("0.1", "0.2", "0.2")]
    runs = [make_run(60 + k, host=host, started=hours(k)[0]) for k, host in enumerate(hosts)]
    assert (side_of(*runs).rate, side_of(*runs).n) == (61.5, 2)


def test_what_was_asked_for_otherwise_is_no_repetition(make_run: MakeRun) -> None:
    params = PARAMS | {"source": "memory"}
    runs = [make_run(rate, params={**params, "evict": evict}) for rate, evict in ((90, True), (30, False), (31, False))]
    assert (side_of(*runs).rate, side_of(*runs).n) == (90, 1)


def test_a_date_that_cannot_be_read_is_before_all_others(make_run: MakeRun) -> None:
    runs = [make_run(50, started="yesterday"), make_run(60, started="2026-01-01"), make_run(70, started="")]
    assert (side_of(*runs).rate, side_of(*runs).n) == (60, 1)
    assert side_of(runs[0]).rate == 50


@given(st.permutations(list(range(5))))
def test_the_order_of_notebooks_does_not_matter(order: list[int]) -> None:
    from inferkit.records.figures import Figure

    about = {"notebook": "03b", "measure": "pipeline", "verdict": "VALID", "host": Host()}
    runs = [
        Run.model_validate(about | {"measured": Figure(images_per_s=50.0 + k, half_width=0.01), "started": hours(k)[0]})
        for k in range(5)
    ]
    side = side_of(*[runs[place] for place in order])
    assert (side.rate, side.n, side.row["started"]) == (52, 5, hours(4)[0])
