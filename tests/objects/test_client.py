"""What becomes of a request that fails: repeated and counted, or refused by name, and never with a secret in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from inferkit.errors import (
    BrokenTransferError,
    CredentialError,
    InferkitError,
    ParameterError,
    ReadError,
    ReplacedError,
    ThrottledError,
)
from inferkit.files import write_whole
from inferkit.objects.client import Client, Request
from inferkit.objects.failures import ATTEMPTS
from inferkit.objects.fetch import Part, cut, fetch
from inferkit.objects.listing import entries
from inferkit.objects.place import ObjectPath, Store
from tests.object_store import Fault, StandInStore, closed, etag_of, rangeless, refusing, reset, shortened
from tests.objects.conftest import SECRET

CONTENT = bytes(range(256)) * 4096


@pytest.fixture
def place(server: StandInStore) -> ObjectPath:
    place = server.bucket() / "a b/ü+&.bin"
    server.put(place, CONTENT)
    return place


@pytest.fixture
def client(server: StandInStore) -> Iterator[Client]:
    with Client(server.store) as client:
        yield client


def fetched(client: Client, place: ObjectPath, etag: str = "", lanes: int = 3) -> bytes:
    target = bytearray(len(CONTENT))
    fetch(client, cut(place, etag, 0, memoryview(target), 100_000), lanes)
    return bytes(target)


SLOW_DOWN = refusing(503, "SlowDown")


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (SLOW_DOWN, "throttled"),
        (refusing(429, "TooManyRequests"), "throttled"),
        (refusing(400, "RequestTimeout"), "server"),
        (refusing(500, "InternalError"), "server"),
        (reset, "connection"),
        (shortened, "length"),
        (rangeless, "length"),
    ],
)
def test_what_fails_once_is_asked_for_again_and_counted(
    server: StandInStore, client: Client, place: ObjectPath, fault: Fault, cause: str
) -> None:
    server.faults.extend([fault, fault])
    assert fetched(client, place) == CONTENT
    assert client.counts.retries == {cause: 2}
    assert client.counts.nbytes == len(CONTENT)


def test_a_store_that_closed_an_idle_connection_is_no_failure(
    server: StandInStore, client: Client, place: ObjectPath
) -> None:
    assert fetched(client, place) == CONTENT
    server.faults.append(closed)
    assert fetched(client, place) == CONTENT
    assert not client.counts.retries
    assert client.counts.connections == 4


@pytest.mark.parametrize(
    ("fault", "kind", "told"),
    [
        (SLOW_DOWN, ThrottledError, "wants fewer requests .503 SlowDown."),
        (refusing(500, "InternalError"), ReadError, "the store failed .500 InternalError."),
        (reset, BrokenTransferError, "the connection broke 6 times"),
        (shortened, BrokenTransferError, "100,000 bytes were asked for, the store announced 99,999"),
        (rangeless, BrokenTransferError, "know ranges"),
        (refusing(412, "PreconditionFailed"), ReplacedError, "was replaced while it was read"),
        (refusing(416, "InvalidRange"), ReplacedError, "was replaced while it was read"),
        (refusing(400, "ExpiredToken"), CredentialError, "have expired"),
        (refusing(403, "AccessDenied"), CredentialError, "refuses our credentials"),
        (refusing(403, "RequestTimeTooSkewed"), CredentialError, "set the clock"),
        (refusing(401, "Unauthorized"), CredentialError, "refuses our credentials"),
        (refusing(301, "PermanentRedirect"), ParameterError, "set s3_region"),
        (refusing(307, "TemporaryRedirect"), ParameterError, "set s3_region"),
        (
            refusing(301, "PermanentRedirect", x_amz_bucket_region="eu-west-3"),
            ParameterError,
            "not in region us-east-1 .301 PermanentRedirect., but in eu-west-3: set s3_region: eu-west-3",
        ),
        (
            refusing(400, "AuthorizationHeaderMalformed", more="<Region>ap-south-1</Region>"),
            ParameterError,
            "but in ap-south-1",
        ),
        (refusing(301, "PermanentRedirect", x_amz_bucket_region="<b> x"), ParameterError, "PermanentRedirect.: set"),
        (refusing(404, "NoSuchKey"), ReadError, "is not there"),
        (refusing(418, "Teapot"), ReadError, "418 Teapot"),
    ],
)
def test_what_fails_always_is_refused_by_name(
    server: StandInStore, client: Client, place: ObjectPath, fault: Fault, kind: type[InferkitError], told: str
) -> None:
    server.always = fault
    with pytest.raises(InferkitError, match=told) as raised:
        fetched(client, place)
    assert type(raised.value) is kind
    assert str(place) in str(raised.value) or place.bucket in str(raised.value)
    assert SECRET not in str(raised.value)
    assert "AKOURS" not in str(raised.value)
    server.always = None
    assert fetched(client, place) == CONTENT  # what was on its way is not taken for the answer to what is asked now


def test_only_what_may_help_is_repeated(server: StandInStore, client: Client, place: ObjectPath) -> None:
    server.always = SLOW_DOWN
    with pytest.raises(ThrottledError):
        fetch(client, [Part(place, "", 0, memoryview(bytearray(10)))], 1)
    assert len(server.reads()) == ATTEMPTS
    assert client.counts.retries == {"throttled": ATTEMPTS - 1}
    server.always = refusing(403, "AccessDenied")
    with pytest.raises(CredentialError):
        fetch(client, [Part(place, "", 0, memoryview(bytearray(10)))], 1)
    assert len(server.reads()) == ATTEMPTS + 1


def test_an_object_that_was_replaced_is_refused_also_by_a_store_that_does_not_look(
    server: StandInStore, client: Client, place: ObjectPath
) -> None:
    assert fetched(client, place, etag_of(CONTENT)) == CONTENT
    server.put(place, CONTENT[::-1])
    with pytest.raises(ReplacedError):
        fetched(client, place, etag_of(CONTENT))
    server.always = lambda handler, wanted: handler.say(206, wanted, ETag='"another"')
    with pytest.raises(ReplacedError):
        fetched(client, place, etag_of(CONTENT))


def test_new_credentials_are_taken_when_the_old_ones_have_expired(
    server: StandInStore, tmp_path: Path, place: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    section = "[short]\naws_access_key_id = {0}\naws_secret_access_key = s\naws_session_token = {0}-token\n"
    file.write_text(section.format("OLD"))

    def only_new(handler: object, wanted: bytes) -> None:
        token = handler.headers["x-amz-security-token"]  # type: ignore[attr-defined]
        fault = None if token == "NEW-token" else refusing(400, "ExpiredToken")
        write_whole(file, section.format("NEW").encode())
        (fault or (lambda at, data: at.say(206, data)))(handler, wanted)  # type: ignore[arg-type]

    server.always = only_new
    with Client(Store(server.url, profile="short")) as client:
        assert fetched(client, place) == CONTENT
        assert 1 <= client.counts.retries["expired"] <= 3  # once for each that was on its way


STRANGE = [
    "a b",
    " a",
    "a+b",
    "100%25",
    "%",
    "a//b",
    "//a",
    "ü/é",
    "日本",
    "a&b=c?d#e",
    "<a>",
    "'\"`",
    "..",
    "a/../b",
    "~!*()",
]


@pytest.mark.parametrize("key", STRANGE)
def test_keys_are_taken_as_they_are(server: StandInStore, client: Client, key: str) -> None:
    folder = server.bucket() / "set"
    client.request(Request("PUT", folder / key, body=CONTENT))
    assert entries(client, folder) == {key: (len(CONTENT), etag_of(CONTENT))}
    assert fetched(client, folder / key) == CONTENT
    assert client.read(folder / key, len(CONTENT)) == CONTENT


def test_without_credentials_it_is_said_that_there_are_none(
    server: StandInStore, place: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with Client(server.store) as client:
        assert fetched(client, place) == CONTENT
        assert "authorization" not in server.seen[-1][3]
        server.always = refusing(403, "AccessDenied")
        with pytest.raises(CredentialError, match=r"needs credentials.*roles of instances are not known here"):
            fetched(client, place)


def test_a_folder_of_many_objects_is_listed_page_by_page(server: StandInStore, client: Client) -> None:
    server.page = 3
    bucket = server.bucket()
    names = [f"x/{k} +&<é>.tensors" for k in range(10)]
    for name in [*names, "y/other", "x"]:
        server.put(bucket / name, name.encode())
    found = entries(client, bucket / "x")
    assert {f"x/{name}": (entry.nbytes, entry.etag) for name, entry in found.items()} == {
        name: (len(name.encode()), etag_of(name.encode())) for name in names
    }
    assert entries(client, bucket / "nothing") == {}


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>hello",
        b"",
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><ListBucketResult>&a;</ListBucketResult>',
        b"\xff\xfe\x00",
    ],
)
def test_what_is_no_listing_is_refused(
    server: StandInStore, client: Client, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.object_store.Handler.list_objects", lambda handler, *_: handler.say(200, answer))
    with pytest.raises(ReadError, match="no listing"):
        entries(client, server.bucket())


def test_small_objects_are_read_whole_up_to_a_limit(server: StandInStore, client: Client, place: ObjectPath) -> None:
    assert client.read(place, len(CONTENT)) == CONTENT
    with pytest.raises(ReadError, match="over the limit of 100"):
        client.read(place, 100)
    server.put(place, b"")
    assert client.read(place, 100) == b""


def test_a_store_that_is_not_there_is_named(server: StandInStore) -> None:
    for endpoint, told in (
        ("http://127.0.0.1:9", "is the store up"),
        ("http://no.such.host.invalid", "correct s3_end"),
    ):
        with Client(Store(endpoint)) as client, pytest.raises(ReadError, match=told):
            entries(client, ObjectPath("bucket", "", client.store))


def test_host_style_names_the_bucket_before_the_endpoint(server: StandInStore) -> None:
    with Client(Store("https://s3.example.com:9000", path_style=False)) as client:
        assert client._host_url("photos") == "https://photos.s3.example.com:9000"
