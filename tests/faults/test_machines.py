"""Strange machines: calls that are hidden or not implemented, storage that compresses, users' own set-ups."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import sleep
from types import MappingProxyType
from typing import Any

import nbformat
import pytest

from inferkit.cli.execute import _new_folder
from inferkit.dataset.format import open_dataset
from inferkit.files import replacing
from inferkit.linux.page_cache import evict
from inferkit.ranks.launch import launch
from inferkit.readers.files import cannot
from inferkit.records.job import ReadJob, ReadOptions
from inferkit.records.params import StorageToHost
from inferkit.records.windows import Window
from tests.faults.test_limits import Command, alone, failure, made
from tests.hindered import group, refusing
from tests.mounting import MEBIBYTE, Mounts, run

HIDDEN = {
    "statx": "EPERM",
    "io_uring_setup": "EPERM",
    "move_pages": "EPERM",
    "mincore": "EPERM",
    "cachestat": "EPERM",
    "sched_setaffinity": "EPERM",
    "sched_getaffinity": "EPERM",
}


def inferkit(
    *arguments: object, prefix: Sequence[str] = (), variables: Mapping[str, str] = MappingProxyType({})
) -> "subprocess.CompletedProcess[str]":
    command = [*prefix, sys.executable, "-m", "inferkit.cli.main", *map(str, arguments)]
    environment = {**os.environ, **variables}
    return subprocess.run(command, check=False, capture_output=True, text=True, errors="replace", env=environment)


def test_what_is_not_synchronised_or_locked_is_made_and_said_once(tmp_path: Path) -> None:
    """As CIFS answers of folders, squashfs of files, and Lustre without -o flock of locks."""
    asked = ["dataset", "make", "", tmp_path / "data", "--shape", "1,8,8", "--limit", 90, "--images-per-file", 10]
    done = inferkit(*asked, prefix=refusing(fsync="EINVAL", flock="ENOSYS"))
    assert done.returncode == 0, done.stderr
    assert open_dataset(tmp_path / "data").images == 90
    assert done.stderr.count("does not synchronise files") == 1
    assert done.stderr.count("has no locks") == 1


def test_storage_that_fails_to_synchronise_is_still_an_error(tmp_path: Path) -> None:
    asked = ["dataset", "make", "", tmp_path / "data", "--shape", "1,8,8", "--limit", 9]
    done = inferkit(*asked, prefix=refusing(fsync="EIO"))
    assert done.returncode == 1, done.stderr
    assert "The storage is failing" in done.stderr
    assert not list(tmp_path.rglob("*.tensors"))


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EROFS, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_appears_though_its_folder_is_not_synchronised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with replacing(tmp_path / "a", sync=True) as file:
        file.write(b"abc")
    evict(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_the_doctor_ends_whatever_calls_are_hidden(tmp_path: Path) -> None:
    done = inferkit("doctor", tmp_path, prefix=refusing(**HIDDEN))
    assert done.returncode == 0, done.stderr
    names = {line.split("  ")[0] for line in done.stdout.splitlines()}
    assert {"Python", "O_DIRECT", "io_uring", "page cache", "open files", "scikit-image"} <= names
    assert "alignment not reported" in done.stdout or "copies in silence" in done.stdout


@pytest.mark.parametrize("reader", ["buffered", "direct", "mapped"])
def test_calls_that_are_hidden_are_not_reported_and_end_nothing(tmp_path: Path, reader: str) -> None:
    run = alone(made(tmp_path / "tensors"), refusing(**HIDDEN), readers=[reader])
    if run.failure is not None and "use reader buffered" in run.failure.message:
        pytest.skip(run.failure.message)
    assert run.verdict != "FAILED", run.failure
    assert run.facts["storage"]["resident_before"] is None


def test_io_uring_that_is_hidden_is_refused_with_the_reason(tmp_path: Path) -> None:
    told = failure(alone(made(tmp_path / "tensors"), refusing(io_uring_setup="EPERM"), readers=["uring"]))
    assert "seccomp" in told or "copies through memory in silence" in told


@pytest.mark.slow
@pytest.mark.parametrize("fstype", ["squashfs", "erofs"])
def test_images_of_file_systems_that_never_change(tmp_path: Path, mounts: Mounts, fstype: str) -> None:
    image = tmp_path / "image"
    maker = {"squashfs": "mksquashfs", "erofs": "mkfs.erofs"}[fstype]
    if not shutil.which(maker):
        pytest.skip(f"no {maker}")
    folder = made(tmp_path / "source", 256, 64, (3, 64, 64)).parent / "source"
    run(
        *(
            [maker, str(folder), str(image), "-quiet"]
            if fstype == "squashfs"
            else [maker, "-zlz4", str(image), str(folder)]
        )
    )
    data = mounts.image("read-only", image)
    measured = alone(data, readers=["buffered"], evict=True, source="storage")
    assert measured.verdict != "FAILED", measured.failure
    looked = " ".join(inferkit("doctor", data).stdout.split())
    assert ("O_DIRECT absent squashfs refuses it" if fstype == "squashfs" else "O_DIRECT present") in looked


def test_each_errno_has_its_own_hint() -> None:
    told = {
        number: str(cannot(OSError(number, os.strerror(number)), "open", "/x"))
        for number in (errno.EMFILE, errno.EACCES, errno.ENOENT, errno.ESTALE, errno.ENAMETOOLONG, errno.EIO)
    }
    assert "ulimit -n" in told[errno.EMFILE]
    assert "permissions" in told[errno.EACCES]
    assert "still mounted" in told[errno.ENOENT]
    assert "dmesg" in told[errno.EIO]
    assert len({words.partition("): ")[2] for words in told.values()}) == len(told)
    assert [number for number, words in told.items() if "mounted" in words] == [errno.ENOENT, errno.ESTALE]


def test_half_a_cpu_is_one_decoder_and_one_rank(tmp_path: Path) -> None:
    code = (
        "from inferkit.linux.cgroups import cpus, cpu_quota\n"
        "from inferkit.plan.build import plan\n"
        "from inferkit.records.params import MultiProcess\n"
        "p = plan(MultiProcess(data='DATA', threads=[1], batch_sizes=[8], engines=['null'], duration_s=0.1))\n"
        "print(cpu_quota(), cpus(), max(len(point.jobs) for point in p.points))"
    ).replace("DATA", str(made(tmp_path / "tensors")))
    with group("cpu", 50_000) as inside:
        done = subprocess.run([*inside, sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.stdout.split() == ["0.5", "1", "1"], done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["half zero", "sparse", "unwritten"])
def test_what_btrfs_has_less_of_is_named(tmp_path: Path, mounts: Mounts, kind: str) -> None:
    data = made(mounts.loop("disk", tmp_path, "btrfs", 256 * MEBIBYTE, "compress=zstd") / "data", 512, 128, (3, 64, 64))
    for path in data.glob("*.tensors"):
        _thinned(path, kind)
    measured = alone(data, readers=["buffered"], evict=True, source="storage")
    told = " ".join([*measured.reasons, *measured.warnings])
    assert "page cache" not in told
    assert ("compressed by the file system" if kind == "half zero" else "never written") in told


def _thinned(path: Path, kind: str) -> None:
    nbytes, content = path.stat().st_size, path.read_bytes()
    with path.open("wb") as file:
        if kind == "unwritten":
            os.posix_fallocate(file.fileno(), 0, nbytes)
        if kind == "half zero":
            part = 4096
            file.write(b"".join(content[at : at + part] + bytes(part) for at in range(0, nbytes, 2 * part))[:nbytes])
        else:
            file.write(content[: nbytes // 2])
            file.truncate(nbytes)
        file.flush()
        os.fsync(file.fileno())


def test_two_runs_of_one_second_have_a_folder_each(tmp_path: Path) -> None:
    folders = [_new_folder(tmp_path / "disk") for _ in range(5)]
    assert len(set(folders)) == 5
    assert all(folder.is_dir() for folder in folders)


@pytest.mark.slow
def test_the_users_own_kernels_and_start_up_files_do_not_matter(tmp_path: Path) -> None:
    spec = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": ["/bin/false"], "display_name": "other", "language": "python"}))
    start = tmp_path / "ipython" / "profile_default" / "startup" / "00.py"
    start.parent.mkdir(parents=True)
    start.write_text("favourite = 7\nraise SystemExit('start-up')\n")
    (tmp_path / "mine.py").write_text("seed_of_mine = 1\n")
    own = {"JUPYTER_PATH": "jupyter", "IPYTHONDIR": "ipython", "PYTHONSTARTUP": "mine.py"}
    Command(tmp_path, variables={name: str(tmp_path / place) for name, place in own.items()}).answers()


def test_names_of_start_up_files_are_no_parameters(tmp_path: Path) -> None:
    """In JupyterLab, where the user's own profile counts."""
    own = 7

    class Shell:
        user_ns_hidden: dict[str, Any] = {"favourite": own, "seed": own}  # noqa: RUF012

    namespace = {"favourite": own, "seed": 3, "get_ipython": Shell}
    assert StorageToHost.collect(namespace).seed == 3


@pytest.mark.parametrize("variables", [{"PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}])
@pytest.mark.parametrize("command", [["run", "--help"], ["models"]], ids=" ".join)
def test_a_terminal_with_few_letters_is_told_what_it_can_show(variables: dict[str, str], command: list[str]) -> None:
    done = inferkit(*command, variables={**variables, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 100


@pytest.mark.slow
def test_comparing_without_ipywidgets(tmp_path: Path) -> None:
    command = Command(tmp_path, only="03b")
    command.answers()
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "ipywidgets.py").write_text("raise ImportError('not installed')\n")
    source = Path(__file__).parents[2] / "notebooks" / "compare.ipynb"
    notebook = nbformat.read(source, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if not cell.source.startswith("# Data")]
    notebook.cells.insert(0, nbformat.v4.new_code_cell(f"paths: list = [{str(command.out)!r}]"))
    nbformat.write(notebook, tmp_path / "compare.ipynb")
    done = subprocess.run(
        [sys.executable, "-m", "papermill", "-k", "python3", tmp_path / "compare.ipynb", tmp_path / "out.ipynb"],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "blocked"), *filter(None, sys.path)])},
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_mapped_file_that_is_written_to_in_place_is_no_figure(shm: Path) -> None:
    data = made(shm / "tensors", 64, 16, (3, 32, 32))
    window = Window(warmup_s=0.05, duration_s=0.6, repeats=1)
    reading = ReadOptions(reader="mapped", folder=str(data), batch_size=8)
    with launch(ReadJob(window=window, reading=reading)) as handle:
        handle.wait(60)
        handle.start()
        while handle.progress is None or not handle.progress.fraction:
            sleep(0.01)
        with (data / "images-00002.tensors").open("r+b") as file:
            file.seek(1000)
            file.write(b"other")
        with pytest.raises(Exception, match=r"images-00002\.tensors was replaced or written to"):
            handle.result(60)
