from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit.measure.prediction import binds, ceilings_of, held_against, predict, rests_on
from inferkit.records.figures import Figure, Repeat, Stage
from inferkit.records.host import Host
from inferkit.records.run import STAGES, Run

rates = st.floats(0.1, 1e9)


def figure(images_per_s: float) -> Figure:
    return Figure(images_per_s=images_per_s, bytes_per_s=images_per_s * 105, half_width=0.01)


def test_lowest_ceiling_binds() -> None:
    bottleneck, predicted = predict({"read": figure(900), "copy": figure(5000), "infer": figure(300)})
    assert bottleneck == "infer"
    assert predicted == figure(300)


def test_of_two_equal_ceilings_the_earlier_stage_binds() -> None:
    assert predict({"infer": figure(300), "copy": figure(300), "read": figure(400)})[0] == "copy"


@pytest.mark.parametrize("ceilings", [{}, {"copy": Figure(bytes_per_s=100.0)}, {"read": Figure(images_per_s=0.0)}])
def test_without_a_ceiling_nothing_is_predicted(ceilings: dict[str, Figure]) -> None:
    assert predict(ceilings) == (None, None)


def test_threads_that_read_and_decode_do_so_one_after_the_other_but_a_device_decodes_meanwhile() -> None:
    ceilings = {"read": figure(900), "decode": figure(300)}
    bottleneck, together = predict(ceilings)
    assert bottleneck == "decode"
    assert together is not None
    assert together.images_per_s == pytest.approx(225)
    assert predict(ceilings, ["read", "decode"]) == ("decode", figure(300))
    assert rests_on(ceilings, ["read"]) == "read"
    assert rests_on(ceilings, ["read", "decode"]) == "decode"


def test_ceiling_without_images_does_not_bind() -> None:
    assert predict({"copy": Figure(bytes_per_s=1.0), "infer": figure(300)})[0] == "infer"


@given(st.dictionaries(st.sampled_from(STAGES), rates, min_size=1))
def test_is_never_above_a_ceiling(ceilings: dict[str, float]) -> None:
    bottleneck, predicted = predict({stage: figure(rate) for stage, rate in ceilings.items()})
    assert bottleneck is not None
    assert predicted is not None
    assert predicted.images_per_s is not None
    assert predicted.images_per_s <= min(ceilings.values())
    if not {"read", "decode"} <= set(ceilings):
        assert predicted.images_per_s == ceilings[bottleneck]


@given(rates, rates)
def test_reached_is_measured_over_predicted(measured: float, ceiling: float) -> None:
    bottleneck, predicted = predict({"infer": figure(ceiling)})
    run = Run(
        notebook="03b",
        measure="pipeline",
        host=Host(),
        verdict="VALID",
        measured=figure(measured),
        predicted=predicted,
        bottleneck=bottleneck,
    )
    assert run.reached == pytest.approx(measured / ceiling)


def test_reading_and_decoding_on_the_same_threads_take_their_times_together() -> None:
    bottleneck, predicted = predict({"read": figure(300), "decode": figure(100), "copy": figure(900)})
    assert bottleneck == "decode"
    assert predicted is not None
    assert predicted.images_per_s == pytest.approx(75)


def test_a_feed_near_its_slowest_stage_is_that_stage() -> None:
    bottleneck, predicted = predict(
        {"read": figure(100), "copy": figure(900), "feed": figure(95), "infer": figure(300)}
    )
    assert (bottleneck, predicted and predicted.images_per_s) == ("read", 95)


def test_a_feed_far_below_its_stages_is_what_they_share() -> None:
    ceilings = {"read": figure(100), "copy": figure(120), "feed": figure(60), "infer": figure(300)}
    assert predict(ceilings)[0] == "feed"
    assert predict(ceilings | {"infer": figure(50)})[0] == "infer"
    assert predict(ceilings | {"cpu": Figure(images_per_s=40)})[0] == "cpu"


def test_a_device_that_decodes_and_infers_may_do_less_of_both_at_once() -> None:
    ceilings = {"decode": figure(120), "infer": figure(100), "feed": figure(110), "device": figure(95)}
    assert predict(ceilings, ceilings) == ("infer", figure(95))
    assert predict(ceilings | {"device": figure(80)}, ceilings) == ("device", figure(80))
    assert predict(ceilings | {"feed": figure(70)}, ceilings)[0] == "feed"
    runs = {stage: alone(own.images_per_s or 0, cores=2) for stage, own in ceilings.items()}
    assert ceilings_of(runs, 2)["cpu"].images_per_s == pytest.approx(2 / (2 / 110 + 2 / 100))  # nothing counts twice


def alone(images_per_s: float, *, cores: float = 1.0, verdict: str = "VALID", **values: Any) -> Run:
    window = Repeat(start_s=0, seconds=2, images=int(2 * images_per_s), nbytes=1, batches=1, cpu_s=2 * cores)
    base = {"notebook": "03b", "measure": "read", "host": Host(), "verdict": verdict, "repeats": [window]}
    return Run.model_validate({**base, "measured": figure(images_per_s), **values})


def test_cpus_that_stages_share_are_a_ceiling_where_they_are_the_lowest() -> None:
    runs = {"read": alone(1000, cores=2), "copy": alone(1000, cores=1)}
    assert ceilings_of(runs, 2)["cpu"].images_per_s == pytest.approx(2 / (2 / 1000 + 1 / 1000))
    assert "cpu" not in ceilings_of(runs, 8)


def test_with_a_feed_its_own_cpu_time_counts_and_not_that_of_its_parts() -> None:
    runs = {"read": alone(900, cores=2), "copy": alone(900), "feed": alone(800, cores=2), "infer": alone(100, cores=2)}
    assert ceilings_of(runs, 2)["cpu"].images_per_s == pytest.approx(2 / (2 / 800 + 2 / 100))


def test_nothing_is_said_of_cpus_where_a_stage_does_not_tell() -> None:
    silent = alone(1000, repeats=[])
    assert "cpu" not in ceilings_of({"read": silent, "copy": alone(1000)}, 1)


def test_what_is_not_valid_is_no_ceiling() -> None:
    runs = {"read": alone(10, verdict="INVALID"), "copy": alone(1000), "infer": alone(100)}
    assert set(ceilings_of(runs, 64)) == {"copy", "infer"}


def test_decoding_is_a_ceiling_of_its_own() -> None:
    stages = {"read": Stage(images_per_s=3000.0, busy=0.03), "decode": Stage(images_per_s=100.0, busy=0.94)}
    found = ceilings_of({"read": alone(95, stages=stages), "copy": alone(5000)}, 64)
    assert {name: own.images_per_s for name, own in found.items()} == {"read": 3000, "decode": 100, "copy": 5000}
    assert predict(found)[0] == "decode"


def piped(measured: float, profile: str = "quick") -> Run:
    return alone(measured, predicted=figure(100), bottleneck="infer", measure="pipeline", profile=profile)


@pytest.mark.parametrize(
    ("run", "kinds"),
    [
        (piped(102), []),
        (piped(104), ["reason"]),
        (piped(104, "demo"), ["warning"]),
        (piped(160, "demo"), ["warning"]),
        (piped(51), []),
        (piped(49), ["warning"]),
    ],
)
def test_what_lies_far_off_its_prediction_is_said(run: Run, kinds: list[str]) -> None:
    found = list(held_against(run, {}))
    assert [finding.kind for finding in found] == kinds
    assert all("infer" in finding.text for finding in found)


def below(measured: float, here: Stage, there: Stage, half_width: float = 0.01) -> list[str]:
    run = piped(measured).model_copy(update={"stages": {"infer": here}, "ceilings": {"infer": figure(100)}})
    run = run.model_copy(update={"measured": figure(measured).model_copy(update={"half_width": half_width})})
    ceiling = alone(100, stages={"infer": there}, measure="infer")
    return [finding.text for finding in held_against(run, {"infer": ceiling})]


def test_what_the_bottleneck_did_otherwise_than_alone_is_said() -> None:
    there = Stage(images_per_s=101, busy=0.99)
    assert below(90, Stage(images_per_s=91, busy=0.99), there) == [
        "90.0 % of the prediction: infer was at work for 99.0 % of the time (alone 99.0 %), "
        "and 9.9 % slower at it than alone"
    ]
    (waited,) = below(80, Stage(images_per_s=103, busy=0.78), there)
    assert "at work for 78.0 % of the time (alone 99.0 %), and 2.0 % faster at it" in waited


def test_what_an_image_took_of_the_cpus_otherwise_than_alone_is_said() -> None:
    apart = {"read": alone(1000, cores=2), "copy": alone(1000, cores=1)}
    values: dict[str, Any] = {"predicted": figure(100), "bottleneck": "cpu", "measure": "pipeline"}
    (found,) = held_against(alone(80, cores=1.6, **values), apart)
    assert found.text == (
        "80.0 % of the prediction: 1.60 cores were at work, and an image took 20 ms of their time, 566.7 % more than "
        "its stages alone"
    )
    assert list(held_against(alone(80, cores=1.6, **values), {"read": alone(1000, repeats=[])})) == []


def test_nothing_is_said_of_what_errors_explain_or_nobody_knows() -> None:
    there = Stage(images_per_s=101, busy=0.99)
    assert below(98, there, there) == []
    assert below(95, there, there, half_width=0.05) == []
    assert below(90, Stage(), there) == []


@pytest.mark.parametrize(
    ("rates", "bottleneck", "stage"),
    [
        ({"copy": 4, "infer": 9}, "copy", "copy"),
        ({"copy": 4, "infer": 9, "feed": 3.9}, "copy", "feed"),
        ({"copy": 4, "infer": 1, "feed": 3.9}, "infer", "infer"),
        ({"copy": 4, "infer": 1, "feed": 3.9, "cpu": 0.5}, "cpu", "infer"),
        ({"copy": 4, "infer": 1, "memory": 0.5}, "memory", "infer"),
        ({"decode": 4, "infer": 3, "device": 2.8}, "infer", "device"),
        ({}, None, ""),
    ],
)
def test_the_point_that_a_prediction_rests_on(rates: dict[str, float], bottleneck: str | None, stage: str) -> None:
    ceilings = {name: figure(rate) for name, rate in rates.items()}
    alone = set(ceilings) - {"cpu", "memory"}
    assert predict(ceilings, alone)[0] == bottleneck
    assert rests_on(ceilings, alone) == stage


def test_a_prediction_rests_on_no_point_where_none_was_measured() -> None:
    assert rests_on({"infer": figure(1)}, ()) == ""
    assert rests_on({"cpu": figure(1)}, ("infer",)) == ""  # what is not valid is no ceiling


def test_a_prediction_is_as_uncertain_as_the_ceiling_that_it_rests_on() -> None:
    ceilings = {"read": Figure(images_per_s=100, half_width=0.2), "infer": Figure(images_per_s=50, half_width=0.04)}
    predicted = predict(ceilings)[1]
    assert predicted is not None
    assert predicted.half_width == 0.04


def test_a_ceiling_of_cpus_has_the_errors_of_all_that_use_them() -> None:
    runs = {"read": alone(1000, cores=3), "infer": alone(1000, cores=4)}
    assert ceilings_of(runs, 2)["cpu"].half_width == pytest.approx(0.01 * 5 / 7)


def test_a_stage_that_idles_is_not_called_the_bottleneck() -> None:
    run = piped(88).model_copy(update={"stages": {"infer": Stage(images_per_s=700, busy=0.137)}})
    (finding,) = held_against(run, {})
    assert finding.kind == "warning"
    assert finding.text.startswith(
        "infer was at work for only 13.7 % of the time: the handling of each batch (one every"
    )
    assert not binds(run)
    assert binds(piped(88).model_copy(update={"stages": {"infer": Stage(images_per_s=100, busy=0.93)}}))
    assert not binds(piped(49))
    assert binds(piped(88))


def test_without_cpus_they_are_no_ceiling() -> None:
    assert set(ceilings_of({"read": alone(10, cores=50)})) == {"read"}
