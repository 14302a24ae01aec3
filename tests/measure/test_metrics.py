import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit.measure.metrics import predict
from inferkit.records.host import Host
from inferkit.records.run import STAGES, Figure, Run

rates = st.floats(0.1, 1e9)


def figure(images_per_s: float) -> Figure:
    return Figure(images_per_s=images_per_s, bytes_per_s=images_per_s * 105, half_width=0.01)


def test_lowest_ceiling_binds() -> None:
    bottleneck, predicted = predict({"read": figure(900), "copy": figure(5000), "infer": figure(300)})
    assert bottleneck == "infer"
    assert predicted == Figure(images_per_s=300, bytes_per_s=300 * 105)


def test_of_two_equal_ceilings_the_earlier_stage_binds() -> None:
    assert predict({"infer": figure(300), "copy": figure(300), "read": figure(400)})[0] == "copy"


@pytest.mark.parametrize("ceilings", [{}, {"copy": Figure(bytes_per_s=100.0)}, {"read": Figure(images_per_s=0.0)}])
def test_without_a_ceiling_nothing_is_predicted(ceilings: dict[str, Figure]) -> None:
    assert predict(ceilings) == (None, None)


def test_ceiling_without_images_does_not_bind() -> None:
    assert predict({"copy": Figure(bytes_per_s=1.0), "infer": figure(300)})[0] == "infer"


@given(st.dictionaries(st.sampled_from(STAGES), rates, min_size=1))
def test_is_never_above_a_ceiling(ceilings: dict[str, float]) -> None:
    bottleneck, predicted = predict({stage: figure(rate) for stage, rate in ceilings.items()})
    assert bottleneck is not None
    assert predicted is not None
    assert predicted.images_per_s == min(ceilings.values()) == ceilings[bottleneck]


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
