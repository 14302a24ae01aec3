import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from inferkit.engines.engine_cache import EngineFile, TornEngineError
from inferkit.errors import EngineError
from tests.ownership import give_away, root_only

SHAPED_BY = {"model": "0123", "batch_size": 256, "dtype": "uint8", "shape": [3, 224, 224], "gpu": "H100", "driver": "1"}
PLAN = bytes(k * 7 % 251 for k in range(5000))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "inferkit" / "engines"


def stored() -> EngineFile:
    file = EngineFile("resnet50", SHAPED_BY)
    with file.locked():
        file.write(PLAN)
    return file


def test_plan_comes_back_as_it_was_written(cache: Path) -> None:
    file = stored()
    assert file.path.parent == cache
    assert file.path.name.startswith("resnet50-")
    assert EngineFile("resnet50", dict(reversed(SHAPED_BY.items()))).read() == PLAN


def test_nothing_is_left_but_the_plan_and_its_lock(cache: Path) -> None:
    file = stored()
    assert sorted(path.name for path in cache.iterdir()) == [f".{file.path.name}.lock", file.path.name]


@pytest.mark.parametrize("changed", SHAPED_BY)
def test_whatever_shapes_a_plan_makes_another_file(changed: str) -> None:
    stored()
    assert EngineFile("resnet50", {**SHAPED_BY, changed: "other"}).read() is None


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, len(PLAN) + 15])
def test_torn_file_is_refused(length: int) -> None:
    file = stored()
    file.path.write_bytes(file.path.read_bytes()[:length])
    with pytest.raises(TornEngineError, match=r"resnet50-\w+\.engine .* torn"):
        file.read()


@pytest.mark.parametrize("place", [0, 15, 16, 3000, len(PLAN) + 15])
def test_altered_file_is_refused_until_it_is_written_again(place: int) -> None:
    file = stored()
    content = bytearray(file.path.read_bytes())
    content[place] ^= 1
    file.path.write_bytes(content)
    with pytest.raises(TornEngineError):
        file.read()
    file.write(PLAN)
    assert file.read() == PLAN


def test_damaged_cache_is_begun_anew_and_that_is_told(caplog: pytest.LogCaptureFixture) -> None:
    file = stored()
    assert file.read_or_begin() == PLAN
    file.path.write_bytes(file.path.read_bytes()[:-1])
    assert file.read_or_begin() is None
    assert "torn or altered: begun anew" in caplog.text


def test_folder_that_cannot_be_made_is_named(cache: Path) -> None:
    cache.parent.write_text("a file in the way")
    with pytest.raises(EngineError, match="XDG_CACHE_HOME"), EngineFile("resnet50", SHAPED_BY).locked():
        pass


def _build(folder: Path) -> None:
    file = EngineFile("resnet50", SHAPED_BY)
    with file.locked():
        if file.read() is None:
            (folder / f"built-{multiprocessing.current_process().pid}").touch()
            time.sleep(0.1)
            file.write(PLAN)


def test_of_several_processes_one_builds(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    builders = [spawn.Process(target=_build, args=(tmp_path,)) for _ in range(3)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join(60)
    assert [builder.exitcode for builder in builders] == [0, 0, 0]
    assert len(list(tmp_path.glob("built-*"))) == 1


def test_who_waits_for_the_lock_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "inferkit.progress")
    file = EngineFile("resnet50", SHAPED_BY)

    def lock_too() -> None:
        with file.locked():
            pass

    with ThreadPoolExecutor(1) as pool:
        with file.locked():
            waiting = pool.submit(lock_too)
            time.sleep(0.5)
            assert not waiting.done()
        waiting.result(10)
    assert f"waiting for another process that makes {file.path.name}" in caplog.text


def test_a_cache_into_which_everybody_may_lay_an_engine_is_refused(cache: Path) -> None:
    file = stored()
    cache.chmod(0o777)
    with pytest.raises(EngineError, match=r"are code, and everybody may write to .*engines: .*chmod go-w"):
        file.read()
    with pytest.raises(EngineError, match="everybody may write"), file.locked():
        pass


def test_what_others_could_have_written_is_built_anew(cache: Path) -> None:
    file = stored()
    file.path.chmod(0o666)
    with pytest.raises(TornEngineError, match="others may write to it"):
        file.read()
    assert file.read_or_begin() is None
    assert stored().read() == PLAN


@root_only
def test_another_user_s_engine_is_not_run(cache: Path) -> None:
    file = stored()
    give_away(file.path)
    with pytest.raises(TornEngineError, match="is another user's"):
        file.read()
    give_away(cache)
    with pytest.raises(EngineError, match="belongs to user"):
        file.read()


def test_nobody_else_reads_an_engine_or_its_lock_and_no_link_is_locked(cache: Path, tmp_path: Path) -> None:
    file = stored()
    assert {path.stat().st_mode & 0o077 for path in cache.iterdir()} == {0}
    lock = cache / f".{file.path.name}.lock"
    lock.unlink()
    lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EngineError, match="nothing is written through one"), file.locked():
        pass
    assert not (tmp_path / "elsewhere").exists()
