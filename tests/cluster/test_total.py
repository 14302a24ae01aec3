"""What nodes measured becomes one figure, and what speaks against it is said with the node's name."""

from typing import Any

import pytest

from inferkit.cluster.clocks import Offset
from inferkit.cluster.total import Share, combine_nodes
from inferkit.ranks.combine import combine
from inferkit.records.outcome import Outcome
from inferkit.validity.io_accounting import shares
from tests.ranks.test_aggregate import WINDOW, jobs, outcome, trace

GOOD = Offset(5_000, 1_000)


def share(name: str, *rates: float, boot: str = "", began: float = 0.0, **changes: Any) -> Share:
    """Return what a node's own group makes of ranks with such rates."""
    ranks = [outcome(trace(rate, began=began)) for rate in rates]
    own = combine(jobs(len(rates)), ranks, {})
    told = changes.pop("told", {})
    own = own.model_copy(update={**told, "facts": own.facts | changes.pop("facts", {})})
    return Share(name, boot or name, own, changes.pop("before", GOOD), changes.pop("after", GOOD))


def total(*nodes: Share) -> Outcome:
    return combine_nodes(nodes, WINDOW, {})


def test_the_figure_is_the_sum_of_all_ranks_of_all_nodes() -> None:
    found = total(share("a", 100.0, 50.0), share("b", 120.0))
    assert found.measured is not None
    assert found.measured.images_per_s == pytest.approx(270.0)
    assert [(node["name"], node["ranks"], round(node["rate"])) for node in found.facts["nodes"]] == [
        ("a", 2, 150),
        ("b", 1, 120),
    ]
    assert [rank["host"] for rank in found.facts["ranks"]] == ["a", "a", "b"]
    assert found.facts["group"]["overlap"] == pytest.approx(1.0, abs=1e-5)
    assert found.reasons == []


def test_the_slowest_node_is_named() -> None:
    found = total(share("a", 100.0), share("b", 60.0), share("c", 101.0))
    assert any(text.startswith("node b is the slowest: 59.4 % of the rate of node c") for text in found.warnings)


def test_a_node_that_started_late_makes_the_figure_invalid() -> None:
    found = total(share("a", 100.0), share("b", 100.0, began=5.0))
    assert any("were running for only" in text for text in found.reasons)


def test_clocks_that_are_hardly_known_cost_overlap_and_are_told() -> None:
    vague = Offset(0, 150_000_000)
    found = total(share("a", 100.0), share("b", 100.0, before=vague, after=vague))
    assert found.facts["group"]["clock_error_s"] == pytest.approx(0.3)
    assert found.facts["group"]["overlap"] < 1 - 0.3 / (WINDOW.seconds - WINDOW.warmup_s) + 1e-6
    assert any(text.startswith("the clock of node b is known to 300 ms only") for text in found.warnings)


def test_a_clock_that_jumps_makes_the_figure_invalid() -> None:
    found = total(share("a", 100.0), share("b", 100.0, after=Offset(2_000_000_000, 1_000)))
    assert any(text.startswith("the clock of node b moved by 2.00 s") for text in found.reasons)


def test_what_one_node_says_has_its_name_and_what_all_say_is_said_once() -> None:
    one = share("a", 100.0, told={"warnings": ["shared", "mine"], "unverified": ["x"]})
    found = total(one, share("b", 100.0, told={"warnings": ["shared"], "unverified": ["x"]}))
    assert found.warnings[:2] == ["shared", "node a: mine"]
    assert found.unverified == ["x"]


def storage(**changes: Any) -> dict[str, Any]:
    told = {
        "filesystem": "nfs4",
        "network": True,
        "fuse": False,
        "stacked": False,
        "in_memory": False,
        "delivered_bytes": 100,
        "read_bytes": 100,
        "whole_bytes": 100,
        "process_read_bytes": 100,
        "disk_counter": [None, None],
        "written_counter": [None, None],
        "wire_counter": [1000, 1100],
        "resident_before": 0.0,
        "resident_after": 0.0,
    }
    told |= changes
    return told | shares(told)


def test_counters_of_several_machines_add_up_and_one_machine_s_are_its_own() -> None:
    apart = total(*(share(name, 100.0, facts={"storage": storage()}) for name in "ab"))
    assert apart.facts["storage"]["delivered_bytes"] == 200
    assert apart.facts["storage"]["wire_bytes"] == 200
    assert apart.facts["storage"]["from_storage"] == 1.0
    shared = total(*(share(name, 100.0, boot="one", facts={"storage": storage()}) for name in "ab"))
    assert shared.facts["storage"]["wire_bytes"] == 100
    assert any("2 nodes are workers on 1 machine" in text for text in shared.warnings)


def test_a_node_whose_pages_were_in_memory_is_not_hidden_by_the_others() -> None:
    warm = storage(resident_before=0.8, process_read_bytes=20, wire_counter=[0, 20])
    found = total(share("a", 100.0, facts={"storage": storage()}), share("b", 100.0, facts={"storage": warm}))
    assert found.facts["storage"]["resident_before"] == 0.8
    assert found.facts["storage"]["from_storage"] == pytest.approx(0.6)


def test_gpus_of_two_nodes_are_two() -> None:
    gpu = {"0": {"mean_power_w": 300.0, "others": []}}
    found = total(*(share(name, 100.0, facts={"gpus": gpu}) for name in "ab"))
    assert sorted(found.facts["gpus"]) == ["a:0", "b:0"]
