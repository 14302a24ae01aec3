"""A store with a certificate: trusted as it is said, refused by name otherwise, and never ignored."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from inferkit.errors import CertificateError, InferkitError, ParameterError
from inferkit.objects import http
from inferkit.objects.client import Client
from inferkit.objects.fetch import cut, fetch
from inferkit.objects.place import ObjectPath, Store
from inferkit.plan.build import prepare
from inferkit.records.params import StorageToHost
from tests.object_store import Handler, StandInStore

CONTENT = bytes(range(256)) * 1000
EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an authority's certificate, ``ca.pem``."""
    folder = tmp_path_factory.mktemp("authority")
    if not shutil.which("openssl"):
        pytest.skip("no openssl here, which makes certificates")
    openssl(folder, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority of a test")
    return folder


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", "req", "-x509", *EC, *words], cwd=folder, check=True, capture_output=True)


def certificate(authority: Path, name: str) -> Path:
    """Return a file with a certificate and its key, for ``IP:…`` or ``DNS:…``."""
    made = authority / f"{name.replace(':', '-')}.pem"
    if not made.exists():
        files = ["-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", "one.key", "-out", "one.pem"]
        openssl(authority, *files, "-subj", "/CN=store", "-addext", f"subjectAltName={name}")
        made.write_bytes((authority / "one.pem").read_bytes() + (authority / "one.key").read_bytes())
    return made


@pytest.fixture
def server(authority: Path, request: pytest.FixtureRequest) -> Iterator[StandInStore]:
    with StandInStore(certificate=certificate(authority, getattr(request, "param", "IP:127.0.0.1"))) as server:
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    """Read anew whom to trust."""
    http._trust.cache_clear()
    yield
    http._trust.cache_clear()


def fetched(server: StandInStore) -> bytes:
    place = server.bucket() / "object"
    server.put(place, CONTENT)
    target = bytearray(len(CONTENT))
    with Client(server.store) as client:
        assert client.encrypted
        try:
            fetch(client, cut(place, "", 0, memoryview(target), 100_000), 2)
        finally:
            assert not client.counts.retries
    return bytes(target)


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_an_authority_that_is_named_is_trusted(
    server: StandInStore, authority: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(authority / "ca.pem"))
    assert fetched(server) == CONTENT


def test_a_certificate_of_nobody_known_is_refused_at_once(server: StandInStore) -> None:
    with pytest.raises(CertificateError, match=r"certificate is not trusted \(.*\): let AWS_CA_BUNDLE name"):
        fetched(server)
    assert server.seen == []


@pytest.mark.parametrize("server", ["DNS:other.example", "IP:127.0.0.2"], indirect=True)
def test_a_certificate_for_another_host_is_refused(
    server: StandInStore, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority / "ca.pem"))
    with pytest.raises(CertificateError, match=r"not trusted \(IP address mismatch.*s3_endpoint the host"):
        fetched(server)
    assert server.seen == []


def test_a_record_is_named_so(server: StandInStore) -> None:
    place = server.publish(Path(__file__).parent)
    prepared = prepare(StorageToHost(data=str(place), s3_endpoint=server.url, readers=["s3"], shape=[1, 2, 2]))
    assert prepared.failure is not None
    assert prepared.failure.kind == "CertificateError"


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_a_bundle_that_cannot_be_read_is_named(
    server: StandInStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_bytes(content)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    with pytest.raises(ParameterError, match=rf"AWS_CA_BUNDLE names {bundle}: "):
        fetched(server)


def asked(endpoint: str) -> InferkitError:
    with Client(Store(endpoint)) as client, pytest.raises(InferkitError) as raised:
        client.read(ObjectPath("bucket", "object", client.store), 1)
    return raised.value


def test_tls_to_a_store_without_is_named() -> None:
    with StandInStore() as server:
        assert "the store speaks no TLS: write s3_endpoint with http://" in str(
            asked(server.url.replace("http", "https"))
        )
        server.shutdown()


def test_no_tls_to_a_store_that_wants_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    told = b"Client sent an HTTP request to an HTTPS server.\n"  # as programs in Go say, without XML
    monkeypatch.setattr(Handler, "do_GET", lambda handler: (handler.ask(), handler.say(400, told)))
    with StandInStore() as server:
        assert "the store wants TLS (400 BadRequest): write s3_endpoint with https://" in str(asked(server.url))
        server.shutdown()
