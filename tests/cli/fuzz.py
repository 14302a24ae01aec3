"""Feed the commands that read files with altered ones: each is shown, or refused in a few lines, and nothing else.

``python -m tests.cli.fuzz KIND EXAMPLES SECONDS FILE`` tries so many inputs of a kind (``parameters``, ``options``,
``manifests``, ``notebooks``), again and again for so long. FILE holds the last input. It runs in a process of its own,
which may take so much memory and no more, and ends with all stacks if an input takes longer than anybody would wait.
It prints how many inputs were tried, and how many commands showed something and how many refused.
"""

import faulthandler
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from inferkit.cli.main import main
from inferkit.dataset.synthetic import make_synthetic
from inferkit.errors import ParameterError
from inferkit.records.notebooks import load_runs
from inferkit.records.params import MEASURING, NOTEBOOKS, MakeDataset, Notebook
from inferkit.records.run import MIME
from inferkit.text import MOST_LINES, plain
from tests.cli.records import records
from tests.copies import prepare_to_be_copied
from tests.memory import limit_memory

MOST_MEMORY = 6 << 30
"""Of addresses, of which NumPy and its like reserve more than they use."""
MOST_SECONDS = 60
"""Of CPU time an input: how busy the machine is does not matter."""
LONGEST_MESSAGE = 20_000
"""Characters that a command may say beside its result."""

NAMES = sorted({name for model in NOTEBOOKS.values() for name in model.model_fields})
STRANGE: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64 + 1, -(10**30), 10**400),
    *(0.0, -0.0, 0.5, -1.5, 5e-324, 1e-12, 1e18, 1.7e308, float("nan"), float("inf"), float("-inf")),
    *("", " ", "x", "0", "null", "auto", "~nosuchuser", "/", "..", "a/b", "{x}", "%s", "<b>", "demo", "all", "1e6"),
    *("\0", "\x1b[2J\x07", "a\nVALID 9", "\ud800", "\udcff", "\u202e", "é" * 200, "x" * 300, "y" * 70_000, "z/" * 3000),
    *([], [[]], {}, {"": {}}, [None], [0], [""], ["x"], [-1], [1, 2, 3], [1.5], {"a": 1}, {"a": [None]}, ["x"] * 5000),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=8,
)
VALUE = st.sampled_from(STRANGE) | JSON
TEXTS = st.text(st.characters(codec=None, exclude_categories=()), max_size=40)


def invoke(*words: object, given: bytes = b"") -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, [str(word) for word in words], input=given)


def look_at(done: Result, counts: Counter[str]) -> None:
    """Hold what a command did against what it may do: show, or refuse in words."""
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code in (0, 2) or (done.exit_code == 1 and "altered" in done.output), done.output
    assert max(map(len, done.stderr.splitlines()), default=0) <= LONGEST_MESSAGE
    assert done.stderr.count("\n") <= MOST_LINES + 30
    assert plain(done.stderr, lines=True) == done.stderr
    assert max(map(len, done.stdout.splitlines()), default=0) <= LONGEST_MESSAGE or done.stdout.lstrip()[:1] in (
        "[",
        "{",
    )
    assert done.exit_code == 0 or done.stderr.strip() or done.exit_code == 1
    counts["shown" if done.exit_code == 0 else "refused"] += 1


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of everything in nested JSON."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(inner for key, item in pairs for inner in places(item, (*path, key)))]


def altered(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return nested JSON in which something else stands at a path; no value of ours: it is left out."""
    if not path:
        return value
    copy = dict(content) if isinstance(content, dict) else list(content)
    if len(path) == 1 and value is GONE:
        del copy[path[0]]
    else:
        copy[path[0]] = altered(copy[path[0]], path[1:], value)
    return copy


GONE = object()


def on_command_line(text: str) -> str:
    """Return a word as the system hands it on: without NUL, and bytes that are no UTF-8 as halves of characters."""
    return text.replace("\0", "").encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")


@st.composite
def alterations(draw: st.DrawFn, contents: list[Any]) -> Any:
    """Draw JSON of which a few things are altered."""
    content = draw(st.sampled_from(contents))
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(places(content)[1:] or [()]))
        content = altered(content, path, draw(VALUE | st.just(GONE) if path else VALUE))
    return content


@st.composite
def texts(draw: st.DrawFn, contents: list[Any], write: Callable[[Any], str] = json.dumps) -> bytes:
    """Draw the bytes of a file: altered content, which is cut or spoilt now and then."""
    try:
        data = write(draw(alterations(contents))).encode("utf-8", "surrogatepass")
    except yaml.YAMLError:
        data = b""
    how = draw(st.sampled_from(["as it is"] * 6 + ["cut", "set", "utf-16", "latin-1"]))
    at = int(draw(st.floats(0, 1)) * len(data))
    if how == "cut":
        return data[:at]
    if how == "set":
        spoilt = draw(st.binary(min_size=1, max_size=8))
        return data[:at] + spoilt + data[at + len(spoilt) :]
    if how == "as it is":
        return data
    return data.decode("utf-8", "replace").encode(how, "replace")


YAML_TEXTS = [
    *(
        'a: !!bool "z"',
        "a: !!timestamp x",
        "a: !!omap [1]",
        "a: !!python/object:os.system {}",
        "a: !!set {1}",
        "? [1]\n: 2",
    ),
    *(
        "a: &x [*x]",
        "a: &x 1\nb: *x",
        "<<: {a: 1}",
        "seed: 1\nseed: 2",
        "a: 0x_",
        "a: 0b_",
        "a: 1:2:3",
        "a: 2020-13-45",
    ),
    *(
        "seed: " + "9" * 5000,
        "[" * 5000,
        "{a: " * 500,
        "- " * 3000,
        "a: " + "y" * 70_000,
        "x" * 300_000,
        "%TAG ! x",
        "--- \n---\n",
    ),
    *(
        'storage: "\\ud800"',
        'data: "\\0"',
        "placement: [rank=0 cpus=0-99999999999]",
        "placement: [rank=0 gpus=9-9999999]",
    ),
    *(
        "grid: [{when: {ranks: [1]}, set: {batches: 1.0e+300}}]",
        "ranks: 1000000",
        "slots: 100000000",
        "duration_s: .inf",
    ),
]
BASE = {"engines": ["null"], "batch_sizes": [8], "repeats": 2, "duration_s": 0.1}
PARAMETERS = [
    BASE,
    {name: field.default for model in MEASURING.values() for name, field in model.model_fields.items()} | {"data": ""},
    BASE
    | {"ranks": [1, 2], "placement": ["rank=0 cpus=0", "rank=1 cpus=1 node= gpus=0"], "device": "cuda", "gpus": [0, 1]},
    BASE
    | {
        "grid": [
            {"skip": True},
            {"when": {"batch_size": [8]}, "skip": False},
            {"when": {"reader": "buffered"}, "set": {"batches": 3}},
        ]
    },
    BASE
    | {
        "readers": ["buffered", "memory", "mapped"],
        "threads": [1, 2],
        "shape": [3, 8, 8],
        "dtype": "uint8",
        "peer": "fio",
    },
]


class Driver:
    """Tries inputs of each kind in a folder of its own."""

    def __init__(self, folder: Path, last: Path) -> None:
        self.folder, self.last = folder, last
        self.counts: Counter[str] = Counter()
        self.manifest = json.loads(self._data("tensors").joinpath("dataset.json").read_bytes())
        name = self.manifest["files"][0]["name"]
        copy = {"name": "node0", "node": 0, "gpu": 1, "same_as": "", "on_node": 0.5, "pages": {"0": 1}}
        copies = [{**copy, "unknown": "", "inodes": {name: 5}}]
        about = {"schema_version": 1, "source": "/data/set", "files": {name: 8}}
        self.staged = about | {"made_folder": True, "copies": copies}

    def _data(self, name: str) -> Path:
        folder = self.folder / name
        make_synthetic(MakeDataset(data=str(folder), limit=5, shape=[3, 4, 4], images_per_file=3))
        return folder

    def _try(self, given: bytes) -> None:
        signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
        self.last.write_bytes(given)
        self.counts["tried"] += 1

    def parameters(self, data: bytes) -> None:
        """Plan a parameter file, as a file and from standard input."""
        self._try(data)
        path = self.folder / "some.yaml"
        path.write_bytes(data)
        look_at(invoke("run", path, "--dry-run", "--out", self.folder / "runs"), self.counts)
        look_at(invoke("run", "-", "--dry-run", "--only", "02", given=data), self.counts)

    def options(self, words: tuple[str, Any, str]) -> None:
        """Give a value on the command line; and to a notebook, as papermill does."""
        name, value, text = words
        self._try(repr(words).encode())
        path = self.folder / "base.yaml"
        path.write_text(yaml.safe_dump(BASE))
        told = on_command_line(text)
        look_at(invoke("run", path, "--dry-run", "--set", f"{name}={told}"), self.counts)
        look_at(
            invoke("run", path, "--dry-run", "--only", told[:99], "--out", self.folder / (told or "x")), self.counts
        )
        for model in NOTEBOOKS.values():
            for found in (value, text):
                self.counts["refused"] += bool(refusal(model, {name: found}))

    def manifests(self, files: tuple[str, bytes]) -> None:
        """Look at a data set, or at what was staged, with another description."""
        name, data = files
        self._try(data)
        folder = self.folder / ("tensors" if name == "dataset.json" else "staged")
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
        look_at(invoke("dataset", "info", folder), self.counts)
        look_at(invoke("dataset", "verify", folder), self.counts)
        path = self.folder / "base.yaml"
        path.write_text(yaml.safe_dump(BASE | {"data": str(folder), "ranks": [1], "threads": [1]}))
        look_at(invoke("run", path, "--dry-run"), self.counts)

    def notebooks(self, data: bytes) -> None:
        """Show a notebook in every way, and compare it beside a sound one."""
        self._try(data)
        folder = self.folder / "executed"
        folder.mkdir(exist_ok=True)
        path = folder / "a.ipynb"
        path.write_bytes(data)
        (folder / "b.ipynb").write_text(
            json.dumps(notebook(records()["pipeline"] | {"id": "sound", "storage": "sound"}))
        )
        for words in (
            ["show"],
            ["show", "--json"],
            ["compare", "--trend"],
            *[["export", "--to", to] for to in ("csv", "json", "html")],
        ):
            look_at(invoke(*words, path), self.counts)
        look_at(
            invoke("export", path, "--to", "ipynb", "--anonymize", "--out", self.folder / "anonymous.ipynb"),
            self.counts,
        )
        for words in (["runs"], ["compare", "--allow-different"]):
            done = invoke(*words, folder)
            look_at(done, self.counts)
            assert done.exit_code == 0, done.output
            assert "sound" in done.stdout
        for run, _ in load_runs(folder, lambda told: None):
            figure = run.measured
            known = figure and ((figure.images_per_s or 0) > 0 or (figure.bytes_per_s or 0) > 0)
            assert run.verdict != "VALID" or known or run.warnings


def refusal(model: type[Notebook], values: dict[str, Any]) -> str:
    """Return how a notebook refuses parameters; empty if it takes them."""
    told = ""
    try:
        model.collect(values)
    except ParameterError as error:
        told = str(error)
    assert len(told) < LONGEST_MESSAGE
    return told


def notebook(*runs: Any) -> dict[str, Any]:
    """Return the content of a notebook that shows records."""
    outputs = [
        {"output_type": "display_data", "metadata": {}, "data": {MIME: run, "text/plain": "a record"}} for run in runs
    ]
    cell = {"cell_type": "code", "id": "a", "execution_count": 1, "metadata": {}, "source": "", "outputs": outputs}
    about = {"cell_type": "markdown", "id": "b", "metadata": {}, "source": ["# A *title*\n", "text"]}
    return {"cells": [about, cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def write_yaml(content: Any) -> str:
    return str(yaml.safe_dump(content, allow_unicode=True))


def inputs(driver: Driver, kind: str) -> st.SearchStrategy[Any]:
    """Return the strategy of a kind's inputs."""
    if kind == "parameters":
        extra = st.sampled_from(YAML_TEXTS) | TEXTS
        spoilt = st.builds(
            lambda data, text: data + b"\n" + text.encode("utf-8", "surrogatepass"),
            texts(PARAMETERS, write_yaml),
            extra,
        )
        named = st.builds(
            lambda name, value: write_yaml({**BASE, name: value}).encode("utf-8", "surrogatepass"),
            st.sampled_from(NAMES),
            JSON | st.sampled_from(STRANGE),
        )
        return st.one_of(
            spoilt, texts(PARAMETERS, write_yaml), named, extra.map(lambda text: text.encode("utf-8", "surrogatepass"))
        )
    if kind == "options":
        return st.tuples(
            st.sampled_from(NAMES),
            VALUE,
            TEXTS
            | st.sampled_from([v for v in STRANGE if isinstance(v, str)] + [t.partition(": ")[2] for t in YAML_TEXTS]),
        )
    if kind == "manifests":
        return st.one_of(
            st.tuples(st.just("dataset.json"), texts([driver.manifest])),
            st.tuples(st.just("staged.json"), texts([driver.staged])),
        )
    kept = list(records().values())
    return texts([notebook(run) for run in kept] + [notebook(*kept)])


def try_many(kind: str, examples: int, seconds: float, last: Path) -> Counter[str]:
    """Try inputs of a kind; an input that is answered otherwise than by showing or refusing raises."""
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        driver = Driver(Path(folder), last)
        attempt = getattr(driver, kind)
        if kind == "parameters":
            attempt(write_yaml(BASE).encode())  # a sound one, as all of a few altered ones may be refused

        @settings(
            max_examples=examples,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(inputs(driver, kind))
        def try_one(given: Any) -> None:
            attempt(given)

        end = time.monotonic() + seconds
        try_one()
        while time.monotonic() < end:
            try_one()
        signal.setitimer(signal.ITIMER_PROF, 0)
        return driver.counts


if __name__ == "__main__":
    faulthandler.register(signal.SIGPROF, chain=True)  # all stacks, and the end
    limit_memory(MOST_MEMORY)
    import_module("inferkit.models.zoo")  # or each copy would, for half a second
    prepare_to_be_copied()
    found = try_many(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))
    sys.stdout.write(" ".join(f"{name}={count}" for name, count in sorted(found.items())) + "\n")
