"""What all points of a notebook share."""

from pathlib import Path

import pytest

from inferkit.dataset.synthetic import make_synthetic
from inferkit.errors import DatasetError, ParameterError
from inferkit.plan.assumed import Assumed
from inferkit.plan.context import USUAL, batch_log_of, context_of
from inferkit.readers import READERS
from inferkit.records.params import MakeDataset, StorageToHost
from inferkit.records.windows import window_of
from tests.dataset.pictures import contents, folder_of

SIZE = 24
OF_FILES = [name for name, reader in READERS.items() if "files" in reader.capabilities.reads]


@pytest.fixture
def both(tmp_path: Path) -> dict[str, object]:
    """Photographs, and tensors of the same size."""
    make_synthetic(MakeDataset(data=str(tmp_path / "tensors"), limit=5, shape=[3, SIZE, SIZE]))
    images = folder_of(tmp_path / "photographs", 3)
    return {"data": str(tmp_path / "tensors"), "images": str(images), "size": SIZE, "readers": OF_FILES}


def test_every_reader_has_the_files_that_it_reads(both: dict[str, object]) -> None:
    found = context_of(StorageToHost.check(both), None)
    for name, reader in READERS.items():
        if "files" not in reader.capabilities.reads:
            continue
        kind = both["images"] if reader.capabilities.decodes else both["data"]
        assert found.folder(name) == (kind if reader.capabilities.has_files else ""), name


def test_what_is_decoded_must_look_like_the_data_set(both: dict[str, object]) -> None:
    found = context_of(StorageToHost.check({**both, "size": 32}), None)
    assert found.folder("buffered") == both["data"]
    with pytest.raises(ParameterError, match=r"size is 32, so reader jpeg decodes to \(3, 32, 32\), but"):
        found.folder("jpeg")


def test_the_mean_size_of_the_files_is_known_or_guessed_of_what_is_not_here(both: dict[str, object]) -> None:
    sizes = [len(data) for data in contents(Path(str(both["images"]))).values()]
    assert context_of(StorageToHost.check(both), None).file_bytes("nvjpeg") == sum(sizes) // len(sizes)
    assumed = Assumed()
    gone = StorageToHost.check({**both, "images": f"{both['images']}/gone"})
    assert context_of(gone, None, assumed).file_bytes("nvjpeg") == 3 * SIZE * SIZE // USUAL
    assert "JPEG files of 576 B" in assumed.told


def test_the_window_is_the_profile_s_and_the_log_has_a_folder(both: dict[str, object], tmp_path: Path) -> None:
    params = StorageToHost.check({**both, "profile": "quick", "repeats": 9, "batch_log": str(tmp_path / "log")})
    found = context_of(params, None)
    assert found.window == window_of(params)
    assert (found.window.repeats, found.window.duration_s) == (9, 30.0)
    assert found.batch_log == str(tmp_path / "log")
    assert batch_log_of(StorageToHost()) == ""


def test_a_data_set_that_is_yet_to_be_made_stands_for_itself(both: dict[str, object]) -> None:
    there = context_of(StorageToHost.check(both), None).dataset
    pending = type(there)(there.folder, "float32", (3, 9, 9), files=(), described=True)
    assert context_of(StorageToHost.check(both), pending).dataset is pending


def test_a_data_set_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="gone"):
        context_of(StorageToHost(data=str(tmp_path / "gone")), None)
