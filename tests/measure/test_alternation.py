"""Pipelines between two measurements of their ceiling; what ranks answer is given, so no rank runs."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from inferkit.errors import RankError
from inferkit.measure.alternation import between_ceilings, ceilings_alone
from inferkit.measure.recording import run_of
from inferkit.plan.build import plan
from inferkit.plan.points import Plan
from inferkit.records.figures import Figure, Repeat, Stage
from inferkit.records.job import Job, reading_of, short
from inferkit.records.outcome import Outcome
from inferkit.records.params import SingleProcess
from inferkit.records.run import Run
from tests.conftest import MakeTensors

Measure = Callable[..., Run]
STORAGE = {"in_memory": False, "read_bytes": 100, "different_bytes": 100, "holders": []}


def outcome(
    images_per_s: float, *, half_width: float | None = 0.01, reasons: Sequence[str] = (), cpu_s: float = 0.1
) -> Outcome:
    window = Repeat(
        start_s=0, seconds=30, images=int(30 * images_per_s), nbytes=int(3150 * images_per_s), batches=99, cpu_s=cpu_s
    )
    figure = Figure(images_per_s=images_per_s, bytes_per_s=105 * images_per_s, half_width=half_width)
    return Outcome(repeats=[window] * 3, stages={}, measured=figure, reasons=list(reasons))


@pytest.fixture
def planned(make_dataset: MakeTensors) -> Plan:
    folder = make_dataset((8, 8), hashes=True).dataset.folder
    values = {"data": str(folder), "engines": ["null"], "readers": ["buffered"], "profile": "quick", "threads": [1]}
    return plan(SingleProcess.check({**values, "batch_sizes": [4], "dtype": "uint8", "shape": [3, 5, 7]}))


@pytest.fixture
def measured(planned: Plan) -> Measure:
    """Return the Run of a pipeline at so many images/s whose copies, the lowest ceiling, were and then are as told."""

    def measure(pipeline: Outcome, before: float, after: Outcome | RankError) -> Run:
        ceilings = {point.measure: point for point in planned.points if point.measure != "pipeline"}
        point = planned.points[-1]
        nearest = {
            ceilings["read"].key: run_of(planned, ceilings["read"], outcome(9e5), {}),
            ceilings["copy"].key: run_of(planned, ceilings["copy"], outcome(before), {}),
        }

        def again(jobs: Sequence[Job]) -> Outcome:
            assert [(job.window.repeats, job.batch_log) for job in jobs] == [(1, "")]
            assert [reading_of(job) for job in jobs] == [reading_of(short(job)) for job in ceilings["copy"].jobs]
            if isinstance(after, RankError):
                raise after
            return after

        run = between_ceilings(planned, point, pipeline, nearest, again)
        left = nearest[ceilings["copy"].key].measured
        assert left is not None
        if isinstance(after, Outcome) and not after.reasons:
            assert left == after.measured  # the next pipeline is held against the nearest figure
        else:
            assert left.images_per_s == before
        return run

    return measure


def test_the_prediction_is_the_middle_of_the_ceiling_before_and_after(measured: Measure) -> None:
    run = measured(outcome(99), 100, outcome(102, half_width=0.02))
    assert run.predicted is not None
    assert run.predicted.images_per_s == pytest.approx(101)
    assert run.predicted.half_width == pytest.approx(0.0005**0.5 / 2)
    assert run.facts["ceilings_again"] == {"copy": {"before": 100, "after": 102}}
    assert (run.bottleneck, run.verdict, run.warnings) == ("copy", "VALID", [])


def test_a_ceiling_that_moved_is_told_of_and_its_error_spans_both(measured: Measure) -> None:
    run = measured(outcome(100), 100, outcome(80))
    assert run.predicted is not None
    assert run.predicted.images_per_s == pytest.approx(100)  # of the middle, 90, it would be 111 %
    run = measured(outcome(85), 100, outcome(80))
    assert run.predicted is not None
    assert (run.predicted.images_per_s, run.predicted.half_width) == pytest.approx((90, 10 / 90))
    (warning,) = run.warnings
    assert "the machine changed meanwhile: copy alone was 100 images/s before and 80 images/s after" in warning


def test_faster_than_the_ceiling_before_it_is_held_against_the_one_beside_it(measured: Measure) -> None:
    run = measured(outcome(119), 100, outcome(120))
    assert run.reached == pytest.approx(119 / 120)
    assert run.verdict == "VALID"


def test_faster_than_its_ceiling_before_and_after_is_invalid(measured: Measure) -> None:
    run = measured(outcome(110), 100, outcome(101))
    assert run.verdict == "INVALID"
    assert "faster than its own ceiling: 108.9 %" in run.reasons[0]


def test_a_ceiling_that_was_disturbed_the_second_time_stays_as_it_was(measured: Measure) -> None:
    run = measured(outcome(99), 100, outcome(50, reasons=["another process took the CPUs"]))
    assert run.predicted is not None
    assert (run.predicted.images_per_s, run.predicted.half_width) == (100, 0.01)
    assert run.facts["ceilings_again"] == {"copy": {"before": 100, "after": None}}
    assert "could not be measured again after it: another process took the CPUs" in run.warnings[0]


def test_an_error_that_is_unknown_makes_the_other_no_smaller(measured: Measure) -> None:
    run = measured(outcome(99), 100, outcome(100, half_width=None))
    assert run.predicted is not None
    assert run.predicted.half_width == 0.01


def test_unsteady_in_its_one_window_it_counts_with_its_wide_error(measured: Measure) -> None:
    run = measured(outcome(99), 100, outcome(110, half_width=0.3))
    assert run.predicted is not None
    assert run.predicted.images_per_s == 105
    assert (run.predicted.half_width or 0) > 0.15


def test_a_figure_is_not_lost_where_its_ceiling_fails_the_second_time(measured: Measure) -> None:
    run = measured(outcome(99), 100, RankError("no rank"))
    assert (run.verdict, run.measured and run.measured.images_per_s) == ("VALID", 99)
    assert "its ceiling of copy could not be measured again after it: no rank" in run.warnings


def test_over_what_stages_share_it_is_held_against_the_stages(planned: Plan) -> None:
    """CPUs are 64 times as busy alone as there are: images/s beyond them prove that the times do not add up."""
    read, copy, pipeline = planned.points
    nearest = {point.key: run_of(planned, point, outcome(100, cpu_s=30.0 * 64), {}) for point in (read, copy)}
    run = between_ceilings(planned, pipeline, outcome(99), nearest, lambda jobs: outcome(100, cpu_s=30.0 * 64))
    assert run.verdict == "VALID"
    assert "cpu" not in run.ceilings
    assert run.reached == pytest.approx(0.99)


def test_every_ceiling_that_a_prediction_comes_to_rest_on_is_measured_again(planned: Plan) -> None:
    read, copy, pipeline = planned.points
    nearest = {
        read.key: run_of(planned, read, outcome(100), {}),
        copy.key: run_of(planned, copy, outcome(90), {}),
    }
    run = between_ceilings(planned, pipeline, outcome(99), nearest, lambda jobs: outcome(130))
    assert run.facts["ceilings_again"] == {"copy": {"before": 90, "after": 130}, "read": {"before": 100, "after": 130}}
    assert run.bottleneck == "copy"
    assert run.predicted is not None
    assert run.predicted.images_per_s == pytest.approx(110)


def test_where_nothing_can_be_predicted_no_ceiling_is_measured_again(planned: Plan) -> None:
    read, copy, pipeline = planned.points
    noisy = run_of(planned, read, outcome(100, half_width=0.6), {})
    assert noisy.verdict == "INVALID"
    nearest = {read.key: noisy, copy.key: run_of(planned, copy, outcome(90), {})}
    run = between_ceilings(planned, pipeline, outcome(99), nearest, lambda _: pytest.fail("measured again"))
    assert (run.verdict, run.predicted, list(run.ceilings)) == ("VALID", None, ["copy"])
    assert run.warnings == ["no prediction: reading alone had no VALID figure: see its record"]
    assert "ceilings_again" not in run.facts


def test_what_is_not_called_the_bottleneck_is_measured_again_as_well(measured: Measure) -> None:
    idle = outcome(200).model_copy(update={"stages": {"copy": Stage(images_per_s=900, busy=0.2)}})
    run = measured(idle, 100, outcome(101))
    assert run.bottleneck is None
    assert run.facts["ceilings_again"] == {"copy": {"before": 100, "after": 101}}


@pytest.mark.parametrize(("then", "now", "applies"), [(1.0, 1.0, True), (1.0, 0.5, False), (0.2, 1.0, False)])
def test_reading_cold_files_is_a_ceiling_of_what_read_them_cold(
    planned: Plan, then: float, now: float, applies: bool
) -> None:
    read, _, pipeline = planned.points
    cold = replace(read, axes={**read.axes, "cold": True})

    def read_so_much(share: float) -> Outcome:
        return outcome(100).model_copy(update={"facts": {"storage": STORAGE | {"from_storage": share}}})

    nearest = {cold.key: run_of(planned, cold, read_so_much(then), {})}
    found = ceilings_alone(replace(pipeline, ceilings={"read": cold}), read_so_much(now), nearest)
    assert bool(found) == applies
