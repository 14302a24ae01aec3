from collections.abc import Iterator

import pytest

from tests.object_store import StandInStore
from tests.real_stores import KEY, SECRET

__all__ = ["KEY", "SECRET"]


@pytest.fixture
def server() -> Iterator[StandInStore]:
    with StandInStore() as server:
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def own_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Ours alone: none of who runs the tests."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inferkit.objects.failures.FIRST_PAUSE_S", 0.0)
