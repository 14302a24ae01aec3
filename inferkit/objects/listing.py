"""What lies in a store: its listings, which are XML."""

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from inferkit.errors import ReadError
from inferkit.objects.client import Client, Request
from inferkit.objects.place import ObjectPath


class Entry(NamedTuple):
    """An object in a listing: its bytes, and the store's mark of its content."""

    nbytes: int
    etag: str


def entries(client: Client, folder: ObjectPath) -> dict[str, Entry]:
    """List everything that lies in a folder, by its name relative to that, sorted.

    Raises
    ------
    InferkitError
        As :meth:`Client.receive`; if the answer is no listing.
    """
    found: dict[str, Entry] = {}
    for page in _pages(client, folder):
        for item in page.iter("Contents"):
            name = text_of(item, "Key", page)[len(folder.prefix) :]
            if name and not name.endswith("/"):
                found[name] = Entry(number_of(item, "Size", folder), text_of(item, "ETag").strip('"'))
    return dict(sorted(found.items()))


def _pages(client: Client, folder: ObjectPath) -> Iterator[ElementTree.Element]:
    asked = {"list-type": "2", "prefix": folder.prefix, "encoding-type": "url"}
    bucket, token = ObjectPath(folder.bucket, "", folder.store), ""
    while True:
        more = {"continuation-token": token} if token else {}
        _, body = client.request(Request("GET", bucket, {**asked, **more}))
        page = xml_of(folder, body)
        yield page
        token = text_of(page, "NextContinuationToken")
        if text_of(page, "IsTruncated") != "true" or not token:
            return


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


def number_of(element: ElementTree.Element, name: str, place: ObjectPath) -> int:
    """Return a child's number.

    Raises
    ------
    ReadError
        If it is none.
    """
    found = text_of(element, name)
    if not (found.isascii() and found.isdigit() and len(found) <= 18):
        message = f"{place}: the store lists a {name} that is no number: is s3_endpoint that of an S3 store?"
        raise ReadError(message)
    return int(found)


def text_of(element: ElementTree.Element, name: str, page: ElementTree.Element | None = None) -> str:
    """Return a child's text; of a page that says so it is decoded."""
    found = element.findtext(name) or ""
    return unquote_plus(found) if page is not None and page.findtext("EncodingType") == "url" else found
