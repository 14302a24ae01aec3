"""Which points were measured before, and where their records come from."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest

from inferkit.dataset.images import make_from_images
from inferkit.dataset.photographs import make_photographs
from inferkit.dataset.synthetic import make_synthetic
from inferkit.machine.facts import facts
from inferkit.measure.measure import measure
from inferkit.plan import fingerprint
from inferkit.plan.build import plan
from inferkit.plan.fingerprint import code_digest
from inferkit.plan.points import Plan, Point
from inferkit.plan.reuse import FINGERPRINT, find
from inferkit.records.figures import Figure, Repeat
from inferkit.records.host import Host, Identity
from inferkit.records.job import ReadJob
from inferkit.records.params import HostToDevice, MakeDataset, SingleProcess, StorageToHost
from inferkit.records.run import MIME, REUSED, Failure, Run
from tests.verdicts import verdict

WINDOW = Repeat(start_s=0, seconds=1, images=0, nbytes=1, batches=1)

TINY = {"warmup_s": 0.02, "duration_s": 0.05, "repeats": 1}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    make_synthetic(MakeDataset(data=str(tmp_path / "set"), limit=40, shape=[3, 8, 8]))
    return tmp_path / "set"


def asked(data: Path, **changes: Any) -> StorageToHost:
    return StorageToHost.check({"data": str(data), "batch_sizes": [8], "earlier": str(data.parent), **TINY, **changes})


def keep(folder: Path, *runs: Run, name: str = "03a") -> Path:
    """Write a notebook that shows runs."""
    outputs = [nbformat.v4.new_output("display_data", {MIME: run.to_dict()}) for run in runs]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=outputs)]), path)
    return path


def threads(point: Point) -> int:
    assert isinstance(point.job, ReadJob)
    return point.job.reading.threads


def marks(planned: Plan) -> list[str]:
    return [point.fingerprint for point in planned.points]


class TestFingerprint:
    def test_is_the_same_for_the_same(self, data: Path) -> None:
        first = marks(plan(asked(data, threads=[1, 2])))
        assert first == marks(plan(asked(data, threads=[1, 2], batch_log="", rerun="never", storage="other name")))
        assert len(set(first)) == 2
        assert marks(plan(asked(data, threads=[2]))) == first[1:]

    @pytest.mark.parametrize(
        "change",
        [
            {"threads": [3]},
            {"seed": 1},
            {"profile": "quick"},
            {"source": "storage"},
            {"duration_s": 0.06},
            {"split": "all"},
        ],
        ids=str,
    )
    def test_differs_with_each_parameter(self, data: Path, change: dict[str, Any]) -> None:
        assert marks(plan(asked(data))) != marks(plan(asked(data, **change)))

    def test_differs_with_data_folder_and_content(self, data: Path, tmp_path: Path) -> None:
        make_synthetic(MakeDataset(data=str(tmp_path / "same"), limit=40, shape=[3, 8, 8]))
        make_synthetic(MakeDataset(data=str(tmp_path / "other" / "set"), limit=40, shape=[3, 8, 8], seed=1))
        first = marks(plan(asked(data)))
        assert first != marks(plan(asked(tmp_path / "same")))
        manifest = data / "dataset.json"
        manifest.write_text(manifest.read_text().replace('"seed": 0', '"seed": 1'))
        assert first != marks(plan(asked(data)))

    def test_differs_with_the_content_of_files_without_a_manifest(self, data: Path) -> None:
        (data / "dataset.json").unlink()
        options: dict[str, Any] = {"dtype": "uint8", "shape": [3, 8, 8]}
        first = marks(plan(asked(data, **options)))
        assert first == marks(plan(asked(data, **options)))
        file = sorted(data.glob("*.tensors"))[0]
        content = bytearray(file.read_bytes())
        content[0] ^= 1
        file.write_bytes(content)
        assert first != marks(plan(asked(data, **options)))

    def test_differs_with_the_files_that_a_manifest_still_describes(self, data: Path) -> None:
        first = marks(plan(asked(data)))
        file = sorted(data.glob("*.tensors"))[0]
        before = file.stat()
        file.write_bytes(bytes(file.stat().st_size))
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # ctime tells
        assert first != marks(plan(asked(data)))

    def test_differs_with_the_storage_at_the_same_path(self, data: Path, shm: Path) -> None:
        first = marks(plan(asked(data)))
        shutil.copytree(data, shm / "set")
        data.rename(data.with_name("on disk"))
        data.symlink_to(shm / "set")
        moved = marks(plan(asked(data)))
        assert first != moved
        data.unlink()
        data.with_name("on disk").rename(data)
        assert first == marks(plan(asked(data)))
        linked = sorted(data.glob("*.tensors"))[-1]
        linked.unlink()
        linked.symlink_to(shm / "set" / linked.name)
        assert marks(plan(asked(data))) not in (first, moved)

    def test_differs_with_the_photographs_beside_a_set_of_tensors(self, tmp_path: Path) -> None:
        pictures = tmp_path / "photographs"
        make_photographs(pictures, count=2)
        made = MakeDataset(data=str(tmp_path / "set"), images=str(pictures), size=32)
        make_from_images(made)
        values = asked(tmp_path / "set", images=str(pictures), size=32, readers=["jpeg", "buffered"])
        decoded, read = marks(plan(values))
        picture = sorted(pictures.glob("*.jpg"))[0]
        picture.write_bytes(picture.read_bytes() + b"more")
        assert marks(plan(values))[0] != decoded
        assert marks(plan(values))[1] == read

    def test_differs_with_our_own_code(self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        first = marks(plan(asked(data)))
        package = tmp_path / "package"
        shutil.copytree(fingerprint.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
        own = code_digest()
        monkeypatch.setattr(fingerprint, "PACKAGE", package)
        for change, same in (("", True), ("# changed", False)):
            with (package / "stats.py").open("a") as file:
                file.write(change)
            code_digest.cache_clear()
            assert (code_digest() == own) is same
        assert first != marks(plan(asked(data)))
        code_digest.cache_clear()

    def test_differs_with_the_machine_and_not_with_who_runs_it(
        self, data: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = marks(plan(asked(data)))
        here = facts()
        lent = [node.model_copy(update={"memory_bytes": 1}) for node in here.numa_nodes]
        serials = here.identity.serials if here.identity else {}
        whose = Identity(hostname="other", user="other", serials=serials)
        changes = {"identity": whose, "memory_bytes": 1, "numa_nodes": lent}
        monkeypatch.setattr(fingerprint, "facts", lambda: here.model_copy(update=changes))
        assert first == marks(plan(asked(data)))
        twin = whose.model_copy(update={"serials": {"machine serial": "another"}})
        for other in (Host(cpu="another"), here.model_copy(update={"identity": twin})):
            monkeypatch.setattr(fingerprint, "facts", lambda other=other: other)
            assert first != marks(plan(asked(data)))

    @pytest.mark.parametrize("name", ["io_limits", "affinity"])
    def test_differs_with_what_may_be_used(self, data: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        first = marks(plan(asked(data)))
        monkeypatch.setattr(fingerprint, name, lambda: [7])
        assert first != marks(plan(asked(data)))

    def test_differs_with_what_libraries_are_told_and_with_nothing_else(
        self, data: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = marks(plan(asked(data)))
        monkeypatch.setenv("EDITOR", "ed")
        assert first == marks(plan(asked(data)))
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        assert first != marks(plan(asked(data)))

    def test_differs_with_the_bytes_of_the_model(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        values: dict[str, Any] = {"readers": ["memory"], "engines": ["onnx"], "models": ["sensor_net"]}
        first, second = (
            {point.measure: point.fingerprint for point in plan(SingleProcess(**values, precisions=[each])).points}
            for each in ("float32", "float16")
        )
        assert first["copy"] == second["copy"]
        assert first["infer"] != second["infer"]
        assert first["pipeline"] != second["pipeline"]


class TestRerun:
    @pytest.fixture
    def runs(self, data: Path) -> list[Run]:
        return list(measure(plan(asked(data, threads=[1, 2]))))

    def test_every_run_keeps_its_fingerprint(self, data: Path, runs: list[Run]) -> None:
        assert [run.facts[FINGERPRINT] for run in runs] == marks(plan(asked(data, threads=[1, 2])))

    def test_never_shows_earlier_runs_again_and_says_where_they_come_from(
        self, data: Path, tmp_path: Path, runs: list[Run]
    ) -> None:
        notebook = keep(tmp_path / "runs", *runs)
        planned = plan(asked(data, threads=[1, 2, 3], rerun="never"))
        assert [point.axes["threads"] for point in planned.todo] == [3]
        assert "2 of 3 points were measured before" in str(planned)
        assert planned.seconds == planned.todo[0].job.window.seconds + 1.5
        seen: list[tuple[int, int]] = []
        again = list(measure(planned, lambda status: seen.append((status.index, status.total))))
        assert [run.id for run in again[:2]] == [run.id for run in runs]
        assert all(run.warnings[0] == f"{REUSED}{notebook} ({run.started})" for run in again[:2])
        assert verdict(again[2]) == "VALID"
        assert set(seen) == {(0, 1)}

    def test_a_run_that_was_shown_again_keeps_the_notebook_that_measured_it(
        self, data: Path, tmp_path: Path, runs: list[Run]
    ) -> None:
        first = keep(tmp_path / "runs", *runs)
        (again,) = measure(plan(asked(data, threads=[1], rerun="never")))
        keep(tmp_path / "runs", again, name="later")
        first.unlink()
        (last,) = measure(plan(asked(data, threads=[1], rerun="never")))
        assert last.warnings == again.warnings
        assert str(first) in last.warnings[0]

    def test_images_that_are_not_what_their_hashes_say_are_measured_again(
        self, data: Path, tmp_path: Path, runs: list[Run]
    ) -> None:
        file = sorted(data.glob("*.tensors"))[0]
        file.write_bytes(bytes(file.stat().st_size))
        options: dict[str, Any] = {"threads": [1, 2], "rerun": "never"}
        found = zip(runs, marks(plan(asked(data, **options))), strict=True)
        keep(tmp_path / "runs", *(run.model_copy(update={"facts": {FINGERPRINT: mark}}) for run, mark in found))
        planned = plan(asked(data, **options))
        assert len(planned.todo) == 2
        assert f"measured again: image 0 of {data} is not what its hashes say" in str(planned)

    @pytest.mark.parametrize(
        ("rerun", "left"),
        [("never", []), ("failed", ["FAILED", "INVALID"]), ("always", ["VALID", "FAILED", "INVALID"])],
    )
    def test_verdicts_decide(self, data: Path, tmp_path: Path, rerun: str, left: list[str]) -> None:
        points = plan(asked(data, threads=[1, 2, 3])).points
        verdicts = {1: "VALID", 2: "FAILED", 3: "INVALID"}
        keep(
            tmp_path,
            *(
                Run(
                    notebook="03a",
                    measure="read",
                    host=Host(),
                    verdict=verdicts[threads(point)],
                    measured=Figure(bytes_per_s=1.0),
                    repeats=[WINDOW],
                    failure=Failure(kind="x", message="y"),
                    facts={FINGERPRINT: point.fingerprint},
                )
                for point in points
            ),
        )
        todo = plan(asked(data, threads=[1, 2, 3], rerun=rerun)).todo
        assert [verdicts[threads(point)] for point in todo] == left

    def test_a_record_that_is_not_well_formed_stands_for_nothing(self, data: Path, tmp_path: Path) -> None:
        (point,) = plan(asked(data)).points
        run = Run(notebook="03a", measure="read", host=Host(), verdict="VALID", facts={FINGERPRINT: point.fingerprint})
        good = run.model_copy(update={"measured": Figure(bytes_per_s=1.0), "repeats": [WINDOW], "id": "good"})
        odd = run.model_copy(update={"facts": {FINGERPRINT: [point.fingerprint]}})
        keep(tmp_path, run, odd)
        assert not find(tmp_path, [point.fingerprint])
        keep(tmp_path, run, odd, good)
        assert [one.run.id for one in find(tmp_path, [point.fingerprint]).values()] == ["good"]

    def test_a_reused_ceiling_serves_a_new_pipeline(self, tmp_path: Path, data: Path) -> None:
        values = {"data": str(data), "engines": ["null"], "batch_sizes": [8], "earlier": str(tmp_path), **TINY}
        before = list(measure(plan(SingleProcess.check(values))))
        keep(tmp_path / "runs", *(run for run in before if run.measure != "pipeline"))
        *ceilings, pipeline = measure(plan(SingleProcess.check(values | {"rerun": "never"})))
        assert [run.id for run in ceilings] == pipeline.ceilings_from == before[-1].ceilings_from
        assert pipeline.id != before[-1].id

    def test_copies_have_fingerprints_too(self, tmp_path: Path) -> None:
        values = {"transfer_bytes": [4096], "memories": ["pageable"], "earlier": str(tmp_path), **TINY}
        keep(tmp_path, *measure(plan(HostToDevice.check(values))))
        assert plan(HostToDevice.check(values | {"rerun": "never"})).todo == []


class TestFind:
    def run(self, started: str, mark: str = "m") -> Run:
        about = {"notebook": "03a", "measure": "read", "verdict": "INVALID", "started": started}
        return Run.model_validate(about | {"host": Host(), "facts": {FINGERPRINT: mark}})

    def test_the_latest_is_taken(self, tmp_path: Path) -> None:
        early, late = self.run("2026-01-01T00:00:00+00:00"), self.run("2026-01-02T00:00:00+00:00")
        keep(tmp_path / "a", late)
        keep(tmp_path / "b", early, self.run("2026-01-03T00:00:00+00:00", "other"))
        assert find(tmp_path, {"m"})["m"].run == late
        assert set(find(tmp_path, {"m", "other", "neither"})) == {"m", "other"}

    def test_a_missing_folder_and_foreign_files_hold_none(self, tmp_path: Path) -> None:
        assert find(tmp_path / "gone", {"m"}) == {}
        (tmp_path / "broken.ipynb").write_text("{")
        (tmp_path / "list.ipynb").write_text("[]")
        path = keep(tmp_path, self.run("2026-01-01T00:00:00+00:00"))
        content = json.loads(path.read_text())
        content["cells"][0]["outputs"][0]["data"][MIME]["schema"] = 99
        path.write_text(json.dumps(content))
        keep(tmp_path / ".ipynb_checkpoints", self.run("2026-01-01T00:00:00+00:00"))
        assert find(tmp_path, {"m"}) == {}
