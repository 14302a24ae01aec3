"""Credentials that a program prints (``credential_process`` of a profile), as AWS's own tools know them too.

"Sourcing credentials with an external process", AWS SDKs and Tools Reference Guide.
"""

import json
import shlex
import subprocess
from collections.abc import Mapping

from inferkit.errors import CredentialError
from inferkit.os_errors import explained

LONGEST_S = 60.0
"""Seconds for a program; one that asks a person, or a service, takes some."""
KEYS = ("AccessKeyId", "SecretAccessKey", "SessionToken")
"""How the parts of credentials are called there."""


def issued(command: str) -> Mapping[str, str]:
    """Run a program, and return what it prints, by :data:`KEYS`.

    Raises
    ------
    CredentialError
        If it cannot be run, fails, or prints something else. Neither its words nor its arguments are repeated: they
        may hold a secret.
    """
    program = command.split()[0]
    try:
        done = subprocess.run(
            shlex.split(command), stdin=subprocess.DEVNULL, capture_output=True, timeout=LONGEST_S, check=False
        )
        found = json.loads(done.stdout) if done.returncode == 0 else {}
    except OSError as error:
        raise _failed(program, explained(error)) from None
    except subprocess.TimeoutExpired:
        raise _failed(program, f"it gave no answer for {LONGEST_S:.0f} s") from None
    except ValueError:  # of shlex and of JSON, whose errors quote
        raise _failed(program, "it is no command, or prints no JSON") from None
    if done.returncode:
        raise _failed(program, f"it ended with {done.returncode}")
    values = {name: value for name, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}
    if not (values.get(KEYS[0]) and values.get(KEYS[1])):
        raise _failed(program, f"it prints no {KEYS[0]} and {KEYS[1]}")
    return values


def _failed(program: str, why: str) -> CredentialError:
    return CredentialError(f"credential_process {program}: {why}: run it in a terminal, and mend it there")
