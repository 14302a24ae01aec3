from typing import Any

import pytest

from inferkit.records.figures import Figure
from inferkit.records.host import Host
from inferkit.records.run import REUSED, Peer, Run
from inferkit.report.conclusion import conclude
from inferkit.report.screen import screen
from tests.report.conftest import MakeRun


def lines_of(*runs: Run) -> list[str]:
    return str(conclude(iter(runs))).splitlines()


def test_pipeline(make_run: MakeRun) -> None:
    first = lines_of(make_run(58), make_run(40))[0]
    assert first == (
        "onnx resnet18 float32 with buffered reads: 58.00 ± 0.58 images/s · 8.73 MB/s; 96 % of the predicted 60.3; "
        "infer is the bottleneck; batch size 32; VALID, not for quoting (demo profile)"
    )
    assert lines_of(make_run(58, profile="quick"))[0].endswith("batch size 32; VALID")


def test_what_is_not_to_be_trusted_follows(make_run: MakeRun, failed: Run) -> None:
    bad = make_run(26, verdict="INVALID", reasons=["served from memory"], warnings=["spread"], unverified=["NUMA node"])
    other = bad.model_copy(update={"id": "another", "warnings": ["spread of 7 %"]})
    text = "\n".join(lines_of(bad, other, failed))
    assert "INVALID: pipeline · onnx · resnet18 · float32 · buffered · batch size 32: served from memory" in text
    assert "FAILED: pipeline · onnx · vgg19: EngineError: out of memory" in text
    assert "Warning: pipeline · onnx · resnet18 · float32 · buffered · batch size 32: spread" in text
    assert text.count("NUMA node") == 1
    assert "Not verified: NUMA node (2 points have one like it)" in text


def test_copies_tell_plateau_and_where_it_begins(make_copy: MakeRun) -> None:
    speeds = {65536: 3e9, 1 << 20: 8.9e9, 1 << 22: 9.0e9, 1 << 24: 10e9, 1 << 26: 9.8e9}
    runs = [make_copy(size, "pinned", speed) for size, speed in speeds.items()]
    runs.append(make_copy(1 << 27, "pinned", 99e9, verdict="INVALID", reasons=["x"]))
    assert (
        lines_of(*runs)[0] == "host-to-host copy (no GPU), pinned: peak 10 GB/s at 16 MiB, "
        "at least 90 % of it from 4 MiB on, 9.80 GB/s at 64 MiB, above which none is VALID"
    )


def test_a_gpu_is_held_against_its_reference(make_copy: MakeRun) -> None:
    host = Host.model_validate({"cpu": "x", "gpus": [{"index": 0, "name": "NVIDIA H100 80GB HBM3"}]})
    first = lines_of(make_copy(1 << 26, "pinned", 54e9, "cuda", host=host))[0]
    assert first.startswith("host-to-device copy · NVIDIA H100 80GB HBM3, pinned: 54 GB/s at 64 MiB; normal")
    assert "normal for H100 SXM: 50.9 GB/s to 55.3 GB/s" in first
    assert "normal" not in lines_of(make_copy(1 << 26, "pageable", 12e9, "cuda", host=host))[0]
    run = make_copy(1 << 26, "pinned", 45e9, "cuda", host=host)
    both_ways = run.model_copy(update={"point": run.point | {"direction": "both"}})
    several = run.model_copy(update={"point": run.point | {"gpu": "0+1"}})
    assert not [line for line in lines_of(both_ways, several) if "normal" in line]


def test_the_largest_copy_is_held_against_its_peer(make_copy: MakeRun) -> None:
    held = [Peer(name="nvbandwidth", figure=Figure(bytes_per_s=55e9), ratio=ratio) for ratio in (0.5, 0.99)]
    sizes = [(1 << 20, [held[0]]), (1 << 26, [held[1]]), (1 << 27, [Peer(name="nvbandwidth", missing="why")])]
    first = lines_of(*(make_copy(size, "pinned", 54e9, "cuda", peers=peers) for size, peers in sizes))[0]
    assert "0.99 of nvbandwidth at 64 MiB" in first
    assert "0.50" not in first


def test_inference_alone_is_held_against_its_peer(make_run: MakeRun) -> None:
    peers = [Peer(name="trtexec", figure=Figure(images_per_s=60.0), ratio=0.97)]
    assert "; 0.97 of trtexec; " in lines_of(make_run(58, measure="infer", peers=peers))[0]


def test_each_gpu_is_told_with_each_numa_node(make_copy: MakeRun) -> None:
    runs = [
        run.model_copy(update={"point": run.point | {"gpu": 1, "direction": "in", "node": node}})
        for node, run in enumerate(make_copy(1 << 28, "pinned", speed, "cuda") for speed in (54e9, 41e9))
    ]
    assert lines_of(*runs)[0] == "NUMA nodes, gpu 1 · in: 54 GB/s with node 0, 41 GB/s with node 1"


def test_reads_are_told_from_the_fastest_reader_on(make_read: MakeRun, failed: Run) -> None:
    slow = [make_read("direct", n, 32, n * 1e9) for n in (1, 2)]
    fast = [make_read("buffered", n, 32, n * 2e9, fio=4e9) for n in (1, 2)]
    first, second, *_ = lines_of(*slow, *fast)
    assert first.startswith(
        "Fastest reader buffered: buffered · threads 2 · batch size 32: 26,570 ± 530 images/s · 4 GB/s"
    )
    assert "1.00 of fio psync" in first
    assert second.startswith("Reader direct: direct · threads 2")


@pytest.mark.parametrize(
    "skipped", [2, [{"name": "a.jpg", "reason": "truncated"}, {"name": "b.jpg", "reason": "empty"}]]
)
def test_data_set(skipped: object, make_run: MakeRun) -> None:
    facts: dict[str, Any] = {"images": 1234, "skipped": skipped}
    run = make_run(notebook="01", measure="dataset", facts=facts, params={"data": "data/x"})
    assert lines_of(run)[0].startswith("Data set data/x: 1,234 images made, 2 skipped, at 58.00 ± 0.58 images/s")


def test_a_ceiling_alone(make_run: MakeRun) -> None:
    assert lines_of(make_run(58, measure="infer"))[0].startswith("infer alone: 58.00 ± 0.58 images/s")


def test_host_memory_is_told_with_what_a_copy_moves(make_run: MakeRun) -> None:
    figure = Figure(bytes_per_s=9e9, half_width=0.01)
    run = make_run(notebook="02", measure="memory", point={"threads": 4}, measured=figure)
    assert lines_of(run)[0].startswith(
        "Host memory, 4 threads at once: 9.000 ± 0.090 GB/s copied, twice that moved; VALID"
    )


def test_nothing_measured_is_said() -> None:
    assert lines_of() == ["No result: there are no records"]
    assert screen([]) == "no records"


def test_markdown_shows_texts_as_they_are(make_run: MakeRun) -> None:
    run = make_run(point={"engine": "onnx", "model": "my_*net*_<b>"}, warnings=["a\n# [x](y)"])
    shown = conclude([run])._repr_mimebundle_()
    assert r"**onnx my\_\*net\*\_\<b\> with its reads**" in shown["text/markdown"]
    assert r"a \# \[x\](y)" in shown["text/markdown"]
    assert "my_*net*_<b>" in shown["text/plain"]


def test_points_that_are_invalid_for_the_same_reason_are_told_of_once(make_run: MakeRun) -> None:
    short, other = "duration_s was 1.0 s, profile quick demands 30.0 s", "served from memory"
    batches = [8, 16, 32, 64, 128]
    many = [make_run(26, point={"batch_size": size}, verdict="INVALID", reasons=[short]) for size in batches]
    few = [make_run(26, point={"batch_size": size}, verdict="INVALID", reasons=[other]) for size in (256, 512)]
    told = [rest for lead, rest in conclude([*many, *few, make_run(26)]).sentences if lead == "INVALID"]
    assert told == [
        f"5 of 8 points: {short}",
        f"pipeline · batch size 256; pipeline · batch size 512: {other}",
    ]
    shown = " ".join(screen([*many, *few]).split())
    assert f"! 5 of 7 points: INVALID: {short}" in shown
    assert f"! pipeline · batch size 256; pipeline · batch size 512: INVALID: {other}" in shown
    assert shown.count(short) == 2  # in the answer, and once of all


def test_one_size_is_no_curve(make_copy: MakeRun) -> None:
    noisy = [make_copy(1 << size, "pageable", 7e9, verdict="INVALID", reasons=["x"]) for size in (23, 26)]
    alone = make_copy(1 << 16, "pageable", 12e9)
    told = "host-to-host copy (no GPU), pageable: 12 GB/s at 64 KiB"
    assert lines_of(alone)[0] == told
    assert lines_of(alone, *noisy)[0] == f"{told}, the only one of 3 sizes that is VALID"


def test_copies_of_batches_are_told_with_their_figure(make_copy: MakeRun) -> None:
    runs = [
        make_copy(1, "", 0, point={"batch_size": size, "device": "cpu"}, measured=Figure(images_per_s=rate))
        for size, rate in ((8, 60_000.0), (16, 70_000.0))
    ]
    (told, *_) = lines_of(*runs)
    assert told.startswith("host-to-host copy (no GPU) alone: 70,000 images/s at batch size 16")
    assert not any("only point" in line for line in lines_of(*runs))


def test_a_curve_that_falls_is_no_plateau(make_copy: MakeRun) -> None:
    speeds = {65536: 18.2e9, 1 << 20: 17e9, 1 << 24: 8e9, 1 << 28: 6.9e9}
    first = lines_of(*(make_copy(size, "pageable", speed) for size, speed in speeds.items()))[0]
    assert first.endswith(
        "pageable: peak 18.2 GB/s at 64 KiB, which larger copies do not hold: 6.90 GB/s at 256 MiB, the largest"
    )


def test_answers_are_of_valid_points_alone(make_run: MakeRun, make_read: MakeRun, make_copy: MakeRun) -> None:
    bad: dict[str, Any] = {"verdict": "INVALID", "reasons": ["served from memory"]}
    reads = [make_read("direct", 1, 32, 1e9), *(make_read("buffered", n, 32, 9e9, **bad) for n in (1, 2))]
    told = lines_of(*reads)
    assert told[0].startswith("Reader direct: direct · threads 1")
    assert told[1] == "Reader buffered: none of 2 points is VALID"
    assert lines_of(make_run(58, **bad))[0] == "onnx resnet18 float32: the only point is INVALID"
    assert lines_of(make_run(58, measure="infer", **bad))[0] == "infer alone: the only point is INVALID"
    assert lines_of(make_copy(1 << 20, "pinned", 9e9, **bad))[0].endswith("pinned: the only point is INVALID")
    assert not [line for line in lines_of(make_run(58, **bad)) if "bottleneck" in line]
    assert "bottleneck" not in screen([make_run(58, **bad)])


def test_readers_that_are_not_apart_are_not_ranked(make_read: MakeRun) -> None:
    reads = [make_read("direct", 1, 32, 4e9), make_read("buffered", 1, 32, 4.1e9), make_read("uring", 1, 32, 1e9)]
    told = lines_of(*reads)
    assert [line.partition(":")[0] for line in told[:4]] == [
        "Reader buffered",
        "Reader direct",
        "Reader uring",
        "Fastest reader",
    ]
    assert "no difference found: buffered 27,240 ± 540 images/s and direct 26,570 ± 530 images/s" in told[3]


def test_what_qualifies_a_figure_stands_beside_it(make_run: MakeRun) -> None:
    odd = "outputs: the same for 8 different images: does the network look at them?"
    old = f"{REUSED}runs/nas/03b.ipynb (2026-01-02T03:04:05+00:00)"
    started = "2026-01-02T03:04:05+00:00"
    run = make_run(58, warnings=[old, odd], unverified=["content of the images: verify_batches is 0"], started=started)
    (first, *rest) = lines_of(run)
    assert "taken from runs/nas/03b.ipynb (2026-01-02T03:04:05+00:00); outputs: the same for 8" in first
    assert f"Not measured again: 1 of 1 points, from runs/nas/03b.ipynb of {started}" in rest
    assert sum(old in line for line in rest) == 0
    text = " ".join(screen([run]).split())
    assert f"! Not measured again: 1 of 1 points, from runs/nas/03b.ipynb of {started}" in text
    assert f"! warning: {odd}" in text
    assert "! not verified: content of the images: verify_batches is 0" in text
    assert "58.00 ± 0.58" in text


def test_what_could_not_be_planned_is_said_once_and_in_words(make_run: MakeRun) -> None:
    failure = {"kind": "ParameterError", "message": "memories: device cpu has no pinned memory"}
    run = make_run(measure="plan", verdict="FAILED", failure=failure, measured=None, point={}, profile="quick")
    assert lines_of(run) == ["FAILED: plan: ParameterError: memories: device cpu has no pinned memory"]
