"""Ranks that are forked are what started ones would be; servers come and go with what they took over."""

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from threading import Thread
from time import sleep
from typing import IO

import psutil
import pytest

from inferkit.errors import RankError
from inferkit.machine import watchdog
from inferkit.ranks import forked
from inferkit.ranks.forked import Forked, fork
from inferkit.ranks.launch import RankFailure, launch
from inferkit.records.job import ReadJob, ReadOptions
from inferkit.records.windows import Window
from tests.processes import alive, wait_for

CPU = min(os.sched_getaffinity(0))
PATIENCE_S = 30.0


@pytest.fixture(autouse=True)
def servers() -> Iterator[list[forked._Server]]:
    """Start without any, and leave none."""
    forked.end_idle()
    yield forked._servers
    forked.end_idle()
    assert forked._servers == []


@pytest.fixture
def words() -> Iterator[IO[bytes]]:
    with os.fdopen(os.memfd_create("words"), "r+b") as file:
        yield file


def ended(rank: Forked) -> int:
    """Hang up, and return how the rank took it."""
    rank.stdin.close()
    code = rank.wait(PATIENCE_S)
    rank.stdout.close()
    return code


def start(words: IO[bytes], **variables: str) -> Forked:
    return fork(words, {**os.environ, **variables}, [CPU])


def of(rank: Forked, file: str) -> str:
    return Path(f"/proc/{rank.pid}/{file}").read_text()


def link(rank: Forked, name: str) -> str:
    return str(Path(f"/proc/{rank.pid}/{name}").readlink())


def has_open(rank: Forked, files: int) -> bool:
    return len(open_in(rank)) == files


def gone(pid: int) -> bool:
    return not alive(pid)


def open_in(rank: Forked) -> list[str]:
    return [link(rank, f"fd/{file.name}") for file in Path(f"/proc/{rank.pid}/fd").iterdir()]


def test_it_has_a_session_cpus_and_pipes_of_its_own(words: IO[bytes]) -> None:
    rank = start(words)
    assert os.getsid(rank.pid) == os.getpgid(rank.pid) == rank.pid
    assert os.sched_getaffinity(rank.pid) == {CPU}
    assert link(rank, "fd/2") == str(Path(f"/proc/self/fd/{words.fileno()}").readlink())
    assert rank.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        rank.wait(0.01)
    assert ended(rank) == 1
    assert rank.poll() == 1


def test_nothing_of_the_server_or_of_other_ranks_stays_open_in_it(words: IO[bytes]) -> None:
    ranks = [start(words) for _ in range(3)]
    for rank in ranks:
        wait_for(partial(has_open, rank, 4), PATIENCE_S)  # its events are a copy
        assert not any(file.startswith("socket:") for file in open_in(rank))
    ranks[0].kill()
    assert ranks[0].wait(PATIENCE_S) == -signal.SIGKILL
    assert [rank.poll() for rank in ranks[1:]] == [None, None]
    assert [ended(rank) for rank in ranks] == [-signal.SIGKILL, 1, 1]


def test_one_server_serves_all_and_is_started_anew_where_what_is_taken_over_has_changed(
    words: IO[bytes], servers: list[forked._Server], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, second = start(words), start(words)
    assert [len(servers), psutil.Process(first.pid).ppid()] == [1, psutil.Process(second.pid).ppid()]
    monkeypatch.chdir(tmp_path)
    third = start(words)
    assert [len(servers), link(third, "cwd")] == [2, str(tmp_path)]
    old = servers[0]._process
    ended(first), ended(second)
    monkeypatch.setenv("MALLOC_ARENA_MAX", "3")
    fourth = start(words)
    assert old.poll() is not None  # it had no rank left
    assert len(servers) == 2
    ended(third), ended(fourth)


@pytest.mark.parametrize("change", ["umask", "limit", "priority"])
def test_what_a_rank_takes_over_is_what_this_process_is_now(
    words: IO[bytes], servers: list[forked._Server], change: str
) -> None:
    ended(start(words))
    before, soft = servers[0].inherited, resource.getrlimit(resource.RLIMIT_CORE)
    mask = os.umask(0o022)
    try:
        if change == "umask":
            os.umask(0o077)
        elif change == "limit":
            resource.setrlimit(resource.RLIMIT_CORE, (0 if soft[0] else min(4096, soft[1] % 2**63), soft[1]))
        assert change == "priority" or forked._inherited() != before
        if change == "priority":
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(os, "getpriority", lambda *_: 7)
                assert forked._inherited() != before
        rank = start(words)
        assert ("Umask:\t0077" in of(rank, "status")) == (change == "umask")
        ended(rank)
    finally:
        os.umask(mask)
        resource.setrlimit(resource.RLIMIT_CORE, soft)


def test_each_rank_has_the_variables_of_its_time(
    servers: list[forked._Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x" * 20_000)
    monkeypatch.setenv("ODD", "\udcff \n'")
    reading = ReadOptions(reader="s3", folder="s3://bucket/x", dtype="uint8", shape=(3, 5, 7), batch_size=4)
    for address, told in (("no address", "expected http://host:port"), ("http://127.0.0.1:9", "Connection refused")):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        with launch(ReadJob(window=Window(), reading=reading)) as rank, pytest.raises(RankFailure, match=told):
            rank.result(PATIENCE_S)
    assert len(servers) == 1


def test_a_server_that_was_killed_takes_its_ranks_along_and_the_next_is_started(
    words: IO[bytes], servers: list[forked._Server]
) -> None:
    rank = start(words)
    servers[0]._process.kill()
    assert rank.wait(PATIENCE_S) == -signal.SIGKILL
    wait_for(lambda: not alive(rank.pid), PATIENCE_S)
    another = start(words)
    assert alive(another.pid)
    assert [ended(rank), ended(another)] == [-signal.SIGKILL, 1]


def test_a_server_that_cannot_start_tells_as_a_rank_would(words: IO[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    rank = start(words)
    assert ended(rank) == 1
    words.seek(0)
    assert b"No module named 'encodings'" in words.read()


def test_a_refusal_of_the_system_is_its_error(words: IO[bytes]) -> None:
    code = (
        "import os, sys, resource; from inferkit.ranks.forked import fork\n"
        "words = os.fdopen(os.memfd_create('words'), 'r+b')\n"
        "first = fork(words, os.environ, [0])\n"
        "import psutil; server = psutil.Process(first.pid).parent()\n"
        "resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (8, 64))\n"
        "try: fork(words, os.environ, [0])\n"
        "except OSError as error: print(error.errno)\n"
        "first.stdin.close(); print(first.wait(20))\n"
        "resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (64, 64))\n"
        "second = fork(words, os.environ, [0]); second.stdin.close(); print(second.wait(20))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == [str(errno.EMFILE), "1", "1"]


def test_one_that_hangs_as_it_starts_is_given_up(words: IO[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "STILL_S", -1.0)
    monkeypatch.setattr(forked, "SLICE_S", 0.001)
    with pytest.raises(RankError, match="no rank could be started: 0 s nothing moved: "):
        start(words)
    monkeypatch.undo()
    rank = start(words)
    assert ended(rank) == 1


def test_threads_that_ask_at_once_get_a_rank_each(words: IO[bytes]) -> None:
    ranks: list[Forked] = []
    threads = [Thread(target=lambda: ranks.append(start(words))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({rank.pid for rank in ranks}) == 8
    assert [ended(rank) for rank in ranks] == [1] * 8


def test_several_threads_may_wait_for_one(words: IO[bytes]) -> None:
    rank = start(words)
    codes: list[int] = []
    threads = [Thread(target=lambda: codes.append(rank.wait())) for _ in range(4)]
    for thread in threads:
        thread.start()
    rank.kill()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert codes == [-signal.SIGKILL] * 4
    ended(rank)


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("stopped", [False, True])
def test_server_and_ranks_end_with_whoever_asked_however_that_ends(stopped: bool, copied: bool) -> None:
    """A copy of the process that asked, which waits for storage, holds all pipes open."""
    code = (
        "import os, psutil, sys, time; from inferkit.ranks.forked import fork\n"
        "rank = fork(os.fdopen(os.memfd_create('words'), 'r+b'), os.environ, [0])\n"
        "server = psutil.Process(rank.pid).ppid()\n"
        f"if {copied} and os.fork() == 0: os.setsid(); time.sleep(5); os._exit(0)\n"
        "print(rank.pid, server, flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        sleep(0.1)
        if stopped:
            os.kill(pids[0], signal.SIGSTOP)  # it cannot hear that the pipe was closed
        parent.kill()
    for pid in pids:
        wait_for(partial(gone, pid), 4.0 if copied else PATIENCE_S)
