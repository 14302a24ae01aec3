import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
from PIL import Image

from inferkit.dataset.format import open_dataset, verify
from inferkit.dataset.images import find_images, make_from_images
from inferkit.dataset.manifest import Skipped, read_manifest
from inferkit.errors import DatasetError
from inferkit.records.params import MakeDataset
from tests.dataset.pictures import contents, folder_of, jpeg, photograph

PROGRAM = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background ignores it
from inferkit.dataset import one_file as module
from inferkit.dataset.images import make_from_images
read = module.read
def read_slowly(path):  # in the workers too, which import this
    while path.with_suffix(".wait").exists():
        time.sleep(0.01)
    data = read(path)
    if data == b"deadly":
        os.abort()
    return data
module.read = read_slowly
from inferkit.records.params import MakeDataset
if __name__ == "__main__":
    images, out = sys.argv[1:3]
    report = make_from_images(MakeDataset(images=images, data=out, size=160, images_per_file=4, workers=2))
    print(report.resumed, report.made)
"""


def asked(images: Path, out: Path, **options: Any) -> MakeDataset:
    return MakeDataset(images=str(images), data=str(out), **{"workers": 1, **options})


def by_opencv(path: Path, size: int) -> np.ndarray[Any, Any]:
    image = cv2.resize(np.asarray(cv2.imread(str(path))), (size, size))
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).transpose(2, 0, 1)


@pytest.fixture
def program(tmp_path: Path) -> Callable[[Path, Path], list[str]]:
    """A command that makes a data set in a process of its own."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return lambda images, out: [sys.executable, str(path), str(images), str(out)]


def test_images_are_those_of_opencv_in_sorted_order(tmp_path: Path) -> None:
    images = folder_of(tmp_path / "images", 7)
    names = find_images(images)
    assert names == sorted(names)
    report = make_from_images(asked(images, tmp_path / "set", size=40, images_per_file=3))
    read = report.dataset.read_images(0, 7).astype(int)
    for image, name in zip(read, names, strict=True):
        assert np.abs(image - by_opencv(images / name, 40)).max() <= 1
    assert [file.images for file in report.dataset.files] == [3, 3, 1]
    assert (report.made, report.resumed, report.skipped) == (7, 0, ())
    assert report.bytes_read == sum((images / name).stat().st_size for name in names)
    assert verify(report.dataset).ok


def test_the_manifest_says_how_it_was_made(tmp_path: Path) -> None:
    images = folder_of(tmp_path / "images", 3)
    (images / "large.jpg").write_bytes(jpeg(photograph(9, 200, 300)))
    make_from_images(
        asked(images, tmp_path / "set", size=48, dtype="float32", resize="crop", fast=True, shuffle=True, seed=5)
    )
    text = (tmp_path / "set" / "dataset.json").read_text()
    told = json.loads(text)
    assert told["schema"] == 1
    assert told["shape"] == [3, 48, 48]
    assert told["files"] == [{"name": "images-00000.tensors", "images": 4, "bytes": 4 * 3 * 48 * 48 * 4}]
    facts = {"dtype": "float32", "resize": "crop", "fast": True, "shuffle": True, "seed": 5, "exif": "applied"}
    assert facts.items() <= told.items()
    assert told["scales"] == {"2": 3, "4": 1}
    assert str(tmp_path) not in text


def test_two_makes_are_byte_identical_however_many_workers(tmp_path: Path) -> None:
    images = folder_of(tmp_path / "images", 5)
    for name, workers in (("one", 1), ("three", 3)):
        make_from_images(asked(images, tmp_path / name, size=16, images_per_file=2, workers=workers))
    assert contents(tmp_path / "one") == contents(tmp_path / "three")


@pytest.mark.parametrize("limit", [0, 1, 9, 10, 11])
def test_listing_is_sorted_shuffled_then_limited(tmp_path: Path, limit: int) -> None:
    images = folder_of(tmp_path, 10)
    (images / "notes.txt").write_text("no image")
    everything = find_images(images)
    assert len(everything) == 10
    assert find_images(images, limit=limit) == everything[: limit or None]
    shuffled = find_images(images, shuffle=True, seed=4, limit=limit)
    random.Random(4).shuffle(everything)
    assert shuffled == everything[: limit or None]


def test_difficult_files_are_skipped_with_reasons_and_shorten_their_file(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for index in range(4):
        (images / f"a{index}.jpg").write_bytes(jpeg(photograph(index)))
    (images / "a1.jpg").write_bytes(jpeg(photograph(1))[:-500])
    Image.fromarray(photograph()).save(images / "b0.jpg", "PNG")
    (images / "b1.jpg").write_bytes(b"")
    (images / "b2.jpg").symlink_to("nowhere")
    (images / "b3.jpg").mkdir()  # a folder is no file, whatever its name
    (images / os.fsdecode(b"c\xff.JPG")).write_bytes(b"hello")
    report = make_from_images(asked(images, tmp_path / "set", size=16, images_per_file=2))
    assert report.skipped == (
        Skipped(name="a1.jpg", reason="damaged or truncated: Premature end of JPEG file"),
        Skipped(name="b0.jpg", reason="is PNG, not JPEG"),
        Skipped(name="b1.jpg", reason="empty"),
        Skipped(name="b2.jpg", reason="cannot be read: No such file or directory"),
        Skipped(name="c\\xff.JPG", reason="is of an unknown format, not JPEG"),
    )
    assert [(file.name, file.images) for file in report.dataset.files] == [
        ("images-00000.tensors", 1),
        ("images-00001.tensors", 2),
    ]
    assert not list((tmp_path / "set").glob("images-00002*"))
    manifest = read_manifest(tmp_path / "set")
    assert manifest is not None
    assert manifest.skipped == report.skipped
    assert verify(report.dataset).images == 3
    assert make_from_images(asked(images, tmp_path / "set", size=16, images_per_file=2)).skipped == report.skipped


def test_if_no_image_can_be_used_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "images" / name).write_bytes(b"")
    with pytest.raises(DatasetError, match=r"none of 2 images could be used; the first, a\.jpg: empty"):
        make_from_images(asked(tmp_path / "images", tmp_path / "set"))
    assert contents(tmp_path / "set") == {}


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"holds no \.jpg or \.jpeg files"):
        make_from_images(asked(tmp_path, tmp_path / "set"))
    with pytest.raises(DatasetError, match="is not a folder"):
        make_from_images(asked(tmp_path / "missing", tmp_path / "set"))
    assert not (tmp_path / "set").exists()


def test_a_source_that_changed_is_another_recipe(tmp_path: Path) -> None:
    images = folder_of(tmp_path / "images", 2)
    make_from_images(asked(images, tmp_path / "set", size=16))
    for path in images.rglob("*.jpg"):
        os.utime(path, ns=(1, 1))  # a copy of the same files is the same source
    assert make_from_images(asked(images, tmp_path / "set", size=16)).resumed == 2
    next(images.rglob("*.jpg")).write_bytes(jpeg(photograph(7), quality=50))
    with pytest.raises(DatasetError, match="made otherwise"):
        make_from_images(asked(images, tmp_path / "set", size=16))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "nothing happened for a minute"
        time.sleep(0.002)


def start_and_stop(command: list[str], out: Path, number: signal.Signals) -> int:
    """Stop a make by a signal when its first file is recorded, see that none of its processes lives on; its status."""
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            journal = out / "dataset.journal"
            wait_for(lambda: journal.exists() and journal.read_bytes().count(b"\n") > 1)
            children = psutil.Process(process.pid).children(recursive=True)
            assert children
            # A terminal's Ctrl-C reaches the whole group; a kill, as of the kernel out of memory, one process.
            (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
            process.wait(timeout=60)
        finally:
            process.kill()
    wait_for(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))
    return process.returncode


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_make_that_was_stopped_leaves_no_process_and_resumes_byte_identically(
    tmp_path: Path, program: Callable[[Path, Path], list[str]], number: signal.Signals
) -> None:
    images = folder_of(tmp_path / "images", 20)
    (images / "damaged.jpg").write_bytes(b"damaged")
    (images / "endless.jpg").touch()
    (images / "endless.wait").touch()  # reading it does not end, so that the make is surely stopped half-way
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    assert start_and_stop(program(images, stopped), stopped, number) != 0
    (images / "endless.wait").unlink()
    assert not (stopped / "dataset.json").exists()
    if number == signal.SIGINT:
        assert not list(stopped.glob(".*.part"))
    done = subprocess.run(program(images, stopped), capture_output=True, text=True, check=True)
    resumed, made = map(int, done.stdout.split())
    assert resumed > 0
    assert resumed + made == 20
    make_from_images(asked(images, whole, size=160, images_per_file=4))
    assert contents(stopped) == contents(whole)
    assert verify(open_dataset(stopped)).ok


def test_a_limit_on_file_sizes_is_told_and_leaves_nothing_half_written(
    tmp_path: Path, program: Callable[[Path, Path], list[str]]
) -> None:
    images = folder_of(tmp_path / "images", 3)  # one file of 230 kB

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    done = subprocess.run(
        program(images, tmp_path / "set"), capture_output=True, text=True, check=False, preexec_fn=limit
    )
    assert done.returncode == 1
    assert "images-00000.tensors cannot be written: File too large. It needs 230 kB, " in done.stderr
    assert contents(tmp_path / "set") == {}


def test_a_worker_that_was_killed_once_does_not_end_the_make(
    tmp_path: Path, program: Callable[[Path, Path], list[str]]
) -> None:
    images = folder_of(tmp_path / "images", 9)
    (images / "endless.jpg").write_bytes(jpeg(photograph()))
    (images / "endless.wait").touch()
    with subprocess.Popen(program(images, tmp_path / "set"), stdout=subprocess.PIPE, text=True) as process:
        wait_for(lambda: bool(list((tmp_path / "set").glob(".*.part"))))  # a worker has begun
        for worker in workers_of(process.pid):
            worker.kill()
        (images / "endless.wait").unlink()
        told, _ = process.communicate(timeout=120)
    assert (process.returncode, told) == (0, "0 10\n")
    manifest = read_manifest(tmp_path / "set")
    assert manifest is not None
    assert manifest.skipped == ()


def test_a_file_that_ends_the_decoder_is_skipped_and_the_rest_is_made(
    tmp_path: Path, program: Callable[[Path, Path], list[str]]
) -> None:
    images, deadly = folder_of(tmp_path / "images", 7), ("class-0/001.jpg", "class-0/zzz.jpg", "first.jpg")
    for name in deadly:
        (images / name).write_bytes(b"deadly")
    subprocess.run(program(images, tmp_path / "set"), check=True, capture_output=True)
    manifest = read_manifest(tmp_path / "set")
    assert manifest is not None
    assert manifest.skipped == tuple(Skipped(name=name, reason="it ends the decoder (signal 6)") for name in deadly)
    assert manifest.images == 7
    for name in deadly:
        (images / name).write_bytes(b"damage")  # as long, so the same source
    make_from_images(asked(images, tmp_path / "other", size=160, images_per_file=4))
    assert (tmp_path / "set" / "dataset.xxh3").read_bytes() == (tmp_path / "other" / "dataset.xxh3").read_bytes()


def test_workers_that_never_begin_are_told(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM.replace('if __name__ == "__main__":', "if True:"))
    images = folder_of(tmp_path / "images", 1)
    command = [sys.executable, str(path), str(images), str(tmp_path / "set")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "UnfinishedError: a worker process ended without a word" in done.stderr
    assert "it resumes" in done.stderr


def test_what_is_no_file_is_skipped_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = folder_of(tmp_path / "images", 1)
    os.mkfifo(images / "pipe.jpg")
    (images / "device.jpg").symlink_to("/dev/zero")
    (images / "circle.jpg").symlink_to("circle.jpg")
    (images / "dangling.jpg").symlink_to("nowhere")
    with (images / "sparse.jpg").open("wb") as file:
        file.truncate(60_000_000_000)
    monkeypatch.chdir(images)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.jpg")
        report = make_from_images(asked(images, tmp_path / "set", size=16))
    assert report.skipped == (
        Skipped(name="circle.jpg", reason="cannot be read: Too many levels of symbolic links"),
        Skipped(name="dangling.jpg", reason="cannot be read: No such file or directory"),
        Skipped(name="device.jpg", reason="cannot be read: it is a device, not a file"),
        Skipped(name="pipe.jpg", reason="cannot be read: it is a pipe, not a file"),
        Skipped(name="socket.jpg", reason="cannot be read: it is a socket, not a file"),
        Skipped(
            name="sparse.jpg", reason="cannot be read: it holds 60,000,000,000 bytes, over the limit of 536,870,910"
        ),
    )


def test_names_cannot_write_to_a_terminal(tmp_path: Path) -> None:
    images = folder_of(tmp_path / "images", 1)
    (images / "a\n\x1b[31mred\u202e.jpg").touch()
    (skipped,) = make_from_images(asked(images, tmp_path / "set", size=16)).skipped
    assert skipped.name == r"a\n\x1b[31mred\u202e.jpg"


def test_linked_folders_are_followed_and_unreadable_ones_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_of(tmp_path / "elsewhere", 4)
    images = folder_of(tmp_path / "images", 2)
    (images / "linked").symlink_to(tmp_path / "elsewhere")
    (images / "class-0" / "up").symlink_to(images)
    assert find_images(images) == [
        "class-0/000.jpg",
        "class-1/001.JPEG",
        "linked/class-0/000.jpg",
        "linked/class-0/002.jpg",
        "linked/class-1/001.JPEG",
        "linked/class-1/003.JPEG",
    ]
    (images / "secret").mkdir()
    real = os.scandir

    def refuse(path: Path) -> Any:
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    report = make_from_images(asked(images, tmp_path / "set", size=16))
    assert report.made == 6
    assert [skip.name for skip in report.skipped] == ["secret"]


def workers_of(parent: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(parent).children() if "spawn_main" in " ".join(child.cmdline())]


def test_a_quota_limits_the_workers_as_the_record_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []

    def pool(count: int) -> ThreadPoolExecutor:
        counts.append(count)
        return ThreadPoolExecutor(count)

    monkeypatch.setattr("inferkit.dataset.images.cpus", lambda: 2)
    monkeypatch.setattr("inferkit.dataset.images._processes", pool)
    images = folder_of(tmp_path / "images", 3)
    make_from_images(asked(images, tmp_path / "set", size=40, images_per_file=1, workers=0))
    make_from_images(asked(images, tmp_path / "more", size=40, images_per_file=1, workers=3))
    assert counts == [2, 3]
