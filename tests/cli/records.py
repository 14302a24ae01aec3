"""Records of every kind of measurement, with every field that a record may have, as the JSON of a notebook."""

from typing import Any

from inferkit.records.figures import Figure, Histogram, Quantiles, Repeat, Series, Stage
from inferkit.records.host import Gpu, Host, Identity, NumaNode
from inferkit.records.run import Failure, Peer, Run

HOST = Host(
    cpu="A CPU",
    sockets=1,
    cores=4,
    threads_total=8,
    threads=8,
    cpu_quota=2.0,
    memory_bytes=1 << 36,
    memory_limit_bytes=1 << 35,
    numa_nodes=[NumaNode(node=0, cpus=[0, 1], memory_bytes=1 << 36)],
    kernel="6.1",
    os="Linux",
    python="3.12",
    virtual="kvm",
    gpus=[
        Gpu(
            index=0,
            name="A GPU",
            memory_bytes=1 << 36,
            driver="1",
            numa_node=0,
            power_limit_w=300.0,
            ecc=True,
            mig=False,
        )
    ],
    packages={"inferkit": "0.1.0"},
    governor="performance",
    identity=Identity(hostname="box", user="somebody", serials={"machine serial": "A1B2"}),
)
FIGURE = Figure(images_per_s=58.0, bytes_per_s=8_730_624.0, half_width=0.01, block_s=0.25)
QUANTILES = Quantiles(p50_s=0.1, p90_s=0.2, p95_s=0.3, p99_s=0.4, p999_s=0.5, max_s=0.6)
STAGE = Stage(
    images_per_s=60.0,
    bytes_per_s=9e6,
    busy=0.5,
    workers=2,
    quantiles=QUANTILES,
    histogram=Histogram(edges_s=[0.05, 0.1, 0.4], counts=[3, 5]),
)
ABOUT: dict[str, Any] = {
    "notebook": "03b",
    "measure": "pipeline",
    "storage": "shm",
    "profile": "quick",
    "started": "2026-11-20T10:00:00+00:00",
    "host": HOST,
    "verdict": "VALID",
    "measured": FIGURE,
    "repeats": [
        Repeat(start_s=0.0, seconds=30.0, images=1200, nbytes=180_633_600, batches=150, warmup=True, cpu_s=1.0),
        *(
            Repeat(start_s=start_s, seconds=30.0, images=1740, nbytes=261_918_720, batches=217, cpu_s=1.0)
            for start_s in (30.0, 60.0, 90.0)
        ),
    ],
    "series": {"images_per_s": Series(unit="images/s", values=[40.0, 58.0, None, 59.0])},
    "params": {"dtype": "uint8", "shape": [3, 224, 224], "device": "cpu", "source": "storage", "data": "/data/set"},
    "unverified": ["who else reads"],
    "warnings": ["outputs: equal for all images"],
}
PIPELINE = {
    "point": {
        "engine": "onnx",
        "model": "resnet18",
        "precision": "float32",
        "reader": "buffered",
        "batch_size": 32,
        "ranks": 2,
        "gpus": 1,
        "gpu": "0",
        "threads": 2,
        "device": "cuda",
    },
    "stages": {"read": STAGE, "copy": STAGE, "infer": STAGE},
    "ceilings": {
        "read": Figure(images_per_s=1200.0, half_width=0.02),
        "infer": Figure(images_per_s=60.0, half_width=0.02),
    },
    "ceilings_from": ["a"],
    "predicted": Figure(images_per_s=60.0, half_width=0.02),
    "bottleneck": "infer",
    "peers": [
        Peer(name="trtexec", command="trtexec --x", figure=FIGURE, ratio=0.9, interval=[0.8, 1.0]),
        Peer(name="fio", missing="not here"),
    ],
    "facts": {
        "storage": {"dataset_bytes": 1e9},
        "images": 5,
        "dtype": "uint8",
        "shape": [3, 224, 224],
        "resident_before": 0.5,
        "reading": {"first_done_s": 1.0, "last_done_s": 2.0, "balance": 0.9, "thread_cpu_s_per_gb": 0.1},
        "top1_agreement": 0.99,
        "layers_ms": [["conv", 1.0]],
        "fingerprint": "ab",
        "images_per_joule": 3.0,
        "group": {"overlap": 0.95},
        "batches": {"read": "1+2 3+4", "infer": "1+1"},
    },
}


def records() -> dict[str, Any]:
    """Return the JSON of a record of each kind, by name."""
    kinds: dict[str, dict[str, Any]] = {
        "pipeline": PIPELINE,
        "read": {
            "notebook": "03a",
            "measure": "read",
            "point": {"reader": "direct", "threads": 4, "batch_size": 8},
            "stages": {"read": STAGE},
        },
        "copy": {
            "notebook": "02",
            "measure": "copy",
            "point": {
                "memory": "pinned",
                "direction": "in",
                "transfer_bytes": 4096,
                "gpu": 0,
                "node": 0,
                "device": "cuda",
            },
        },
        "memory": {"notebook": "02", "measure": "memory", "point": {"threads": 8}},
        "dataset": {
            "notebook": "01",
            "measure": "dataset",
            "point": {"images": "random"},
            "facts": {"images": 5, "skipped": {"a.jpg": "damaged"}, "skipped_count": 1},
        },
        "failed": {
            "verdict": "FAILED",
            "measured": None,
            "failure": Failure(kind="EngineError", message="no memory", detail="Traceback"),
            "point": {"engine": "onnx"},
        },
        "invalid": {"verdict": "INVALID", "reasons": ["unsteady: 9 %"], "point": {"engine": "null"}, "profile": "demo"},
    }
    made = {name: Run(**{**ABOUT, "id": name, **changes}).to_dict() for name, changes in kinds.items()}
    old = {**made["pipeline"], "schema": 1, "id": "old", "stage": "03b", "binding": "infer", "facts": {"together": {}}}
    del old["notebook"], old["bottleneck"]
    return {**made, "schema 1": old}
