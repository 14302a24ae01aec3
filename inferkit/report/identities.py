"""What identifies a machine or a person in notebooks: what records say of it, and what has the shape of it.

Notebooks come from other machines: what this one knows of itself helps little there. Home folders, mail addresses and
mounts name people and hosts, who are then known wherever they stand.
"""

import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from html import escape
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel

from inferkit.machine.identity import Known
from inferkit.records.figures import Json
from inferkit.records.notebooks import records_in
from inferkit.records.params import NOTEBOOKS
from inferkit.records.run import Run

LEAST = 2
"""Letters of a name that is looked for by itself."""
_TELLING = re.compile(r"\d|[^\w\s]")
_HOMES = re.compile(r"(?:/home|/Users|\\Users|/users|/run/media|pytest-of)(?:/|\\{1,2}|-)([^\s/\\\"'`<>:;,)\]}]+)")
_MAILS = re.compile(r"(?<![\w.+-])([\w.+-]{2,})@([\w-]+(?:\.[\w-]+)*)")
_HOST = re.compile(r"^\w+://|:\d+$")
"""What stands beside the host in an endpoint."""
_SERVERS = re.compile(r"(?<![\w./:-])([A-Za-z][\w.-]+):/[\w.-]|://(?:[^\s/@\"'<>]*@)?([A-Za-z][\w.-]+)")


def known_in(content: dict[str, Any]) -> Iterator[Known]:
    """Yield what a notebook tells of the machine and the people that it comes from."""
    for record in records_in(content):
        yield from _recorded(record)
    text = "\n".join(texts(content))
    yield from (Known("user", name) for name in _HOMES.findall(text))
    for user, host in _MAILS.findall(text):
        yield from (Known("user", user), *([Known("host", host)] if _TELLING.search(host) else []))
    for server in (name for pair in _SERVERS.findall(text) for name in pair if _TELLING.search(name)):
        yield from (Known("host", server), Known("host", server.partition(".")[0]))


def _recorded(record: Json) -> Iterator[Known]:
    """Yield what a record says of its host, and the folders that its data lay in."""
    host = record.get("host") if isinstance(record, dict) else None
    own = host.get("identity") if isinstance(host, dict) else None
    if isinstance(own, dict):
        for kind, name in (("host", own.get("hostname")), ("user", own.get("user"))):
            if isinstance(name, str):
                yield from (Known(kind, name), Known(kind, name.partition(".")[0] if kind == "host" else name))
        serials = own.get("serials")
        yield from (Known("id", text) for text in texts(list(serials.values()) if isinstance(serials, dict) else []))
    facts = record.get("facts") if isinstance(record, dict) else None
    nodes = facts.get("nodes") if isinstance(facts, dict) else None
    params = record.get("params") if isinstance(record, dict) else None
    scheduler = str(params.get("scheduler") or "") if isinstance(params, dict) else ""
    names = [str(node.get("name", "")) for node in nodes if isinstance(node, dict)] if isinstance(nodes, list) else []
    for name in [own.partition("#")[0] for own in names] + re.findall(r"://([^/:\s]+)", scheduler):
        yield from (Known("host", name), Known("host", name.partition(".")[0]))
    yield from _store(params)
    for name in ("data", "images"):
        if not isinstance(params, dict):
            return
        folder = str(params.get(name) or "").rstrip("/")
        if folder.startswith(("/", "~", "s3://")) or folder[1:3] == ":\\":
            yield Known("data folder", folder)


def _store(params: Json) -> Iterator[Known]:
    """Yield what names an object store, and whose credentials it was read with."""
    if isinstance(params, dict):
        yield Known("host", _HOST.sub("", str(params.get("s3_endpoint") or "")))
        yield Known("user", str(params.get("s3_profile") or ""))


def texts(value: Json) -> Iterator[str]:
    """Yield every text in JSON, the keys of objects included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for key, inner in value.items() for text in (key, *texts(inner)))
    elif isinstance(value, list):
        yield from (text for inner in value for text in texts(inner))


@cache
def vocabulary() -> frozenset[str]:
    """Return the words that records and parameters are made of: a name among them cannot be told from the word."""
    models: list[type[BaseModel]] = [Run, *NOTEBOOKS.values()]
    schemas = json.dumps([model.model_json_schema(by_alias=True) for model in models])
    return frozenset(word.lower() for word in re.findall(r"[A-Za-z]+|[A-Za-z][A-Za-z0-9]+", schemas))


def pattern(known: Known) -> str:
    """Return a regular expression that finds one name, however it is escaped.

    What is long and telling is found inside other words as well; a short name is found where it is a word of its own.
    """
    forms = {known.text, json.dumps(known.text)[1:-1], quote(known.text, safe=""), escape(known.text)}
    either = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
    case = "" if known.kind in ("user", "path", "data folder") else "i"
    flags = f"(?{case}:" if case else "(?:"
    if known.kind == "host" and "." in known.text:
        domain = re.escape(known.text.partition(".")[2])
        either = f"{either}|(?:[\\w-]+\\.)+{domain}" if "." in known.text.partition(".")[2] else either
    if len(known.text) >= 6 and _TELLING.search(known.text):
        return f"{flags}{either})"
    start = r"(?:(?<![A-Za-z0-9_])|(?<=\\[nrt])|(?<=%[0-9A-Fa-f][0-9A-Fa-f]))"
    return f"{start}{flags}{either})(?![A-Za-z0-9_])"


def telling(found: Iterable[Known]) -> tuple[list[Known], list[Known]]:
    """Split what was found: what can be looked for wherever it stands, and names that are words of every record."""
    known = [each for each in dict.fromkeys(found) if len(each.text.strip()) >= LEAST and not _loopback(each.text)]
    common = [each for each in known if each.kind in ("host", "user", "id") and each.text.lower() in vocabulary()]
    return [each for each in known if each not in common], common


def _loopback(text: str) -> bool:
    return text.startswith("127.") or text in ("::1", "localhost", "/", "/tmp")
