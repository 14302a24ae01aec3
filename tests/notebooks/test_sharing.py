"""Notebooks that were really executed here are shared: nothing that this machine knows of itself is in any byte."""

import base64
import binascii
import getpass
import html
import io
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args
from urllib.parse import unquote

import psutil
import pytest
from PIL import Image

from inferkit.dataset.synthetic import make_synthetic
from inferkit.records.notebooks import load_notebook, load_runs
from inferkit.records.params import MakeDataset
from inferkit.records.project import project_root
from inferkit.report.compare import compare
from inferkit.report.export import Format, export
from inferkit.report.store import rows
from tests.notebooks.conftest import TINY
from tests.report.browser import BROWSER

pytestmark = pytest.mark.filterwarnings("default")  # papermill and its kernels warn of their own
SHORTEST = 6
"""Letters of a secret that is searched for inside words and binary data; shorter ones are searched for as words."""


def secrets(tmp_path: Path) -> set[str]:
    """Collect what this machine tells of itself, by other ways than the command's."""
    folders = [tmp_path, Path.home(), Path.cwd(), project_root(), Path(sys.prefix), Path(tempfile.gettempdir())]
    found = {socket.gethostname(), socket.getfqdn(), getpass.getuser(), *map(str, folders)}
    found |= {part for part in tmp_path.parts if "pytest" in part}
    found |= {address.address.partition("%")[0] for each in psutil.net_if_addrs().values() for address in each}
    for name in ("/etc/machine-id", "/proc/sys/kernel/random/boot_id", "/sys/class/dmi/id/product_uuid"):
        if Path(name).exists():
            found.add(Path(name).read_text().strip())
    for column in ("SERIAL", "UUID", "PARTUUID", "WWN"):
        if shutil.which("lsblk"):
            found |= set(
                subprocess.run(["lsblk", "-no", column], capture_output=True, text=True, check=False).stdout.split()
            )
    nothing = {"", "127.0.0.1", "::1", "/tmp", "/", "00:00:00:00:00:00", "localhost"}
    return {secret for secret in found - nothing if len(secret) > 1}


def readings(content: bytes) -> Iterator[str]:
    """Yield a file as it may be read: as it is, unescaped in several ways, and whatever lies in it in base64."""
    text = content.decode("utf-8", "replace")
    yield text
    yield from (html.unescape(text), unquote(text), text.replace("\\/", "/"))
    yield content.replace(b"\0", b"").decode("latin-1")
    yield re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)
    for token in re.findall(r"[A-Za-z0-9+/]{16,}={0,2}", text):
        try:
            decoded = base64.b64decode(token + "=" * (-len(token) % 4))
        except binascii.Error:
            continue
        yield decoded.replace(b"\0", b"").decode("latin-1")
        if decoded.startswith(b"\x89PNG"):
            yield repr(Image.open(io.BytesIO(decoded)).info)


def leaks(content: bytes, hidden: set[str]) -> list[tuple[str, str]]:
    found = []
    for number, text in enumerate(readings(content)):
        for secret in hidden:
            word = re.escape(secret) if len(secret) >= SHORTEST else rf"(?<!\w){re.escape(secret)}(?!\w)"
            binary = number > 5 and len(secret) < SHORTEST
            if not binary and (hit := re.search(word, text, re.IGNORECASE)):
                found.append((secret, text[max(0, hit.start() - 60) : hit.end() + 40]))
    return found


@pytest.fixture
def executed(execute: Any, tmp_path: Path) -> list[Path]:
    """Execute two notebooks: one measures, and the other fails and shows a traceback."""
    folder = tmp_path / "tensors"
    make_synthetic(MakeDataset(data=str(folder), limit=50, shape=[3, 32, 32], images_per_file=17))
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    own = {"data": str(folder), "storage": "disk", "batch_sizes": [8], **TINY}
    execute("03b", engines=["null"], **own)
    good = (tmp_path / "03b_single_process.ipynb").rename(tmp_path / "good.ipynb")
    execute("03b", fails=True, engines=["onnx"], models=[str(tmp_path / "broken.onnx")], **own)
    return [good, tmp_path / "03b_single_process.ipynb"]


def check_search(originals: list[Path], hidden: set[str]) -> None:
    """Show that what is searched for is there, and is found however it is written."""
    found = {secret for path in originals for secret, _ in leaks(path.read_bytes(), hidden)}
    assert {str(originals[0].parent), socket.gethostname(), getpass.getuser()} <= found
    assert b'"traceback"' in originals[1].read_bytes()
    escaped = (b"%2Fhome%2Fada%2Fx", b"\\/home\\/ada\\/x", b"&#47;home/ada/x", "/home/ada/x".encode("utf-16-le"))
    for planted in (*escaped, base64.b64encode(b"----/home/ada/x----")):
        assert leaks(b"x " + planted, {"/home/ada/x"}), planted


def check_records(originals: list[Path], shared: list[Path]) -> None:
    """Show that what is shared is read and compared like any other notebook."""
    for old, new in zip(originals, shared, strict=True):
        before, after = load_notebook(old), load_notebook(new)
        assert [(run.id, run.measured, run.stages) for run in before] == [
            (run.id, run.measured, run.stages) for run in after
        ]
        assert {run.params["data"] for run in after} == {"<data folder 1>"}
        assert all(run.host.identity is None and run.host.cpu for run in after)
    (failed,) = load_notebook(shared[1])
    assert str(failed.params["models"][0]).endswith("/broken.onnx")
    assert compare(rows(load_runs(shared, lambda _: None))).groups


@pytest.mark.slow
def test_nothing_that_this_machine_knows_of_itself_is_in_what_is_shared(executed: list[Path], tmp_path: Path) -> None:
    hidden = secrets(tmp_path)
    check_search(executed, hidden)
    for to in [to for to in get_args(Format) if to != "pdf" or BROWSER]:
        shared = export(executed, to, anonymize=True, tell=lambda _: None)
        for path in shared:
            content = re.sub(b"<style>.*?</style>", b"", path.read_bytes(), flags=re.DOTALL)  # ours: names of colours
            short = {secret for secret in hidden if to == "pdf" and len(secret) < SHORTEST}  # words of the format
            assert leaks(content, hidden - short) == [], to
        if to == "ipynb":
            check_records(executed, shared)
        if to == "html":
            assert "data:image/png;base64," in shared[0].read_text()
