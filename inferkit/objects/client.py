"""Requests to one store: signed, repeated where that may help, counted, and refused in words where it does not."""

import hashlib
import random
import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from time import sleep
from typing import NamedTuple, Protocol
from urllib.parse import unquote_plus, urlsplit
from xml.etree import ElementTree

from inferkit.closing import Closing
from inferkit.errors import (
    BrokenTransferError,
    CredentialError,
    InferkitError,
    ParameterError,
    ReadError,
    ReplacedError,
    ThrottledError,
)
from inferkit.objects.credentials import Credentials, find_credentials
from inferkit.objects.http import Answer, Connection
from inferkit.objects.place import WHENCE, ObjectPath, Store
from inferkit.objects.resolving import address_of, region_of
from inferkit.objects.signing import EMPTY, quoted_path, quoted_query, signed

ATTEMPTS = 6
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
"""Before the second attempt, and at the most; each pause is twice as long as the one before, by chance up to half less,
so that many clients do not come back together."""
_THROTTLED = frozenset({"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"})
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"})
_ELSEWHERE = frozenset({"PermanentRedirect", "AuthorizationHeaderMalformed", "TemporaryRedirect", "IncorrectEndpoint"})
_CODE = re.compile(rb"<Code>\s*([A-Za-z0-9.]{1,64})\s*</Code>")


class Entry(NamedTuple):
    """An object in a listing: its bytes, and the store's mark of its content."""

    nbytes: int
    etag: str


class Counts:
    """What a client did, of all its threads: requests, those that were repeated by their cause, and bytes received."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests = 0
        self.nbytes = 0
        self.connections = 0
        self.retries: Counter[str] = Counter()

    def answered(self, nbytes: int) -> None:
        """Count a request that brought so many bytes of an object."""
        with self._lock:
            self.requests += 1
            self.nbytes += nbytes

    def again(self, cause: str) -> None:
        """Count a request that is repeated."""
        with self._lock:
            self.retries[cause] += 1

    def opened(self, connections: int) -> None:
        """Count connections."""
        with self._lock:
            self.connections += connections


class Body(Protocol):
    """What takes the body of an answer that is no error."""

    def __call__(self, connection: Connection, answer: Answer) -> bytes:
        """Receive it from the connection, all of it."""


class Again(Exception):
    """An attempt failed in a way that another may not.

    Parameters
    ----------
    cause
        As it is counted.
    final
        What to raise if it was the last attempt.
    pause_s
        Seconds that the store wants us to wait.
    """

    def __init__(self, cause: str, final: InferkitError, pause_s: float = 0.0) -> None:
        super().__init__(cause)
        self.cause, self.final, self.pause_s = cause, final, pause_s


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

    Attributes
    ----------
    counts
        What was done.
    address
        The store's: ``http(s)://host[:port]``.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
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
        if request.body:
            connection.send(request.body)
        if connection.opened > opened:
            self.counts.opened(1)

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
        for attempt in range(ATTEMPTS):
            answers = connection.answers
            try:
                if attempt or not first:
                    self.send(connection, request)
                return self._answered(connection, request, take)
            except Again as again:
                final, cause, pause_s = again.final, again.cause, again.pause_s
            except socket.gaierror as error:
                raise _broken(request.place, error) from error
            except OSError as error:
                idle = 0 < answers == connection.answers  # a store closes what it was not asked on for long
                connection.close()
                final, cause, pause_s = _broken(request.place, error), "connection", 0.0
                if idle and not attempt:
                    continue
            if attempt + 1 < ATTEMPTS:
                self.counts.again(cause)
                sleep(max(pause_s, _pause(attempt)))
        raise final

    def _answered(self, connection: Connection, request: Request, take: Body) -> bytes:
        answer = connection.answer(request.method)
        if answer.status < 300:
            return take(connection, answer)
        body = connection.body() if request.method != "HEAD" else b""
        raise self._refused(connection, request.place, answer, body)

    def _refused(self, connection: Connection, place: ObjectPath, answer: Answer, body: bytes) -> Exception:
        """Say what an error means. Of its text only the code is looked at: it may repeat who asked."""
        status = answer.status
        match = _CODE.search(body)
        code = match[1].decode() if match else _SHORT.get(status, "")
        told = f"{status} {code}".rstrip()
        if status in (429, 503) or code in _THROTTLED:
            message = (
                f"{place}: the store wants fewer requests ({told}), {ATTEMPTS} times in a row: lower threads or ranks, "
                "or ask for a higher limit"
            )
            return Again("throttled", ThrottledError(message), _wait(answer))
        if status >= 500 or status == 408 or code == "RequestTimeout":
            message = f"{place}: the store failed ({told}), {ATTEMPTS} times in a row: look at its log"
            return Again("server", ReadError(message))
        if status in (412, 416):
            message = f"{place} was replaced while it was read ({told}): leave the data set alone, and measure again"
            return ReplacedError(message)
        if status == 404:
            return _missing(place, code)
        if code in _ELSEWHERE or status in (301, 307):
            message = f"{place}: the bucket is not in region {self._region} ({told}): set s3_region, or s3_endpoint"
            return ParameterError(message)
        if code in _EXPIRED:
            return self._renewed(connection, place, told)
        return self._denied(place, status, told)

    def _renewed(self, connection: Connection, place: ObjectPath, told: str) -> Exception:
        """Read the credentials again: what gives out short-lived ones writes new ones in time."""
        message = f"{place}: the credentials have expired ({told}): get new ones, and measure again; set {WHENCE}"
        self._credentials = find_credentials(self.store.profile)
        refused = CredentialError(message)
        return refused if self._credentials == self._signers.get(connection) else Again("expired", refused)

    def _denied(self, place: ObjectPath, status: int, told: str) -> InferkitError:
        if status not in (400, 401, 403):
            return ReadError(f"{place}: the store answered {told}: is s3_endpoint that of an S3 store?")
        if "RequestTimeTooSkewed" in told:
            return CredentialError(f"{place}: the store refuses our signature's time ({told}): set the clock here")
        if self._credentials is None:
            return CredentialError(f"{place} needs credentials ({told}), and there are none: set {WHENCE}")
        fix = "may they do so, and does s3_profile name the right ones?"
        return CredentialError(f"{place}: the store refuses our credentials for this ({told}): {fix}")

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

    def entries(self, folder: ObjectPath) -> dict[str, Entry]:
        """List everything that lies in a folder, by its name relative to that, sorted.

        Raises
        ------
        InferkitError
            As :meth:`receive`; if the answer is no listing.
        """
        found: dict[str, Entry] = {}
        for page in self._pages(folder, {"list-type": "2", "prefix": folder.prefix}):
            for item in page.iter("Contents"):
                name = text_of(item, "Key", page)[len(folder.prefix) :]
                if name and not name.endswith("/"):
                    found[name] = Entry(int(text_of(item, "Size") or 0), text_of(item, "ETag").strip('"'))
        return dict(sorted(found.items()))

    def _pages(self, folder: ObjectPath, query: Mapping[str, str]) -> Iterator[ElementTree.Element]:
        token = ""
        while True:
            more = {"continuation-token": token} if token else {}
            bucket = ObjectPath(folder.bucket, "", folder.store)
            _, body = self.request(Request("GET", bucket, {**query, **more, "encoding-type": "url"}))
            page = xml_of(folder, body)
            yield page
            token = text_of(page, "NextContinuationToken")
            if text_of(page, "IsTruncated") != "true" or not token:
                return

    def close(self) -> None:
        """Close all threads' connections, which must not be in use."""
        for connection in self._everyone:
            connection.close()


_SHORT = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 412: "PreconditionFailed"}


def xml_of(place: ObjectPath, body: bytes) -> ElementTree.Element:
    """Read an answer; names lose their namespace.

    Raises
    ------
    ReadError
        If it is no XML. One that declares entities is not read: they may expand without end.
    """
    try:
        if b"<!" in body.replace(b"<![CDATA[", b""):
            raise ElementTree.ParseError
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        message = f"{place}: the answer is no listing: is s3_endpoint that of an S3 store?"
        raise ReadError(message) from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def text_of(element: ElementTree.Element, name: str, page: ElementTree.Element | None = None) -> str:
    """Return a child's text; of a page that says so it is decoded."""
    found = element.findtext(name) or ""
    return unquote_plus(found) if page is not None and page.findtext("EncodingType") == "url" else found


def _missing(place: ObjectPath, code: str) -> ReadError:
    if code == "NoSuchBucket":
        return ReadError(f"there is no bucket {place.bucket}: correct s3://{place.bucket}, or s3_endpoint")
    return ReadError(f"{place} is not there (404): was it removed? Push the data set again, or correct the URL")


def _broken(place: ObjectPath, error: OSError) -> ReadError:
    if isinstance(error, socket.gaierror):
        return ReadError(f"{place}: the store's name is not known here ({error.strerror}): correct s3_endpoint")
    what = "nothing came for too long" if isinstance(error, TimeoutError) else error.strerror or str(error)
    return BrokenTransferError(
        f"{place}: the connection broke {ATTEMPTS} times in a row ({what}): is the store up, and s3_endpoint right?"
    )


def _pause(attempt: int) -> float:
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**attempt) * random.uniform(0.5, 1.0)


def _wait(answer: Answer) -> float:
    """Return how long a store wants us to wait, as far as we do."""
    told = answer.headers.get("retry-after", "")
    return min(LONGEST_PAUSE_S, float(told)) if told.isdecimal() else 0.0
