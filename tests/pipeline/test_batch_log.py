from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inferkit.dataset.synthetic import make_synthetic
from inferkit.errors import ParameterError
from inferkit.measure.measure import measure
from inferkit.pipeline.batch_log import MOST_ROWS, BatchLog, batch_log, check_batch_log
from inferkit.pipeline.timeline import DONE, IMAGES, NBYTES, TIMES
from inferkit.plan.build import plan
from inferkit.records.params import MakeDataset, SingleProcess


def test_every_batch_of_every_point_is_in_a_parquet_file(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is in the extra lab")
    make_synthetic(MakeDataset(data=str(tmp_path / "set"), limit=20, shape=[3, 8, 8]))
    values = {"warmup_s": 0.05, "duration_s": 0.1, "repeats": 2, "batch_sizes": [4], "engines": ["null"]}
    params = SingleProcess.check({"data": str(tmp_path / "set"), "batch_log": str(tmp_path / "log"), **values})
    for run in measure(plan(params)):
        logs = run.facts["batch_log"]
        windows = [parquet.read_table(log).to_pydict()["window"] for log in logs]
        first, second = windows
        counts = [first.count(0), first.count(1), second.count(1)]
        assert counts == [repeat.batches for repeat in run.repeats]
        table = parquet.read_table(logs[0]).to_pydict()
        stages = {name.removesuffix("_start_s") for name in table if name.endswith("_start_s")}
        assert set(run.stages) <= stages
        assert (
            all(s <= e for s, e in zip(table["copy_start_s"], table["copy_end_s"], strict=True))
            if "copy" in stages
            else True
        )
    assert len(list((tmp_path / "log").glob("*.parquet"))) == 2 * 3


def test_without_pyarrow_a_batch_log_is_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ParameterError, match="pip install"):
        check_batch_log(tmp_path)


def test_a_batch_log_that_cannot_be_made_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file" / "log", tmp_path / "file"):
        with pytest.raises(ParameterError, match=rf"batch_log: {folder} cannot be made, .*file is no folder"):
            check_batch_log(folder)


LOT, START_NS = 4096, 5_000_000_000


def lot(number: int) -> Any:
    """Return batches as a timeline holds them, one of a stage."""
    rows = np.zeros((LOT, TIMES + 2), np.int64)
    rows[:, DONE] = START_NS + 1_000_000 * (1 + number * LOT + np.arange(LOT))
    rows[:, [IMAGES, NBYTES]] = 4, 400
    rows[:, TIMES:] = rows[:, :1] - [700_000, 200_000]
    return rows


def test_batches_are_written_while_they_come(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is in the extra lab")
    lots = 3 * MOST_ROWS // LOT + 1
    with batch_log(tmp_path / "new", ("read",)) as log:
        for number in range(lots):
            log(number // 40, START_NS, lot(number))
            assert sum(len(columns["done_s"]) for columns in log._lot) < MOST_ROWS
        (part,) = (tmp_path / "new").iterdir()
        assert part.stat().st_size > 500_000  # two thirds, at least, are there already
    assert list((tmp_path / "new").iterdir()) == [log.path]
    table = parquet.read_table(log.path).to_pydict()
    assert list(table) == ["window", "images", "nbytes", "done_s", "read_start_s", "read_end_s"]
    assert np.allclose(table["done_s"], 0.001 * np.arange(1, lots * LOT + 1))
    assert np.allclose(np.array(table["done_s"]) - table["read_end_s"], 0.0002)
    assert table["window"] == np.repeat(np.arange(lots) // 40, LOT).tolist()


def test_a_log_of_no_batch_has_its_columns(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is in the extra lab")
    with batch_log(tmp_path, ()) as log:
        pass
    assert parquet.read_table(log.path).column_names == ["window", "images", "nbytes", "done_s"]


def test_a_disk_that_is_full_ends_it_and_nothing_is_kept(tmp_path: Path) -> None:
    def full(columns: object) -> None:
        raise OSError(28, "No space left on device")

    with ThreadPoolExecutor(1) as writer:
        log = BatchLog(tmp_path / "x", ("read",), full, writer)
        for number in range(2 * MOST_ROWS // LOT - 1):
            log(0, START_NS, lot(number))
        with pytest.raises(OSError, match="No space left"):
            log(0, START_NS, lot(0))


def test_after_an_error_no_file_is_left(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow.parquet", reason="pyarrow is in the extra lab")

    def failing() -> None:
        with batch_log(tmp_path, ("read",)) as log:
            log(0, START_NS, lot(0))
            assert len(list(tmp_path.iterdir())) == 1
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert list(tmp_path.iterdir()) == []
