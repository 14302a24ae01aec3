"""What a record's model leaves open, checked where records are read, so that the report need not ask again.

Axes, facts and parameters are open lists: one that nobody knows may hold anything. Those that are shown, computed with
or drawn are named here, with their types.
"""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inferkit.errors import RecordError
from inferkit.records.bounds import COUNTER
from inferkit.records.consistent import contradictions
from inferkit.records.figures import Json
from inferkit.text import quoted, shortened

if TYPE_CHECKING:
    from inferkit.records.run import Run

READS_NOTHING = "reads nothing, so there is no bandwidth"
"""In a warning: why a reader's record has no figure, such as that of mapped files."""
NOTHING_MADE = "so nothing was measured"
"""In a warning: why the record of a data set that was there has no figure."""

LEAST, MOST = 1e-12, 1e18
"""Between these lies every throughput per second, and intervals as shares of it are below: more would overflow."""

TINY = 1e-200
"""Nothing but 0 is nearer to 0."""

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]
Amount = Annotated[float, Field(ge=0)]


class _Known(BaseModel):
    model_config = ConfigDict(defer_build=True, strict=True, allow_inf_nan=False)


class _Axes(_Known):
    engine: str = ""
    model: str = ""
    precision: str = ""
    reader: str = ""
    memory: str = ""
    direction: str = ""
    device: str = ""
    gpu: Count | str = ""
    node: Count = 0
    threads: Count = 0
    gpus: Count = 0
    cores: Count = 0
    ranks: Positive = 1
    batch_size: Positive = 1
    transfer_bytes: Positive = 1


class _Reading(_Known):
    first_done_s: Amount | None = None
    last_done_s: Amount | None = None
    balance: Amount | None = None
    thread_cpu_s_per_gb: Amount | None = None


class _Files(_Known):
    bytes_per_file: Positive | None = None
    files_seen: Count = 0
    files_in_software: dict[str, Count] = Field(default_factory=dict)


class _Decoder(_Known):
    backend: str
    lanes: Count = 1
    decoded: Count = 0
    refused: Count = 0


class _Pixels(_Known):
    images: Count
    mean: Amount
    largest: Amount


class _Facts(_Known):
    images: Count = 0
    skipped: Count | list[Any] | dict[str, Any] | None = None
    dtype: str | None = None
    shape: list[Positive] | None = None
    reading: _Reading | None = None
    reader: _Files | None = None
    decoders: list[_Decoder] = Field(default_factory=list)
    pixels: dict[str, _Pixels] = Field(default_factory=dict)
    top1_agreement: Amount | None = None
    layers_ms: list[Annotated[tuple[str, Amount], Field(strict=False)]] | None = None
    fingerprint: str = ""
    network: str = ""
    batches: dict[str, Annotated[str, Field(pattern=r"^(\d+\+\d+( \d+\+\d+)*)?$")]] = Field(default_factory=dict)
    images_per_joule: Amount | None = None


class _Params(_Known):
    data: str = ""
    device: str = ""
    dtype: str | None = None
    shape: list[Positive] | None = None


class _Open(_Known):
    point: _Axes
    facts: _Facts
    params: _Params


def check(run: "Run", data: Mapping[str, Any]) -> None:
    """Check what a record's model leaves open.

    Parameters
    ----------
    run, data
        The record, and the JSON that it was read from.

    Raises
    ------
    RecordError
        If an axis, fact or parameter that the report knows has another type, a number is none, or if the record is
        VALID and neither has a figure nor says why, or has one that cannot be, or reasons against it; if its figure is
        not what its windows, parts and ceilings say.
    """
    try:
        _Open.model_validate({"point": run.point, "facts": run.facts, "params": run.params})
        json.dumps(data, allow_nan=False)
    except ValidationError as error:
        raise RecordError(first_fault(error)) from error
    except ValueError as error:
        message = "it holds NaN or an infinity, expected numbers, or null for what is unknown"
        raise RecordError(message) from error
    if absurd := [value for value in _figures(run) if value and not LEAST <= value <= MOST]:
        message = f"it has a figure of {absurd[0]:g}, which no machine reaches: was it edited?"
        raise RecordError(message)
    _check_numbers(data)
    told = any(why in warning for warning in run.warnings for why in (READS_NOTHING, NOTHING_MADE))
    figure = run.measured
    if run.verdict == "VALID" and run.reasons:
        message = f"it is VALID and has reasons not to be ({run.reasons[0]}): measure that point again"
        raise RecordError(message)
    if run.verdict == "VALID" and not told and not (figure and (figure.images_per_s or figure.bytes_per_s)):
        message = "it is VALID and has no figure, expected images or bytes per second: measure that point again"
        raise RecordError(message)
    if found := next(contradictions(run), ""):
        message = f"{found}: was it edited?"
        raise RecordError(message)


def _check_numbers(data: Json) -> None:
    """Raise RecordError if a number is beyond all that a machine counts: what is computed with it would overflow."""
    level: list[Json] = [data]
    while level:
        numbers = [value for value in level if isinstance(value, int | float) and value]
        if odd := [value for value in numbers if not TINY <= abs(value) <= COUNTER]:
            message = f"it has a number of {quoted(odd[0])}, which no machine counts to: was it edited?"
            raise RecordError(message)
        nested = (
            value.values() if isinstance(value, dict) else value for value in level if isinstance(value, dict | list)
        )
        level = [inner for values in nested for inner in values]


def _figures(run: "Run") -> Iterator[float | None]:
    """Yield what is computed with: throughputs, and intervals where there are any."""
    for figure in filter(None, (run.measured, run.predicted, *run.ceilings.values())):
        yield from (figure.images_per_s, figure.bytes_per_s)
        yield max(figure.half_width or 0.0, LEAST)


def first_fault(error: ValidationError) -> str:
    """Word the first thing that does not fit, and how many more there are."""
    first, *others = error.errors(include_url=False)
    more = f" (and {len(others)} more)" if others else ""
    found = "" if first["type"] == "missing" else f" is {quoted(first['input'])}"
    return f"{shortened('.'.join(map(str, first['loc'])), 80)}{found}: {first['msg']}{more}"
