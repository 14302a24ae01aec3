import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from inferkit.dataset.format import open_dataset, verify
from inferkit.dataset.manifest import read_manifest
from inferkit.dataset.synthetic import make_synthetic
from inferkit.errors import DatasetError, ParameterError
from inferkit.records.params import MakeDataset


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Seven images of 3 × 4 × 4 in files of 3, 3 and 1."""
    make_synthetic(MakeDataset(data=str(tmp_path / "set"), limit=7, size=4, images_per_file=3))
    return tmp_path / "set"


def test_a_made_set_opens_as_it_was_described(made: Path) -> None:
    dataset = open_dataset(made, dtype="uint8", shape=(3, 4, 4))
    assert dataset == open_dataset(made)
    assert dataset.described
    assert [(file.name, file.images, file.nbytes) for file in dataset.files] == [
        ("images-00000.tensors", 3, 144),
        ("images-00001.tensors", 3, 144),
        ("images-00002.tensors", 1, 48),
    ]
    assert (dataset.images, dataset.image_bytes, dataset.nbytes) == (7, 48, 336)


def test_without_its_manifest_it_opens_by_dtype_and_shape(made: Path) -> None:
    described = open_dataset(made)
    (made / "dataset.json").unlink()
    with pytest.raises(DatasetError, match=r"no dataset\.json: say dtype and shape"):
        open_dataset(made)
    dataset = open_dataset(made, dtype="uint8", shape=(3, 4, 4))
    assert not dataset.described
    assert dataset.files == described.files
    np.testing.assert_array_equal(dataset.read_images(0, 7), described.read_images(0, 7))


def test_a_set_of_300_is_not_read_as_227(tmp_path: Path) -> None:
    """The original reads it without a word, because 227 × 227 images fit into the bytes of 300 × 300 ones."""
    make_synthetic(MakeDataset(data=str(tmp_path), limit=2, size=300))
    with pytest.raises(DatasetError, match=r"shape is \(3, 227, 227\), but the manifest of .* says \(3, 300, 300\)"):
        open_dataset(tmp_path, shape=(3, 227, 227))
    (tmp_path / "dataset.json").unlink()
    with pytest.raises(DatasetError, match=r"540,000 bytes, which is no whole number of uint8 images"):
        open_dataset(tmp_path, dtype="uint8", shape=(3, 227, 227))


def test_uint8_is_not_read_as_float32(made: Path) -> None:
    with pytest.raises(DatasetError, match=r"dtype is float32, but the manifest of .* says uint8"):
        open_dataset(made, dtype="float32")


@pytest.mark.parametrize("size", [0, 47, 95, 143, 145, 192])
def test_a_file_of_the_wrong_size_is_refused_by_name(made: Path, size: int) -> None:
    (made / "images-00001.tensors").write_bytes(bytes(size))
    with pytest.raises(DatasetError, match=rf"images-00001\.tensors holds {size} bytes; .* 3 images .* 144"):
        open_dataset(made)


def test_a_missing_file_is_named(made: Path) -> None:
    (made / "images-00002.tensors").unlink()
    with pytest.raises(DatasetError, match=r"images-00002\.tensors is missing"):
        open_dataset(made)


@pytest.mark.parametrize("name", ["other.tensors", "deeper/images-00000.tensors"])
def test_a_foreign_file_is_named(made: Path, name: str) -> None:
    (made / name).parent.mkdir(exist_ok=True)
    (made / name).write_bytes(bytes(48))
    with pytest.raises(DatasetError, match=rf"{name} is not listed in dataset\.json"):
        open_dataset(made)
    (made / name).rename(made / "other.bin")
    assert open_dataset(made).images == 7


@pytest.mark.parametrize("size", [0, 47, 49])
def test_undescribed_files_must_hold_whole_images(tmp_path: Path, size: int) -> None:
    (tmp_path / "a.tensors").write_bytes(bytes(48))
    (tmp_path / "b.tensors").write_bytes(bytes(size))
    with pytest.raises(DatasetError, match=rf"b\.tensors holds {size} bytes, which is no whole number"):
        open_dataset(tmp_path, dtype="uint8", shape=(3, 4, 4))


def test_undescribed_files_are_read_in_order_of_their_paths(tmp_path: Path) -> None:
    for name in ("b/1", "a/2", "c", "a/10"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.tensors").write_bytes(bytes(8))
    names = [file.name for file in open_dataset(tmp_path, dtype="float32", shape=(2,)).files]
    assert names == ["a/10.tensors", "a/2.tensors", "b/1.tensors", "c.tensors"]


def test_a_folder_that_is_missing_empty_or_half_made_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not a folder"):
        open_dataset(tmp_path / "missing")
    with pytest.raises(DatasetError, match=r"holds neither dataset\.json nor \*\.tensors"):
        open_dataset(tmp_path, dtype="uint8", shape=(1,))
    (tmp_path / "dataset.journal").write_text("")
    with pytest.raises(DatasetError, match="half made"):
        open_dataset(tmp_path, dtype="uint8", shape=(1,))


def test_a_request_that_makes_no_sense_is_refused(made: Path) -> None:
    with pytest.raises(ParameterError, match="dtype is 'float16'; it must be one of uint8, float32"):
        open_dataset(made, dtype="float16")
    for shape in ((), (3, 0, 4), (-3, 4, 4)):
        with pytest.raises(ParameterError, match="positive length"):
            open_dataset(made, shape=shape)


def test_a_manifest_whose_counts_do_not_add_up_is_refused(made: Path) -> None:
    path = made / "dataset.json"
    path.write_text(path.read_text().replace('"images": 7', '"images": 8'))
    with pytest.raises(DatasetError, match="says 8 images, its files add up to 7"):
        open_dataset(made)


def test_verify_passes_what_was_made_and_reports_progress(made: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = verify(open_dataset(made), lambda done, total: seen.append((done, total)))
    assert report.ok
    assert report.images == 7
    assert seen == [(3, 7), (6, 7), (7, 7)]


@pytest.mark.parametrize(
    ("offset", "where"),
    [
        (0, ("images-00000.tensors", 0)),
        (47, ("images-00000.tensors", 0)),
        (48, ("images-00000.tensors", 1)),
        (144, ("images-00001.tensors", 0)),
        (335, ("images-00002.tensors", 0)),
    ],
)
def test_verify_finds_one_flipped_bit(made: Path, offset: int, where: tuple[str, int]) -> None:
    path = made / f"images-{offset // 144:05d}.tensors"
    content = bytearray(path.read_bytes())
    content[offset % 144] ^= 1
    path.write_bytes(content)
    report = verify(open_dataset(made))
    assert not report.ok
    assert report.altered == (where,)


def test_verify_needs_a_whole_sidecar(made: Path) -> None:
    path = made / "dataset.xxh3"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DatasetError, match=r"dataset\.xxh3 holds 55 bytes; 7 images need 56"):
        verify(open_dataset(made))
    path.unlink()
    with pytest.raises(DatasetError, match=r"has no dataset\.xxh3"):
        verify(open_dataset(made))


def test_verify_names_a_file_that_became_shorter(made: Path) -> None:
    dataset = open_dataset(made)
    (made / "images-00001.tensors").write_bytes(bytes(100))
    with pytest.raises(DatasetError, match=r"images-00001\.tensors has become shorter: it ends inside image 2 of 3"):
        verify(dataset)


def test_reading_needs_neither_image_libraries_nor_pandas(made: Path) -> None:
    program = (
        "import sys, pathlib; sys.modules.update(dict.fromkeys(['cv2', 'simplejpeg', 'pandas', 'PIL']));"
        "from inferkit.dataset.format import open_dataset, verify;"
        "print(verify(open_dataset(pathlib.Path(sys.argv[1]))).images)"
    )
    done = subprocess.run([sys.executable, "-c", program, made], capture_output=True, text=True, check=True)
    assert done.stdout == "7\n"
    assert read_manifest(made) is not None


def test_tensors_named_after_their_photographs_open_and_photographs_do_not(tmp_path: Path) -> None:
    for index in range(3):
        path = tmp_path / f"class-{index}" / f"n0{index}.JPEG"
        path.parent.mkdir()
        path.write_bytes(bytes([index]) * 3 * 4 * 4)
    dataset = open_dataset(tmp_path, dtype="uint8", shape=(3, 4, 4))
    assert [file.images for file in dataset.files] == [1, 1, 1]
    assert [int(image.max()) for image in dataset.read_images(0, 3)] == [0, 1, 2]
    (tmp_path / "class-0" / "n00.JPEG").write_bytes(b"\xff\xd8\xff\xe0" + bytes(44))
    with pytest.raises(DatasetError, match=r"holds neither dataset\.json nor \*\.tensors"):
        open_dataset(tmp_path, dtype="uint8", shape=(3, 4, 4))


def test_linked_folders_of_tensors_are_read(tmp_path: Path, made: Path) -> None:
    (made / "dataset.json").unlink()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "linked").symlink_to(made)
    (tmp_path / "other" / "circle").symlink_to(tmp_path / "other")
    dataset = open_dataset(tmp_path / "other", dtype="uint8", shape=(3, 4, 4))
    assert [file.name for file in dataset.files] == [f"linked/images-{index:05d}.tensors" for index in range(3)]


def test_a_sidecar_of_60_gb_is_refused_unread(made: Path) -> None:
    with (made / "dataset.xxh3").open("wb") as file:
        file.truncate(60_000_000_000)
    with pytest.raises(DatasetError, match="holds 60,000,000,000 bytes; 7 images need 56"):
        open_dataset(made).hashes()
