"""Whatever goes wrong, credentials stand in nothing that inferkit says or writes: searched for, everywhere."""

import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from inferkit.cli.main import main
from inferkit.dataset.record import make_dataset
from inferkit.dataset.synthetic import make_synthetic
from inferkit.errors import InferkitError
from inferkit.objects.client import Client
from inferkit.objects.fetch import cut, fetch
from inferkit.plan.build import prepare
from inferkit.records.params import MakeDataset, StorageToHost
from tests.object_store import Fault, Handler, StandInStore, refusing, reset
from tests.objects.conftest import KEY, SECRET

TOKEN = "oFaSeSsIoN//token=="


@pytest.fixture(autouse=True)
def session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def nothing_told(*texts: str, folder: Path) -> None:
    """Search texts, and every file in a folder."""
    written = [path.read_bytes().decode(errors="replace") for path in folder.rglob("*") if path.is_file()]
    for text in (*texts, *written):
        assert not [word for word in (KEY, SECRET, TOKEN) if word in text], text[:2000]


def answering(fault: Fault) -> Callable[[Handler], None]:
    def answer(handler: Handler) -> None:
        handler.ask()
        fault(handler, b"x" * 100)

    return answer


FAULTS = [
    refusing(403, "SignatureDoesNotMatch"),
    refusing(400, "ExpiredToken"),
    refusing(503, "SlowDown"),
    reset,
    lambda handler, _: handler.say(200, str(handler.headers).encode()),
]


@pytest.mark.parametrize("fault", FAULTS)
def test_no_command_says_or_writes_them(
    server: StandInStore, fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_synthetic(MakeDataset(data=str(tmp_path / "set"), limit=4, shape=[3, 8, 8]))
    for method in ("do_GET", "do_PUT", "do_POST"):
        monkeypatch.setattr(Handler, method, answering(fault))
    url, where = "s3://bucket/set", ["--s3-endpoint", server.url]
    for words in (
        ["dataset", "info", url, *where],
        ["dataset", "verify", url, *where],
        ["dataset", "push", "set", url, *where],
        ["dataset", "make", "", url, "--limit", "4", *where],
        ["run", "s3", "--dry-run", "--set", f"data={url}", "--set", f"s3_endpoint={server.url}", "--only", "03a"],
        ["run", "s3", "--set", f"data={url}", "--set", f"s3_endpoint={server.url}", "--only", "03a", "--out", "runs"],
    ):
        done = CliRunner().invoke(main, words)
        assert isinstance(done.exception, SystemExit) or "--dry-run" in words, (words, done.exception)
        nothing_told(done.output, folder=tmp_path)


@pytest.mark.parametrize("fault", FAULTS)
def test_no_record_and_no_traceback_shows_them(
    server: StandInStore, fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = server.bucket() / "object"
    server.put(place, bytes(1000))
    for method in ("do_GET", "do_PUT"):
        monkeypatch.setattr(Handler, method, answering(fault))
    with Client(server.store) as client, pytest.raises(InferkitError) as raised:
        fetch(client, cut(place, "", 0, memoryview(bytearray(1000)), 100), 2)
    asked = {"data": str(place), "s3_endpoint": server.url, "shape": [3, 8, 8]}
    failed = prepare(StorageToHost.check({**asked, "readers": ["s3"]})).failure
    made = make_dataset(MakeDataset.check({**asked, "limit": 4}))
    assert failed is not None
    assert made.failure is not None
    shown = "".join(traceback.format_exception(raised.value))
    nothing_told(shown, repr(client.__dict__), str(failed), str(made.to_dict()), repr(made), folder=tmp_path)
