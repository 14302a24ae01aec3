"""Requests to one store: signed, repeated where that may help, counted, and refused in words where it does not."""

import hashlib
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from time import sleep
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from inferkit.closing import Closing
from inferkit.errors import ReadError
from inferkit.objects.counts import Counts
from inferkit.objects.credentials import Credentials, find_credentials
from inferkit.objects.failures import ATTEMPTS, Again, Refusal, broken, expired, refusal, refused
from inferkit.objects.http import Answer, Connection
from inferkit.objects.place import ObjectPath, Store
from inferkit.objects.resolving import address_of, region_of
from inferkit.objects.signing import EMPTY, quoted_path, quoted_query, signed

_SENT_BYTES = 1 << 20
"""Of a body, sent at once."""


class Body(Protocol):
    """What takes the body of an answer that is no error."""

    def __call__(self, connection: Connection, answer: Answer) -> bytes:
        """Receive it from the connection, all of it."""


class Request(NamedTuple):
    """One request.

    Parameters
    ----------
    method, place
        What to do, and with which object; a place with an empty key is the bucket.
    query, headers
        Further ones.
    body
        What is sent.
    """

    method: str
    place: ObjectPath
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    body: bytes | memoryview = b""


class Client(Closing):
    """Speaks to one store. Threads may share it: each has connections of its own.

    Parameters
    ----------
    store
        Which.
    sent
        Is told of the bytes of a body as they are sent, on the thread that sends them; of none where a request is to be
        repeated. So it is a sign of life.

    Attributes
    ----------
    counts
        What was done.
    address
        The store's: ``http(s)://host[:port]``.
    """

    def __init__(self, store: Store, sent: Callable[[int], object] = lambda nbytes: None) -> None:
        self.store = store
        self._sent = sent
        self.counts = Counts()
        self.address = address_of(store)
        self._region = region_of(store)
        self._credentials = find_credentials(store.profile)
        self._mine = threading.local()
        self._everyone: list[Connection] = []
        self._signers: dict[Connection, Credentials] = {}  # by whose credentials a connection's request was signed

    @property
    def encrypted(self) -> bool:
        """Whether it speaks TLS."""
        return self.address.startswith("https")

    def connections(self, bucket: str, wanted: int = 1) -> list[Connection]:
        """Return this thread's connections to a bucket's host, ``wanted`` of them."""
        mine: dict[str, list[Connection]] = self._mine.__dict__.setdefault("connections", {})
        host = self._host_url(bucket)
        own = mine.setdefault(host, [])
        while len(own) < wanted:
            own.append(Connection(host))
            self._everyone.append(own[-1])
        return own[:wanted]

    def _host_url(self, bucket: str) -> str:
        return self.address if self.store.path_style else self.address.replace("://", f"://{bucket}.", 1)

    def send(self, connection: Connection, request: Request) -> None:
        """Send a request on a connection.

        Raises
        ------
        OSError
            If the connection cannot be opened, or breaks.
        """
        place = request.place
        path = f"/{place.bucket}/{place.key}" if self.store.path_style else f"/{place.key}"
        path, query = quoted_path(path), quoted_query(request.query)
        headers = {"host": urlsplit(self._host_url(place.bucket)).netloc, **request.headers}
        if request.method in ("PUT", "POST"):
            headers["content-length"] = str(len(request.body))
        if (credentials := self._credentials) is not None:
            self._signers[connection] = credentials
            digest = hashlib.sha256(request.body).hexdigest() if request.body else EMPTY
            headers |= signed(request.method, path, query, headers, digest, credentials, self._region)
        target = f"{path}?{query}" if query else path
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        opened = connection.opened
        connection.send(f"{request.method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1"))
        if connection.opened > opened:
            self.counts.opened(1)
        body = memoryview(request.body)
        for start in range(0, len(body), _SENT_BYTES):
            connection.send(part := body[start : start + _SENT_BYTES])
            self._sent(len(part))

    def receive(self, connection: Connection, request: Request, take: Body, first: bool = True) -> bytes:
        """Receive the answer to a request that was sent; where it failed, send it again and again.

        Parameters
        ----------
        connection, request
            As sent; a request that could not be sent counts as a failed attempt.
        take
            Receives the body of a good answer; what it returns is returned. It raises OSError where it does not come.

        Raises
        ------
        InferkitError
            What the store answered to the last attempt, in our words.
        """
        failed: Again | None = None
        for attempt in range(ATTEMPTS):
            if failed is not None:
                self.counts.again(failed.cause)
                self._sent(0)
                sleep(failed.pause(attempt - 1))
            answers = connection.answers
            try:
                if attempt or not first:
                    self.send(connection, request)
                return self._answered(connection, request, take)
            except Again as again:
                failed = again
            except OSError as error:
                idle = 0 < answers == connection.answers  # a store closes what it was not asked on for long
                connection.close()
                failed = None if idle and not attempt else broken(request.place, error)
        assert failed is not None
        raise failed.final

    def _answered(self, connection: Connection, request: Request, take: Body) -> bytes:
        answer = connection.answer(request.method)
        if answer.status < 300:
            return take(connection, answer)
        told = refusal(answer, connection.body() if request.method != "HEAD" else b"")
        if told.expired:
            raise self._renewed(connection, request.place, told)
        raise refused(request.place, told, region=self._region, signed=self._credentials is not None)

    def _renewed(self, connection: Connection, place: ObjectPath, told: Refusal) -> Exception:
        """Read the credentials again: what gives out short-lived ones writes new ones in time."""
        self._credentials = find_credentials(self.store.profile)
        final = expired(place, told)
        return final if self._credentials == self._signers.get(connection) else Again("expired", final)

    def request(self, request: Request, take: Body | None = None) -> tuple[Answer, bytes]:
        """Make one request, and return its answer.

        Raises
        ------
        InferkitError
            As :meth:`receive`.
        """
        found: list[Answer] = []

        def taken(connection: Connection, answer: Answer) -> bytes:
            found[:] = [answer]
            body = take(connection, answer) if take else connection.body()
            self.counts.answered(0)
            return body

        (connection,) = self.connections(request.place.bucket)
        with ExitStack() as undo:
            undo.callback(connection.close)  # what was not received must not answer the next request
            body = self.receive(connection, request, taken, first=False)
            undo.pop_all()
        return found[0], body

    def read(self, place: ObjectPath, most: int) -> bytes:
        """Return a small object.

        Raises
        ------
        InferkitError
            As :meth:`receive`; if it has more than ``most`` bytes.
        """

        def whole(connection: Connection, answer: Answer) -> bytes:
            if answer.length is not None and answer.length > most:
                message = f"{place} holds {answer.length:,} bytes, over the limit of {most:,}"
                raise ReadError(message)
            data = bytearray(answer.length) if answer.length else None
            if data is None:
                return connection.body()
            connection.body_into(memoryview(data))
            return bytes(data)

        return self.request(Request("GET", place), whole)[1]

    def close(self) -> None:
        """Close all threads' connections, which must not be in use."""
        for connection in self._everyone:
            connection.close()
