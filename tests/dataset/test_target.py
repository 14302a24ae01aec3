from pathlib import Path

from inferkit.dataset.target import dtype_of, shape_of, target
from inferkit.records.params import MakeDataset
from inferkit.records.project import project_root


def test_what_is_not_asked_is_photographs_of_bytes() -> None:
    assert (dtype_of(MakeDataset()), shape_of(MakeDataset(size=32))) == ("uint8", (3, 32, 32))
    assert target(MakeDataset(size=32)) == project_root() / "data" / "synthetic-uint8-3x32x32"


def test_what_is_asked_is_taken(tmp_path: Path) -> None:
    params = MakeDataset(data=str(tmp_path), dtype="float32", shape=[1, 28, 28])
    assert (target(params), dtype_of(params), shape_of(params)) == (tmp_path, "float32", (1, 28, 28))
