import traceback
from pathlib import Path

import pytest

from inferkit.errors import CredentialError
from inferkit.objects.credentials import Credentials, find_credentials

FILE = """
[default]
aws_access_key_id = D
aws_secret_access_key = d%s
[other]
aws_access_key_id=O
aws_secret_access_key=o
aws_session_token=t
"""
CONFIG = "[profile other]\nregion = eu-west-1\n[profile settings]\naws_access_key_id=S\naws_secret_access_key=s\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text(FILE)
    (tmp_path / ".aws/config").write_text(CONFIG)
    return tmp_path


ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "E", "AWS_SECRET_ACCESS_KEY": "e"}


@pytest.mark.parametrize(
    ("profile", "more", "found"),
    [
        ("", ENVIRONMENT, Credentials("E", "e")),
        ("", {}, Credentials("D", "d%s")),
        ("", {"AWS_PROFILE": "other"}, Credentials("O", "o", "t")),
        ("other", ENVIRONMENT, Credentials("O", "o", "t")),
        ("settings", {}, Credentials("S", "s")),
    ],
)
def test_where_credentials_come_from(home: Path, profile: str, more: dict[str, str], found: Credentials) -> None:
    assert find_credentials(profile, {"HOME": str(home), **more}) == found


def test_without_any_nothing_is_signed(tmp_path: Path) -> None:
    assert find_credentials("", {"HOME": str(tmp_path)}) is None


def test_a_profile_that_holds_none_is_refused(home: Path) -> None:
    for profile, environ in (("nobody", {}), ("", {"AWS_PROFILE": "nobody"})):
        with pytest.raises(CredentialError, match="profile 'nobody' holds no aws_access_key_id"):
            find_credentials(profile, {"HOME": str(home), **environ})


@pytest.mark.parametrize("content", [b"s3cr3t without a section", b"[a]\ns3cr3t line\n  x", b"\xff\xfes3cr3t"])
def test_a_file_that_cannot_be_read_is_named_and_not_quoted(home: Path, content: bytes) -> None:
    (home / ".aws/credentials").write_bytes(content)
    with pytest.raises(CredentialError, match=r"\.aws/credentials cannot be read") as raised:
        find_credentials("", {"HOME": str(home)})
    assert "s3cr3t" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_nothing_of_them_is_shown() -> None:
    assert repr(Credentials("key", "secret", "token")) == "Credentials()"


def printing(folder: Path, content: str) -> str:
    """Return a command that prints something."""
    (folder / "printed").write_text(content)
    return f"cat {folder / 'printed'}"


def profile(home: Path, *lines: str) -> dict[str, str]:
    (home / ".aws/config").write_text("\n".join(["[profile asked]", *lines]))
    return {"HOME": str(home)}


ISSUED = '{"Version": 1, "AccessKeyId": "I", "SecretAccessKey": "i", "SessionToken": "t", "Expiration": "2030-01-01"}'


def test_a_program_may_print_them(home: Path) -> None:
    environ = profile(home, f"credential_process = {printing(home, ISSUED)}")
    assert find_credentials("asked", environ) == Credentials("I", "i", "t")
    assert find_credentials("", {**environ, "AWS_PROFILE": "asked"}) == Credentials("I", "i", "t")
    assert find_credentials("", {**environ, **ENVIRONMENT, "AWS_PROFILE": "asked"}) == Credentials("E", "e")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("/no/such/program --secret s3cr3t", "/no/such/program: No such file"),
        ("sh -c 'echo s3cr3t; echo s3cr3t >&2; exit 3'", "sh: it ended with 3"),
        ("echo s3cr3t", "echo: it is no command, or prints no JSON"),
        ("echo 's3cr3t", "echo: it is no command, or prints no JSON"),
        ("echo '[\"s3cr3t\"]'", "echo: it prints no AccessKeyId"),
        ("""echo '{"AccessKeyId": 7, "SecretAccessKey": "s3cr3t"}'""", "echo: it prints no AccessKeyId"),
        ("sleep 9", "sleep: it gave no answer for 0 s"),
    ],
)
def test_a_program_that_prints_none_is_named_and_not_quoted(
    home: Path, command: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inferkit.objects.issued.LONGEST_S", 0.3)
    with pytest.raises(CredentialError, match="credential_process") as raised:
        find_credentials("asked", profile(home, f"credential_process = {command}"))
    assert told in str(raised.value)
    assert "s3cr3t" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    ("lines", "variables", "told"),
    [
        (["sso_session = corp", "sso_account_id = 1"], {}, "single sign-on (sso_session)"),
        (["sso_start_url = https://x"], {}, "single sign-on (sso_start_url)"),
        (["role_arn = arn:aws:iam::1:role/x", "source_profile = other"], {}, "a role (role_arn)"),
        (["credential_source = Ec2InstanceMetadata"], {}, "an instance's role (credential_source)"),
        (["web_identity_token_file = /x"], {}, "web identity (web_identity_token_file)"),
        ([], {"AWS_WEB_IDENTITY_TOKEN_FILE": "/x"}, "web identity (AWS_WEB_IDENTITY_TOKEN_FILE)"),
        (
            [],
            {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://x"},
            "container's role (AWS_CONTAINER",
        ),
    ],
)
def test_ways_that_are_not_known_are_named_with_what_to_do(
    tmp_path: Path, lines: list[str], variables: dict[str, str], told: str
) -> None:
    (tmp_path / ".aws").mkdir()
    environ = profile(tmp_path, *lines) | variables | ({"AWS_PROFILE": "asked"} if lines else {})
    with pytest.raises(CredentialError, match="aws configure export-credentials") as raised:
        find_credentials("", environ)
    assert told in str(raised.value)
    assert find_credentials("", {**environ, **ENVIRONMENT}) == Credentials("E", "e")


@pytest.mark.parametrize("bad", ["two words", "line\n", "\r\nx-amz-acl: public", "schlüssel"])
@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
def test_what_can_be_no_credentials_is_named_and_not_quoted(name: str, bad: str) -> None:
    with pytest.raises(CredentialError, match=f"^{name} holds blanks") as raised:
        find_credentials("", {**ENVIRONMENT, name: bad})
    assert bad not in str(raised.value)
