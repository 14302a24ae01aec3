from pathlib import Path

import pytest

from inferkit.dataset.synthetic import make_synthetic
from inferkit.errors import ParameterError
from inferkit.measure.measure import measure
from inferkit.pipeline.batch_log import check_batch_log
from inferkit.plan.build import plan
from inferkit.records.params import MakeDataset, SingleProcess


def test_every_batch_of_every_point_is_in_a_parquet_file(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is in the extra lab")
    make_synthetic(MakeDataset(data=str(tmp_path / "set"), limit=20, shape=[3, 8, 8]))
    values = {"warmup_s": 0.05, "duration_s": 0.1, "repeats": 2, "batch_sizes": [4], "engines": ["null"]}
    params = SingleProcess.check({"data": str(tmp_path / "set"), "batch_log": str(tmp_path / "log"), **values})
    for run in measure(plan(params)):
        table = parquet.read_table(run.facts["batch_log"]).to_pydict()
        for number, repeat in enumerate(run.repeats):
            assert table["window"].count(number) == repeat.batches
        stages = {name.removesuffix("_start_s") for name in table if name.endswith("_start_s")}
        assert set(run.stages) <= stages
        assert (
            all(s <= e for s, e in zip(table["copy_start_s"], table["copy_end_s"], strict=True))
            if "copy" in stages
            else True
        )
    assert len(list((tmp_path / "log").glob("*.parquet"))) == 3


def test_without_pyarrow_a_batch_log_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ParameterError, match="pip install"):
        check_batch_log()
