"""What the files of a profile say (``~/.aws/credentials``, ``~/.aws/config``), as AWS's own tools read them."""

import os
from collections.abc import Mapping
from configparser import ConfigParser, Error
from pathlib import Path

from inferkit.errors import CredentialError


def sections_of(profile: str = "", environ: Mapping[str, str] = os.environ) -> list[Mapping[str, str]]:
    """Return a profile's sections: of the file of credentials, then of the file of settings.

    Parameters
    ----------
    profile
        Empty: ``$AWS_PROFILE``, else ``default``.
    environ
        Environment variables.

    Raises
    ------
    CredentialError
        If a file cannot be read.
    """
    profile = profile or environ.get("AWS_PROFILE", "") or "default"
    home = Path(environ.get("HOME") or "~").expanduser() / ".aws"
    places = [
        (environ.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials", profile),
        (environ.get("AWS_CONFIG_FILE") or home / "config", profile if profile == "default" else f"profile {profile}"),
    ]
    return [dict(parser[name]) for path, name in places if name in (parser := _parsed(Path(path)))]


def setting(name: str, profile: str = "", environ: Mapping[str, str] = os.environ) -> str:
    """Return a setting of a profile, such as ``region``; empty where it has none. Raises as :func:`sections_of`."""
    return next((section[name] for section in sections_of(profile, environ) if section.get(name)), "")


def _parsed(path: Path) -> ConfigParser:
    parser = ConfigParser(interpolation=None, default_section="")
    try:
        parser.read_string(path.expanduser().read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, UnicodeDecodeError, Error) as error:
        # Errors of the parser quote the line, which may be the secret.
        reason = error.strerror if isinstance(error, OSError) else "it does not consist of sections and `name = value`"
        message = f"{path} cannot be read: {reason}"
        raise CredentialError(message) from None
    return parser
