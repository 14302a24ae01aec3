"""Parts of objects straight into memory, many in flight: a thread sends several requests before it receives the first.

The kernel receives what the others bring meanwhile, into the sockets' buffers; from there each byte is copied once, to
where it belongs. Only what arrives in one packet with an answer's head (at most 4 kB of each part) is copied twice;
over TLS every byte is, for it is decrypted on the way.
"""

import re
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

from inferkit.errors import BrokenTransferError
from inferkit.objects.client import Body, Client, Request
from inferkit.objects.failures import ATTEMPTS, Again, replaced
from inferkit.objects.http import Answer, Connection
from inferkit.objects.place import ObjectPath


class Part(NamedTuple):
    """Consecutive bytes of an object, and where they are to lie.

    Parameters
    ----------
    place, etag
        The object, and the mark of its content: another content is refused. Empty: whatever lies there.
    offset
        Its first byte.
    target
        As long as the part.
    """

    place: ObjectPath
    etag: str
    offset: int
    target: memoryview

    @property
    def begins(self) -> str:
        """How an answer says that it has this part."""
        return f"bytes {self.offset}-"

    @property
    def request(self) -> Request:
        """The request for it."""
        headers = {"range": f"bytes={self.offset}-{self.offset + len(self.target) - 1}"}
        return Request("GET", self.place, headers=headers | ({"if-match": f'"{self.etag}"'} if self.etag else {}))


def fetch(client: Client, parts: Sequence[Part], lanes: int) -> None:
    """Receive parts, all of one bucket; each on one of this thread's ``lanes`` connections.

    Raises
    ------
    InferkitError
        What the store answered last to a part, in our words. The targets' content is then undefined.
    """
    if not parts:
        return
    connections = client.connections(parts[0].place.bucket, lanes)
    waiting: deque[tuple[Connection, Part, bool]] = deque()
    with ExitStack() as undo:
        for connection in connections:  # answers that nobody received must not be taken for those of other requests
            undo.callback(connection.close)
        for index, part in enumerate(parts):
            if len(waiting) == lanes:
                _receive(client, *waiting.popleft())
            connection = connections[index % lanes]
            waiting.append((connection, part, _sent(client, connection, part)))
        while waiting:
            _receive(client, *waiting.popleft())
        undo.pop_all()


def _sent(client: Client, connection: Connection, part: Part) -> bool:
    try:
        client.send(connection, part.request)
    except OSError:
        connection.close()  # receiving sends it again, and says why where it cannot
        return False
    return True


def _receive(client: Client, connection: Connection, part: Part, sent: bool) -> None:
    client.receive(connection, part.request, _taking(client, part), first=sent)


def _taking(client: Client, part: Part) -> Body:
    def take(connection: Connection, answer: Answer) -> bytes:
        found = answer.headers.get("etag", "").strip('"')
        if part.etag and found and found != part.etag:
            connection.close()
            raise replaced(part.place)
        begins = answer.headers.get("content-range", part.begins)
        if answer.length != len(part.target) or not begins.startswith(part.begins):
            connection.close()
            cause = "length"
            raise Again(cause, BrokenTransferError(_other_part(part, answer)))
        connection.body_into(part.target)
        client.counts.answered(len(part.target))
        return b""

    return take


def _other_part(part: Part, answer: Answer) -> str:
    came = "an unknown number of" if answer.length is None else f"{answer.length:,}"
    start = re.match(r"bytes (\d{1,18})-", answer.headers.get("content-range", ""))
    whence = f" from byte {start[1]} on" if start and int(start[1]) != part.offset else ""
    return (
        f"{part.place} at byte {part.offset:,}: {len(part.target):,} bytes were asked for, the store announced {came}"
        f"{whence} (status {answer.status}), {ATTEMPTS} times in a row: does it, or a proxy before it, know ranges?"
    )


def cut(place: ObjectPath, etag: str, offset: int, target: memoryview, largest: int) -> list[Part]:
    """Cut consecutive bytes of an object into parts of at most ``largest`` bytes."""
    return [
        Part(place, etag, offset + start, target[start : start + largest]) for start in range(0, len(target), largest)
    ]
