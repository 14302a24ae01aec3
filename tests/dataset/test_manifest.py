import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit.dataset.manifest import FileEntry, Manifest, Skipped, read_manifest
from inferkit.errors import DatasetError

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
COUNT = st.integers(1, 2**33)

MANIFESTS = st.builds(
    Manifest,
    dtype=st.sampled_from(["uint8", "float32"]),
    shape=st.lists(st.integers(1, 128), min_size=1, max_size=4).map(tuple),
    images=COUNT,
    source=st.sampled_from(["images", "synthetic"]),
    job=TEXT,
    images_per_file=COUNT,
    seed=st.integers(0, 2**63 - 1),
    resize=st.none() | st.sampled_from(["stretch", "crop"]),
    fast=st.none() | st.booleans(),
    scales=st.none() | st.dictionaries(st.sampled_from("1248"), COUNT),
    skipped=st.lists(st.builds(Skipped, name=TEXT, reason=TEXT), max_size=3).map(tuple),
    files=st.lists(
        st.builds(lambda n, m: FileEntry(name=f"a/{n}.tensors", images=n, nbytes=m), COUNT, COUNT),
        min_size=1,
        max_size=4,
        unique_by=lambda file: file.name,
    ).map(tuple),
)


@given(manifest=MANIFESTS)
def test_a_manifest_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, manifest: Manifest) -> None:
    folder = tmp_path_factory.mktemp("set")
    (folder / "dataset.json").write_bytes(manifest.to_json())
    assert read_manifest(folder) == manifest


def valid() -> dict[str, object]:
    return {
        "schema": 1,
        "dtype": "uint8",
        "shape": [3, 4, 4],
        "images": 2,
        "source": "synthetic",
        "job": "x",
        "images_per_file": 2,
        "seed": 0,
        "files": [{"name": "a.tensors", "images": 2, "bytes": 96}],
    }


def test_no_manifest_is_none(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"schema": 2}, "schema"),
        ({"dtype": "float16"}, "dtype"),
        ({"shape": []}, "shape"),
        ({"shape": [3, 0, 4]}, "shape.1"),
        ({"images": "2"}, "images"),
        ({"images": 2.0}, "images"),
        ({"colour": "red"}, "colour"),
        ({"files": []}, "files"),
        ({"files": [{"name": "a.tensors", "images": 2}]}, "files.0.bytes"),
        ({"files": [{"name": "/etc/a.tensors", "images": 2, "bytes": 96}]}, "files.0.name"),
        ({"files": [{"name": "../a.tensors", "images": 2, "bytes": 96}]}, "files.0.name"),
        ({"files": [{"name": "a.txt", "images": 2, "bytes": 96}]}, "files.0.name"),
        ({"files": [{"name": "./a.tensors", "images": 2, "bytes": 96}]}, "files.0.name"),
        ({"files": [{"name": "x" * 5000 + ".tensors", "images": 2, "bytes": 96}]}, "files.0.name"),
        ({"files": [{"name": "x" * 300 + ".tensors", "images": 2, "bytes": 96}]}, "files.0.name"),
        ({"files": [{"name": "a\0.tensors", "images": 2, "bytes": 96}]}, "files.0.name"),
        ({"files": [{"name": "a.tensors", "images": 10**30, "bytes": 96}]}, "files.0.images"),
        ({"files": [{"name": "a.tensors", "images": 1, "bytes": 48}] * 2}, "files"),
        ({"shape": [10**9, 10**9]}, "shape"),
        ({"shape": [1] * 9}, "shape"),
        ({"images": 10**400}, "images"),
        ({"images": float("nan")}, "images"),
        ({"seed": 10**30}, "seed"),
        ({"job": "y" * 70_000}, "job"),
        ({"scales": {"3": 1}}, "scales.3"),
        ({"x" * 9999: 1}, "xxxx"),
    ],
)
def test_a_fault_is_named(tmp_path: Path, change: dict[str, object], where: str) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps(valid() | change))
    with pytest.raises(DatasetError, match=rf"dataset\.json is not a manifest of schema 1: {where}") as caught:
        read_manifest(tmp_path)
    assert len(str(caught.value)) < 700
    (tmp_path / "dataset.json").write_text(json.dumps(valid()))
    assert read_manifest(tmp_path) is not None


@pytest.mark.parametrize("content", ["", "{", "[]", '"text"', '{"schema": 1'])
def test_what_is_no_json_object_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(DatasetError, match="the whole file"):
        read_manifest(tmp_path)


def test_an_unreadable_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").mkdir()
    with pytest.raises(DatasetError, match=r"dataset\.json cannot be read: Is a directory"):
        read_manifest(tmp_path)


def test_a_manifest_that_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dataset.json")
    with pytest.raises(DatasetError, match=r"dataset\.json cannot be read: it is a pipe, not a file"):
        read_manifest(tmp_path)
    (tmp_path / "dataset.json").unlink()
    (tmp_path / "dataset.json").symlink_to("/dev/zero")
    with pytest.raises(DatasetError, match="it is a device, not a file"):
        read_manifest(tmp_path)
    (tmp_path / "dataset.json").unlink()
    with (tmp_path / "dataset.json").open("wb") as file:
        file.truncate(60_000_000_000)
    with pytest.raises(DatasetError, match="it holds 60,000,000,000 bytes, over the limit"):
        read_manifest(tmp_path)
