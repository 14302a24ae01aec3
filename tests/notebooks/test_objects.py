"""Objects from end to end: a real store, a pushed data set, an executed notebook, ranks; and what is proved."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from inferkit.dataset.push import push
from inferkit.dataset.synthetic import make_synthetic
from inferkit.measure.measure import measure
from inferkit.objects.client import Client, Request
from inferkit.objects.place import ObjectPath, Store
from inferkit.plan.build import plan
from inferkit.records.params import MakeDataset, MultiProcess, StorageToHost
from inferkit.records.run import Run
from tests.notebooks.conftest import TINY
from tests.real_stores import KEY, SECRET, STORES, store_of
from tests.verdicts import verdict

pytestmark = pytest.mark.filterwarnings("default")  # papermill and its kernels warn of their own

IMAGES, SHAPE = 48, [3, 32, 32]


@pytest.fixture(scope="module", autouse=True)
def credentials() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        yield


@pytest.fixture(scope="module", params=["stand-in", pytest.param("moto", marks=pytest.mark.slow), STORES[1]])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectPath]:
    with store_of(request.param, tmp_path_factory.mktemp("store")) as endpoint:
        yield pushed(endpoint, tmp_path_factory.mktemp("made") / "set")


def pushed(endpoint: str, folder: Path) -> ObjectPath:
    """Make a data set, and push it to a bucket of a store."""
    make_synthetic(MakeDataset(data=str(folder), limit=IMAGES, shape=SHAPE, images_per_file=20))
    bucket = ObjectPath("photos", "", Store(endpoint))
    with Client(bucket.store) as client:
        client.request(Request("PUT", bucket))
    push(folder, bucket / "a set")
    return bucket / "a set"


def asked(place: ObjectPath, **changes: Any) -> dict[str, Any]:
    reading = {"data": str(place), "s3_endpoint": place.store.endpoint, "readers": ["s3"], "source": "storage"}
    return {**reading, "threads": [1], "batch_sizes": [8], **TINY, **changes}


def of_storage(run: Run) -> dict[str, Any]:
    """Return what a record says of where the bytes came from, which were all fetched."""
    storage: dict[str, Any] = run.facts["storage"]
    assert storage["filesystem"] == "s3"
    assert storage["from_storage"] == 1.0
    assert storage["process_read_bytes"] >= storage["read_bytes"] >= storage["delivered_bytes"] > 0
    assert storage["wire_bytes"] >= storage["process_read_bytes"]
    assert storage["resident_before"] is None
    return storage


@pytest.mark.usefixtures("undrawn")
def test_03b_measures_a_pipeline_from_objects(execute: Any, place: ObjectPath, tmp_path: Path) -> None:
    runs = execute("03b", engines=["null"], **asked(place))
    (run,) = (run for run in runs if run.measure == "pipeline")
    assert verdict(run) == "VALID", (run.failure, run.reasons)
    assert run.point["reader"] == "s3"
    alone = {each.measure for each in runs if each.verdict == "VALID"} & {"read", "copy"}  # else it was noisy
    assert alone <= run.ceilings.keys()
    assert (run.predicted is None) == (alone != {"read", "copy"})
    assert of_storage(run)["interface"] == "lo"
    assert any("(loopback)" in text for text in run.unverified)
    assert str(place) in (tmp_path / "03b_single_process.ipynb").read_text()
    for path in tmp_path.rglob("*"):
        written = path.read_bytes() if path.is_file() else b""
        assert SECRET.encode() not in written, path
        assert KEY.encode() not in written, path


@pytest.mark.slow
def test_03c_adds_up_what_two_ranks_fetched(place: ObjectPath) -> None:
    planned = plan(MultiProcess.check(asked(place, engines=["null"], ranks=[2])))
    runs = list(measure(planned))
    assert {run.measure for run in runs} >= {"read", "pipeline"}
    for run in runs:
        late = [reason for reason in run.reasons if "ranks were running for only" in reason]  # on a busy machine
        assert late or verdict(run) == "VALID", (run.failure, run.reasons)
        assert len(run.facts["ranks"]) == 2
        if "storage" in run.facts:
            of_storage(run)


@contextmanager
def network() -> Iterator[tuple[list[str], str]]:
    """Yield how a command begins that runs on another network, behind a real interface, and its address there."""
    if os.geteuid() or not all(map(shutil.which, ("ip", "unshare", "nsenter"))):
        pytest.skip("another network needs root, ip of iproute2, unshare and nsenter")
    with ExitStack() as stack:
        other = stack.enter_context(subprocess.Popen(["unshare", "--net", "sleep", "300"]))
        stack.callback(other.kill)
        inside = ["nsenter", f"--net=/proc/{other.pid}/ns/net"]
        ours, theirs = f"ik{os.getpid()}a", f"ik{os.getpid()}b"
        while (Path("/proc") / str(other.pid) / "ns/net").readlink() == Path("/proc/self/ns/net").readlink():
            assert other.poll() is None
        lines = [
            ["ip", "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", str(other.pid)],
            ["ip", "address", "add", "198.18.73.1/30", "dev", ours],  # for benchmarks (RFC 2544)
            ["ip", "link", "set", ours, "up"],
            [*inside, "ip", "address", "add", "198.18.73.2/30", "dev", theirs],
            [*inside, "ip", "link", "set", theirs, "up"],
        ]
        for line in lines:
            if subprocess.run(line, check=False, capture_output=True).returncode:
                pytest.skip(f"no network can be made here: {' '.join(line)}")
        yield inside, "198.18.73.2"


def test_behind_a_real_interface_its_counter_is_proof(tmp_path: Path) -> None:
    with network() as (inside, address):
        command = [*inside, sys.executable, "-m", "tests.object_store", address, "9000"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == b"up\n"
            place = pushed(f"http://{address}:9000", tmp_path / "set")
            (run,) = measure(plan(StorageToHost.check(asked(place))))
    assert verdict(run) == "VALID", (run.failure, run.reasons)
    storage = of_storage(run)
    assert storage["interface"].startswith("ik")
    assert storage["wire_bytes"] < 1.5 * storage["process_read_bytes"]
    assert [own["kind"] for own in storage["holders"]] == ["network"]
    assert not any("loopback" in text for text in run.unverified)
    assert not any("not ours" in text for text in run.warnings)
    assert SECRET not in json.dumps(run.to_dict())
