"""Where objects lie: a store, a bucket and a key, as ``s3://bucket/prefix`` names them."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from inferkit.errors import ParameterError

SCHEME = "s3://"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[/\\]")
_USER = re.compile(r"(?<=//)\S*@")


@dataclass(frozen=True, slots=True)
class Store:
    """An object store, and how to speak to it. Credentials are no part of it: see :mod:`inferkit.objects.credentials`.

    Parameters
    ----------
    endpoint
        Such as ``http://10.0.0.7:9000``; empty: ``$AWS_ENDPOINT_URL_S3``, ``$AWS_ENDPOINT_URL``, the profile's
        ``endpoint_url``, else Amazon's.
    region
        Empty: ``$AWS_REGION``, ``$AWS_DEFAULT_REGION``, the profile's ``region``, else ``us-east-1``.
    path_style
        ``endpoint/bucket/key``; else ``bucket.endpoint/key``.
    profile
        Section of ``~/.aws/credentials`` that holds the credentials; empty: those of the environment, else ``default``.
    """

    endpoint: str = ""
    region: str = ""
    path_style: bool = True
    profile: str = ""


@dataclass(frozen=True, slots=True)
class ObjectPath:
    """An object, or what begins with its key as files lie in a folder.

    Parameters
    ----------
    bucket, key
        The key has no slash at its ends; empty: the whole bucket.
    store
        Where the bucket is.
    """

    bucket: str
    key: str = ""
    store: Store = field(default=Store(), repr=False)

    def __truediv__(self, name: str) -> "ObjectPath":
        return ObjectPath(self.bucket, f"{self.key}/{name}" if self.key else name, self.store)

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}".rstrip("/")

    @property
    def prefix(self) -> str:
        """How the keys of everything begin that lies in it."""
        return f"{self.key}/" if self.key else ""


Folder = Path | ObjectPath
"""Where a data set lies, or a file of it."""


def is_url(text: str) -> bool:
    """Tell whether a parameter names objects, not files."""
    return text[: len(SCHEME)].lower() == SCHEME


def is_other_url(text: str) -> bool:
    """Tell whether a text that is to be a path begins as a URL does, ``s3://`` aside: such a folder nobody means."""
    return _SCHEME.match(text) is not None and not is_url(text)


def object_path(url: str, store: Store) -> ObjectPath:
    """Read ``s3://bucket/prefix``.

    Raises
    ------
    ParameterError
        If it names no bucket, or holds credentials: these are not repeated.
    """
    bucket, _, key = url[len(SCHEME) :].partition("/")
    if "@" in bucket or "?" in url:
        message = "s3://…: a user, password or query does not belong there: write s3://bucket/prefix, and set " + WHENCE
        raise ParameterError(message)
    if not _BUCKET.fullmatch(bucket):
        message = f"{url} names no bucket ({bucket!r}): write s3://bucket/prefix"
        raise ParameterError(message)
    return ObjectPath(bucket, key.strip("/"), store)


WHENCE = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or s3_profile (a section of ~/.aws/credentials)"
"""Where credentials come from, for messages."""
INSTEAD = (
    "let a profile say `credential_process = aws configure export-credentials --profile NAME --format process`, or "
    'say `eval "$(aws configure export-credentials --format env)"` before'
)
"""How credentials that are not known here become such that are, for messages."""


def without_user(text: str) -> str:
    """Return a text in which URLs have no user and no password."""
    return _USER.sub("", text)


def check_endpoint(endpoint: str) -> str:
    """Return an endpoint as it is.

    Raises
    ------
    ValueError
        If it is not ``http(s)://host[:port]`` and nothing more.
    """
    if not endpoint:
        return endpoint
    parts = urlsplit(endpoint)
    if parts.username is not None or parts.password is not None:
        message = f"an endpoint holds no user and no password: set {WHENCE}"
        raise ValueError(message)
    more = parts.path.strip("/") or parts.query or parts.fragment
    if parts.scheme not in ("http", "https") or not parts.hostname or more or _port(endpoint) == 0:
        message = "expected http://host:port or https://host, without a path"
        raise ValueError(message)
    return endpoint.rstrip("/")


def _port(endpoint: str) -> int | None:
    try:
        return urlsplit(endpoint).port
    except ValueError:
        return 0
