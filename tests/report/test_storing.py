"""Store JPEG or tensors: which ways are compared, what each would reach, and what is answered."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inferkit.records.figures import Repeat
from inferkit.records.run import Run
from inferkit.report.conclusion import conclude
from inferkit.report.screen import screen
from inferkit.report.storing import Way, answer, answers, here, stored, ways
from tests.report.conftest import BYTES_PER_FILE, MakeRun

IMAGE = 150_528
NETWORK = "tensorrt resnet50 float16"


@pytest.fixture
def runs(make_way: MakeRun) -> list[Run]:
    return [
        make_way("jpeg", 7100, {"read": 60_000, "decode": 7400, "copy": 90_000, "infer": 11_000}),
        make_way("nvjpeg", 9800, {"read": 20_000, "decode": 11_500, "copy": 90_000, "feed": 10_000, "infer": 11_000}),
        make_way("direct", 10_900, {"read": 46_000, "copy": 90_000, "feed": 45_000, "infer": 11_000}),
        make_way("mapped", 10_950, {"copy": 90_000, "feed": 85_000, "infer": 11_000}),
    ]


def by_reader(runs: list[Run]) -> dict[str, Way]:
    (compared,) = ways(runs).values()
    return {str(way.run.point["reader"]): way for way in compared}


def test_each_reader_is_a_way_with_its_bytes_ceiling_and_bandwidth(runs: list[Run]) -> None:
    found = by_reader(runs)
    assert {name: way.nbytes for name, way in found.items()} == {
        **dict.fromkeys(["jpeg", "nvjpeg"], BYTES_PER_FILE),
        **dict.fromkeys(["direct", "mapped"], IMAGE),
    }
    assert {name: way.ceiling for name, way in found.items()} == {
        "jpeg": 7400,
        "nvjpeg": 10_000,  # what stages share is a limit as any
        "direct": 11_000,
        "mapped": 11_000,
    }
    assert found["direct"].reads == here(list(found.values())) == 46_000 * IMAGE
    assert found["nvjpeg"].reads == 20_000 * BYTES_PER_FILE
    assert found["mapped"].reads is found["jpeg"].reads is None  # it reads nothing; its threads decode as well


def test_ways_are_named_by_who_decodes(runs: list[Run]) -> None:
    assert {way.name for way in by_reader(runs).values()} == {
        "JPEG, decoded by the CPU's threads (jpeg)",
        "JPEG, decoded by the GPU's decoder (nvjpeg)",
        "tensors (direct)",
        "tensors (mapped)",
    }


def test_a_feed_that_reading_explains_is_no_other_ceiling(make_way: MakeRun, runs: list[Run]) -> None:
    slow = make_way("nvjpeg", 1900, {"read": 2000, "decode": 11_500, "feed": 1950, "infer": 11_000})
    assert by_reader([slow, runs[2]])["nvjpeg"].ceiling == 11_000
    serial = make_way("jpeg", 1500, {"read": 2000, "decode": 7400, "feed": 1550, "infer": 11_000})
    assert by_reader([serial, runs[2]])["jpeg"].ceiling == 7400


def test_the_best_valid_pipeline_of_a_reader_stands_for_it(make_way: MakeRun, runs: list[Run]) -> None:
    ceilings = {"read": 46_000, "infer": 11_000}
    more = [
        make_way("direct", 10_000, ceilings, axes={"threads": 2}),
        make_way("direct", 12_000, ceilings, axes={"threads": 8}, verdict="INVALID", reasons=["noisy"]),
    ]
    assert by_reader([*runs, *more])["direct"].rate == 10_900


@pytest.mark.parametrize("kept", [slice(0, 2), slice(2, 4), slice(0, 0), slice(0, 1)])
def test_one_way_to_store_is_no_comparison(kept: slice, runs: list[Run]) -> None:
    assert ways(runs[kept]) == {}
    assert list(answers(runs[kept])) == []
    assert "nothing to compare" in str(stored(runs[kept]))


def test_what_a_record_lacks_leaves_its_pipeline_out(make_way: MakeRun, runs: list[Run]) -> None:
    ceilings = {"read": 46_000, "infer": 11_000}
    for facts in ({"shape": None}, {"dtype": "complex"}, {"shape": [10**9] * 99}):
        assert ways([runs[0], make_way("direct", 10_900, ceilings, facts=facts)]) == {}
    random = make_way("memory", 10_900, ceilings)
    del random.facts["storage"]
    assert ways([runs[0], random]) == {}


def test_networks_answer_before_none(make_way: MakeRun, runs: list[Run]) -> None:
    null = {"engine": "null", "model": "", "precision": ""}
    streams = [make_way(name, 20_000, {"read": 21_000}, axes=null) for name in ("nvjpeg", "direct")]
    assert list(ways([*streams, *runs])) == [NETWORK]
    assert list(ways(streams)) == ["null"]
    assert list(ways([*streams, runs[0]])) == ["null"]
    other = [run.model_copy(update={"point": run.point | {"model": "vit"}}) for run in runs]
    assert [lead for lead, _ in answers([*runs, *other])] == [
        f"Store JPEG or tensors, {NETWORK}",
        "Store JPEG or tensors, tensorrt vit float16",
    ]


def test_the_answer_names_the_bandwidth_at_which_it_turns(runs: list[Run]) -> None:
    (_, told), *_ = answers(runs)
    assert told == (
        "JPEG where the storage delivers less than 1.51 GB/s, tensors where it delivers more; measured here: "
        "9,800 ± 98 images/s from JPEG, decoded by the GPU's decoder (nvjpeg) and 10,950 ± 110 images/s from tensors "
        "(mapped)"
    )
    assert f"Store JPEG or tensors: {told}" in str(conclude(runs))
    assert "Store JPEG or tensors: JPEG where the" in screen(runs)


def test_where_decoding_is_no_limit_the_smaller_store_wins_everywhere(make_way: MakeRun) -> None:
    ceilings = {"read": 60_000, "decode": 20_000, "infer": 11_000}
    pair = [make_way("nvjpeg", 10_900, ceilings), make_way("direct", 10_900, ceilings)]
    assert next(answers(pair))[1].startswith("JPEG at any bandwidth: as many images/s or more, of fewer bytes; ")
    large = {"reader": {"bytes_per_file": 4_000_000}}  # of a camera
    pair[0] = make_way("nvjpeg", 10_900, ceilings, facts=large)
    assert next(answers(pair))[1].startswith("tensors at any bandwidth")


positive = st.floats(1e2, 1e6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(positive, positive, st.floats(1e4, 1e7), st.floats(1e4, 1e7), st.floats(1e6, 1e12))
def test_the_answer_is_that_of_the_curves(
    make_way: MakeRun, jpeg: float, tensors: float, jpeg_bytes: float, tensor_bytes: float, at: float
) -> None:
    run = make_way("direct", 100, {"infer": 100})
    pair = [Way(run, "JPEG", jpeg_bytes, jpeg, None), Way(run, "tensors", tensor_bytes, tensors, None)]
    small, large = sorted(pair, key=lambda way: way.nbytes)
    told = answer(pair)
    if told.startswith(f"{small.stored} at any bandwidth"):
        assert small.at(at) >= 0.97 * large.at(at)
    else:
        assert told.startswith(f"{small.stored} where the storage delivers less than")
        turn = small.ceiling * large.nbytes
        ahead = small.at(at) >= 0.999 * large.at(at) if at <= turn else large.at(at) >= 0.999 * small.at(at)
        assert ahead


def test_images_are_counted_by_byte_core_and_joule(make_way: MakeRun, runs: list[Run]) -> None:
    windows = [Repeat(start_s=k, seconds=1, images=9, nbytes=9, batches=3, cpu_s=2.0, warmup=not k) for k in range(3)]
    runs[1] = make_way(
        "nvjpeg", 9800, {"decode": 10_000}, repeats=windows, facts={"images_per_joule": 16.3333}, axes={"ranks": 2}
    )
    table = stored(runs)
    (row,) = [row for row in table.rows if "nvjpeg" in row[1]]
    assert row[2:] == ["ranks 2", "110 kB", "9,091", "9,800 ± 98", "2.00", "4,900", "16.3"]
    unknown = next(row for row in table.rows if "mapped" in row[1])
    assert unknown[6:] == ["–", "–", "–"]
    assert "images per joule" in table._repr_mimebundle_()["text/html"]
