"""What real stores make of the client: moto, and SeaweedFS, which looks at signatures; skipped where they are not."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from inferkit.dataset.format import open_dataset, verify
from inferkit.dataset.push import push
from inferkit.dataset.synthetic import make_synthetic
from inferkit.errors import CredentialError, ReplacedError
from inferkit.objects.client import Client, Request
from inferkit.objects.fetch import Part, fetch
from inferkit.objects.place import ObjectPath, Store
from inferkit.records.params import MakeDataset
from tests.objects.conftest import SECRET
from tests.seaweedfs import MISSING, is_here, seaweedfs


@contextmanager
def moto(folder: Path) -> Iterator[str]:
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@contextmanager
def seaweed(folder: Path) -> Iterator[str]:
    if not is_here():
        pytest.skip(MISSING)
    folder.mkdir()
    with seaweedfs(folder, "AKOURS", SECRET) as endpoint:
        yield endpoint


@pytest.fixture(params=["moto", pytest.param("seaweedfs", marks=pytest.mark.slow)])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectPath]:
    with {"moto": moto, "seaweedfs": seaweed}[request.param](tmp_path / "store") as endpoint:
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


@pytest.mark.slow
def test_a_wrong_secret_is_refused(
    bucket: ObjectPath, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "moto" in request.node.name:
        pytest.skip("moto does not look at signatures")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with Client(bucket.store) as client, pytest.raises(CredentialError, match="SignatureDoesNotMatch"):
        client.entries(bucket)
