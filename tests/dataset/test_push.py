"""A push is whole or looks half made, and goes on where it stopped."""

import re
from pathlib import Path

import pytest

from inferkit.dataset.format import open_dataset, verify
from inferkit.dataset.manifest import HASHES_NAME, MANIFEST_NAME
from inferkit.dataset.push import push
from inferkit.dataset.record import make_dataset
from inferkit.dataset.synthetic import make_synthetic
from inferkit.errors import DatasetError, UnfinishedError
from inferkit.objects.client import Client
from inferkit.objects.listing import entries
from inferkit.objects.place import ObjectPath
from inferkit.objects.upload import mark_of
from inferkit.records.params import MakeDataset
from tests.dataset.pictures import folder_of
from tests.object_store import Handler, StandInStore, etag_of, shared_store


@pytest.fixture
def store() -> StandInStore:
    return shared_store()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made(tmp_path / "set", seed=0)


def made(folder: Path, *, seed: int) -> Path:
    make_synthetic(MakeDataset(data=str(folder), limit=10, shape=[3, 8, 8], images_per_file=4, seed=seed))
    return folder


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inferkit.objects.upload.PART_BYTES", 300)


def puts(store: StandInStore, place: ObjectPath) -> int:
    return sum(method == "PUT" and path.startswith(f"/{place.bucket}/") for method, path, _, _ in store.seen)


@pytest.mark.parametrize("parts", [False, True])
def test_what_was_pushed_is_the_data_set(
    store: StandInStore, folder: Path, request: pytest.FixtureRequest, *, parts: bool
) -> None:
    if parts:
        request.getfixturevalue("small_parts")
    place = store.bucket() / "deep/set"
    told: list[tuple[int, int]] = []
    pushed = push(folder, place, lambda done, total: told.append((done, total)))
    assert pushed.sent_files == pushed.files == 5
    assert told[-1] == (pushed.nbytes, pushed.nbytes)
    there = open_dataset(place)
    assert verify(there).ok
    assert (there.read_images(3, 5) == open_dataset(folder).read_images(3, 5)).all()
    before = puts(store, place)
    assert push(folder, place).sent_files == 0
    assert puts(store, place) == before


def test_a_large_file_shows_how_far_it_is(store: StandInStore, tmp_path: Path) -> None:
    make_synthetic(MakeDataset(data=str(tmp_path / "set"), limit=4, shape=[3, 1024, 1024], images_per_file=4))
    told: list[tuple[int, int]] = []
    pushed = push(tmp_path / "set", store.bucket() / "set", lambda done, total: told.append((done, total)))
    assert len(told) > pushed.nbytes // 2**20
    assert told == sorted(told)
    assert told[-1] == (pushed.nbytes, pushed.nbytes)


def test_an_altered_object_is_found(store: StandInStore, folder: Path) -> None:
    place = store.publish(folder)
    data = bytearray(store.objects[f"{place.bucket}/{place.key}/images-00001.tensors"])
    data[200] ^= 1
    store.put(place / "images-00001.tensors", bytes(data))
    assert verify(open_dataset(place)).altered == (("images-00001.tensors", 1),)
    store.put(place / "images-00001.tensors", bytes(data[:-1]))
    with pytest.raises(DatasetError, match=r"images-00001\.tensors holds 767 bytes"):
        open_dataset(place)
    store.put(place / "more.tensors", b"x")
    store.put(place / "images-00001.tensors", bytes(data))
    with pytest.raises(DatasetError, match=r"more\.tensors is not listed"):
        open_dataset(place)


def test_an_interrupted_push_looks_half_made_and_goes_on(
    store: StandInStore, folder: Path, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = store.bucket() / "set"
    real = Handler.do_PUT

    def refusing(handler: Handler) -> None:
        if "partNumber=3" in handler.path and "00001" in handler.path:
            handler.ask()
            handler.refuse(403, "AccessDenied")
        else:
            real(handler)

    monkeypatch.setattr(Handler, "do_PUT", refusing)
    with pytest.raises(UnfinishedError, match="is not complete: the same push goes on"):
        push(folder, place)
    assert MANIFEST_NAME not in store.names(place)
    assert "images-00001.tensors" not in store.names(place)
    with pytest.raises(DatasetError):
        open_dataset(place)
    monkeypatch.setattr(Handler, "do_PUT", real)
    before = len(store.seen)
    push(folder, place)
    numbers = [
        query.get("partNumber") for method, path, query, _ in store.seen[before:] if "00001" in path and method == "PUT"
    ]
    assert numbers == ["3"]  # parts 1 and 2 were there
    assert verify(open_dataset(place)).ok


def test_another_data_set_is_refused_unless_it_is_to_be_replaced(
    store: StandInStore, folder: Path, tmp_path: Path
) -> None:
    place = store.publish(folder)
    store.put(place / "more/of-it.tensors", b"x")
    store.put(place / "README", b"stays")
    other = made(tmp_path / "other", seed=1)
    with pytest.raises(DatasetError, match=r"is not of .*other .*--overwrite"):
        push(other, place)
    assert store.objects[f"{place.bucket}/{place.key}/{HASHES_NAME}"] == (folder / HASHES_NAME).read_bytes()
    push(other, place, overwrite=True)
    assert verify(open_dataset(place)).ok
    assert open_dataset(place).hashes() is not None
    assert "README" in store.names(place)
    assert "more/of-it.tensors" not in store.names(place)


def test_photographs_are_pushed_as_they_are(store: StandInStore, tmp_path: Path) -> None:
    images = folder_of(tmp_path / "photographs", 3)
    place = store.bucket() / "jpeg"
    assert push(images, place).files == 3
    assert len(store.names(place)) == 3
    with pytest.raises(DatasetError, match="neither a data set nor JPEG files"):
        push(made(tmp_path / "x", seed=0).parent / "nothing", place)


def test_a_data_set_is_made_in_a_store_and_leaves_the_cache(
    store: StandInStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = store.bucket() / "made"
    asked = {"data": str(place), "s3_endpoint": store.url, "limit": 10, "shape": [3, 8, 8], "images_per_file": 4}
    run = make_dataset(MakeDataset.check(asked))
    assert run.verdict == "VALID", run.failure
    assert run.facts["made"] == 10
    assert verify(open_dataset(place)).images == 10
    assert not list((tmp_path / "cache").rglob("*.tensors"))
    assert make_dataset(MakeDataset.check(asked)).facts["made"] == 0
    refused = make_dataset(MakeDataset.check(asked | {"seed": 3}))
    assert refused.failure is not None
    assert "was made otherwise" in refused.failure.message
    assert make_dataset(MakeDataset.check(asked | {"seed": 3}), overwrite=True).facts["made"] == 10


def test_the_room_that_it_takes_here_is_told_before(
    store: StandInStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = store.bucket() / "made"
    asked = {"data": str(place), "s3_endpoint": store.url, "shape": [3, 8, 8]}
    make_synthetic(MakeDataset.check(asked | {"limit": 10}))
    assert f"{place} is made in {tmp_path / 'cache'}/inferkit/made/" in caplog.text
    assert re.search(r"first, which takes 1\.92 kB of [\d.]+ .B free there", caplog.text)
    with pytest.raises(DatasetError, match=r"cache\S* has .* free, but .* more are needed"):
        make_synthetic(MakeDataset.check(asked | {"limit": 10**10, "images_per_file": 10**6}), overwrite=True)


def test_a_files_mark_is_the_stores(tmp_path: Path, small_parts: None) -> None:
    path = tmp_path / "file"
    for data in (b"", b"x" * 300, b"y" * 301):
        path.write_bytes(data)
        store = shared_store()
        place = store.bucket() / "file"
        push_one(path, place)
        with Client(store.store) as client:
            assert entries(client, ObjectPath(place.bucket, "", place.store))["file"].nbytes == len(data)
        assert (mark_of(path).etag == etag_of(data)) is (len(data) <= 300)


def push_one(path: Path, place: ObjectPath) -> None:
    from inferkit.objects.upload import upload

    with Client(place.store) as client:
        upload(client, path, place)
