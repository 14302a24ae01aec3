"""Whatever comes over a connection, it is a body, or an error of ours: nothing else, and no hang."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferkit.errors import InferkitError
from inferkit.objects import failures, http
from inferkit.objects.client import Client
from inferkit.objects.fetch import Part, fetch
from inferkit.objects.listing import entries
from inferkit.objects.place import ObjectPath, Store


class Echo:
    """A server that answers every request of a connection with the same bytes, and closes it."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.said = b""
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection:
                connection.recv(1 << 16)
                connection.sendall(self.said)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    made = Echo()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("inferkit.objects.client.ATTEMPTS", 2)
        patch.setattr(failures, "FIRST_PAUSE_S", 0.0)
        patch.setattr(failures, "LONGEST_PAUSE_S", 0.0)
        patch.setattr(http, "TIMEOUT_S", 5.0)
        yield made
    made.close()


def outcome(echo: Echo, said: bytes) -> list[bytes | str]:
    """Return what reading an object, a part of one and a listing come to."""
    echo.said = said
    found: list[bytes | str] = []
    with Client(Store(echo.url)) as client:
        place = ObjectPath("bucket", "key", client.store)
        works: list[Callable[[], bytes]] = [
            lambda: client.read(place, 1000),
            lambda: part_of(client, place),
            lambda: str(entries(client, place)).encode(),
        ]
        for work in works:
            try:
                found.append(work())
            except InferkitError as error:
                found.append(str(error))
    return found


def part_of(client: Client, place: ObjectPath) -> bytes:
    target = bytearray(5)
    fetch(client, [Part(place, "", 10, memoryview(target))], 1)
    return bytes(target)


LINES = st.sampled_from(
    [
        *("HTTP/1.1 200 OK", "HTTP/1.0 206 Partial", "HTTP/1.1 100 Continue", "HTTP/1.1 503 x", "HTTP/1.1 301"),
        *("HTTP/1.1 99999 x", "HTTP/2 200", "HTTP/1.1 ٣٠٠ x", "Retry-After: ²", f"Retry-After: {'9' * 5000}"),
        *("Content-Length: 5", "Content-Length: -5", "content-length: x", f"Content-Length: {'9' * 5000}"),
        *("Content-Length: 999999999999", "Content-Range: bytes 11-15/20", "Content-Range: bytes 9" + "9" * 5000),
        *("Transfer-Encoding: chunked", 'ETag: "x"', "Connection: close", ":", ""),
        *("5", "-5", "ffffffffff", "5;x=y", "0", "hello", "<Error><Code>SlowDown</Code></Error>", "<a>"),
        "<ListBucketResult><Contents><Key>key/a</Key><Size>x</Size></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key>key/a</Key><Size>²</Size></Contents></ListBucketResult>",
    ]
)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"


@settings(max_examples=60)
@given(st.lists(LINES, max_size=9).map("\r\n".join) | st.text(max_size=60))
def test_anything_may_come(echo: Echo, said: str) -> None:
    for told in outcome(echo, said.encode()):
        assert isinstance(told, bytes) or told.startswith("s3://bucket")


@pytest.mark.parametrize(
    ("said", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length:5\r\n\r\nhello", b"hello"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nx: y\r\n\r\n",
            b"hello",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            b"hello",
        ),
    ],
)
def test_a_body_in_any_form(echo: Echo, said: bytes, body: bytes) -> None:
    assert outcome(echo, said)[0] == body


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ("Content-Length: 5\r\nContent-Range: bytes 10-14/99", b"hello"),
        ("Content-Length: 5", b"hello"),
        ("Content-Length: 5\r\nContent-Range: bytes 11-15/99", "from byte 11"),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", "announced an unknown number"),
        ("Content-Length: 6", "announced 6"),
    ],
)
def test_another_part_than_was_asked_for_is_never_delivered(echo: Echo, headers: str, told: bytes | str) -> None:
    found = outcome(echo, f"HTTP/1.1 206 Partial Content\r\n{headers}\r\n\r\nhello".encode())[1]
    assert found == told if isinstance(told, bytes) else told in str(found)
