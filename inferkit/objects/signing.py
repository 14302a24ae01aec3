"""Signature version 4 of a request, by which a store knows that we may ask.

Amazon's reference: "Authenticating Requests (AWS Signature Version 4)", Amazon S3 API Reference.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote

from inferkit.objects.credentials import Credentials

EMPTY = hashlib.sha256(b"").hexdigest()
"""Of a request without a body."""


def quoted_path(path: str) -> str:
    """Return a path as it stands in a request, and in what is signed."""
    return quote(path, safe="/-._~")


def quoted_query(query: Mapping[str, str]) -> str:
    """Return a query as it stands in a request, and in what is signed: sorted."""
    pairs = sorted((quote(name, safe="-._~"), quote(value, safe="-._~")) for name, value in query.items())
    return "&".join(f"{name}={value}" for name, value in pairs)


def signed(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    body_hash: str,
    credentials: Credentials,
    region: str,
    now: datetime | None = None,
) -> dict[str, str]:
    """Return the headers that sign a request, beside those that it has.

    Parameters
    ----------
    method, path, query
        As they stand in the request.
    headers
        Those to be signed, by their names in small letters; ``host`` is among them.
    body_hash
        SHA-256 of the body, in hexadecimal digits: so that what is written cannot be altered on the way.
    credentials, region
        Whose signature, and where it holds.
    now
        The time; None: as the clock has it.
    """
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    own = {"x-amz-content-sha256": body_hash, "x-amz-date": stamp}
    if credentials.token:
        own["x-amz-security-token"] = credentials.token
    every = sorted({**headers, **own}.items())
    names = ";".join(name for name, _ in every)
    listed = "".join(f"{name}:{value.strip()}\n" for name, value in every)
    request = f"{method}\n{path}\n{query}\n{listed}\n{names}\n{body_hash}"
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signature = hmac.new(_key(credentials.secret, stamp[:8], region), text.encode(), hashlib.sha256).hexdigest()
    own["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return own


@lru_cache(maxsize=4)
def _key(secret: str, day: str, region: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
