"""``show``, ``export`` and ``compare`` of what is broken: one sentence, or what is left of it."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from inferkit.cli.main import main
from inferkit.records.figures import Figure, Repeat
from inferkit.records.host import Host
from inferkit.records.run import MIME, Run

CELL = {"cell_type": "code", "id": "a", "execution_count": 1, "metadata": {}, "source": ""}


def record(rate: int = 58, **changes: Any) -> dict[str, Any]:
    about = {"notebook": "03b", "measure": "pipeline", "storage": "shm", "verdict": "VALID"}
    window = Repeat(start_s=0, seconds=1, images=rate, nbytes=rate, batches=1)
    figure = {"measured": Figure(images_per_s=rate), "repeats": [window]}
    run = Run.model_validate(about | {"host": Host(), "point": {"threads": 2}} | figure)
    return run.to_dict() | changes


def cells(*records: Any) -> list[dict[str, Any]]:
    shown = {"output_type": "display_data", "metadata": {}}
    return [CELL | {"outputs": [shown | {"data": {MIME: own, "text/plain": "a record"}}]} for own in records]


def write(path: Path, *cells: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


def inferkit(*words: object) -> Result:
    return CliRunner().invoke(main, list(map(str, words)))


NO_NOTEBOOKS: dict[str, Callable[[Path], object]] = {
    "not executed": lambda path: write(path, CELL | {"outputs": []}),
    "bare cells": lambda path: path.write_text('{"cells": [{"cell_type": "code"}, {}]}'),
    "a lone Markdown cell": lambda path: path.write_text('{"cells": [{"cell_type": "markdown", "source": "x"}]}'),
    "no cells": lambda path: write(path),
    "folder": lambda path: path.mkdir(),
    "truncated": lambda path: path.write_text(json.dumps({"cells": cells(record())})[:-9]),
    "empty": lambda path: path.touch(),
    "another JSON": lambda path: path.write_text('{"name": 1}'),
    "a list": lambda path: path.write_text("[1]"),
    "cells that are none": lambda path: path.write_text('{"cells": [1]}'),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "garbage": lambda path: path.write_bytes(bytes(range(256)) * 99),
    "deep JSON": lambda path: path.write_text("[" * 100_000),
    "JSON deeper than can be followed": lambda path: path.write_text(
        '{"cells": [{"outputs": [], "metadata": %s}]}' % ('{"a":' * 400 + "1" + "}" * 400)
    ),
    "a number too long": lambda path: path.write_text('{"cells": %s}' % ("9" * 5000)),
    "outputs that are none": lambda path: path.write_text('{"cells": [{"outputs": null}]}'),
    "an output's data that are none": lambda path: path.write_text('{"cells": [{"outputs": [{"data": [1]}]}]}'),
    "NaN": lambda path: write(path, *cells(record(measured={"images_per_s": float("nan")}))),
    "a pipe": os.mkfifo,
    "missing": lambda path: None,
}


@pytest.mark.parametrize("name", NO_NOTEBOOKS)
@pytest.mark.parametrize(
    "words",
    [
        *(("show",), ("show", "--json"), ("compare",), ("compare", "--trend"), ("runs",)),
        *[("export", "--to", to) for to in ("html", "pdf", "csv", "json")],
        ("export", "--to", "ipynb", "--anonymize"),
    ],
)
def test_what_holds_no_record_is_refused_in_one_sentence(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, words: tuple[str, ...]
) -> None:
    if words != ("show",):  # one tells that what is raised in a copy arrives; the others read no other way
        request.getfixturevalue("uncopied")
    path = tmp_path / "a.ipynb"
    NO_NOTEBOOKS[name](path)
    done = inferkit(*words, path)
    assert done.exit_code == 2, done.output
    assert str(path) in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


BROKEN: dict[str, Any] = {
    "text for a number": record(point={"transfer_bytes": "x"}),
    "a number for a list": record(facts={"shape": 5}),
    "a list for a record": [],
    "a negative figure": record(measured={"images_per_s": -1.0}),
    "no figure": record(measured=None),
    "a figure that was edited": record(measured={"images_per_s": 5800.0}),
    "another schema": record(schema=9),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_record_is_named_and_left_out(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "a.ipynb", *cells(BROKEN[name], record(id="good")))
    for words in (("show",), ("compare",), ("runs",), *[("export", "--to", to) for to in ("html", "csv", "json")]):
        done = inferkit(*words, path)
        assert done.exit_code == 0, done.output
        assert done.stderr.startswith(f"inferkit: left out: {path}: record ")
        assert len(done.stderr.splitlines()) == 1
    assert [run["id"] for run in json.loads(inferkit("show", "--json", path).stdout)] == ["good"]
    write(path, *cells(BROKEN[name]))
    assert inferkit("show", path).exit_code == 2


@pytest.mark.usefixtures("uncopied")
@pytest.mark.parametrize("name", [name for name in NO_NOTEBOOKS if name != "missing"])
@pytest.mark.parametrize("words", [("compare",), ("runs",), ("compare", "--trend")], ids=" ".join)
def test_a_broken_notebook_does_not_hide_the_others(tmp_path: Path, name: str, words: tuple[str, ...]) -> None:
    days = [record(id=day, started=f"2026-11-0{day}") for day in "12"]
    write(tmp_path / "b.ipynb", *cells(*days))
    NO_NOTEBOOKS[name](tmp_path / "a.ipynb")
    done = inferkit(*words, tmp_path)
    assert (done.exit_code, "shm" in done.stdout) == (0, True)
    assert done.stderr.startswith(f"inferkit: left out: {tmp_path / 'a.ipynb'}: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_folder_that_is_missing_or_empty_is_refused(tmp_path: Path) -> None:
    for words in (("compare",), ("runs",)):
        for folder, told in ((tmp_path / "gone", "no such notebook"), (tmp_path, "run one first")):
            done = inferkit(*words, folder)
            assert (done.exit_code, done.stdout) == (2, "")
            assert told in done.stderr


def test_the_answer_of_compare_stands_first(tmp_path: Path) -> None:
    fast = record(100, id="a", measured={"images_per_s": 100.0, "half_width": 0.01})
    slow = record(60, id="b", storage="nvme", measured={"images_per_s": 60.0, "half_width": 0.01})
    write(tmp_path / "a.ipynb", *cells(fast, slow))
    assert inferkit("compare", tmp_path).stdout.startswith("pipeline: shm is 1.667 ± 0.024 times faster than nvme")
    assert "SAME within 100 %" in inferkit("compare", "--tolerance", 100, tmp_path).stdout.replace("\n ", "")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--since", "last week"), "'last week' is no date: write it like 2026-11-20"),
        (("--since", "2999-01-01"), "none of 1 pipeline runs was begun since 2999-01-01 00:00"),
        (("--trend",), "no trend: it needs VALID runs of one point on at least two dates"),
        (("--tolerance", "-1"), "--tolerance"),
    ],
)
def test_what_compare_cannot_do_is_refused(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    done = inferkit("compare", *words, write(tmp_path / "a.ipynb", *cells(record())))
    assert (done.exit_code, done.stdout) == (2, "")
    assert told in done.stderr


def test_runs_lists_the_projects_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inferkit.records.project.project_root", lambda: tmp_path)
    assert inferkit("runs").exit_code == 2
    (tmp_path / "runs").mkdir()
    write(tmp_path / "runs" / "a.ipynb", *cells(record()))
    assert inferkit("runs").stdout.splitlines()[-1].strip() == str(tmp_path / "runs" / "a.ipynb")


def test_cells_that_lack_what_html_needs_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ipynb", *cells(record()), {"cell_type": "code"})
    done = inferkit("export", path, "--to", "html")
    assert (done.exit_code, "'metadata' is a required property" in done.stderr) == (2, True)
    assert inferkit("export", path, "--to", "csv").exit_code == 0
    write(path, *cells(record()), {"cell_type": None, "metadata": {}, "source": ""})
    assert inferkit("export", path, "--to", "html").exit_code == 2


def test_a_record_cannot_command_the_terminal(tmp_path: Path) -> None:
    evil = "\x1b[2J\x1b]0;title\x07\u202ename\x9b31m\nVALID 999"
    point = {"model": evil, "engine": "onnx"}
    own = record(storage=evil, point=point, warnings=[evil], reasons=[evil], verdict="INVALID")
    path = write(tmp_path / "a.ipynb", *cells(own, record(schema=evil)))
    for words in (("show",), ("show", "--json"), ("compare",), ("export", "--to", "json")):
        done = inferkit(*words, path)
        assert done.exit_code == 0
        printed = done.stdout + done.stderr
        assert not set(printed) & set("\x1b\x07\x9b\u202e\r"), words
        assert words == ("compare",) or not any(line.startswith("VALID 999") for line in printed.splitlines()), words


def test_a_folder_that_cannot_be_listed_is_named_and_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.ipynb", *cells(record()))
    (tmp_path / "gone").mkdir()
    real = os.scandir

    def scandir(place: str) -> Any:
        if os.fspath(place).endswith("gone"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), place)
        return real(place)

    monkeypatch.setattr(os, "scandir", scandir)
    for command in ("compare", "runs"):
        done = inferkit(command, tmp_path)
        assert done.exit_code == 0, done.output
        assert f"left out: {tmp_path / 'gone'}: cannot be listed: Invalid argument" in done.stderr
