"""Who may read: credentials from the environment or from a profile's files, read when they are needed.

Their values appear in no text: neither in a message nor in what ``repr`` shows.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from inferkit.errors import CredentialError
from inferkit.objects.issued import KEYS, issued
from inferkit.objects.place import INSTEAD, WHENCE
from inferkit.objects.profiles import sections_of

_PRINTABLE = re.compile(r"[!-~]*")
"""What keys, secrets and tokens consist of; a header takes nothing else."""
_ELSEWHERE = {
    "AWS_WEB_IDENTITY_TOKEN_FILE": "a role by web identity",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "a container's role",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "a container's role",
    "sso_session": "single sign-on",
    "sso_start_url": "single sign-on",
    "role_arn": "a role",
    "web_identity_token_file": "a role by web identity",
    "credential_source": "an instance's role",
}
"""Variables of the environment and names of a profile by which others get credentials, and what they get."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key, its secret, and the token of a session where it is one."""

    key: str = field(repr=False)
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)


def find_credentials(profile: str = "", environ: Mapping[str, str] = os.environ) -> Credentials | None:
    """Return the credentials of a profile, or those of the environment; None where there are none: nothing is signed.

    Parameters
    ----------
    profile
        A section of ``~/.aws/credentials`` (or of ``$AWS_SHARED_CREDENTIALS_FILE``) or of ``~/.aws/config``. Empty:
        the environment's own, else the section ``$AWS_PROFILE``, else ``default``. A section may name a program that
        prints them (``credential_process``).
    environ
        Environment variables.

    Raises
    ------
    CredentialError
        If the profile that is named holds no credentials, a file cannot be read, what is found can be no credentials,
        or if they are to be got in a way that is not known here.
    """
    if not profile and (found := _taken(environ, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")):
        return found
    named = profile or environ.get("AWS_PROFILE", "")
    sections = sections_of(profile, environ)
    for section in sections:
        if found := _taken(section, "aws_access_key_id", "aws_secret_access_key", "aws_session_token"):
            return found
    for section in sections:
        if command := section.get("credential_process"):
            return _taken(issued(command), *KEYS)
    _refuse_others([*sections, {} if profile else environ])
    if named:
        message = f"profile {named!r} holds no aws_access_key_id and aws_secret_access_key: set {WHENCE}"
        raise CredentialError(message)
    return None


def _taken(values: Mapping[str, str], key: str, secret: str, token: str) -> Credentials | None:
    if not values.get(key) or not values.get(secret):
        return None
    for name in (key, secret, token):
        if not _PRINTABLE.fullmatch(values.get(name) or ""):
            message = f"{name} holds blanks, line ends or letters that no credentials have: set it anew"
            raise CredentialError(message)
    return Credentials(values[key], values[secret], values.get(token) or "")


def _refuse_others(places: list[Mapping[str, str]]) -> None:
    for name, what in _ELSEWHERE.items():
        if any(values.get(name) for values in places):
            message = f"credentials are to come from {what} ({name}), which is not known here: {INSTEAD}"
            raise CredentialError(message)
