"""A quota that is used up (EDQUOT), at whichever write: told with what to do, nothing torn, and one can go on.

The disk is a file with btrfs, whose limits hold for root too.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from inferkit.cli.init import lay_out
from inferkit.cockpit.parameter_file import save
from inferkit.dataset.format import open_dataset, verify
from inferkit.dataset.staging import stage
from inferkit.dataset.synthetic import make_synthetic
from inferkit.errors import DatasetError, ModelError, ParameterError, RecordError
from inferkit.measure.measure import measure
from inferkit.models.cache import model_path
from inferkit.plan.build import prepare
from inferkit.records.notebooks import load_runs, read_notebook
from inferkit.records.params import MakeDataset, StorageToHost
from inferkit.records.project import project_root, within
from inferkit.report.export import export
from tests.faults.test_limits import Command
from tests.mounting import Mounts, run

KIBIBYTE = 2**10
EXECUTED = project_root() / "tests" / "fixtures" / "schema_1" / "03b_single_process.ipynb"
USED_UP = "[Yy]our quota is used up: free space"


class Quota:
    """A folder with a quota."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def limit(self, nbytes: int) -> None:
        number = run("btrfs", "inspect-internal", "rootid", str(self.folder))
        run("sync", "--file-system", str(self.folder))
        run("btrfs", "qgroup", "limit", str(nbytes), f"0/{number}", str(self.folder.parent))

    def use_up(self) -> None:
        """Leave nothing that may be taken."""
        self.limit(KIBIBYTE)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("quotas")
    if not shutil.which("btrfs"):
        pytest.skip("no btrfs (btrfs-progs) here")
    with ExitStack() as stack:
        mount = Mounts(place, stack).loop("disk", place, "btrfs")
        run("btrfs", "quota", "enable", str(mount))
        yield mount


@pytest.fixture
def quota(disk: Path) -> Iterator[Quota]:
    folder = disk / "mine"
    run("btrfs", "subvolume", "create", str(folder))
    yield Quota(folder)
    run("btrfs", "subvolume", "delete", str(folder))


def no_torn_file(folder: Path) -> None:
    assert not list(folder.rglob("*.part"))


def test_a_data_set_is_made_as_far_as_the_quota_goes_and_goes_on_from_there(quota: Quota) -> None:
    folder = quota.folder / "tensors"
    params = MakeDataset(data=str(folder), limit=40, shape=[3, 64, 64], images_per_file=8)
    told: list[str] = []
    for kibibytes in range(20, 700, 30):
        quota.limit(kibibytes * KIBIBYTE)
        try:
            make_synthetic(params)
            break
        except DatasetError as error:
            told.append(str(error))
        no_torn_file(folder)
        for path in folder.glob("*.tensors"):
            assert path.stat().st_size == 8 * 3 * 64 * 64
        assert not (folder / "dataset.json").exists()
    assert len(told) > 10
    assert [text for text in told if not re.search(USED_UP, text)] == []
    assert verify(open_dataset(folder)).ok


def test_a_stage_leaves_nothing(quota: Quota, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inferkit.dataset.staging._check_memory", lambda target: None)  # tmpfs has no quotas here
    make_synthetic(MakeDataset(data=str(tmp_path / "tensors"), limit=40, shape=[3, 64, 64], images_per_file=8))
    for kibibytes in (16, 40, 90, 250, 450):
        quota.limit(kibibytes * KIBIBYTE)
        with pytest.raises(DatasetError, match="quota"):
            stage(tmp_path / "tensors", quota.folder / "staged")
        assert list(quota.folder.iterdir()) == []


def test_what_was_exported_before_stays(quota: Quota) -> None:
    target = quota.folder / "a.json"
    target.write_bytes(b"before")
    quota.use_up()
    with pytest.raises(RecordError, match=USED_UP):
        export([EXECUTED], "json", target)
    assert target.read_bytes() == b"before"
    no_torn_file(quota.folder)


def test_a_project_or_a_parameter_file_is_not_written(quota: Quota, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("notebooks", "parameters"):
        (quota.folder / part).mkdir()
    quota.use_up()
    with pytest.raises(ParameterError, match=USED_UP):
        lay_out(quota.folder / "project")
    with within(quota.folder), pytest.raises(ParameterError, match=USED_UP):
        save({"storage": "x" * 2000}, "mine")
    assert not list((quota.folder / "parameters").iterdir())


def test_a_network_is_not_kept_and_that_is_told(quota: Quota, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(quota.folder))
    quota.limit(64 * KIBIBYTE)
    with pytest.raises(ModelError, match=USED_UP):
        model_path("text_cnn")
    no_torn_file(quota.folder)


@pytest.mark.slow
@pytest.mark.parametrize("kibibytes", [48, 120, 160, 200])
def test_notebooks_that_cannot_be_kept_lose_no_answer(quota: Quota, tmp_path: Path, kibibytes: int) -> None:
    quota.limit(kibibytes * KIBIBYTE)
    command = Command(tmp_path, out=quota.folder / "runs")
    if command.code == 2:
        assert re.search(USED_UP, command.warned)
        return
    command.answers()
    assert ("Disk quota exceeded" in command.said + command.warned) == (command.code == 1)
    for notebook in command.out.rglob("*.ipynb"):
        read_notebook(notebook)
    no_torn_file(quota.folder)


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "XDG_DATA_HOME"])
def test_a_home_with_a_quota_that_is_used_up_does_not_matter(quota: Quota, tmp_path: Path, variable: str) -> None:
    quota.use_up()
    command = Command(tmp_path, variables={variable: str(quota.folder)})
    command.answers()
    assert len(load_runs(command.out)) == 1


def test_a_log_of_batches_that_cannot_be_kept_ends_its_point_by_name(quota: Quota, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    make_synthetic(MakeDataset(data=str(tmp_path / "tensors"), limit=40, shape=[3, 64, 64], images_per_file=8))
    quota.use_up()
    tiny = {"warmup_s": 0.05, "duration_s": 0.2, "repeats": 1, "batch_sizes": [1], "threads": [1]}
    asked = {"data": str(tmp_path / "tensors"), "batch_log": str(quota.folder / "log.parquet"), **tiny}
    (run,) = measure(prepare(StorageToHost.check(asked)))
    assert run.failure is not None
    assert re.search(USED_UP, run.failure.message), run.failure
    no_torn_file(quota.folder)
