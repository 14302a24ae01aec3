from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit.batch import Piece
from inferkit.errors import ParameterError
from inferkit.readers.split import batches, behind, split

file_sizes = st.lists(st.integers(0, 400), max_size=12)
threads_ = st.integers(1, 40)
batch_sizes = st.integers(1, 600) | st.sampled_from([255, 256, 257])


def images(pieces: list[Piece] | tuple[Piece, ...]) -> list[int]:
    return [image for piece in pieces for image in range(piece.first, piece.first + piece.images)]


def place(files: list[int], piece: Piece) -> None:
    """Check that a piece lies in its file and that both of its indices mean the same image."""
    assert piece.start >= 0
    assert piece.images > 0
    assert piece.start + piece.images <= files[piece.file]
    assert piece.first == sum(files[: piece.file]) + piece.start


@given(file_sizes, threads_)
def test_uniform_gives_each_image_once(files: list[int], threads: int) -> None:
    shares = split(files, threads, "uniform")
    for piece in (piece for share in shares for piece in share):
        place(files, piece)
    assert [image for share in shares for image in images(share)] == list(range(sum(files)))
    sizes = [len(images(share)) for share in shares]
    assert len(sizes) == threads
    assert max(sizes) - min(sizes) <= 1


@given(file_sizes, threads_, st.integers(0, 3))
def test_all_gives_each_image_to_every_thread(files: list[int], threads: int, seed: int) -> None:
    shares = split(files, threads, "all", seed=seed)
    assert len(shares) == threads
    for share in shares:
        for piece in share:
            place(files, piece)
        assert sorted(images(share)) == list(range(sum(files)))
    assert shares == split(files, threads, "all", seed=seed)


@given(file_sizes, threads_, st.integers(0, 3000))
def test_behind_gives_the_same_images_from_another_on(files: list[int], threads: int, skip: int) -> None:
    for share in split(files, threads, "uniform"):
        turned = behind(share, skip)
        for piece in turned:
            place(files, piece)
        own = images(share)
        first = skip % len(own) if own else 0
        assert images(turned) == own[first:] + own[:first]


def test_all_gives_every_thread_an_order_of_its_own() -> None:
    files = [3] * 20
    first, second = split(files, 2, "all", seed=1)
    assert first != second
    assert first != split(files, 2, "all", seed=2)[0]


def test_forty_files_over_eight_threads_are_forty_files() -> None:
    # The original's split reads only 12 of them, so that the page cache answers.
    shares = split([25] * 40, 8, "uniform")
    assert [len({piece.file for piece in share}) for share in shares] == [5] * 8
    assert len({piece.file for share in shares for piece in share}) == 40


def test_sixteen_threads_on_ten_files() -> None:
    # The original aborts.
    shares = split([10] * 10, 16, "uniform")
    assert Counter(image for share in shares for image in images(share)) == Counter(range(100))


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"'random'.*uniform.*all"):
        split([1], 1, "random")


@given(file_sizes, threads_, batch_sizes, st.sampled_from(["uniform", "all"]))
def test_one_epoch_in_batches(files: list[int], threads: int, batch_size: int, mode: str) -> None:
    seen: Counter[int] = Counter()
    for share in split(files, threads, mode):
        cut = list(batches(share, batch_size, 1))
        for pieces in cut:
            for piece in pieces:
                place(files, piece)
        sizes = [len(images(pieces)) for pieces in cut]
        assert all(size == batch_size for size in sizes[:-1])
        assert not sizes or 0 < sizes[-1] <= batch_size
        assert [i for pieces in cut for i in images(pieces)] == images(share)
        seen.update(i for pieces in cut for i in images(pieces))
    times = 1 if mode == "uniform" else threads
    assert seen == Counter(dict.fromkeys(range(sum(files)), times))


@given(file_sizes, batch_sizes, st.integers(0, 4))
def test_epochs_wrap_into_each_other(files: list[int], batch_size: int, epochs: int) -> None:
    (share,) = split(files, 1, "uniform")
    cut = list(batches(share, batch_size, epochs))
    assert [i for pieces in cut for i in images(pieces)] == images(share) * epochs
    assert all(len(images(pieces)) == batch_size for pieces in cut[:-1])


@given(file_sizes.filter(any), batch_sizes)
def test_for_ever_every_batch_is_full(files: list[int], batch_size: int) -> None:
    (share,) = split(files, 1, "uniform")
    cut = list(islice(batches(share, batch_size, None), 7))
    total = sum(files)
    assert [len(images(pieces)) for pieces in cut] == [batch_size] * 7
    assert [i for pieces in cut for i in images(pieces)] == [k % total for k in range(7 * batch_size)]


def test_empty_share_has_no_batches() -> None:
    assert list(batches([], 4, None)) == []
    assert split([], 2, "uniform") == [[], []]
    assert split([0, 0], 2, "all") == [[], []]


def test_batch_across_files() -> None:
    (share,) = split([3, 0, 2, 4], 1, "uniform")
    assert list(batches(share, 4, 1)) == [
        (Piece(0, 0, 3, 0), Piece(2, 0, 1, 3)),
        (Piece(2, 1, 1, 4), Piece(3, 0, 3, 5)),
        (Piece(3, 3, 1, 8),),
    ]
