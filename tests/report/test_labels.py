import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit.records.figures import Figure
from inferkit.records.host import Host
from inferkit.records.run import Run
from inferkit.report.labels import (
    axis_text,
    bottleneck_text,
    error_text,
    figure_text,
    flatten,
    gpu_name,
    labels,
    plus_minus,
    sort_key,
)
from tests.report.conftest import MakeRun


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("transfer_bytes", 65536, "64 KiB"),
        ("threads", 4, "threads 4"),
        ("batch_size", 32, "batch size 32"),
        ("overlap", False, "no overlap"),
        ("model", "/data/my net.onnx", "my net"),
        ("model", "", ""),
    ],
)
def test_axis(name: str, value: str | int, expected: str) -> None:
    assert axis_text(name, value) == expected


@given(
    points=st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 2) | st.sampled_from(["x", ""])), max_size=8)
)
def test_each_run_has_a_name_of_its_own(points: list[dict[str, int | str]]) -> None:
    runs = [
        Run(notebook="03b", measure="pipeline", host=Host(), verdict="VALID", point=dict(point)) for point in points
    ]
    names = labels(runs)
    assert len(set(names)) == len(runs)
    assert all(names)


def test_labels_hold_what_varies_only(make_run: MakeRun) -> None:
    runs = [make_run(point={"model": "a", "threads": n}) for n in (1, 2)]
    assert labels(runs) == ["threads 1", "threads 2"]
    assert labels(runs[:1]) == ["a · threads 1"]
    runs.append(make_run(point={"model": "a", "threads": 2}, storage="nas"))
    assert labels(runs) == ["shm · threads 1", "shm · threads 2", "nas · threads 2"]


def test_valid_comes_before_fast(make_run: MakeRun, failed: Run) -> None:
    slow, fast = make_run(10), make_run(20)
    invalid = make_run(100, verdict="INVALID", reasons=["x"])
    bandwidth = make_run(measured=Figure(bytes_per_s=1e9))
    assert sorted([failed, invalid, slow, fast, bandwidth], key=sort_key) == [bandwidth, fast, slow, invalid, failed]


def test_flatten_keeps_every_leaf() -> None:
    nested = {"a": [{"b": 1}, {"b": None}], "c": [1, 2], "d": {}, "e": "text"}
    expected = [("a[0].b", "1"), ("a[1].b", "null"), ("c", "[1, 2]"), ("d", "{}"), ("e", "text")]
    assert list(flatten(nested)) == expected


def test_a_run_on_the_cpu_has_no_gpu_though_the_machine_has(make_run: MakeRun) -> None:
    gpus = [{"index": index, "name": name} for index, name in enumerate(("NVIDIA H100 PCIe", "NVIDIA L4"))]
    host = Host.model_validate({"cpu": "x", "gpus": gpus})
    assert gpu_name(make_run(host=host)) == ""
    assert gpu_name(make_run(host=host, params={"device": "cuda"})) == "NVIDIA H100 PCIe + NVIDIA L4"
    assert gpu_name(make_run(host=host, point={"device": "cuda", "gpu": 1})) == "NVIDIA L4"


@pytest.mark.parametrize(
    ("value", "half_width", "expected"),
    [
        (45527.3, 40.2, "45,527 ± 40"),
        (45527.3, 412.0, "45,530 ± 410"),
        (45527.3, 9.96, "45,527 ± 10"),
        (58.123, 0.0951, "58.123 ± 0.095"),
        (0.00123, 0.0000456, "0.001230 ± 0.000046"),
        (3.2, 12.0, "3 ± 12"),
        (58.0, 0.0, "58"),
        (45527.3, 0.0, "45,527"),
        (45527.3, 1e-5, "45,527"),
    ],
)
def test_an_error_has_two_digits_and_its_value_ends_at_the_same_place(
    value: float, half_width: float, expected: str
) -> None:
    assert plus_minus(value, half_width) == expected


@given(st.floats(1e-3, 1e12), st.floats(1e-5, 2.0))
def test_what_is_written_is_what_was_measured(value: float, relative: float) -> None:
    half_width = value * relative
    told, error = (float(word.replace(",", "")) for word in plus_minus(value, half_width).split(" ± "))
    assert error == pytest.approx(half_width, rel=0.051)
    assert abs(told - value) <= 0.051 * half_width + 1e-12 * value


def test_a_figure_is_worded_with_its_error() -> None:
    both = Figure(images_per_s=45527.3, bytes_per_s=6.851e9, half_width=0.00088, block_s=0.05)
    assert figure_text(both) == "45,527 ± 40 images/s · 6.85 GB/s"
    assert figure_text(Figure(bytes_per_s=8.7512e9, half_width=0.0024)) == "8.751 ± 0.021 GB/s"
    assert figure_text(Figure(images_per_s=58.12)) == "58.1 images/s"
    assert figure_text(Figure(images_per_s=58.12, cov=0.02)) == "58.1 images/s · windows vary by 2.0 %"
    assert figure_text(None) == figure_text(Figure()) == "–"
    assert error_text(both) == "± 0.1 % (95 %), by blocks of 50 ms"
    assert error_text(Figure(images_per_s=1.0)) == ""


def test_what_may_limit_as_well_is_named(make_run: MakeRun) -> None:
    def told(**infer: float) -> str:
        ceilings = {"read": Figure(images_per_s=100, half_width=0.1), "infer": Figure(**infer)}
        return bottleneck_text(make_run(90, bottleneck="read", ceilings=ceilings))

    assert told(images_per_s=120, half_width=0.05) == "read is the bottleneck"
    assert told(images_per_s=115, half_width=0.1) == "read or infer is the bottleneck: their ceilings are not apart"
    assert bottleneck_text(make_run(90, bottleneck=None)) == ""
