"""GPUs by number, by UUID, and MIG instances: as parameters and CUDA_VISIBLE_DEVICES name them."""

import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from inferkit.errors import ParameterError
from inferkit.machine.affinity import environment
from inferkit.machine.gpu_monitor import GpuMonitor
from inferkit.machine.gpus import instances
from inferkit.machine.topology import PciDevice, Topology
from inferkit.plan.devices import chosen_gpus
from inferkit.plan.settings import job_at, of_one_process
from inferkit.records.host import Gpu, Host, Identity
from inferkit.records.job import DeviceOptions, PipelineJob, ReadOptions
from inferkit.records.params import SingleProcess
from inferkit.records.place import Place
from inferkit.records.windows import Window
from inferkit.text import quoted

UUIDS = {0: "GPU-aaaa1111-0000", 1: "GPU-bbbb2222-0000", 2: "GPU-bbbb3333-0000"}
PARTS = {"MIG-cccc4444-0000": 2, "MIG-cccc5555-0000": 2}


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of three GPUs; the last is split in two."""
    identity = Identity(hostname="h", user="u", serials={f"gpu{k} uuid": uuid for k, uuid in UUIDS.items()})
    host = Host(gpus=[Gpu(index=k, name="GPU") for k in UUIDS], identity=identity)
    monkeypatch.setattr("inferkit.plan.devices.facts", lambda: host)
    monkeypatch.setitem(sys.modules, "pynvml", nvml())
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


class NVMLError(Exception):
    """As the library raises it."""


def nvml() -> Any:
    """Make an NVML of that machine; a place without an instance is an error, as in the real one."""

    def instance(handle: str, place: int) -> str:
        own = [uuid for uuid, gpu in PARTS.items() if handle == UUIDS[gpu]]
        if place >= len(own):
            raise NVMLError
        return own[place]

    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: len(UUIDS),
        nvmlDeviceGetHandleByIndex=UUIDS.__getitem__,
        nvmlDeviceGetMaxMigDeviceCount=lambda _: 7,
        nvmlDeviceGetMigDeviceHandleByIndex=instance,
        nvmlDeviceGetUUID=lambda handle: handle,
    )


@pytest.mark.parametrize(
    ("named", "found"),
    [
        ([1], [1]),
        (["GPU-bbbb2222-0000"], [1]),
        (["GPU-bbbb3", 0], [2, 0]),
        (["GPU-AAAA1111-0000", 0], [0]),
        (["MIG-cccc5555-0000"], ["MIG-cccc5555-0000"]),
        (["MIG-cccc5"], ["MIG-cccc5555-0000"]),
    ],
)
def test_however_they_are_named(monkeypatch: pytest.MonkeyPatch, named: list[int | str], found: Sequence[int]) -> None:
    assert chosen_gpus("cuda", named) == found
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(map(str, named)))
    assert chosen_gpus("cuda", []) == found


@pytest.mark.parametrize("name", ["GPU-bbbb", "GPU-9", "MIG-cccc", "MIG-9", 3])
def test_what_names_none_or_several_is_refused(monkeypatch: pytest.MonkeyPatch, name: int | str) -> None:
    with pytest.raises(ParameterError, match="no GPU") as caught:
        chosen_gpus("cuda", [name])
    assert "GPU-aaaa1111-0000" in str(caught.value)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"0,{name}")
    with pytest.raises(ParameterError, match="CUDA_VISIBLE_DEVICES"):
        chosen_gpus("cuda", [])


@pytest.mark.parametrize(
    ("listed", "first"),
    [
        *[
            (one, one)
            for one in ("-1", "", "foo", "²", "٣", "+0", "0x0", "GPU-", "G", "MIG-", "all", "none", "9" * 5000)
        ],
        *[("1,foo,0", "foo"), ("0,-1", "-1"), ("0,", ""), (",0", ""), ("0 1", "0 1"), ("0;1", "0;1"), ("0,7", "7")],
    ],
)
def test_what_cuda_would_stop_at_is_refused(monkeypatch: pytest.MonkeyPatch, listed: str, first: str) -> None:
    """CUDA goes on with the GPUs before it, in silence."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    with pytest.raises(ParameterError, match=r"is none of the GPUs \[0, 1, 2\]") as caught:
        chosen_gpus("cuda", [])
    assert f"and {quoted(first)} is none" in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("listed", "found"), [("0,0", [0]), (" 2 ", [2]), ("00", [0]), ("1,GPU-bbbb2222,1", [1]), ("2,0", [2, 0])]
)
def test_blanks_and_what_stands_twice_do_no_harm(
    monkeypatch: pytest.MonkeyPatch, listed: str, found: list[int]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    assert chosen_gpus("cuda", []) == found
    assert chosen_gpus("cuda", [1]) == [1]


def test_words_that_are_no_uuid_are_refused_by_the_parameters() -> None:
    for bad in ("0", "gpu0", "GPU-../x y", "MIG-", "GPU-$(id)"):
        with pytest.raises(ParameterError, match="gpus"):
            SingleProcess.check({"device": "cuda", "gpus": [bad]})
    assert SingleProcess.check({"device": "cuda", "gpus": ["GPU-aaaa1111-0000", 1]}).gpus == ["GPU-aaaa1111-0000", 1]


def test_a_rank_sees_its_instance_alone_as_its_first_device() -> None:
    (setting,) = of_one_process(SingleProcess.check({"device": "cuda", "gpus": ["MIG-cccc5555-0000"]}))
    assert setting.axes == {"device": "cuda", "gpu": "MIG-cccc5555-0000"}
    job = PipelineJob(window=Window(), device=setting.device, reading=ReadOptions())
    (own,) = setting.jobs(job)
    assert isinstance(own, PipelineJob)
    assert own.device == DeviceOptions(kind="cuda", numbers=(0,))
    assert own.place is not None
    assert environment(own.place)["CUDA_VISIBLE_DEVICES"] == "MIG-cccc5555-0000"
    assert PipelineJob.model_validate_json(own.model_dump_json()) == own


def test_one_process_uses_one_instance() -> None:
    with pytest.raises(ParameterError, match="one MIG instance and nothing else"):
        of_one_process(SingleProcess.check({"device": "cuda", "gpus": list(PARTS)}))


def test_a_rank_of_several_may_use_instances() -> None:
    place = Place(rank=1, ranks=2, gpus=("MIG-cccc4444-0000",))
    job = job_at(PipelineJob(window=Window(), device=DeviceOptions(kind="cuda"), reading=ReadOptions()), place)
    assert isinstance(job, PipelineJob)
    assert job.device.numbers == (0,)
    assert str(place) == "rank 1 (GPU MIG-cccc4444-0000)"


def test_an_instance_lies_where_its_gpu_does() -> None:
    assert instances() == PARTS
    machine = Topology(devices=(PciDevice(kind="gpu", name="2", node=1),)).with_instances(instances())
    assert set(machine.gpus) == {2, *PARTS}
    assert {device.node for device in machine.gpus.values()} == {1}
    assert list(machine.whole_gpus) == [2]


def test_the_sensors_of_an_instance_are_those_of_its_gpu() -> None:
    with GpuMonitor(["MIG-cccc4444-0000", "MIG-cccc5555-0000"]) as monitor:
        assert {name.partition("_")[0] for name in monitor.sources()} == {"gpu2"}
