"""A store that speaks as much of S3 as inferkit does, in this process; it fails as it is told.

It knows nothing of inferkit's own client. What real stores make of that, tests/objects/test_servers.py asks.
"""

import hashlib
import re
import socket
import ssl
import struct
import sys
import threading
from collections import deque
from collections.abc import Callable
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from inferkit.objects.place import ObjectPath, Store

Fault = Callable[["Handler", bytes], None]
"""Answers a GET of an object instead of the store; is told the bytes that were asked for."""
_BUCKETS, _UPLOADS = count(1), count(1)


class StandInStore(ThreadingHTTPServer):
    """The store.

    Attributes
    ----------
    objects
        Bytes by ``bucket/key``.
    faults
        Each answers one GET of an object, the first first; :attr:`always` all of them.
    seen
        Method, path, query and headers of every request.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: str = "127.0.0.1", port: int = 0, certificate: Path | None = None) -> None:
        super().__init__((address, port), Handler)
        self.scheme, self.address = "https" if certificate else "http", address
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.objects: dict[str, bytes] = {}
        self.etags: dict[str, str] = {}  # of objects that were put together from parts
        self.uploads: dict[str, tuple[str, dict[int, bytes]]] = {}
        self.faults: deque[Fault] = deque()
        self.always: Fault | None = None
        self.seen: list[tuple[str, str, dict[str, str], dict[str, str]]] = []
        self.page = 1000
        threading.Thread(target=self.serve_forever, args=(0.05,), name="store", daemon=True).start()

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.address}:{self.server_address[1]}"

    @property
    def store(self) -> Store:
        return Store(self.url, "us-east-1")

    def bucket(self) -> ObjectPath:
        """Return an empty bucket."""
        return ObjectPath(f"bucket-{next(_BUCKETS)}", "", self.store)

    def publish(self, folder: Path) -> ObjectPath:
        """Make objects of everything in a folder."""
        place = self.bucket() / "set"
        for path in folder.rglob("*"):
            if path.is_file():
                self.put(place / path.relative_to(folder).as_posix(), path.read_bytes())
        return place

    def put(self, place: ObjectPath, data: bytes) -> None:
        self.keep(f"{place.bucket}/{place.key}", data)

    def keep(self, name: str, data: bytes, etag: str = "") -> None:
        self.objects[name], self.etags[name] = data, etag or etag_of(data)

    def names(self, place: ObjectPath) -> list[str]:
        start = f"{place.bucket}/{place.prefix}"
        return sorted(name[len(start) :] for name in self.objects if name.startswith(start))

    def reads(self) -> list[str]:
        """Return the ranges that objects were asked for."""
        return [headers["range"] for method, _, _, headers in self.seen if method == "GET" and "range" in headers]

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing where a client went away."""


@cache
def shared_store() -> StandInStore:
    """Return the store that tests share; each has buckets of its own."""
    return StandInStore()


def etag_of(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers one connection's requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: StandInStore

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def ask(self) -> tuple[str, dict[str, str], bytes]:
        """Return the object's name, the query and the body."""
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append((self.command, unquote(parts.path), query, headers))
        return unquote(parts.path).strip("/"), query, body

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str, more: str = "", **headers: str) -> None:
        # A real store repeats whom it refuses; none of that may get into a message of ours.
        told = f"<Message>no</Message><AWSAccessKeyId>{self.headers.get('Authorization', '')}</AWSAccessKeyId>"
        self.say(status, f"<Error><Code>{code}</Code>{told}{more}</Error>".encode(), **headers)

    def do_GET(self) -> None:
        name, query, _ = self.ask()
        if "list-type" in query:
            self.list_objects(name, query)
        elif "uploads" in query:
            self.list_uploads(name, query)
        elif "uploadId" in query:
            self.list_parts(query["uploadId"])
        else:
            self.get(name)

    def get(self, name: str) -> None:
        data = self.server.objects.get(name)
        if data is None:
            self.refuse(404, "NoSuchKey")
            return
        start, end = map(int, re.findall(r"\d+", self.headers.get("range", f"0-{len(data)}")))
        wanted = data[start : end + 1]
        fault = self.server.always or (self.server.faults.popleft() if self.server.faults else None)
        match = self.headers.get("if-match", "").strip('"')
        if fault is not None:
            fault(self, wanted)
        elif match and match != self.server.etags[name]:
            self.refuse(412, "PreconditionFailed")
        else:
            self.say(206 if "range" in self.headers else 200, wanted, ETag=f'"{self.server.etags[name]}"')

    def list_objects(self, bucket: str, query: dict[str, str]) -> None:
        prefix, after = query.get("prefix", ""), query.get("continuation-token", "")
        keys = sorted(name.partition("/")[2] for name in self.server.objects if name.startswith(f"{bucket}/"))
        keys = [key for key in keys if key.startswith(prefix) and key > after]
        page, more = keys[: self.server.page], len(keys) > self.server.page
        items = "".join(
            f"<Contents><Key>{quote(key)}</Key><Size>{len(self.server.objects[f'{bucket}/{key}'])}</Size>"
            f"<ETag>&quot;{self.server.etags[f'{bucket}/{key}']}&quot;</ETag></Contents>"
            for key in page
        )
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        flags = f"<IsTruncated>{str(more).lower()}</IsTruncated><EncodingType>url</EncodingType>"
        space = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
        self.say(
            200, f"<?xml version='1.0'?><ListBucketResult {space}>{flags}{token}{items}</ListBucketResult>".encode()
        )

    def list_uploads(self, bucket: str, query: dict[str, str]) -> None:
        uploads = "".join(
            f"<Upload><Key>{escape(name.partition('/')[2])}</Key><UploadId>{identifier}</UploadId>"
            "<Initiated>2026-01-01</Initiated></Upload>"
            for identifier, (name, _) in self.server.uploads.items()
            if name.startswith(f"{bucket}/{query.get('prefix', '')}")
        )
        self.say(200, f"<ListMultipartUploadsResult>{uploads}</ListMultipartUploadsResult>".encode())

    def list_parts(self, identifier: str) -> None:
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><Size>{len(data)}</Size><ETag>&quot;{etag_of(data)}&quot;</ETag></Part>"
            for number, data in self.server.uploads[identifier][1].items()
        )
        self.say(200, f"<ListPartsResult><IsTruncated>false</IsTruncated>{parts}</ListPartsResult>".encode())

    def do_PUT(self) -> None:
        name, query, body = self.ask()
        if (
            self.headers.get("x-amz-content-sha256", hashlib.sha256(body).hexdigest())
            != hashlib.sha256(body).hexdigest()
        ):
            self.refuse(400, "XAmzContentSHA256Mismatch")
        elif "partNumber" in query:
            self.server.uploads[query["uploadId"]][1][int(query["partNumber"])] = body
            self.say(200, ETag=f'"{etag_of(body)}"')
        else:
            self.server.keep(name, body)
            self.say(200, ETag=f'"{etag_of(body)}"')

    def do_POST(self) -> None:
        name, query, body = self.ask()
        if "uploads" in query:
            identifier = f"upload-{next(_UPLOADS)}"
            self.server.uploads[identifier] = (name, {})
            self.say(200, f"<Initiated><UploadId>{identifier}</UploadId></Initiated>".encode())
            return
        _, parts = self.server.uploads.pop(query["uploadId"])
        wanted = [int(part.findtext("PartNumber") or 0) for part in ElementTree.fromstring(body)]
        marks = b"".join(bytes.fromhex(etag_of(parts[number])) for number in wanted)
        self.server.keep(name, b"".join(parts[number] for number in wanted), f"{etag_of(marks)}-{len(wanted)}")
        self.say(200, b"<CompleteMultipartUploadResult/>")

    def do_DELETE(self) -> None:
        name, _, _ = self.ask()
        self.server.objects.pop(name, None)
        self.say(204)


def refusing(status: int, code: str, more: str = "", **headers: str) -> Fault:
    """Return a fault that answers with an error."""
    return lambda handler, _: handler.refuse(status, code, more, **headers)


def reset(handler: Handler, wanted: bytes) -> None:
    """Break the connection in the middle of the answer."""
    handler.send_response(206)
    handler.send_header("Content-Length", str(len(wanted)))
    handler.end_headers()
    handler.wfile.write(wanted[: len(wanted) // 2])
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()


def closed(handler: Handler, wanted: bytes) -> None:
    """Close the connection without a word, as a store does with one that was idle."""
    handler.close_connection = True


def shortened(handler: Handler, wanted: bytes) -> None:
    """Answer with a byte less than was asked for."""
    handler.say(206, wanted[:-1])


def rangeless(handler: Handler, wanted: bytes) -> None:
    """Answer with more than was asked for, as who knows no ranges."""
    handler.say(200, wanted + b"and the rest")


if __name__ == "__main__":  # ADDRESS PORT: until standard input ends
    StandInStore(sys.argv[1], int(sys.argv[2]))
    sys.stdout.write("up\n")
    sys.stdout.flush()
    sys.stdin.read()
