"""Objects arrive as they are, however a batch cuts them; where they do not, the record says why and holds no secret."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit.batch import Piece
from inferkit.dataset.format import open_dataset
from inferkit.dataset.images import make_from_images
from inferkit.dataset.tensors import Dataset
from inferkit.devices.cpu import CpuDevice
from inferkit.errors import ParameterError, ReadError, ReplacedError
from inferkit.measure.measure import measure
from inferkit.objects.place import ObjectPath
from inferkit.plan.build import plan, prepare
from inferkit.readers.jpeg import JpegReader
from inferkit.readers.s3 import S3Reader
from inferkit.records.job import ReadOptions
from inferkit.records.params import MakeDataset, StorageToHost
from inferkit.records.run import Run
from inferkit.validity.data_origin import weigh
from inferkit.validity.object_accounting import ObjectAccounting
from tests.conftest import Known, write_dataset
from tests.dataset.pictures import folder_of
from tests.object_store import Fault, StandInStore, refusing, shared_store
from tests.readers.conftest import assert_delivers, assert_reads_every_image

SHAPE = (3, 16, 48)
SECRET = "pLeAsEdOnOtTeLl+/secret"


@pytest.fixture
def store() -> Iterator[StandInStore]:
    store = shared_store()
    yield store
    store.always = None
    store.faults.clear()


@pytest.fixture
def known(tmp_path: Path) -> Known:
    return write_dataset(tmp_path / "files", (5, 3, 7), SHAPE)


@pytest.fixture
def dataset(store: StandInStore, known: Known) -> Dataset:
    return open_dataset(store.publish(Path(str(known.dataset.folder))), dtype="uint8", shape=SHAPE)


@pytest.mark.parametrize(("batch_size", "threads"), [(1, 1), (4, 2), (15, 1), (32, 3)])
def test_every_image_arrives(
    dataset: Dataset, known: Known, device: CpuDevice, batch_size: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inferkit.readers.s3.LEAST_PART", 1000)  # so that images are cut
    with S3Reader(dataset, device) as reader:
        assert_reads_every_image(reader, Known(dataset, known.content), device, batch_size=batch_size, threads=threads)
        assert reader.received.nbytes == dataset.nbytes


@given(largest=st.integers(100, 9000), start=st.integers(0, 4), count=st.integers(1, 5))
def test_parts_of_any_size_lie_where_they_belong(largest: int, start: int, count: int) -> None:
    store, content = shared_store(), np.random.default_rng(1).integers(0, 256, (10, 2304), np.uint8)
    place = store.bucket() / "set"
    store.put(place / "a.tensors", content.tobytes())
    with pytest.MonkeyPatch.context() as patch, CpuDevice() as device:
        patch.setattr("inferkit.readers.s3.LEAST_PART", 1)
        patch.setattr("inferkit.readers.s3.LARGEST_PART", largest)
        with S3Reader(open_dataset(place, dtype="uint8", shape=SHAPE), device) as reader:
            buffer = device.allocate(reader.buffer_bytes(5))
            pieces = [Piece(0, start, count, start)]
            assert_delivers(reader.read(pieces, buffer), pieces, Known(reader.dataset, content))
            buffer.close()


def test_an_object_that_is_replaced_while_it_is_read(store: StandInStore, dataset: Dataset, device: CpuDevice) -> None:
    with S3Reader(dataset, device) as reader:
        buffer = device.allocate(reader.buffer_bytes(5))
        reader.read([Piece(0, 0, 5, 0)], buffer)
        place = dataset.where(0)
        assert isinstance(place, ObjectPath)
        store.put(place, bytes(dataset.files[0].nbytes))
        with pytest.raises(ReplacedError, match=str(place)):
            reader.read([Piece(0, 0, 5, 0)], buffer)
        buffer.close()


def test_jpeg_objects_are_decoded_as_stage_01_does(store: StandInStore, tmp_path: Path, device: CpuDevice) -> None:
    images = folder_of(tmp_path / "photographs", 9)
    there = store.publish(images)
    params = MakeDataset(
        images=str(there), s3_endpoint=store.url, data=str(tmp_path / "out"), size=24, images_per_file=4
    )
    made = make_from_images(params).dataset
    with JpegReader(JpegReader.find(there, "uint8", (3, 24, 24)), device) as reader:
        content = made.read_images(0, 9).reshape(9, -1)
        assert_reads_every_image(reader, Known(reader.dataset, content), device, batch_size=4, threads=2)
        assert reader.received is not None
        assert reader.received.nbytes == reader.dataset.nbytes
        assert reader.rounding([]) == 1.0
    store.put(there / "zzz.jpg", b"")
    with pytest.raises(ReadError, match=r"zzz\.jpg holds 0 bytes"):
        JpegReader.find(there, "uint8", (3, 24, 24))


def params_of(store: StandInStore, dataset: Dataset, **more: object) -> StorageToHost:
    return StorageToHost.check(
        {
            "data": str(dataset.folder),
            "s3_endpoint": store.url,
            "shape": list(SHAPE),
            "dtype": "uint8",
            "readers": ["s3"],
            "threads": [2],
            "batch_sizes": [4],
            "source": "storage",
            "warmup_s": 0.1,
            "duration_s": 0.2,
            "repeats": 1,
            **more,
        }
    )


def measured(store: StandInStore, dataset: Dataset, **more: object) -> Run:
    (run,) = measure(plan(params_of(store, dataset, **more)))
    return run


def test_a_record_says_what_came_and_what_was_repeated(
    store: StandInStore, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKOURS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    store.faults.extend([refusing(503, "SlowDown"), refusing(500, "InternalError")])
    run = measured(store, dataset)
    assert run.verdict != "FAILED", run.failure
    storage = run.facts["storage"]
    assert storage["from_storage"] == 1.0
    assert storage["process_read_bytes"] >= storage["read_bytes"] > 0
    assert storage["retries"] == {"throttled": 1, "server": 1}
    assert any("2 of" in text and "503" in text and "5xx" in text for text in run.warnings)
    assert any("loopback" in text for text in run.unverified)
    told = json.dumps(run.to_dict())
    assert SECRET not in told
    assert "AKOURS" not in told


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (refusing(400, "ExpiredToken"), "CredentialError"),
        (refusing(412, "PreconditionFailed"), "ReplacedError"),
        pytest.param(refusing(503, "SlowDown"), "ThrottledError", marks=pytest.mark.slow),
    ],
)
def test_what_ends_a_run_is_a_record_of_that_name(
    store: StandInStore, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, fault: Fault, kind: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKOURS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    store.always = fault
    run = measured(store, dataset)
    assert run.verdict == "FAILED"
    assert run.failure is not None
    assert run.failure.kind == kind
    assert SECRET not in json.dumps(run.to_dict())


def test_what_reads_files_is_refused_objects_and_the_other_way_round(store: StandInStore, dataset: Dataset) -> None:
    with pytest.raises(ParameterError, match=r"buffered reads files, 's3://.*use reader s3"):
        plan(params_of(store, dataset, readers=["buffered"]))
    with pytest.raises(ParameterError, match="s3 reads objects, '' are files: name s3://bucket/prefix"):
        plan(params_of(store, dataset, data=""))
    nothing = prepare(params_of(store, dataset, data=f"{dataset.folder}/nothing"))
    assert nothing.failure is not None
    assert "holds no data set" in nothing.failure.message


def test_an_endpoint_with_a_password_is_refused_and_not_repeated(store: StandInStore, dataset: Dataset) -> None:
    with pytest.raises(ParameterError, match=r"s3_endpoint is .*expected http://host:port") as raised:
        params_of(store, dataset, s3_endpoint="http://me:s3cr3t/x@127.0.0.1:9")
    assert "s3cr3t" not in str(raised.value)


def test_an_altered_object_is_another_measurement(store: StandInStore, dataset: Dataset) -> None:
    marks = [plan(params_of(store, dataset)).points[0].fingerprint for _ in range(2)]
    assert marks[0] == marks[1]
    place = dataset.where(1)
    assert isinstance(place, ObjectPath)
    store.put(place, bytes(dataset.files[1].nbytes))
    assert plan(params_of(store, dataset)).points[0].fingerprint != marks[0]


@pytest.mark.parametrize(
    ("wire", "verdict"),
    [
        (7, []),  # another interface than this one, or one that does not count
        (1010, []),
        # a proxy on this machine, or other interfaces
        (600, ["source is storage, but only 60.0 % of the bytes came from it"]),
    ],
)
def test_what_an_interface_received_is_held_against_the_client(
    dataset: Dataset, device: CpuDevice, monkeypatch: pytest.MonkeyPatch, wire: int, verdict: list[str]
) -> None:
    received = iter([0, wire])
    monkeypatch.setattr("inferkit.validity.object_accounting.received_bytes", lambda name: next(received))
    with S3Reader(dataset, device) as reader:
        accounting = ObjectAccounting(dataset, reader.received)
        reader.received.answered(1000)
        facts = accounting.facts(900, 1000)
    reading = ReadOptions(folder=str(dataset.folder), reader="s3")
    reasons = [finding.text for finding in weigh("storage", reading, facts) if finding.kind == "reason"]
    assert [reason.partition(", though")[0] for reason in reasons] == verdict


def test_what_was_not_fetched_is_no_storage(dataset: Dataset, device: CpuDevice) -> None:
    with S3Reader(dataset, device) as reader:
        accounting = ObjectAccounting(dataset, reader.received)
        reader.received.answered(1000)
        assert accounting.facts(900, 2000)["from_storage"] <= 0.5
