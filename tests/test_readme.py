"""Every command of the README is run, as far as a test can: nothing is downloaded, and no GPU is asked for."""

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from papermill.cli import papermill
from PIL import Image

from inferkit.cli.init import lay_out
from inferkit.cli.main import main
from inferkit.dataset.staging import TARGET
from inferkit.dataset.synthetic import make_synthetic
from inferkit.objects.place import ObjectPath
from inferkit.plan.grid import Grid
from inferkit.records.notebooks import read_notebook
from inferkit.records.params import MakeDataset, SingleProcess
from tests.object_store import shared_store
from tests.report.conftest import notebook_of

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
PROGRAMS = "inferkit|papermill|make|pip|conda|jupyter"
EXECUTED = ROOT / "tests" / "fixtures" / "schema_1" / "03b_single_process.ipynb"

pytestmark = pytest.mark.xdist_group("readme")


def commands() -> list[str]:
    """Return what a reader may type: lines of code blocks, and code in the text."""
    lines = [line for language, text in BLOCKS if not language for line in text.splitlines()]
    spans = re.findall(rf"`((?:{PROGRAMS})(?: [^`]+)?)`", README)
    typed = (re.sub(r"\s+#.*| \[--json\]", "", text) for text in [*lines, *spans])
    return sorted({text for text in typed if re.match(rf"({PROGRAMS}) ", text)})


def block(language: str) -> str:
    (found,) = (text for own, text in BLOCKS if own == language)
    return str(found)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay out a project, a storage, photographs and an executed notebook."""
    folder = tmp_path_factory.mktemp("readme")
    lay_out(folder)
    (folder / "photos").mkdir()
    for number in range(3):
        Image.new("RGB", (40, 30), (number * 50, 90, 10)).save(folder / "photos" / f"{number}.jpg")
    make_synthetic(MakeDataset(data=str(folder / "storage" / "set"), limit=9, shape=[3, 8, 8]))
    for path in (folder / "storage" / "set").iterdir():
        shared_store().put(ObjectPath("bucket", f"set/{path.name}"), path.read_bytes())
    executed = folder / "runs" / "nvme" / "now"
    executed.mkdir(parents=True)
    shutil.copy(EXECUTED, executed)
    again = {"started": "2026-01-01T00:00:00+00:00"}  # a trend needs two dates
    before = [run.model_copy(update={"id": run.id[::-1]} | again) for run in read_notebook(EXECUTED)]
    (executed.parent / "before.ipynb").write_text(json.dumps(notebook_of(tuple(before))), encoding="utf-8")
    return folder


def expanded(word: str, place: Path) -> list[str]:
    """Return what a shell in a folder makes of a word: the files that a pattern names, else the word."""
    pattern = "*" in word and not word.startswith("/")
    return sorted(str(path.relative_to(place)) for path in place.glob(word)) or [word] if pattern else [word]


def here(command: str, place: Path) -> list[str]:
    """Return a command's words, with what this machine lacks put in its place."""
    made = "made" if " make " in command else "set"
    for there, instead in (
        ("/mnt/nvme/set", f"{place}/storage/{made}"),
        ("/mnt/nvme", f"{place}/storage"),
        ("/photos", f"{place}/photos"),
        ("http://10.0.0.7:9000", shared_store().url),
        ("runs/nvme/…", "runs/nvme/now"),
    ):
        command = command.replace(there, instead)
    words = [found for word in shlex.split(command) for found in expanded(word, place)]
    if words[0] == "papermill":
        return [sys.executable, "-m", *words, *(["--prepare-only"] if "-f" in words else [])]  # tests/notebooks execute
    if words[0] == "inferkit":
        return [sys.executable, "-m", "inferkit.cli.main", *words[1:]]
    return words


def run(words: list[str], cwd: Path) -> None:
    """Run a command, inferkit's own and papermill in this process: to start each anew takes a second."""
    if own := {"inferkit.cli.main": main, "papermill": papermill}.get(words[2] if len(words) > 2 else ""):
        with contextlib.chdir(cwd):
            told = CliRunner().invoke(own, words[3:])
        assert told.exit_code == 0, told.output
        return
    done = subprocess.run(
        words, cwd=cwd, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_readme_works(command: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", shared_store().url)
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    words = here(command, place)
    if command != "inferkit doctor":  # one imports whatever is installed, in processes of their own: for seconds
        monkeypatch.setattr("inferkit.machine.doctor.import_fault", lambda _: "")
    if words[0] in {"pip", "conda"}:
        pytest.skip("downloads")
    if words[0] == "make":
        run(["make", "-n", *words[1:]], ROOT)
        pytest.skip("installs, or runs all tests: make alone was asked what it would do")
    if "stage" in command and TARGET.exists():
        pytest.skip(f"{TARGET} is in use")
    if "unstage" in words:
        run([*words[:-1], "stage", str(place / "storage" / "set")], place)
    if words[3:4] == ["run"] and len(words) > 4 and "--dry-run" not in words:
        run([*words, "--dry-run"], place)
        pytest.skip("takes minutes, or a GPU: planned alone")
    run(words, place)
    if "stage" in words:
        run([*words[:-2], "unstage"], place)


def test_the_readme_has_commands_of_every_kind() -> None:
    found = {command.split()[0] for command in commands()}
    assert {"inferkit", "papermill", "make", "pip"} <= found
    assert len(commands()) > 25


def test_the_python_of_the_readme_works(place: Path) -> None:
    run([sys.executable, "-c", block("python")], place)


def test_the_grid_of_the_readme_is_one() -> None:
    params = SingleProcess.check(yaml.safe_load(block("yaml")))
    grid = Grid(params.grid)
    kept = [
        (model, size)
        for model in params.models
        for size in params.batch_sizes
        if grid.settle({"model": model, "batch_size": size}) is not None
    ]
    assert kept == [("alexnet_owt", 512), ("resnet50", 128), ("resnet50", 256)]
