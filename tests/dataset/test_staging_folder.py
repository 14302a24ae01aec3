"""Whatever strangers plant where data are staged: nothing outside is written or removed; and one process at a time."""

import json
import os
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from inferkit.dataset.staging import stage, unstage
from inferkit.dataset.staging_folder import at_work
from inferkit.dataset.staging_record import LOCK_NAME, RECORD_NAME, Copy, Staged, first_copy, read_record
from inferkit.dataset.synthetic import make_synthetic
from inferkit.errors import DatasetError
from inferkit.records.params import MakeDataset
from tests.dataset.test_staging import content, machine
from tests.ownership import STRANGER, give_away, root_only


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "set"
    make_synthetic(MakeDataset(data=str(folder), limit=20, shape=[3, 17, 19], images_per_file=10))
    return folder


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """Give a folder of files that must not be touched."""
    folder = tmp_path / "victim"
    folder.mkdir()
    for name in ("a.tensors", "staged.json", "notes"):
        (folder / name).write_text("mine")
    return folder


def plant(target: Path, **changes: Any) -> Path:
    """Write a record by hand."""
    target.mkdir(exist_ok=True)
    told = {"source": "/x", "files": {"a.tensors": 4}, "made_folder": True, "copies": [{"name": "a"}], **changes}
    (target / RECORD_NAME).write_text(json.dumps(told))
    return target


OUTSIDE = ["..", ".", "", "/etc", "../victim", "a/..", "a/../../victim", "a/b", "a//b", "./a", "a\0", RECORD_NAME]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_record_that_names_a_folder_elsewhere_is_refused(name: str, shm: Path, victim: Path) -> None:
    with pytest.raises(DatasetError, match="no record of staging"):
        unstage(plant(shm / "t", copies=[{"name": name}]))
    with pytest.raises(DatasetError, match="no record of staging"):
        first_copy(shm / "t")
    assert len(content(victim)) == 3


@pytest.mark.parametrize("name", ["..", "/root-only/file", "../victim/a.tensors", "a/../../victim/notes", "a\0"])
def test_a_record_that_names_a_file_elsewhere_is_refused(name: str, shm: Path, victim: Path) -> None:
    with pytest.raises(DatasetError, match="no record of staging"):
        unstage(plant(shm / "t", files={name: 1}))
    assert len(content(victim)) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"copies": []},
        {"files": {}},
        {"files": {"a.tensors": -1}},
        {"copies": [{"name": "a"}, {"name": "a"}]},
        {"copies": [{"name": "a", "same_as": "../victim"}]},
        {"copies": [{"name": "a", "same_as": "a"}]},
        {"copies": [{"name": "a", "node": float("nan")}]},
    ],
)
def test_a_record_that_makes_no_sense_is_refused(changes: dict[str, Any], shm: Path) -> None:
    with pytest.raises(DatasetError, match="no record of staging"):
        first_copy(plant(shm / "t", **changes))


@given(st.text(st.sampled_from("ab./\0"), max_size=8))
def test_names_lead_inside_or_are_refused(name: str) -> None:
    try:
        record = Staged(source="/x", files={name: 1}, made_folder=True, copies=[Copy(name=name)])
    except ValidationError:
        return
    top = "/somewhere"
    for found in (*record.files, record.copies[0].name):
        assert os.path.normpath(f"{top}/{found}") == f"{top}/{found}"


def test_a_link_as_copy_is_removed_by_nobody_and_read_by_nobody(shm: Path, victim: Path) -> None:
    target = plant(shm / "t")
    (target / "a").symlink_to(victim)
    removed, left = unstage(target)
    assert (removed, left, len(content(victim))) == (0, [target / "a"], 3)
    plant(target, copies=[{"name": "a", "inodes": {"a.tensors": 1}}])
    with pytest.raises(DatasetError, match="is a link, and a staged copy is none"):
        first_copy(target)


def test_links_in_a_copy_lead_nowhere(shm: Path, victim: Path) -> None:
    target = plant(shm / "t", files={"sub/a.tensors": 4, "a.tensors": 4})
    (target / "a").mkdir()
    (target / "a" / "sub").symlink_to(victim)
    (target / "a" / "a.tensors").symlink_to(victim / "a.tensors")
    removed, left = unstage(target)
    assert (removed, left) == (0, [target / "a" / "a.tensors", target / "a" / "sub"])
    assert len(content(victim)) == 3


@pytest.mark.parametrize("planted", [RECORD_NAME, LOCK_NAME])
def test_nothing_is_written_through_a_link(planted: str, shm: Path, victim: Path, source: Path) -> None:
    (shm / "t").mkdir()
    (shm / "t" / planted).symlink_to(victim / "staged.json")
    with pytest.raises(DatasetError, match="a link"):
        stage(source, shm / "t", machine=machine())
    assert (victim / "staged.json").read_text() == "mine"


def test_a_folder_that_is_a_link_is_refused(shm: Path, source: Path, victim: Path) -> None:
    (shm / "t").symlink_to(victim)
    for act in (lambda: stage(source, shm / "t", machine=machine()), lambda: unstage(shm / "t")):
        with pytest.raises(DatasetError, match="t is a link: data are staged only where nobody else can write"):
            act()
    assert len(content(victim)) == 3


def test_a_folder_that_everybody_may_write_to_is_refused(shm: Path, source: Path) -> None:
    plant(shm / "t").chmod(0o777)
    for act in (lambda: stage(source, shm / "t", machine=machine()), lambda: unstage(shm / "t")):
        with pytest.raises(DatasetError, match="everybody may write to"):
            act()
    assert read_record(shm / "t") is not None


@root_only
@pytest.mark.parametrize("owned", ["t", "."])
def test_another_user_s_folder_is_refused_by_root_too(owned: str, shm: Path, source: Path) -> None:
    target = plant(shm / "t")
    (target / "a").mkdir()
    (target / "a" / "a.tensors").write_text("mine")
    give_away(shm / owned)
    for act in (lambda: stage(source, target, machine=machine()), lambda: unstage(target)):
        with pytest.raises(DatasetError, match=r"belongs to user \d+: data are staged only"):
            act()
    assert (target / "a" / "a.tensors").read_text() == "mine"


@root_only
def test_a_record_of_another_user_than_the_folder_s_says_nothing(shm: Path, source: Path) -> None:
    """In a sticky folder, such as /tmp, anybody can lay one beside somebody's data set."""
    give_away(plant(shm / "t") / RECORD_NAME)
    assert read_record(shm / "t") is None
    assert first_copy(shm / "t") == shm / "t"


@root_only
def test_another_user_reads_what_we_staged_and_removes_nothing(shm: Path, source: Path) -> None:
    record = stage(source, shm / "t", machine=machine())
    os.seteuid(STRANGER)
    try:
        assert first_copy(shm / "t") == shm / "t" / record.copies[0].name
        assert (first_copy(shm / "t") / "dataset.json").read_bytes()
        with pytest.raises(DatasetError, match="belongs to root: data are staged only where nobody else can write"):
            unstage(shm / "t")
    finally:
        os.seteuid(0)
    assert unstage(shm / "t") == (len(record.files), [])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("source", "files", "made_folder", "copies", "schema_version")


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON)) | JSON)
@example("[" * 100_000)
def test_a_record_of_any_content_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, told: Any) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    folder.mkdir(exist_ok=True)
    (folder / RECORD_NAME).write_text(told if isinstance(told, str) else json.dumps(told))
    with suppress(DatasetError):
        first_copy(folder)


def test_what_is_made_belongs_to_us_whatever_the_umask(shm: Path, source: Path) -> None:
    before = os.umask(0)
    try:
        record = stage(source, shm / "new" / "t", machine=machine())
    finally:
        os.umask(before)
    folders = (shm / "new", shm / "new" / "t", shm / "new" / "t" / record.copies[0].name)
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o755] * 3
    unstage(shm / "new" / "t")


def test_a_folder_is_named_as_people_name_them(shm: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shm / "real").mkdir()
    (shm / "link").symlink_to("real")  # our own link may lead there
    monkeypatch.chdir(shm)
    for name in ("t", "link/new/t", "./link/../t"):
        record = stage(source, Path(name), machine=machine())
        assert content(first_copy(Path(name))) == content(source)
        assert unstage(Path(name)) == (len(record.files), [])
    assert not list((shm / "real" / "new").iterdir())


def test_one_at_a_time_and_the_first_keeps_what_it_has(shm: Path, source: Path) -> None:
    stage(source, shm / "t", machine=machine())
    before = content(shm / "t")
    with at_work(shm / "t"):
        assert stat.S_IMODE((shm / "t" / LOCK_NAME).stat().st_mode) == 0o600  # others could else lock it
        for act in (lambda: stage(source, shm / "t", machine=machine()), lambda: unstage(shm / "t")):
            with pytest.raises(DatasetError, match=r"another `inferkit dataset stage` or `unstage` is at work"):
                act()
    assert content(shm / "t") == before
    unstage(shm / "t")
    assert list(shm.iterdir()) == []


def test_what_a_killed_stage_left_is_cleared_by_the_next(shm: Path, source: Path) -> None:
    record = stage(source, shm / "t", machine=machine())
    unfinished = [copy.model_copy(update={"inodes": {}}) for copy in record.copies]
    (shm / "t" / RECORD_NAME).write_text(record.model_copy(update={"copies": unfinished}).model_dump_json())
    (shm / "t" / LOCK_NAME).touch()  # nobody holds it
    (shm / "t" / record.copies[0].name / next(iter(record.files))).write_bytes(b"half")
    with pytest.raises(DatasetError, match=r"staged only in part: run `inferkit dataset stage"):
        first_copy(shm / "t")
    assert stage(source, shm / "t", machine=machine()).made_folder
    assert content(first_copy(shm / "t")) == content(source)
    unstage(shm / "t")
    assert list(shm.iterdir()) == []


def test_a_copier_whose_parent_is_gone_leaves_no_bytes(tmp_path: Path, shm: Path) -> None:
    (tmp_path / "a").write_bytes(b"whole")
    os.mkfifo(tmp_path / "b")  # storage that never answers
    record = Staged(source="", files={"a": 5, "b": 5}, made_folder=True, copies=[Copy(name="all")])
    job = {"source": str(tmp_path), "target": str(shm), "record": record.model_dump(), "copy": "all"}
    command = [sys.executable, "-m", "inferkit.dataset.staging_copy"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as copier:
        assert copier.stdin is not None
        assert copier.stdout is not None
        copier.stdin.write(json.dumps(job) + "\n")
        copier.stdin.flush()
        assert json.loads(copier.stdout.readline()) == {"done": 5}
        assert (shm / "all" / "a").read_bytes() == b"whole"
        copier.stdin.close()
        assert copier.wait(30) == 1
    assert list(shm.iterdir()) == []
