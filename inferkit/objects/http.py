"""One connection to a store, HTTP/1.1: what it sends goes from the socket straight into the caller's memory.

A request and its answer are two calls, so that one thread keeps many connections busy: while it receives from one, the
others' answers arrive in the kernel's buffers.
"""

import os
import re
import socket
import ssl
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

from inferkit.closing import Closing
from inferkit.errors import ParameterError

TIMEOUT_S = 30.0
"""Seconds without a byte after which a connection counts as broken."""
_HEAD_BYTES = 4096
"""Read at once where an answer begins: of these, what is no head is copied once; the rest is received in place."""
_STATUS = re.compile(r"HTTP/1\.[01] ([1-5][0-9]{2})\b", re.ASCII)
_CHUNK = re.compile(rb"\s*([0-9A-Fa-f]{1,8})\s*(;.*)?")
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
_MOST_HEAD = 1 << 16
_MOST_BODY = 1 << 26
"""Of an answer that is no object: a page of a listing has a thousand keys."""


class BrokenConnection(OSError):
    """A connection ended, or sent what is no answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a store answered, without the body.

    Parameters
    ----------
    status
        Such as 206.
    headers
        By their names in small letters.
    """

    status: int
    headers: dict[str, str]

    @property
    def length(self) -> int | None:
        """Bytes of the body; None where the store did not say, or not so."""
        told = "" if "transfer-encoding" in self.headers else self.headers.get("content-length", "")
        return int(told) if _NUMBER.fullmatch(told) else None


class Connection(Closing):
    """A connection that is opened when it is needed, and again after it was closed.

    Parameters
    ----------
    url
        ``http(s)://host[:port]``.

    Attributes
    ----------
    answers
        How many came on it since it was opened.
    opened
        How often it was opened.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._tls = parts.scheme == "https"
        self._address = (parts.hostname or "", parts.port or (443 if self._tls else 80))
        self._socket: socket.socket | None = None
        self._ahead = b""
        self._left: int | None = None
        self._closing = False
        self.answers = 0
        self.opened = 0

    def send(self, part: bytes | memoryview) -> None:
        """Send a request, or more of it; :data:`TIMEOUT_S` holds for all of what is sent at once."""
        if self._socket is None:
            self._open()
        assert self._socket is not None
        self._socket.sendall(part)

    def _open(self) -> None:
        plain = socket.create_connection(self._address, TIMEOUT_S)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = self._encrypted(plain) if self._tls else plain
        self._ahead, self._left, self.answers = b"", None, 0
        self.opened += 1

    def _encrypted(self, plain: socket.socket) -> ssl.SSLSocket:
        with ExitStack() as undo:
            undo.enter_context(plain)
            found = _trust(os.environ.get("AWS_CA_BUNDLE", "")).wrap_socket(plain, server_hostname=self._address[0])
            undo.pop_all()
        return found

    def answer(self, method: str) -> Answer:
        """Receive an answer's head; its body is to be received next, all of it.

        Raises
        ------
        OSError
            If the connection broke, or nothing came for :data:`TIMEOUT_S`.
        """
        found = _parse(self._until(b"\r\n\r\n"))
        while found.status < 200:  # it goes on
            found = _parse(self._until(b"\r\n\r\n"))
        self.answers += 1
        chunked = "chunked" in found.headers.get("transfer-encoding", "").lower()
        nothing = method == "HEAD" or found.status in (204, 304)
        self._left = 0 if nothing else None if chunked else found.length
        if self._left is None and not chunked:
            self._left = -1  # it goes on to the connection's end
        self._closing = found.headers.get("connection", "").lower() == "close" or self._left == -1
        return found

    def _until(self, end: bytes) -> bytes:
        """Receive what comes before ``end``, and take that away too."""
        while end not in self._ahead:
            if len(self._ahead) > _MOST_HEAD:
                message = "it sent what is no answer of HTTP"
                raise BrokenConnection(message)
            self._ahead += self._received(_HEAD_BYTES)
        found, _, self._ahead = self._ahead.partition(end)
        return found

    def _received(self, most: int) -> bytes:
        assert self._socket is not None
        found = self._socket.recv(most)
        if not found:
            message = "the store closed the connection"
            raise BrokenConnection(message)
        return found

    def body_into(self, target: memoryview) -> None:
        """Receive a body of exactly the target's length, in place.

        Raises
        ------
        OSError
            If the connection breaks before its end.
        """
        assert self._socket is not None
        done = min(len(self._ahead), len(target))
        target[:done] = self._ahead[:done]
        self._ahead = self._ahead[done:]
        receive = self._socket.recv_into
        while done < len(target):
            got = receive(target[done:])
            if not got:
                message = f"the store closed the connection after {done:,} of {len(target):,} bytes"
                raise BrokenConnection(message)
            done += got
        self._end()

    def body(self) -> bytes:
        """Receive a small body, whatever its form.

        Raises
        ------
        OSError
            If the connection breaks, or the body is larger than any that is not an object.
        """
        if self._left is None:
            found = self._chunks()
        elif self._left < 0:
            found = self._to_the_end()
        else:
            found = self._exactly(self._left)
        self._end()
        return found

    def _exactly(self, nbytes: int) -> bytes:
        while len(self._ahead) < nbytes:
            if nbytes > _MOST_BODY:
                message = f"it sent a body of {nbytes:,} bytes where a small one was expected"
                raise BrokenConnection(message)
            self._ahead += self._received(min(1 << 18, nbytes - len(self._ahead)))
        found, self._ahead = self._ahead[:nbytes], self._ahead[nbytes:]
        return found

    def _chunks(self) -> bytes:
        found = b""
        while True:
            digits = _CHUNK.fullmatch(self._until(b"\r\n"))
            if digits and not int(digits[1], 16):
                while self._until(b"\r\n"):
                    pass
                return found
            found += self._exactly(int(digits[1], 16)) if digits else b""
            if not digits or self._until(b"\r\n") or len(found) > _MOST_BODY:
                message = "it sent what is no chunk of HTTP"
                raise BrokenConnection(message)

    def _to_the_end(self) -> bytes:
        assert self._socket is not None
        while (more := self._socket.recv(1 << 18)) and len(self._ahead) <= _MOST_BODY:
            self._ahead += more
        return self._ahead

    def _end(self) -> None:
        self._left = 0
        if self._closing:
            self.close()

    def close(self) -> None:
        """Close it; what was not received is lost."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._ahead, self.answers = None, b"", 0


def _parse(head: bytes) -> Answer:
    first, *lines = head.decode("latin-1").split("\r\n")
    begins = _STATUS.match(first)
    if begins is None:
        message = "it sent what is no answer of HTTP/1"
        raise BrokenConnection(message)
    pairs = (line.partition(":") for line in lines)
    return Answer(int(begins[1]), {name.strip().lower(): value.strip() for name, _, value in pairs})


@cache
def _trust(bundle: str) -> ssl.SSLContext:
    """Return whose certificates are trusted: those in a file, else the system's (or OpenSSL's ``SSL_CERT_FILE``)."""
    try:
        return ssl.create_default_context(cafile=bundle or None)
    except OSError as error:  # of ssl as well
        why = error.strerror if isinstance(error, FileNotFoundError) else "it holds no certificates that can be read"
        message = f"AWS_CA_BUNDLE names {bundle}: {why}: correct it, or take it away for the system's own"
        raise ParameterError(message) from error
