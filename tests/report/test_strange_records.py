"""Each field of each kind of record holds something else: the record is left out, or told in words."""

from pathlib import Path
from typing import Any

import pytest

from inferkit.records.notebooks import Stored, runs_in
from inferkit.records.run import Run
from inferkit.report.compare import compare
from inferkit.report.conclusion import conclude
from inferkit.report.headline import headline
from inferkit.report.overview import overview
from inferkit.report.record import bundle
from inferkit.report.screen import screen
from inferkit.report.side_by_side import View
from inferkit.report.store import rows
from inferkit.report.trend import Trend, trends
from tests.cli.fuzz import GONE, STRANGE, altered, notebook, places
from tests.cli.records import records

FEW: list[Any] = [GONE, None, -1, 0, 0.5, "", "x", [], {}, [None], {"a": 1}, float("nan"), 10**400]


def read(record: Any) -> list[Run]:
    """Return the record as the report takes it; none if it was left out, for a reason of one line."""
    told: list[str] = []
    found = runs_in(notebook(record), Path("a.ipynb"), told.append)
    assert len(found) + len(told) == 1
    assert all("\n" not in text and len(text) < 700 for text in told)
    return found


def say_all(runs: list[Run]) -> None:
    """Put runs into every kind of words."""
    stored = [Stored(run, Path("a.ipynb")) for run in runs]
    for told in (conclude(runs), overview(runs), screen(runs), headline(runs).sentence, rows(stored)):
        assert str(told)
    for run in runs:
        assert bundle(run)
    found = rows(stored)
    if any(run.measure == "pipeline" for run in runs):
        assert str(View(compare(found, allow_different=True)))
    assert str(Trend(trends(found))) is not None


def try_all(name: str, values: list[Any]) -> tuple[int, int]:
    """Alter every field of a record; return how many were told of and how many left out."""
    kept = left = 0
    sound = records()[name]
    other = Run.from_dict(records()["pipeline"] | {"id": "other", "storage": "other", "started": "2026-11-01"})
    for path in places(sound)[1:]:
        for value in values:
            found = read(altered(sound, path, value))
            say_all([*found, other])
            for run in found:
                figure = run.measured
                speed = (figure.images_per_s or figure.bytes_per_s or 0) if figure else 0
                assert run.verdict != "VALID" or speed > 0, (path, value)
            kept, left = kept + bool(found), left + (not found)
    return kept, left


def test_whatever_a_field_holds_is_told_or_the_record_left_out() -> None:
    kept, left = try_all("pipeline", ["x", -1])
    assert min(kept, left) > 20


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", sorted(records()))
def test_whatever_it_holds_of_all_that_is_strange(name: str) -> None:
    kept, left = try_all(name, [*FEW, *STRANGE])
    assert min(kept, left) > 100
