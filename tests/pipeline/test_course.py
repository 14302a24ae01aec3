import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit.pipeline.course import LEAST_STEP_S, MOST_STEPS, Course
from inferkit.stats import MOST_PARTS, Floats, drift, interval

WINDOWS = np.array([])


def course_of(done_s: Floats, images: int = 3, lots: int = 1) -> Course:
    course = Course()
    for own in np.array_split(done_s, lots):
        if len(own):
            amounts = np.full(len(own), images)
            course.add(own, amounts, amounts * 10)
    return course


gaps = st.lists(st.one_of(st.floats(1e-5, 0.01), st.floats(0.01, 1.0), st.floats(1.0, 100.0)), min_size=1, max_size=80)


@given(gaps, st.integers(1, 5))
def test_it_is_exact_at_every_step_and_straight_between_completions(gaps_s: list[float], lots: int) -> None:
    done_s = np.cumsum(gaps_s)
    course = course_of(done_s, lots=lots)
    instants = np.arange(0, done_s[-1] + 2 * course.step_s, course.step_s)
    images, nbytes, batches = course.at(instants)
    assert np.allclose(batches, np.interp(instants, [0, *done_s], np.arange(len(done_s) + 1)))
    assert np.allclose([images, nbytes], [3 * batches, 30 * batches])
    assert (course.last_s, *course.totals) == (done_s[-1], 3 * len(done_s), 30 * len(done_s), len(done_s))


@given(gaps)
def test_rates_lose_nothing_and_no_part_is_shorter_than_a_batch(gaps_s: list[float]) -> None:
    done_s = np.cumsum(gaps_s)
    course = course_of(done_s)
    rates = course.rates(0.0, course.last_s)
    assert 1 <= len(rates) <= min(MOST_PARTS, len(done_s))
    assert len(rates) == 1 or course.last_s / len(rates) >= course.step_s
    assert (rates >= 0).all()
    assert rates.mean() * course.last_s == pytest.approx(3 * len(done_s))


def test_it_holds_as_much_after_two_hours_as_at_first() -> None:
    course = Course()
    held = course._values.nbytes
    for hour_s in range(0, 7200, 60):
        done_s = hour_s + np.linspace(0.015, 60, 4000)
        course.add(done_s, np.full(4000, 8), np.full(4000, 80))
    assert course._values.nbytes == held
    assert course.step_s == 1.0  # still whole seconds
    series = course.series(1.0)["images_per_s"]
    assert len(series.values) == 7200
    assert series.values == pytest.approx([8 * 4000 / 60] * 7200, rel=1e-3)


def test_a_pause_of_hours_takes_no_memory() -> None:
    course = course_of(np.array([0.001, 40_000.0, 40_000.001]), lots=3)
    assert course.step_s > LEAST_STEP_S
    assert course._known <= MOST_STEPS
    assert course.at(np.array([20_000.0, 40_000.001]))[2] == pytest.approx([1.5, 3], abs=0.01)


def test_nothing_was_completed_yet() -> None:
    assert Course().at(np.array([0.0, 1.0])).tolist() == [[0, 0]] * 3
    assert Course(0.25).series(1.0)["bytes_per_s"].values == []


def exact_rates(done_s: Floats) -> Floats:
    """Return the course from every completion, in as many parts as there are, MOST_PARTS at the most."""
    edges = np.linspace(0, done_s[-1], min(len(done_s), MOST_PARTS) + 1)
    return np.asarray(np.diff(np.interp(edges, [0, *done_s], np.arange(len(done_s) + 1))) / np.diff(edges), np.float64)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mean_s", [0.0005, 0.02, 0.7])
@pytest.mark.parametrize("kept", [0.0, 0.99])
def test_its_interval_is_that_of_every_completion(seed: int, mean_s: float, kept: float) -> None:
    """Of 60,000 batches: independent ones, and such whose pace wanders over hundreds of batches."""
    random = np.random.default_rng(seed)
    noise = random.normal(size=60_000)
    if kept:
        noise = np.convolve(noise, 0.2 * kept ** np.arange(600))[:60_000]
    done_s = np.cumsum(mean_s * np.exp(0.3 * noise))
    bounded = course_of(done_s, lots=40).rates(0.0, done_s[-1])
    ours, exact = (interval(rates, WINDOWS) for rates in (bounded, exact_rates(done_s)))
    assert ours is not None
    assert exact is not None
    assert ours.half_width == pytest.approx(exact.half_width, rel=0.35)


@pytest.mark.parametrize("change", [-0.2, 0.0, 0.1])
def test_its_drift_is_that_of_every_completion(change: float) -> None:
    noise = np.exp(0.3 * np.random.default_rng(4).normal(size=30_000))
    gaps_s = 0.01 * noise / (1 + change * np.linspace(-0.5, 0.5, 30_000))
    done_s = np.cumsum(gaps_s)
    found = drift(course_of(done_s, lots=30).rates(0.0, done_s[-1]))
    assert found == pytest.approx(drift(exact_rates(done_s)), abs=0.005)
    assert found == pytest.approx(change, abs=0.01)
