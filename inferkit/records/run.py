"""The record: one immutable Run per measured point, the only thing that the two wings of inferkit share.

History of the schema (a Run of an unknown version is refused by name):

1   2026-11: first version. Still read: :func:`_from_schema_1` says what became of it.
2   2026-11: ``stage`` is ``notebook``, ``binding`` is ``bottleneck``, and among the facts ``together`` is ``group``; a
    figure is the mean over its windows, and ``half_width`` (a 95 % interval) takes the place of ``cov``.
3   2026-11: schema 2 packed, in notebooks alone: what an earlier record of the notebook has as well stands there only.
    Still read.
4   2026-11: schema 2 packed as text, in notebooks alone (records/packed.py). Whoever reads a notebook, of schema 3 or
    4, gets records of schema 2.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal
from uuid import uuid4

from pydantic import Field, ValidationError

from inferkit.errors import RecordError
from inferkit.records.figures import Figure, Json, Record, Repeat, Scalar, Series, Stage
from inferkit.records.host import Host
from inferkit.records.wellformed import check, first_fault
from inferkit.text import quoted

SCHEMA = 2
SHARED = 3
PACKED = 4
MIME = "application/vnd.inferkit.run+json"
STAGES = ("read", "decode", "copy", "infer", "out")
"""The stages in the order in which a batch meets them; an open list."""
CEILINGS = ("read", "decode", "copy", "feed", "infer", "out", "device", "cpu", "memory")
"""What may limit a pipeline, in the order in which it is shown: stages, and what they share (measure/prediction)."""

DOING = {
    "read": "reading",
    "decode": "decoding",
    "copy": "copying",
    "feed": "reading and copying at once",
    "infer": "inference",
    "device": "decoding and inference at once",
    "out": "copying results back",
}
"""What is done in a stage, in words."""

UNSTEADY = "unsteady"
"""How a reason begins that speaks against a figure because it varied too much."""
REUSED = "not measured again: from "
"""Begins the warning of a Run that stands in place of measuring again: then come the notebook and when it began."""
NO_PREDICTION = "no prediction: "
"""Begins the warning of a Run whose figure cannot be held against its ceilings: then comes why."""
STOPPED = "KeyboardInterrupt"
"""The kind of failure of what was not measured because the user stopped."""

NETWORK = "network"
"""The fact that tells of which content a network is: ``zoo:`` and its name, or a digest of a user's files."""

DIGITS, FEW_DIGITS = 7, 5
"""Significant digits of floats in a record, and of those of which there are many: finer than any interval here."""

MANY = {"repeats", "stages", "series"}
"""Fields that hold many of a kind."""
MANY_FACTS = {"gpus"}
"""Facts that do."""

Verdict = Literal["VALID", "INVALID", "FAILED"]


class Peer(Record):
    """A figure that another program reached on the same work, or why there is none.

    ``ratio`` is ours ÷ theirs, of rounds in alternation, and ``interval`` its 95 % interval.
    """

    name: str
    command: str = ""
    figure: Figure | None = None
    ratio: float | None = None
    interval: list[float] | None = Field(default=None, min_length=2, max_length=2)
    missing: str = ""


class Failure(Record):
    """Why a point has no figure."""

    kind: str
    message: str
    detail: str = ""


class Run(Record):
    """Everything about one measured point.

    Parameters
    ----------
    notebook
        Which notebook: ``01``, ``02``, ``03a``, ``03b`` or ``03c``.
    measure
        What was measured: a stage alone (``read``, ``copy``, ``infer``: a *ceiling*), ``pipeline``, or ``dataset``.
    storage
        The storage configuration, as in ``parameters/<storage>.yaml``.
    point
        The axes' values at this point.
    params
        All parameters of the notebook, resolved.
    scope
        What the figure covers: one ``gpu``, one process (``rank``) or the ``server``.
    repeats
        The windows, the warm-up among them and flagged.
    stages
        What each stage did in the measured windows.
    measured, predicted
        Throughput reached, and the lowest of the ceilings that apply.
    bottleneck
        What sets the pace: the stage with the lowest ceiling, or what stages share. None where there is no ceiling, or
        where none explains the figure.
    ceilings, ceilings_from
        The throughput of each stage alone, and of what they share, and the ids of the runs that measured them.
    verdict, reasons
        ``VALID``; ``INVALID`` with reasons; ``FAILED`` with ``failure``.
    unverified
        What the machine does not tell, so that nobody takes it for checked.
    facts
        What was found out while measuring: resident share of the files, bytes read from the device, images verified …
    """

    schema_version: Literal[2] = Field(default=2, alias="schema")
    id: str = Field(default_factory=lambda: uuid4().hex[:16])
    notebook: str
    measure: str
    storage: str = ""
    profile: str = "demo"
    started: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    point: dict[str, Scalar] = Field(default_factory=dict)
    params: dict[str, Json] = Field(default_factory=dict)
    host: Host
    scope: Literal["gpu", "rank", "server"] = "rank"
    repeats: list[Repeat] = Field(default_factory=list)
    stages: dict[str, Stage] = Field(default_factory=dict)
    measured: Figure | None = None
    predicted: Figure | None = None
    bottleneck: str | None = None
    ceilings: dict[str, Figure] = Field(default_factory=dict)
    ceilings_from: list[str] = Field(default_factory=list)
    verdict: Verdict
    reasons: list[str] = Field(default_factory=list)
    unverified: list[str] = Field(default_factory=list)
    warnings: list[str] = Field(default_factory=list)
    failure: Failure | None = None
    facts: dict[str, Json] = Field(default_factory=dict)
    series: dict[str, Series] = Field(default_factory=dict)
    peers: list[Peer] = Field(default_factory=list)

    @property
    def quotable(self) -> bool:
        """Whether the figure may be quoted: VALID and of a profile that is long enough."""
        return self.verdict == "VALID" and self.profile != "demo"

    @property
    def noisy(self) -> bool:
        """Whether it is a figure of the demo profile that is INVALID for nothing but an unsteady machine."""
        unsteady = all(reason.startswith(UNSTEADY) for reason in self.reasons)
        return self.profile == "demo" and self.verdict == "INVALID" and bool(self.reasons) and unsteady

    @property
    def taken_from(self) -> str:
        """The notebook that measured it, and when, where it was not measured again; else empty."""
        return next((text.removeprefix(REUSED) for text in self.warnings if text.startswith(REUSED)), "")

    @property
    def measured_windows(self) -> list[Repeat]:
        """The windows, the warm-up left out."""
        return [repeat for repeat in self.repeats if not repeat.warmup]

    @property
    def windowed(self) -> bool:
        """Whether its figure is made of windows: that of making a data set is not."""
        return self.measure != "dataset"

    @property
    def cores(self) -> float | None:
        """CPU cores that the measuring processes used in the windows, the warm-up left out; None where unknown."""
        kept = [(repeat.cpu_s, repeat.seconds) for repeat in self.repeats if not repeat.warmup]
        used = [cpu_s for cpu_s, _ in kept if cpu_s is not None]
        return sum(used) / sum(seconds for _, seconds in kept) if used and len(used) == len(kept) else None

    @property
    def reached(self) -> float | None:
        """Measured ÷ predicted images per second (bytes where there are no images); None where either lacks."""
        if self.measured is None or self.predicted is None:
            return None
        ours, ceiling = self.measured.images_per_s, self.predicted.images_per_s
        if ours is None or ceiling is None:
            ours, ceiling = self.measured.bytes_per_s, self.predicted.bytes_per_s
        return ours / ceiling if ours is not None and ceiling else None

    def to_dict(self, *, identity: bool = True) -> dict[str, Json]:
        """Return the JSON form, small enough that a notebook may hold a hundred: unknowns left out, floats rounded.

        Parameters are as they were given; windows, stages and series do without what is as usual.
        Without ``identity`` nothing is left that identifies a machine or a person.
        """
        hidden = None if identity else {"host": {"identity"}}
        data = self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=hidden)
        data |= self.model_dump(mode="json", include=MANY, exclude_defaults=True)
        made = {
            name: value if name == "params" else rounded(value, FEW_DIGITS if name in MANY else DIGITS)
            for name, value in data.items()
        }
        made["facts"] |= {name: rounded(value) for name, value in made["facts"].items() if name in MANY_FACTS}
        return made

    def to_json(self) -> str:
        """Return the JSON text; NaN and infinity are refused."""
        return json.dumps(self.to_dict(), allow_nan=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Json]) -> "Run":
        """Read the JSON form.

        Raises
        ------
        RecordError
            If the schema version is unknown, or the content does not fit it or is not well-formed.
        """
        version = data.get("schema")
        if version == 1:
            data = _from_schema_1(data)
        elif version != SCHEMA:
            raise RecordError(_unknown(data))
        try:
            run = cls.model_validate(data)
        except ValidationError as error:
            message = f"record {quoted(data.get('id'))} does not fit schema {version}: {first_fault(error)}"
            raise RecordError(message) from error
        try:
            check(run, data)
        except RecordError as error:
            message = f"record {quoted(run.id)} is not well-formed: {error}"
            raise RecordError(message) from error
        return run


def _unknown(data: Mapping[str, Json]) -> str:
    """Say why a record of another schema cannot be read."""
    if data.get("schema") not in (SHARED, PACKED):
        return f"record has schema {quoted(data.get('schema'))}, this inferkit reads 1 to {PACKED}: upgrade inferkit"
    return (
        f"record {quoted(data.get('id'))} says that another one of its notebook has the same machine or parameters, "
        "but it is not there, or this one was edited: take the notebook as it was executed"
    )


def _from_schema_1(data: Mapping[str, Json]) -> dict[str, Json]:
    """Return a record of schema 1 as schema 2 has it; what else does not fit is told of where it is validated."""
    names = {"stage": "notebook", "binding": "bottleneck"}
    renamed = {names.get(name, name): value for name, value in data.items()} | {"schema": SCHEMA}
    facts = data.get("facts")
    if isinstance(facts, dict) and "together" in facts:
        renamed["facts"] = {"group" if name == "together" else name: value for name, value in facts.items()}
    return renamed


def rounded(value: Json, digits: int = FEW_DIGITS) -> Json:
    """Return JSON with its floats rounded to so many significant digits; whole ones are written without a point."""
    if isinstance(value, dict):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item, digits) for item in value]
    return _number(float(f"{value:.{digits}g}")) if isinstance(value, float) else value


def _number(value: float) -> float | int:
    return int(value) if value.is_integer() else value


def json_schema() -> dict[str, Json]:
    """Return the JSON Schema (draft 2020-12) of a Run."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Run.model_json_schema(by_alias=True)}
