"""Planning past what can be run: held against a simulation, and against curves whose law is known."""

import heapq
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inferkit.errors import RecordError
from inferkit.records.figures import Figure
from inferkit.records.run import Run
from inferkit.report.sizing import base_of, outlook, size
from inferkit.report.storage_curve import fit
from tests.report.conftest import MakeRun

Make = Callable[..., Run]


@pytest.fixture
def make(make_run: MakeRun) -> Make:
    def of(nodes: int, rate: float, read: float, infer: float, **changes: Any) -> Run:
        read_bytes = Figure(images_per_s=read, bytes_per_s=read * 150_528)
        values = {
            "notebook": "03d",
            "ceilings": {"read": read_bytes, "infer": Figure(images_per_s=infer)},
            "measured": Figure(images_per_s=rate, bytes_per_s=rate * 150_528, half_width=0.01),
            "bottleneck": "read" if read < infer else "infer",
            "params": {"device": "cuda", "source": "storage"},
            "profile": "quick",
        }
        made = make_run(rate, **{**values, **changes})
        return made.model_copy(update={"point": {"nodes": nodes, "ranks": 2, "gpus": 4, **made.point}})

    return of


def simulated(servers: int, infer_s: float, read_s: float, channels: int, batches: int = 60) -> float:
    """Return batches a second of servers that infer in turn what a storage reads for them, ``channels`` at a time.

    Each server asks for three batches ahead; the storage serves requests in the order in which they come.
    """
    free = [0.0] * min(channels, servers * 3)
    heapq.heapify(free)
    done = [0.0] * servers
    slots = [[0.0] * 3 for _ in range(servers)]
    requests = [(0.0, server, slot) for server in range(servers) for slot in range(3)]
    heapq.heapify(requests)
    completions = []
    for _ in range(servers * batches):
        asked, server, slot = heapq.heappop(requests)
        read = max(asked, heapq.heappop(free)) + read_s
        heapq.heappush(free, read)
        done[server] = max(done[server], read) + infer_s
        slots[server][slot] = done[server]
        completions.append(done[server])
        heapq.heappush(requests, (done[server], server, slot))
    completions.sort()
    first, last = len(completions) // 4, 3 * len(completions) // 4
    return (last - first) / (completions[last] - completions[first])


@given(infer_s=st.floats(0.05, 1.0), read_s=st.floats(0.005, 0.04), channels=st.integers(2, 12))
def test_a_plan_agrees_with_a_simulation_of_servers_and_storage(infer_s: float, read_s: float, channels: int) -> None:
    measured = {n: min(n / read_s * 3, channels / read_s) for n in (1, 2, 4, 8)}
    curve = fit(measured)
    for servers in (8, 64):
        planned = min(servers / infer_s, curve.at(servers))
        assert planned == pytest.approx(simulated(servers, infer_s, read_s, channels), rel=0.1)


@given(each=st.floats(1e2, 1e6), sigma=st.floats(0.001, 0.3), kappa=st.floats(1e-5, 1e-2))
def test_the_law_finds_what_it_was_made_of(each: float, sigma: float, kappa: float) -> None:
    measured = {n: each * n / (1 + sigma * (n - 1) + kappa * n * (n - 1)) for n in (1, 2, 4, 8, 16)}
    curve = fit(measured)
    assert all(curve.at(n) == pytest.approx(value, rel=0.03) for n, value in measured.items())
    assert curve.error is not None
    assert curve.error < 0.01
    if curve.name == "usl":
        assert curve.sigma == pytest.approx(sigma, rel=1e-3)
        assert curve.kappa == pytest.approx(kappa, rel=1e-3)


def test_a_plain_ceiling_is_called_so() -> None:
    curve = fit({1: 100.0, 2: 200.0, 4: 350.0, 8: 350.0})
    assert (curve.name, curve.at(512)) == ("ceiling", 350.0)
    assert str(curve).startswith("a plain ceiling, ± ")


def test_too_few_numbers_of_servers_are_no_law() -> None:
    curve = fit({1: 100.0, 2: 190.0})
    assert (curve.name, curve.at(1), curve.at(2), curve.at(64)) == ("measured", 100.0, 190.0, 190.0)


@given(st.dictionaries(st.integers(1, 64), st.floats(1.0, 1e9), min_size=1, max_size=6), st.integers(1, 4096))
@example({1: 2.0, 2: 1.0, 3: 1.0}, 1)
def test_no_measurement_breaks_a_curve(found: dict[int, float], n: int) -> None:
    curve = fit(found)
    assert 0 < curve.at(n) <= curve.best * (1 + 1e-9)


def test_a_target_takes_servers_gpus_and_bandwidth(make: Make) -> None:
    runs = [make(n, 1000.0 * n, 50_000.0 * n, 1100.0 * n, facts={"images_per_joule": 2.0}) for n in (1, 2, 4)]
    told = str(size(runs, 1e9, 86_400))
    assert "12 servers with 48 GPUs" in told  # 11,574 images a second
    assert "from the storage" in told
    assert "139 kWh for the GPUs" in told
    assert "every server adds 1,000 images/s" in told
    assert "no: 128 times the most" in told  # 512 of 4


def test_a_storage_that_is_too_slow_is_said(make: Make) -> None:
    runs = [make(n, min(1000.0 * n, 2500.0), min(4000.0 * n, 2500.0), 1100.0 * n) for n in (1, 2, 4, 8)]
    told = str(size(runs, 1e9, 86_400))
    assert "this storage gives at most 2,500 images/s. 12 servers would do with a faster one" in told
    assert any(row[4] == "storage" for row in size(runs, 1e9, 86_400).rows)


def test_a_server_whose_storage_held_it_back_counts_by_its_ceiling(make: Make) -> None:
    assert base_of([make(1, 900.0, 1000.0, 5000.0)]).server == 5000.0


def test_nothing_is_planned_on_what_is_not_valid(make: Make) -> None:
    runs = [make(1, 1000.0, 5000.0, 1100.0), make(2, 2000.0, 9000.0, 2200.0, verdict="INVALID", reasons=["short"])]
    with pytest.raises(RecordError, match=r"with 2 servers is INVALID \(short\): nothing is planned on it"):
        size(runs, 1e9, 86_400)
    with pytest.raises(RecordError, match="no record of a pipeline"):
        size([])
    assert outlook(runs).text.startswith("no outlook: ")


def test_demo_figures_and_memory_are_told_among_the_assumptions(make: Make) -> None:
    runs = [make(1, 1000.0, 5000.0, 1100.0, profile="demo", params={"device": "cpu", "source": "memory"})]
    told = str(size(runs))
    assert "not for quoting" in told
    assert "source was memory" in told
    assert "no law: fewer than 3" in told
