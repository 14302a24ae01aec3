from pathlib import Path

import pytest

from inferkit.errors import CredentialError
from inferkit.objects.credentials import Credentials, find_credentials, find_region

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


def test_the_region(home: Path) -> None:
    own = {"HOME": str(home)}
    assert find_region("", own) == "us-east-1"
    assert find_region("other", own) == "eu-west-1"
    assert find_region("other", {**own, "AWS_DEFAULT_REGION": "ap-south-1"}) == "ap-south-1"
