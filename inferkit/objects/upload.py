"""Files become objects: in parts where they are large, and so that an interrupted upload goes on where it stopped.

An object appears under its name once all of it is there, never before: the store sees to that.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from inferkit.errors import ReadError, UnfinishedError
from inferkit.objects.client import Client, Request
from inferkit.objects.listing import Entry, number_of, text_of, xml_of
from inferkit.objects.place import ObjectPath

PART_BYTES = 16 << 20
"""Of one request; S3 takes 10,000 parts, none but the last under 5 MiB."""
_MOST_PARTS = 10_000


class _Upload(NamedTuple):
    """An upload in parts that was begun: its name at the store, and the parts that it has."""

    identifier: str
    parts: dict[int, Entry]


def part_bytes(nbytes: int) -> int:
    """Return how many bytes a part of an object has."""
    return max(PART_BYTES, -(-nbytes // _MOST_PARTS))


def mark_of(path: Path) -> Entry:
    """Return what a store's listing says of an object that :func:`upload` made of a file.

    A store that encrypts with keys of its own (SSE-KMS, SSE-C) says something else: files are then sent again.
    """
    nbytes = path.stat().st_size
    marks = [hashlib.md5(data, usedforsecurity=False) for data in _parts(path, part_bytes(nbytes))]
    if nbytes <= PART_BYTES:
        return Entry(nbytes, marks[0].hexdigest() if marks else hashlib.md5(usedforsecurity=False).hexdigest())
    whole = hashlib.md5(b"".join(mark.digest() for mark in marks), usedforsecurity=False)
    return Entry(nbytes, f"{whole.hexdigest()}-{len(marks)}")


def upload(client: Client, path: Path, place: ObjectPath) -> None:
    """Make an object of a file; what an earlier upload of the same file brought there is not sent again.

    Raises
    ------
    InferkitError
        As :meth:`Client.receive`.
    OSError
        If the file cannot be read.
    """
    nbytes = path.stat().st_size
    if nbytes <= PART_BYTES:
        client.request(Request("PUT", place, body=path.read_bytes()))
        return
    begun = _begun(client, place) or _begin(client, place)
    marks = []
    for number, data in enumerate(_parts(path, part_bytes(nbytes)), 1):
        mark = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if begun.parts.get(number) != Entry(len(data), mark):
            query = {"partNumber": str(number), "uploadId": begun.identifier}
            answer, _ = client.request(Request("PUT", place, query, body=data))
            mark = answer.headers.get("etag", "").strip('"')
        marks.append(mark)
    _complete(client, place, begun, marks)


def _parts(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        while data := file.read(size):
            yield data


def _begin(client: Client, place: ObjectPath) -> _Upload:
    _, body = client.request(Request("POST", place, {"uploads": ""}))
    return _Upload(text_of(xml_of(place, body), "UploadId"), {})


def _begun(client: Client, place: ObjectPath) -> _Upload | None:
    """Return the latest upload of the object that was begun and neither ended nor given up."""
    bucket = ObjectPath(place.bucket, "", place.store)
    _, body = client.request(Request("GET", bucket, {"uploads": "", "prefix": place.key}))
    uploads = [
        (text_of(one, "Initiated"), text_of(one, "UploadId"))
        for one in xml_of(place, body).iter("Upload")
        if text_of(one, "Key") == place.key
    ]
    if not uploads:
        return None
    identifier = max(uploads)[1]
    return _Upload(identifier, dict(_listed(client, place, identifier)))


def _listed(client: Client, place: ObjectPath, identifier: str) -> Iterator[tuple[int, Entry]]:
    marker = ""
    while True:
        more = {"part-number-marker": marker} if marker else {}
        _, body = client.request(Request("GET", place, {"uploadId": identifier, **more}))
        page = xml_of(place, body)
        for part in page.iter("Part"):
            entry = Entry(number_of(part, "Size", place), text_of(part, "ETag").strip('"'))
            yield number_of(part, "PartNumber", place), entry
        marker = text_of(page, "NextPartNumberMarker")
        if text_of(page, "IsTruncated") != "true" or not marker:
            return


def _complete(client: Client, place: ObjectPath, begun: _Upload, marks: list[str]) -> None:
    root = ElementTree.Element("CompleteMultipartUpload")
    for number, mark in enumerate(marks, 1):
        part = ElementTree.SubElement(root, "Part")
        ElementTree.SubElement(part, "PartNumber").text = str(number)
        ElementTree.SubElement(part, "ETag").text = f'"{mark}"'
    request = Request("POST", place, {"uploadId": begun.identifier}, body=ElementTree.tostring(root))
    _, body = client.request(request)
    if xml_of(place, body).tag == "Error":  # a store that began to answer cannot take its 200 back
        message = f"{place} could not be put together from its parts: push again, it goes on where it stopped"
        raise UnfinishedError(message)


def remove(client: Client, place: ObjectPath) -> None:
    """Remove an object; one that is not there already is none the less gone."""
    try:
        client.request(Request("DELETE", place))
    except ReadError as error:
        if "(404)" not in str(error):
            raise
