import os
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
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inferkit.objects.failures.FIRST_PAUSE_S", 0.0)
