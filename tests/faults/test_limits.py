"""Limits: of memory, open files, threads, names, and places that are full, read-only or absent; by the real means."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from inferkit.dataset.synthetic import make_synthetic
from inferkit.linux.limits import raise_open_files
from inferkit.records.notebooks import load_runs, read_notebook
from inferkit.records.params import MakeDataset
from inferkit.records.run import Run
from tests.hindered import group, limited, mounting
from tests.verdicts import verdict

MEBIBYTE = 2**20
TINY = {"warmup_s": 0.05, "duration_s": 0.1, "repeats": 1, "batch_sizes": [8], "threads": [2], "verify_batches": 0}


def made(folder: Path, images: int = 64, per_file: int = 16, shape: Sequence[int] = (3, 16, 16)) -> Path:
    make_synthetic(MakeDataset(data=str(folder), limit=images, shape=list(shape), images_per_file=per_file))
    return folder


def alone(data: Path, prefix: Sequence[str] = (), **values: Any) -> Run:
    """Measure one point in a process of its own, begun by a prefix."""
    asked = json.dumps({"data": str(data), **TINY, **values})
    command = [*prefix, sys.executable, "-m", "tests.faults.alone", asked]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Run.from_dict(json.loads(done.stdout))


def failure(run: Run) -> str:
    assert run.verdict == "FAILED", (run.verdict, run.reasons)
    assert run.failure is not None
    return run.failure.message


class Command:
    """What ``inferkit run`` of a tiny point said, and what it left."""

    def __init__(
        self,
        folder: Path,
        prefix: Sequence[str] = (),
        out: Path | None = None,
        variables: Mapping[str, str] = MappingProxyType({}),
        only: str = "03a",
    ) -> None:
        self.out = out or folder / "runs"
        config = folder / "tiny.yaml"
        config.write_text(json.dumps({"engines": ["null"], "data": str(made(folder / "tensors")), **TINY}))
        asked = ["run", str(config), "--only", only, "--out", str(self.out)]
        command = [*prefix, sys.executable, "-m", "inferkit.cli.main", *asked]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, errors="replace", env={**os.environ, **variables}
        )
        self.code, self.said, self.warned = done.returncode, " ".join(done.stdout.split()), done.stderr

    def answers(self) -> None:
        """The answer is told, whatever the machine's noise makes of it, and nothing was said of a traceback."""
        assert "images/s" in self.said, self.said + self.warned
        assert "Traceback" not in self.warned, self.warned


def test_the_limit_of_open_files_is_raised_to_the_hard_one() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, before[1]), before[1]))
        raise_open_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_many_threads_and_files_in_spite_of_the_soft_limit(tmp_path: Path) -> None:
    data = made(tmp_path / "tensors", 200, 1, (1, 4, 4))
    assert alone(data, limited(Sn=64), threads=[64], batch_sizes=[3]).verdict != "FAILED"


@pytest.mark.slow
def test_too_few_open_files_are_named(tmp_path: Path) -> None:
    told = failure(alone(made(tmp_path / "tensors", 600, 1, (1, 4, 4)), limited(n=100), threads=[64]))
    assert "too many files are open in this process: raise ulimit -n" in told
    assert "mounted" not in told


def test_threads_that_are_refused_are_named(tmp_path: Path) -> None:
    with group("pids", 30) as inside:
        told = failure(alone(made(tmp_path / "tensors", 640), inside, threads=[60]))
    assert "can't start new thread: processes and threads are limited here: raise ulimit -u" in told


@pytest.mark.slow
@pytest.mark.parametrize("threads", [3, 5, 8, 12])
def test_however_few_threads_there_may_be_it_is_said(tmp_path: Path, threads: int) -> None:
    with group("pids", threads) as inside:
        command = Command(tmp_path, inside)
    assert command.code == 2, command.warned
    assert "limited here" in command.warned


@pytest.mark.slow
@pytest.mark.parametrize("files", [24, 32, 48, 64])
def test_however_few_files_may_be_open_it_is_said(tmp_path: Path, files: int) -> None:
    command = Command(tmp_path, limited(n=files))
    assert command.code == 2, command.warned
    assert "raise ulimit -n" in command.warned


@pytest.mark.slow
@pytest.mark.parametrize("limits", [{"l": 0}, {"c": 0}, {"s": 512}])
def test_limits_that_do_no_harm(tmp_path: Path, limits: dict[str, int]) -> None:
    assert verdict(alone(made(tmp_path / "tensors"), limited(**limits))) == "VALID"


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [1_000_000, 2_500_000])
def test_too_little_address_space_is_named(tmp_path: Path, kilobytes: int) -> None:
    command = Command(tmp_path, limited(v=kilobytes))
    assert "Traceback" not in command.warned, command.warned
    assert command.code == 0 or "ulimit -v" in command.said + command.warned


@pytest.mark.slow
def test_charts_are_left_to_the_reader_where_address_space_is_limited(tmp_path: Path) -> None:
    command = Command(tmp_path, limited(v=16_000_000))
    command.answers()
    (notebook,) = command.out.rglob("*.ipynb")
    assert "application/vnd.vegalite.v5+json" in notebook.read_text()
    assert "image/png" not in notebook.read_text()


def test_a_ring_that_does_not_fit_a_container_is_refused(tmp_path: Path) -> None:
    data = made(tmp_path / "tensors", 512, 256, (3, 64, 64))
    with group("memory", 200 * MEBIBYTE) as inside:
        told = failure(alone(data, inside, batch_sizes=[16_384], threads=[1]))
    assert "cannot allocate 192 MiB of host memory" in told
    assert "may still be taken here: lower host_batches or batch_sizes, or raise the container's limit" in told


@pytest.mark.slow
def test_a_rank_that_takes_all_memory_ends_and_is_told_of(tmp_path: Path) -> None:
    data = made(tmp_path / "tensors", 512, 256, (3, 64, 64))
    with group("memory", 300 * MEBIBYTE) as inside:
        told = failure(alone(data, inside, batch_sizes=[2048], threads=[1], host_batches=32))
    assert "SIGKILL (out of memory?)" in told or "may still be taken here" in told


def test_what_is_made_in_memory_counts_against_the_container(shm: Path) -> None:
    make = [sys.executable, "-m", "inferkit.cli.main", "dataset", "make", "", str(shm / "data"), "--limit", "4000"]
    with group("memory", 300 * MEBIBYTE) as inside:
        done = subprocess.run([*inside, *make], check=False, capture_output=True, text=True)
    assert done.returncode == 2, (done.returncode, done.stderr)
    assert "lies in memory, of which this process may take" in done.stderr
    assert not list(shm.rglob("*.tensors"))


@pytest.mark.parametrize("name", ["x" * 300, "/".join("x" * 3000)], ids=["name", "path"])
def test_a_path_too_long_is_refused(tmp_path: Path, name: str) -> None:
    command = Command(tmp_path, out=tmp_path / name)
    assert command.code == 2
    assert "a name may have 255 bytes, a path 4,096" in command.warned
    assert "Traceback" not in command.warned


@pytest.mark.slow
def test_without_a_loopback_interface(tmp_path: Path) -> None:
    prefix = ["unshare", "--net"]
    if os.geteuid() or subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no network of one's own can be had here")
    Command(tmp_path, prefix).answers()


@pytest.mark.slow
@pytest.mark.parametrize("mask", ["777", "400", "077"])
def test_a_umask_that_takes_everything_from_everybody(tmp_path: Path, mask: str) -> None:
    command = Command(tmp_path, ["sh", "-ec", f'umask {mask}; exec "$@"', "sh"])
    command.answers()
    (notebook,) = command.out.rglob("*.ipynb")
    assert notebook.stat().st_mode & 0o777 == 0o600 | (0o066 if mask == "400" else 0)
    assert notebook.parent.stat().st_mode & 0o700 == 0o700


FULL = "mount -t tmpfs -o size={size} inferkit-test {place}; head -c {size} /dev/zero > {place}/f 2> /dev/null || true"
READ_ONLY = "mount -t tmpfs -o ro inferkit-test {place}"


@pytest.mark.slow
@pytest.mark.parametrize("state", [FULL, READ_ONLY], ids=["full", "read-only"])
@pytest.mark.parametrize("variable", ["HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "XDG_DATA_HOME"])
def test_a_place_that_cannot_be_written_to_does_not_matter(tmp_path: Path, variable: str, state: str) -> None:
    place = tmp_path / "p"
    place.mkdir()
    command = Command(tmp_path, mounting(state.format(place=place, size="16k")), variables={variable: str(place)})
    command.answers()
    assert command.code in (0, 3), command.said + command.warned
    assert len(load_runs(command.out)) == 1
    signed = variable in ("TMPDIR", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")
    assert ("are not signed" in command.warned) == (not signed and "JUPYTER_DATA_DIR" not in os.environ)


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [16, 40, 64])
def test_a_full_disk_loses_no_answer_and_leaves_no_torn_notebook(tmp_path: Path, kilobytes: int) -> None:
    out = tmp_path / "runs"
    kept = tmp_path / "kept"
    out.mkdir()
    lines = [
        f"mount -t tmpfs -o size={kilobytes}k inferkit-test {out}",
        f'"$@"; code=$?; cp -r {out} {kept}; exit $code',
    ]
    command = Command(tmp_path, mounting(*lines), out)
    command.answers()
    told = command.said + command.warned
    assert ("cannot be written: No space left on device" in told) == (command.code == 1)
    for notebook in kept.rglob("*.ipynb"):
        read_notebook(notebook)
    assert not list(kept.rglob("*.part"))


def test_a_read_only_place_for_notebooks_is_refused_before_anything_runs(tmp_path: Path) -> None:
    out = tmp_path / "runs"
    out.mkdir()
    command = Command(tmp_path, mounting(READ_ONLY.format(place=out)), out)
    assert command.code == 2
    assert "you may not write to" in command.warned


@pytest.mark.slow
@pytest.mark.parametrize("state", [FULL, READ_ONLY], ids=["full", "read-only"])
def test_shared_memory_that_cannot_be_used_does_not_matter_where_nothing_is_staged(tmp_path: Path, state: str) -> None:
    Command(tmp_path, mounting(state.format(place="/dev/shm", size="16k"))).answers()


@pytest.mark.parametrize("state", [FULL, READ_ONLY, "umount -l /dev/shm"], ids=["full", "read-only", "absent"])
def test_staging_where_shared_memory_cannot_be_used_is_refused(tmp_path: Path, state: str) -> None:
    prefix = mounting(state.format(place="/dev/shm", size="16k"))
    asked = ["dataset", "stage", str(made(tmp_path / "tensors"))]
    command = [*prefix, sys.executable, "-m", "inferkit.cli.main", *asked]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode in (1, 2), (done.returncode, done.stderr)
    assert "/dev/shm" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_standard_output_that_is_full_is_no_traceback(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "inferkit.cli.main", "schema"]
        done = subprocess.run(command, check=False, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode
    assert "Traceback" not in done.stderr, done.stderr
