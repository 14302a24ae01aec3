"""What it means that a request failed: whether another attempt may help, and what to say where none does.

Of a store's text only its codes are looked at: it may repeat who asked.
"""

import random
import re
import socket
import ssl
from typing import NamedTuple

from inferkit.errors import (
    BrokenTransferError,
    CertificateError,
    CredentialError,
    InferkitError,
    ParameterError,
    ReadError,
    ReplacedError,
    ThrottledError,
)
from inferkit.objects.http import Answer
from inferkit.objects.place import INSTEAD, WHENCE, ObjectPath

ATTEMPTS = 6
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
"""Before the second attempt, and at the most; each pause is twice as long as the one before, by chance up to half less,
so that many clients do not come back together."""
_THROTTLED = frozenset({"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"})
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"})
_ELSEWHERE = frozenset({"PermanentRedirect", "AuthorizationHeaderMalformed", "TemporaryRedirect", "IncorrectEndpoint"})
_SHORT = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 412: "PreconditionFailed"}
_CODE = re.compile(rb"<Code>\s*([A-Za-z0-9.]{1,64})\s*</Code>")
_REGION = re.compile(rb"<Region>\s*([a-z0-9-]{1,32})\s*</Region>")
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")
"""What OpenSSL makes of an answer in plain text."""


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

    def pause(self, attempt: int) -> float:
        """Return how long to wait before the attempt after this one, counted from 0."""
        own = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**attempt) * random.uniform(0.5, 1.0)
        return max(self.pause_s, own)


class Refusal(NamedTuple):
    """An error as a store told it.

    Parameters
    ----------
    status, code
        Of HTTP, and of S3; empty where it told none.
    region
        Where the bucket is, if it told that.
    wait_s
        How long it wants us to wait, as far as we do.
    plain
        It wants TLS, and was asked without.
    """

    status: int
    code: str
    region: str
    wait_s: float
    plain: bool

    def __str__(self) -> str:
        return f"{self.status} {self.code}".rstrip()

    @property
    def expired(self) -> bool:
        """Whether the credentials have expired."""
        return self.code in _EXPIRED


def refusal(answer: Answer, body: bytes) -> Refusal:
    """Read an error."""
    code, region = _CODE.search(body), _REGION.search(body)
    named = re.fullmatch(r"[a-z0-9-]{1,32}", answer.headers.get("x-amz-bucket-region", ""))
    wait = answer.headers.get("retry-after", "")
    return Refusal(
        status=answer.status,
        code=code[1].decode() if code else _SHORT.get(answer.status, ""),
        region=named[0] if named else region[1].decode() if region else "",
        wait_s=min(LONGEST_PAUSE_S, float(wait)) if wait.isascii() and wait.isdigit() else 0.0,
        plain=answer.status == 400 and not code and b"HTTPS" in body,
    )


def refused(place: ObjectPath, told: Refusal, *, region: str, signed: bool) -> Exception:
    """Say what an error means that is not that credentials have expired.

    Parameters
    ----------
    place
        What was asked for.
    told
        The error.
    region, signed
        How it was asked for.

    Returns
    -------
    error
        :class:`Again` where another attempt may help; else what to raise.
    """
    if told.status in (429, 503) or told.code in _THROTTLED:
        message = (
            f"{place}: the store wants fewer requests ({told}), {ATTEMPTS} times in a row: lower threads or ranks, "
            "or ask for a higher limit"
        )
        return Again("throttled", ThrottledError(message), told.wait_s)
    if told.status >= 500 or told.status == 408 or told.code == "RequestTimeout":
        message = f"{place}: the store failed ({told}), {ATTEMPTS} times in a row: look at its log"
        return Again("server", ReadError(message))
    if told.status in (412, 416):
        return replaced(place, f" ({told})")
    if told.status == 404:
        return _missing(place, told.code)
    if told.code in _ELSEWHERE or told.status in (301, 307):
        return _elsewhere(place, told, region)
    return _denied(place, told, signed)


def replaced(place: ObjectPath, told: str = "") -> ReplacedError:
    """Return the error that an object is not the one any more that it was."""
    return ReplacedError(f"{place} was replaced while it was read{told}: leave the data set alone, and measure again")


def _missing(place: ObjectPath, code: str) -> ReadError:
    if code == "NoSuchBucket":
        return ReadError(f"there is no bucket {place.bucket}: correct s3://{place.bucket}, or s3_endpoint")
    return ReadError(f"{place} is not there (404): was it removed? Push the data set again, or correct the URL")


def _elsewhere(place: ObjectPath, told: Refusal, region: str) -> ParameterError:
    if told.region and told.region != region:
        fix = f"but in {told.region}: set s3_region: {told.region}, and s3_endpoint, if any, to that region's"
        return ParameterError(f"{place}: the bucket is not in region {region} ({told}), {fix}")
    return ParameterError(f"{place}: the bucket is not in region {region} ({told}): set s3_region, or s3_endpoint")


def _denied(place: ObjectPath, told: Refusal, signed: bool) -> InferkitError:
    if told.plain:
        return ParameterError(f"{place}: the store wants TLS ({told}): write s3_endpoint with https://")
    if told.status not in (400, 401, 403):
        return ReadError(f"{place}: the store answered {told}: is s3_endpoint that of an S3 store?")
    if told.code == "RequestTimeTooSkewed":
        return CredentialError(f"{place}: the store refuses our signature's time ({told}): set the clock here")
    if not signed:
        role = f"roles of instances are not known here: {INSTEAD}"
        return CredentialError(f"{place} needs credentials ({told}), and there are none: set {WHENCE}; {role}")
    fix = "may they do so, and does s3_profile name the right ones?"
    return CredentialError(f"{place}: the store refuses our credentials for this ({told}): {fix}")


def expired(place: ObjectPath, told: Refusal) -> CredentialError:
    """Return the error that credentials have expired."""
    message = f"{place}: the credentials have expired ({told}): get new ones, and measure again; set {WHENCE}"
    return CredentialError(message)


def broken(place: ObjectPath, error: OSError) -> Again:
    """Say what it means that a connection could not be opened, or broke.

    Raises
    ------
    InferkitError
        Where no other attempt may help.
    """
    if isinstance(error, socket.gaierror):
        message = f"{place}: the store's name is not known here ({error.strerror}): correct s3_endpoint"
        raise ReadError(message) from error
    if isinstance(error, ssl.SSLCertVerificationError):
        message = (
            f"{place}: the store's certificate is not trusted ({error.verify_message.rstrip('.')}): let AWS_CA_BUNDLE "
            "name the file of its authority's certificates, or s3_endpoint the host that the certificate is for"
        )
        raise CertificateError(message) from error
    if isinstance(error, ssl.SSLError) and error.reason in _NO_TLS:
        message = f"{place}: the store speaks no TLS: write s3_endpoint with http://, or name its port for TLS"
        raise ParameterError(message) from error
    what = "nothing came for too long" if isinstance(error, TimeoutError) else error.strerror or str(error)
    told = f"{place}: the connection broke {ATTEMPTS} times in a row ({what}): is the store up, and s3_endpoint right?"
    return Again("connection", BrokenTransferError(told))
