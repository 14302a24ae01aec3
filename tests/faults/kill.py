"""Kill whatever works, at random instants, and look at what is left: ``make kill``, 650 trials an hour on two cores.

Several workers try side by side, for a trial mostly waits; each has files and, as root, processes and shared memory of
its own. A trial starts a command in an arena (home, cache, temporary folder), sends signals to one of its processes,
and waits for the end. Then no process may live; nothing may lie in memory or in the temporary folder but what the
next run sweeps; files under final names are whole; what was measured is readable; and the same command works again.
"""

import argparse
import os
import random
import re
import secrets
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from time import monotonic, sleep

import yaml

from inferkit.dataset.format import open_dataset, verify
from inferkit.dataset.manifest import JOURNAL_NAME
from inferkit.dataset.photographs import make_photographs
from inferkit.dataset.staging_record import read_record
from inferkit.errors import InferkitError
from inferkit.records.notebooks import read_notebook
from tests.processes import alive

MARK = "INFERKIT_KILL_TRIAL"
"""A variable that all processes of a trial inherit: by it they are found, whoever is their parent by then."""
SIGNALS = ("INT", "TERM", "HUP", "KILL", "INT INT", "INT INT INT", "TERM TERM", "INT KILL")
WORKER = "INFERKIT_KILL_WORKER"
"""Tells a worker whether nobody else writes to its /dev/shm."""
RANK = "inferkit.ranks."
"""In the command line of a rank, and of the server that it was forked from."""
EACH_AGAIN = 4
"""A run takes long: only one of so many is followed by an undisturbed one, for the next trial is one as well."""
LONGEST_S, GONE_S = 120.0, 20.0
WRONG = "\n  WRONG "
SHM = Path("/dev/shm")
TINY = {"engines": ["null"], "batch_sizes": [8], "warmup_s": 0.05, "duration_s": 0.2, "repeats": 2, "source": "memory"}
Check = Callable[["Arena"], Iterator[str]]


@dataclass(frozen=True)
class Kind:
    """What is killed.

    Attributes
    ----------
    words
        Of the command; ``{}`` is the arena's folder.
    victims
        Words that a process's command line holds; "command" is the command itself, "terminal" what it runs in.
    check
        Looks at what the command wrote.
    again
        Exit codes of the command when it runs undisturbed afterwards.
    undo
        Words of the command that then removes what was made.
    """

    words: str
    victims: tuple[str, ...]
    check: Check
    again: tuple[int, ...] = (0,)
    undo: str = ""


class Arena:
    """A place for trials: a home, a cache and a temporary folder, a data set, photographs, and parameter files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.staged = SHM / f"inferkit-kill-{os.getpid()}"
        for name in ("home", "tmp", "out"):
            (folder / name).mkdir()
        self._inferkit(
            "dataset", "make", "", folder / "set", "--size", "64", "--limit", "4000", "--images-per-file", "50"
        )
        make_photographs(folder / "photographs", count=60)
        changes: dict[str, dict[str, object]] = {"one": {"peer": ["fio"]}, "two": {"ranks": [2], "threads": [1]}}
        for name, values in changes.items():
            text = yaml.safe_dump({**TINY, "data": str(folder / "set"), "readers": ["buffered"], **values})
            (folder / f"{name}.yaml").write_text(text)

    def environment(self, mark: str) -> dict[str, str]:
        folders = {"HOME": "home", "TMPDIR": "tmp", "XDG_CACHE_HOME": "home/cache", "XDG_RUNTIME_DIR": "tmp"}
        own = {name: str(self.folder / folder) for name, folder in folders.items()}
        return {**os.environ, **own, MARK: mark}

    def command(self, words: str) -> list[str]:
        told = ["" if word == "RANDOM" else word for word in words.format(self.folder, staged=self.staged).split()]
        return [sys.executable, "-m", "inferkit.cli.main", *told]

    def run(self, words: str) -> subprocess.CompletedProcess[str]:
        """Run a command undisturbed."""
        environment = self.environment("none")
        return subprocess.run(self.command(words), env=environment, capture_output=True, text=True, check=False)

    def _inferkit(self, *words: str | Path) -> None:
        command = [sys.executable, "-m", "inferkit.cli.main", *map(str, words)]
        subprocess.run(command, env=self.environment("none"), check=True, capture_output=True)

    def clear(self) -> None:
        """Remove what commands made."""
        for path in (self.folder / "out", self.folder / "tmp", self.staged):
            shutil.rmtree(path, ignore_errors=True)
        (self.folder / "out").mkdir()
        (self.folder / "tmp").mkdir()


class Terminal:
    """The terminal of a command. What that prints is read, or it would wait, by a thread which alone may close it.

    A number that was closed is given to the next file: who reads on would take that one's bytes.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._closing = threading.Event()
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._reader.start()

    def close(self) -> None:
        self._closing.set()
        self._reader.join()

    def _drain(self) -> None:
        with suppress(OSError):  # the command has ended
            while not self._closing.is_set():
                if select.select([self._descriptor], [], [], 0.02)[0]:
                    os.read(self._descriptor, 65536)
        self._closing.wait()
        os.close(self._descriptor)


def family(mark: str) -> list[int]:
    """Return the processes of a trial that live."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (path / "environ").read_bytes().split(b"\0") and alive(int(path.name)):
                found.append(int(path.name))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def victims(mark: str, words: str) -> list[int]:
    """Return the processes of a trial whose command line holds some words."""
    found = []
    for pid in family(mark):
        try:
            if words.encode() in Path("/proc", str(pid), "cmdline").read_bytes():
                found.append(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def wait(condition: Callable[[], object], seconds: float) -> bool:
    end = monotonic() + seconds
    while not condition():
        if monotonic() > end:
            return False
        sleep(0.02)
    return True


def strike(command: int, mark: str, victim: str, signals: str, instant_s: float, terminal: Terminal) -> None:
    """Wait for a victim, then for an instant, and send it signals; what is over before is not hit."""
    if victim not in ("command", "terminal"):
        wait(lambda: victims(mark, victim) or not alive(command), LONGEST_S)
    wait(lambda: not alive(command), instant_s)
    if victim == "terminal":
        terminal.close()
        return
    for name in signals.split():
        number = signal.Signals[f"SIG{name}"]
        if victim == "command":
            # Ctrl-C and the end of a terminal reach the whole group of processes.
            if alive(command):
                (os.killpg if name in ("INT", "HUP") else os.kill)(command, number)
        elif hit := victims(mark, victim):
            with suppress(ProcessLookupError):
                os.kill(random.choice(hit), number)
        wait(lambda: not alive(command), random.uniform(0.05, 0.8))


def start(arena: Arena, kind: Kind, mark: str) -> tuple[int, Terminal]:
    """Start a command as a terminal does; return its process and the terminal."""
    pid, terminal = os.forkpty()
    if pid == 0:
        os.execve(sys.executable, arena.command(kind.words), arena.environment(mark))
    return pid, Terminal(terminal)


def trial(arena: Arena, kind: Kind, victim: str, signals: str, instant_s: float) -> Iterator[str]:
    """Kill and look; yield what is wrong."""
    mark = secrets.token_hex(8)
    command, terminal = start(arena, kind, mark)
    strike(command, mark, victim, signals, instant_s, terminal)
    if not wait(lambda: not alive(command), LONGEST_S):
        yield f"the command lives on after {LONGEST_S:.0f} s: {told(family(mark))}"
        for pid in family(mark):
            os.kill(pid, signal.SIGKILL)
    os.waitpid(command, 0)
    if not wait(lambda: not family(mark), GONE_S):
        yield f"processes live on {GONE_S:.0f} s after the command: {told(family(mark))}"
        for pid in family(mark):
            os.kill(pid, signal.SIGKILL)
    terminal.close()
    yield from left(arena)
    yield from kind.check(arena)
    if not kind.words.startswith("run") or random.randrange(EACH_AGAIN) == 0:
        yield from next_one(arena, kind)


def next_one(arena: Arena, kind: Kind) -> Iterator[str]:
    """Run the command undisturbed; yield what is wrong then."""
    done = arena.run(kind.words)
    if done.returncode not in kind.again:
        yield f"the next one ends with {done.returncode}: {(done.stdout + done.stderr)[-800:]}"
    yield from kind.check(arena)
    if kind.undo and (undone := arena.run(kind.undo)).returncode:
        yield f"{kind.undo} ends with {undone.returncode}: {undone.stderr[-300:]}"
    yield from (f"left after the next one: {path}" for path in (arena.folder / "tmp").iterdir())


def told(pids: list[int]) -> str:
    return "; ".join(
        Path("/proc", str(pid), "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:120]
        for pid in pids
        if alive(pid)
    )


def left(arena: Arena) -> Iterator[str]:
    """Yield what lies where nobody looks: temporary files but the folder of sockets, which the next run sweeps."""
    own = f"inferkit-{os.getuid()}-"
    yield from (f"temporary file {path}" for path in (arena.folder / "tmp").iterdir() if not path.name.startswith(own))
    if private():
        yield from (f"in memory: {path}" for path in SHM.iterdir() if path != arena.staged)


def private() -> bool:
    """Tell whether this process has a /dev/shm of its own, in which nobody else writes."""
    return os.environ.get(WORKER) == "private"


def apart() -> list[str]:
    """Return the words before a command that give it processes and a /dev/shm of its own; none where root is needed."""
    script = 'mount -t tmpfs tmpfs /dev/shm && "$@"; exit $?'  # the shell stays, and reaps whom everybody has left
    words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, "sh"]
    can = shutil.which("unshare") and subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0
    return words if can else []


def check_run(arena: Arena) -> Iterator[str]:
    """Notebooks under their names are whole, and what was measured can be read."""
    for path in (arena.folder / "out").rglob("*.ipynb"):
        if path.name.startswith("."):
            continue
        try:
            read_notebook(path, print)
        except InferkitError as error:
            yield f"torn: {error}"


def check_set(arena: Arena) -> Iterator[str]:
    """A data set is whole, or half made and said to be so."""
    for folder in (arena.folder / "out").iterdir():
        if (folder / JOURNAL_NAME).exists() or not (folder / "dataset.json").exists():
            continue
        try:
            if not verify(open_dataset(folder)).ok:
                yield f"{folder} was made otherwise than its hashes say"
        except InferkitError as error:
            yield f"torn: {error}"


def check_staged(arena: Arena) -> Iterator[str]:
    """Copies are whole, or there are no bytes of them."""
    record = read_record(arena.staged)
    files = [path for path in arena.staged.rglob("*") if path.is_file() and path.parent != arena.staged]
    if record is None or not record.finished:
        held = sum(path.stat().st_size for path in files)
        if held:
            yield f"{held:,} bytes of half a copy stay in memory: {files[:3]}"
        return
    for copy in record.copies:
        if not verify(open_dataset(arena.staged / copy.name)).ok:
            yield f"{copy.name} is not the data set"


KINDS = {
    "one": Kind(
        "run {0}/one.yaml --only 03a --out {0}/out",
        ("command", "command", "terminal", "ipykernel_launcher", RANK, "fio\0--readonly"),
        check_run,
        (0, 3),
    ),
    "two": Kind(
        "run {0}/two.yaml --only 03c --out {0}/out",
        ("command", "terminal", "ipykernel_launcher", RANK),
        check_run,
        (0, 3),
    ),
    "random": Kind("dataset make RANDOM {0}/out/set --limit 3000", ("command", "terminal"), check_set),
    "photographs": Kind(
        "dataset make {0}/photographs {0}/out/photos --size 96 --images-per-file 5 --workers 2",
        ("command", "terminal", "spawn_main"),
        check_set,
    ),
    "stage": Kind(
        "dataset stage {0}/set --to {staged}",
        ("command", "command", "terminal", "staging_copy"),
        check_staged,
        undo="dataset unstage {staged}",
    ),
}


def undisturbed(arena: Arena, kind: Kind) -> float:
    """Return how many seconds a command takes: instants are drawn from them."""
    start_s = monotonic()
    wrong = list(next_one(arena, kind))
    arena.clear()
    if wrong:
        sys.exit(f"undisturbed, {kind.words}: {wrong}")
    return monotonic() - start_s


def work(options: argparse.Namespace) -> None:
    """Try as often as is asked, one after the other, and print what was wrong."""
    random.seed(options.seed)
    arena = Arena(Path(mkdtemp(prefix="inferkit-kill-")))
    whole_s: dict[str, float] = {}
    end_s = monotonic() + 60 * options.minutes
    for number in range(options.trials):
        if monotonic() > end_s:
            break
        name = random.choice(options.only.split(","))
        victim, signals = random.choice(KINDS[name].victims), random.choice(SIGNALS)
        if name not in whole_s:
            whole_s[name] = undisturbed(arena, KINDS[name])
        instant_s = random.uniform(0, whole_s[name] if victim in ("command", "terminal") else 1.0)
        wrong = list(trial(arena, KINDS[name], victim, signals, instant_s))
        arena.clear()
        how = signals if victim != "terminal" else "closed"
        words = f"{options.seed}-{number}: {name}, {victim!r} {how} after {instant_s:.2f} s"
        print(words, *wrong, sep=WRONG, flush=True)
    shutil.rmtree(arena.folder)


def side_by_side(options: argparse.Namespace) -> Counter[str]:
    """Let workers try; pass on what they print, and count it."""
    counts = Counter(wrong=0)
    place = apart()
    environment = {**os.environ, WORKER: "private" if place else "shared"}

    def follow(worker: int) -> None:
        trials = len(range(worker, options.trials, options.workers))
        numbers = {"seed": options.seed + worker, "trials": trials, "minutes": options.minutes, "only": options.only}
        told = [f"--{name}={value}" for name, value in numbers.items()]
        command = [*place, sys.executable, "-m", "tests.faults.kill", *told]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                print(line, end="", flush=True)
                counts["wrong"] += line.startswith(WRONG[1:])
                counts.update(re.findall(r"^\d+-\d+: (\w+),", line))
        counts["wrong"] += process.returncode != 0

    with ThreadPoolExecutor(options.workers) as pool:
        list(pool.map(follow, range(options.workers)))
    return counts


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--trials", type=int, default=150)
    asked.add_argument("--minutes", type=float, default=float("inf"), help="After which no trial begins.")
    asked.add_argument("--workers", type=int, default=2 * (os.cpu_count() or 1), help="Trials at a time.")
    asked.add_argument("--seed", type=int, default=0, help="Of the first worker.")
    asked.add_argument("--only", default=",".join(KINDS), help="Kinds of commands.")
    options = asked.parse_args()
    if WORKER in os.environ:
        work(options)
        return
    counts = side_by_side(options)
    print("\n".join(f"result kills_{name} {count} trials" for name, count in sorted(counts.items())))
    sys.exit(1 if counts["wrong"] else 0)


if __name__ == "__main__":
    main()
