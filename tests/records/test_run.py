import json
import math
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from inferkit.errors import RecordError
from inferkit.records.figures import Figure, Quantiles, Repeat, Series, Stage, figure_of
from inferkit.records.host import Gpu, Host, Identity
from inferkit.records.run import Failure, Run, json_schema


def repeat(images: int, *, seconds: float = 2.0, warmup: bool = False, nbytes: int | None = None) -> Repeat:
    nbytes = images * 100 if nbytes is None else nbytes
    return Repeat(start_s=0, seconds=seconds, images=images, nbytes=nbytes, batches=1, warmup=warmup)


@pytest.fixture
def run() -> Run:
    quantiles = Quantiles(p50_s=0.1, p90_s=0.2, p95_s=0.3, p99_s=0.4, p999_s=0.5, max_s=0.6)
    return Run(
        notebook="03b",
        measure="pipeline",
        host=Host(cpu="a CPU", identity=Identity(hostname="secret-name", user="jane")),
        point={"reader": "direct", "batch_size": 8, "share": 0.5, "overlap": True},
        repeats=[repeat(10, warmup=True), repeat(20), repeat(22)],
        stages={"read": Stage(images_per_s=12.0, busy=0.5, workers=2, quantiles=quantiles)},
        series={"host_cpu": Series(unit="share", values=[0.5, None])},
        measured=Figure(images_per_s=10.5, bytes_per_s=1050.0, half_width=0.05, block_s=0.1),
        predicted=Figure(images_per_s=12.0),
        bottleneck="read",
        verdict="VALID",
    )


def test_json_round_trip_keeps_everything(run: Run) -> None:
    again = Run.from_dict(json.loads(run.to_json()))
    assert again == run
    assert [type(value) for value in again.point.values()] == [str, int, float, bool]
    assert run.to_dict()["schema"] == 2


def test_json_schema_accepts_what_is_written(run: Run) -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(run.to_dict())
    validator.validate(run.to_dict(identity=False))
    failed = Run(notebook="02", measure="copy", host=Host(), verdict="FAILED", failure=Failure(kind="K", message="m"))
    validator.validate(json.loads(failed.to_json()))


@pytest.mark.parametrize(
    "change",
    [{"verdict": "MAYBE"}, {"schema": 3}, {"surprise": 1}, {"repeats": [{"seconds": 1}]}, {"measured": {"cov": "x"}}],
)
def test_json_schema_and_reader_refuse_the_same(run: Run, change: dict[str, Any]) -> None:
    altered = run.to_dict() | change
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(altered, json_schema())
    with pytest.raises(RecordError):
        Run.from_dict(altered)


@pytest.mark.parametrize("version", [5, 0, None, "1"])
def test_unknown_version_is_refused_by_number(run: Run, version: object) -> None:
    with pytest.raises(RecordError, match=f"schema {version!r}, this inferkit reads 1 to 4"):
        Run.from_dict(run.to_dict() | {"schema": version})


def test_record_that_does_not_fit_is_named(run: Run) -> None:
    altered = run.to_dict()
    del altered["notebook"]
    with pytest.raises(RecordError, match=f"{run.id}.*does not fit schema 2(.|\n)*notebook"):
        Run.from_dict(altered)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_refused(run: Run, value: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        Figure(images_per_s=value)
    with pytest.raises(ValidationError, match="finite"):
        Series(unit="share", values=[0.5, value])
    with pytest.raises(ValidationError, match="finite"):
        Run(notebook="02", measure="copy", host=Host(), verdict="VALID", point={"share": value})
    with pytest.raises(RecordError, match="finite"):
        Run.from_dict(run.to_dict() | {"predicted": {"images_per_s": value}})


def test_json_holds_no_nan_whatever_the_facts_say(run: Run) -> None:
    text = run.model_copy(update={"facts": {"share": math.nan, "deep": [{"x": math.inf}]}}).to_json()
    assert "NaN" not in text
    assert "Infinity" not in text


def test_identity_can_be_removed(run: Run) -> None:
    assert "secret-name" in run.to_json()
    data = run.to_dict(identity=False)
    assert "secret-name" not in json.dumps(data)
    assert "jane" not in json.dumps(data)
    assert data["host"]["cpu"] == "a CPU"
    assert run.host.identity is not None
    assert Run.from_dict(data).host.identity is None


def test_host_tells_nothing_that_identifies_outside_identity() -> None:
    names = set(Host.model_fields) | set(Gpu.model_fields)
    assert not names & {"hostname", "user", "uuid", "serial", "machine_id", "boot_id"}


def test_is_frozen(run: Run) -> None:
    for record, name in ((run, "verdict"), (run.repeats[0], "images"), (run.measured, "cov")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(record, name, 0)


def test_runs_have_ids_of_their_own() -> None:
    first, second = (Run(notebook="02", measure="copy", host=Host(), verdict="VALID") for _ in range(2))
    assert first.id != second.id
    assert first.started.endswith("+00:00")


@pytest.mark.parametrize(
    ("verdict", "profile", "quotable"),
    [("VALID", "quick", True), ("VALID", "demo", False), ("INVALID", "mlperf", False), ("FAILED", "quick", False)],
)
def test_quotable(run: Run, verdict: str, profile: str, quotable: bool) -> None:
    assert run.model_copy(update={"verdict": verdict, "profile": profile}).quotable is quotable


def test_reached(run: Run) -> None:
    assert run.reached == pytest.approx(10.5 / 12)
    bytes_only = {"measured": Figure(bytes_per_s=30.0), "predicted": Figure(bytes_per_s=40.0)}
    assert run.model_copy(update=bytes_only).reached == pytest.approx(0.75)
    assert run.model_copy(update={"predicted": None}).reached is None
    assert run.model_copy(update={"measured": Figure()}).reached is None
    assert run.model_copy(update={"predicted": Figure(images_per_s=0.0)}).reached is None


def test_cores_are_those_of_the_measured_windows(run: Run) -> None:
    assert run.cores is None
    used = [each.model_copy(update={"cpu_s": cpu_s}) for each, cpu_s in zip(run.repeats, (9.0, 0.2, 0.4), strict=True)]
    assert run.model_copy(update={"repeats": used}).cores == pytest.approx(0.15)
    assert run.model_copy(update={"repeats": [*used, repeat(1)]}).cores is None
    assert run.model_copy(update={"repeats": []}).cores is None


def test_figure_is_the_mean_over_the_measured_windows() -> None:
    figure = figure_of([repeat(1000, warmup=True), repeat(20), repeat(40), repeat(24)])
    assert figure is not None
    assert figure == Figure(images_per_s=14, bytes_per_s=1400)


def test_figure_of_bare_bytes_knows_no_images() -> None:
    figure = figure_of([repeat(0, nbytes=100), repeat(0, nbytes=300)])
    assert figure is not None
    assert figure.images_per_s is None
    assert figure.bytes_per_s == 100


def test_figure_of_few_windows() -> None:
    assert figure_of([]) is None
    assert figure_of([repeat(3, warmup=True)]) is None
    assert figure_of([repeat(3)]) == Figure(images_per_s=1.5, bytes_per_s=150.0)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=9))
def test_figure_lies_between_the_windows(images: list[int]) -> None:
    figure = figure_of([repeat(n) for n in images])
    assert figure is not None
    assert figure.images_per_s is not None
    assert min(images) / 2 * 0.999999 <= figure.images_per_s <= max(images) / 2 * 1.000001
