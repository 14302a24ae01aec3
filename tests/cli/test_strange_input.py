"""Parameter files, words and data sets that strangers brought: each is refused in a few words, with exit code 2."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from papermill.parameterize import parameterize_path

from inferkit.cli.execute import literal
from inferkit.cli.main import main
from inferkit.dataset.synthetic import make_synthetic
from inferkit.records.params import MakeDataset

TINY = {"engines": ["null"], "batch_sizes": [8], "warmup_s": 0.01, "duration_s": 0.02, "repeats": 1}


@pytest.fixture(autouse=True)
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def inferkit(*words: object, given: bytes = b"") -> Result:
    return CliRunner().invoke(main, list(map(str, words)), input=given)


def refused(*words: object, given: bytes = b"") -> str:
    done = inferkit(*words, given=given)
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    assert not isinstance(done.exception, Exception) or isinstance(done.exception, SystemExit)
    assert 0 < len(done.stderr) < 1600
    return done.stderr


def planned(path: Path, **values: Any) -> str:
    path.write_text(yaml.safe_dump(TINY | values, allow_unicode=True))
    return refused("run", path, "--dry-run")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b'fast: !!bool "z"', "found the tag"),
        (b"storage: !!python/object/apply:os.getcwd []", "found the tag"),
        (b"seed: 1\nseed: 2", "found 'seed', the same key as 'seed' of line 1"),
        ("storage: é".encode("latin-1"), "save it as UTF-8"),
        ("seed: 1".encode("utf-16"), "save it as UTF-8"),
        (b"[" * 100_000, "more than 20 levels"),
        (b"x: " + b"y" * 70_000, "is not a parameter"),
        (b"y" * 70_000 + b": 1", "is not YAML"),
        (b"? " + b"y" * 70_000 + b"\n: 1", "is not a parameter"),
        (b'data: "\\0"', "characters that can be printed"),
        (b'storage: "\\ud800"', "storage is "),
        (b"placement: [rank=0 cpus=0-99999999999]\nranks: [1]", "99999999999 is no number from 0 to 8191"),
        (b"ranks: 1000000", "less than or equal to 1024"),
        (b"slots: 100000000", "less than or equal to 4096"),
        (b"duration_s: .inf", "finite number"),
        (b"scale: .nan", "finite number"),
        (b"data: /", "the whole file system"),
        (b"data: ~nosuchuser/x", "there is no such user"),
        (b'models: [""]', "expected a name"),
        (b"mean: [0.5]\nengines: [onnx]\nmodels: [resnet18]", "leave them out"),
        (b"grid: [{set: {duration_s: .inf}}]", "seconds above 0, at most 604,800"),
        (b"placement: ['rank=x']", "rank is 'x', no number; write such as"),
        (b"placement: [x]", "'x' is no key"),
        (b"data: file:///tmp", "found a URL: write /tmp"),
        (b"data: 's3:/one'", "expected a folder or s3://bucket/prefix"),
        (b"storage: ' '", "nothing but blanks"),
        (b"storage: 0", "storage is 0"),
        (b"x" * 300_000, "262,144"),
        (b"- 1", "expected `name: value` lines"),
        (b"\x00", "is not YAML"),
    ],
)
def test_a_strange_parameter_file_is_refused(away: Path, text: bytes, told: str) -> None:
    path = away / "strange.yaml"
    path.write_bytes(text)
    assert told in refused("run", path, "--dry-run")
    assert told in refused("run", "-", "--dry-run", given=text)


def test_standard_input_without_an_end_is_not_read_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(io.RawIOBase):
        def read(self, count: int = -1) -> bytes:
            assert count > 0
            return b"x" * count

    monkeypatch.setattr(sys, "stdin", type("In", (), {"buffer": Endless()}))
    from inferkit.cli.configure import configure
    from inferkit.errors import ParameterError

    with pytest.raises(ParameterError, match="holds more than"):
        configure("-", dry=True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--set", "seed=!!int x"), "found the tag"),
        (("--set", "y" * 70_000), "write KEY=VALUE"),
        (("--set", "seed=" + "y" * 70_000), "seed is 'yyy"),
        (("--set", "threads=[" + "1," * 5000 + "1]"), "at most 1000 items"),
        (("--only", "y" * 70_000), "notebooks are 01, 02"),
        (("--out", "y" * 300), "name too long"),
        (("--feed", "9" * 30), "--feed"),
    ],
)
def test_a_strange_word_is_refused(away: Path, words: tuple[str, ...], told: str) -> None:
    (away / "a.yaml").write_text(yaml.safe_dump(TINY))
    assert told in refused("run", away / "a.yaml", "--dry-run", *words)


@pytest.mark.parametrize(
    "words",
    [
        *[(command, "y" * 300) for command in ("show", "compare", "runs", "run", "doctor")],
        *[("dataset", command, "y" * 300) for command in ("info", "verify")],
        *[("export", "--to", "html", "y" * 300), ("show", "y/" * 4000), ("compare", "--tolerance", "nan", "y" * 300)],
    ],
)
def test_a_name_that_no_file_can_have_is_refused(words: tuple[str, ...]) -> None:
    refused(*words)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--limit", "99999999999999"), "less than or equal to 10000000000"),
        (("--size", "60000"), "less than or equal to 16384"),
        (("--shape", "1,70000,70000"), "an image of 4,900,000,000 values"),
        (("--shape", "9" * 9999), "shape.0 is"),
        (("--limit", "10000000000", "--images-per-file", "1"), "at most 10,000,000 are possible"),
    ],
)
def test_a_data_set_that_no_machine_can_hold_is_refused(away: Path, words: tuple[str, ...], told: str) -> None:
    done = inferkit("dataset", "make", "", away / "set", *words)
    assert (done.exit_code, told in done.stderr) == (2, True), done.output


EMPTY: list[list[str]] = [
    *[[command, "{}"] for command in ("show", "compare", "runs", "doctor", "init", "run")],
    *[["run", "a.yaml", "--out", "{}"], ["plan", "{}", "--images", "1", "--within", "1h"]],
    *[["export", "{}", "--to", "html"], ["export", "a.ipynb", "--to", "html", "--out", "{}"]],
    *[["dataset", command, "{}"] for command in ("info", "verify", "stage", "unstage")],
    *[["dataset", "make", "", "{}"], ["dataset", "push", "{}", "s3://bucket"], ["dataset", "stage", "a", "--to", "{}"]],
]


@pytest.mark.parametrize("words", EMPTY, ids=" ".join)
def test_an_empty_text_is_no_path_and_a_url_no_folder(away: Path, words: list[str]) -> None:
    """An unset variable of a shell's: the current folder is not meant."""
    for text, told in (("", "found an empty text"), (" ", "found an empty text"), ("http://a/b", "found a URL")):
        assert told in refused(*[word.format(text) for word in words])
    assert not list(away.iterdir())


def test_empty_words_are_refused_where_a_url_is_asked_for() -> None:
    assert "is no s3://bucket/prefix" in refused("dataset", "push", "a", "")
    assert "found another URL" in refused("dataset", "make", "ftp://a/b", "set")


@pytest.mark.parametrize("words", [("show",), ("compare",), ("runs",), ("plan", "--images", "1", "--within", "1h")])
def test_the_whole_file_system_is_not_searched_for_notebooks(words: tuple[str, ...], away: Path) -> None:
    (away / "root").symlink_to("/")
    for folder in ("/", "//", "/tmp/..", "root"):
        told = refused(*words, folder)
        assert "is the whole file system" in told or "is a folder" in told
        assert max(map(len, told.splitlines())) < 200


def test_a_folder_is_no_parameter_file(away: Path) -> None:
    for folder in ("/", ".", str(away)):
        assert "is a folder: name a parameter file" in refused("run", folder, "--dry-run")


def test_a_storage_without_a_name_has_its_file_s(away: Path) -> None:
    (away / "nas.yaml").write_text(yaml.safe_dump(TINY | {"storage": ""}))
    assert "runs/nas/" in inferkit("run", "nas.yaml", "--dry-run", "--only", "02").stdout


def test_lists_whose_product_nobody_waits_for_are_refused_at_once(away: Path) -> None:
    many = list(range(1, 200))
    told = planned(away / "a.yaml", threads=many, batch_sizes=many, ranks=[1])
    assert "199 threads × 199 batch_sizes are 39,601 points" in told
    assert "start 102,400 processes" in planned(away / "a.yaml", ranks=[1024] * 100)


def test_a_value_for_a_notebook_that_does_not_run_is_looked_at_as_well(away: Path) -> None:
    (away / "a.yaml").write_text(yaml.safe_dump(TINY | {"data": "/mnt/" + "y" * 300}))
    assert "data is" in refused("run", away / "a.yaml", "--only", "02", "--dry-run")


def test_a_manifest_of_a_stranger_is_refused_or_shown(away: Path) -> None:
    make_synthetic(MakeDataset(data=str(away / "set"), limit=3, shape=[3, 4, 4]))
    path = away / "set" / "dataset.json"
    good = json.loads(path.read_bytes())
    path.write_text(json.dumps(good | {"files": [{**good["files"][0], "name": "y" * 5000 + ".tensors"}]}))
    for command in ("info", "verify"):
        assert "files.0.name" in refused("dataset", command, away / "set")
    path.write_text(json.dumps(good | {"skipped": [{"name": "a\x1b[2J", "reason": "y" * 4000}]}))
    done = inferkit("dataset", "info", away / "set")
    assert (done.exit_code, "\x1b" in done.stdout, len(done.stdout) < 1700) == (0, False, True)


def test_braces_in_a_path_are_no_parameters_of_papermill(away: Path) -> None:
    for path in (away / "{seed} {}" / "02.ipynb", away / "{{0}}" / "}{"):
        assert parameterize_path(literal(path), {"seed": 1}) == str(path)
