"""What real stores make of the client: moto, and SeaweedFS, which looks at signatures; skipped where they are not."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from inferkit.dataset.format import open_dataset, verify
from inferkit.dataset.push import push
from inferkit.dataset.synthetic import make_synthetic
from inferkit.errors import CredentialError, ReplacedError
from inferkit.objects.client import Client, Request
from inferkit.objects.fetch import Part, fetch
from inferkit.objects.listing import entries
from inferkit.objects.place import ObjectPath, Store
from inferkit.records.params import MakeDataset
from tests.real_stores import STORES, store_of


@pytest.fixture(params=STORES)
def bucket(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectPath]:
    with store_of(request.param, tmp_path_factory.mktemp("store")) as endpoint:
        place = ObjectPath("photos", "", Store(endpoint))
        with Client(place.store) as client:
            client.request(Request("PUT", place))
        yield place


def test_a_data_set_goes_there_and_back(bucket: ObjectPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = MakeDataset(data=str(tmp_path / "set"), limit=60, shape=[3, 200, 200], images_per_file=50, seed=1)
    make_synthetic(asked)
    monkeypatch.setattr("inferkit.objects.upload.PART_BYTES", 5 << 20)
    place = bucket / "a b/ü+&"
    assert push(tmp_path / "set", place).sent_files == 4
    dataset = open_dataset(place)
    assert verify(dataset).ok
    assert push(tmp_path / "set", place).sent_files == 0
    file = dataset.files[0]
    target = memoryview(bytearray(1000))
    with Client(bucket.store) as client:
        fetch(client, [Part(place / file.name, file.etag, 77, target)], 2)
        assert bytes(target) == (tmp_path / "set" / file.name).read_bytes()[77:1077]
        client.request(Request("PUT", place / file.name, body=os.urandom(file.nbytes)))
        with pytest.raises(ReplacedError):
            fetch(client, [Part(place / file.name, file.etag, 77, target)], 2)


def test_strange_keys_and_empty_objects(bucket: ObjectPath, request: pytest.FixtureRequest) -> None:
    keys = ["a b", "a+b", "100%25", "ü/é", "日本", "a&b=c?d#e", "<a>", "'\"`", "~!*()"]
    keys += ["a//b"] if "moto" in request.node.name else []  # SeaweedFS keeps files, in folders
    with Client(bucket.store) as client:
        for key in keys:
            client.request(Request("PUT", bucket / "set" / key, body=key.encode()))
        client.request(Request("PUT", bucket / "set" / "empty"))
        found = entries(client, bucket / "set")
        assert {key: entry.nbytes for key, entry in found.items()} == {
            key: len(key.encode()) for key in sorted([*keys, "empty"])
        } | {"empty": 0}
        for key in keys:
            target = bytearray(len(key.encode()))
            fetch(client, [Part(bucket / "set" / key, found[key].etag, 0, memoryview(target))], 1)
            assert target == key.encode()
        assert client.read(bucket / "set" / "empty", 1) == b""


@pytest.mark.slow
def test_a_list_of_more_than_a_page(bucket: ObjectPath) -> None:
    with Client(bucket.store) as client:
        for k in range(1_050):
            client.request(Request("PUT", bucket / "many" / f"{k:05}", body=b"x"))
        assert list(entries(client, bucket / "many")) == [f"{k:05}" for k in range(1_050)]


@pytest.mark.slow
def test_a_wrong_secret_is_refused(
    bucket: ObjectPath, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "moto" in request.node.name:
        pytest.skip("moto does not look at signatures")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with Client(bucket.store) as client, pytest.raises(CredentialError, match="SignatureDoesNotMatch"):
        entries(client, bucket)
