"""A real JupyterLab in a real browser, for whoever looks at what people see.

Playwright drives the Chromium that is installed (Debian's package ``chromium``): it brings its own driver in the wheel,
where Selenium needs one more package of the very same version. Screenshots go to the folder that
``INFERKIT_SCREENSHOTS`` names, else to the test's own.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inferkit.records.project import project_root
from tests.processes import wait_for

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
LONG_MS = 120_000
MARKS = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("default"),  # of the driver's own
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt install chromium"),
]


@pytest.fixture(scope="module")
def playwright() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install 'inferkit[dev]'")
    with sync_api.sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int, Path]]:
    """Give address, process and root of a JupyterLab, with settings of its own, over a copy: it saves notebooks."""
    folder = tmp_path_factory.mktemp("lab")
    for part in ("notebooks", "parameters"):
        shutil.copytree(project_root() / part, folder / "project" / part)
    quiet = folder / "config" / "labconfig" / "default_setting_overrides.json"
    quiet.parent.mkdir(parents=True)
    quiet.write_text(json.dumps({"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    options = ["--no-browser", "--allow-root", "--ServerApp.token=", f"--port={port}", "--ServerApp.port_retries=0"]
    command = [sys.executable, "-m", "jupyterlab", *options, f"--ServerApp.root_dir={folder / 'project'}"]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, env={**os.environ, **own}, stdout=log, stderr=log, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(lambda: answers(f"{address}/api/status"), 120)
        yield address, server.pid, folder / "project"
    finally:
        server.terminate()
        server.wait(60)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def connected(address: str) -> bool:
    """Tell whether a page holds a kernel that is idle. What JupyterLab shows of it is "idle" before there is one."""
    try:
        with urllib.request.urlopen(f"{address}/api/kernels", timeout=30) as answer:
            return any(kernel["connections"] and kernel["execution_state"] == "idle" for kernel in json.load(answer))
    except OSError:  # it fails where it lists a kernel that is about to be there
        return False


def shoot(page: Any, name: str, tmp_path: Path) -> None:
    folder = Path(os.environ.get("INFERKIT_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}.png")


def wear(page: Any, theme: str) -> None:
    """Choose JupyterLab's theme, ``light`` or ``dark``: the server keeps what was chosen before."""
    page.get_by_role("menuitem", name="Settings").click()
    page.get_by_text("Theme", exact=True).hover()
    page.get_by_text(f"JupyterLab {theme.title()}", exact=True).click()
    page.wait_for_selector(f"body[data-jp-theme-light={'true' if theme == 'light' else 'false'}]", state="attached")


END_SESSIONS = """async () => {
    const token = document.cookie.match(/_xsrf=([^;]+)/)?.[1] ?? "";
    for (const session of await (await fetch("/api/sessions")).json())
        await fetch(`/api/sessions/${session.id}`, {method: "DELETE", headers: {"X-XSRFToken": token}});
    return (await (await fetch("/api/sessions")).json()).length}"""


def end_sessions(page: Any) -> None:
    """End all kernels: each remembers the form, what ran, and what was folded away."""
    assert page.evaluate(END_SESSIONS) == 0
