"""What was counted beside a run, and what is said of its figure."""

from typing import Any

import pytest

from inferkit.validity.data_origin import Finding
from inferkit.validity.disturbance import LEAST_S, disturbances

QUIET_CPUS = {
    "on": "0-3",
    "allowed": "0-3",
    "regrouped": False,
    "clock": 1.0,
    "seconds": 90.0,
    "kernel": 0.01,
    "foreign": 0.01,
    "contended": 0.0,
    "ours": 0.5,
    "idle": 0.48,
    "steal": 0.0,
    "throttled_s": 0.0,
    "throttled": 0.0,
    "swapped_pages": 0.0,
    "others": [],
    "other_runs": [],
    "stopped_s": 0.0,
}
QUIET_PAUSES = {"usual_s": 0.002, "longest_s": 0.005, "stood_s": 0.0, "stood": 0.0}


def counted(**changes: Any) -> dict[str, Any]:
    pauses = QUIET_PAUSES | {name: value for name, value in changes.items() if name in QUIET_PAUSES}
    cpus = QUIET_CPUS | {name: value for name, value in changes.items() if name in QUIET_CPUS}
    return {"cpus": cpus, "pauses": pauses}


def found(profile: str, **changes: Any) -> list[Finding]:
    return list(disturbances(profile, [counted(**changes)]))


def kinds(profile: str, **changes: Any) -> list[str]:
    return [finding.kind for finding in found(profile, **changes)]


@pytest.mark.parametrize("profile", ["demo", "quick", "mlperf"])
def test_nothing_is_said_of_a_quiet_machine(profile: str) -> None:
    assert found(profile) == []
    assert list(disturbances(profile, [{}])) == []  # as of records that counted nothing
    assert list(disturbances(profile, [{"ranks": [{"rank": 0}]}])) == []


def test_libraries_that_were_loaded_before_all_others_are_named_once() -> None:
    ranks = [{"rank": k, **counted()} for k in range(2)]
    for rank in ranks:
        rank["cpus"]["preloaded"] = ["libfaketime.so.1"]
    ((kind, text),) = disturbances("quick", [{"ranks": ranks}])
    assert kind == "warning"
    assert text.startswith("libfaketime.so.1 was loaded into the run (LD_PRELOAD), and can change clocks and reads")


@pytest.mark.parametrize(
    ("name", "warned", "refused"),
    [
        ("stood", 0.03, 0.10),
        ("stopped_s", 0.03 * 90, 0.10 * 90),
        ("steal", 0.03, 0.10),
        ("throttled", 0.03, 0.10),
        ("swapped_pages", 30_000.0, 90_000.0),
    ],
)
@pytest.mark.parametrize("profile", ["quick", "mlperf"])
def test_lost_time_is_told_and_from_a_tenth_on_refused(profile: str, name: str, warned: float, refused: float) -> None:
    assert kinds(profile, **{name: warned / 2}) == []
    assert kinds(profile, **{name: warned}) == ["warning"]
    assert kinds(profile, **{name: refused * 0.99}) == ["warning"]
    assert kinds(profile, **{name: refused}) == ["reason"]
    assert kinds("demo", **{name: refused}) == ["warning"]


@pytest.mark.parametrize(
    ("foreign", "contended", "quick"),
    [
        (0.09, 0.09, []),
        (0.12, 0.12, ["warning"]),
        (0.24, 0.24, ["warning"]),
        (0.30, 0.25, ["reason"]),
        (0.60, 0.05, ["warning"]),  # the CPUs had room for both
    ],
)
def test_others_are_refused_for_what_they_took_while_no_cpu_was_idle(
    foreign: float, contended: float, quick: list[str]
) -> None:
    assert kinds("quick", foreign=foreign, contended=contended) == quick
    assert kinds("demo", foreign=foreign, contended=contended) == ["warning" for _ in quick]


def test_others_are_named_with_what_they_had() -> None:
    others = [{"pid": 7, "name": "make", "share": 0.3}, {"pid": 9, "name": "cc1plus", "share": 0.125}]
    (finding,) = found("quick", foreign=0.45, contended=0.4, others=others)
    assert finding.text == (
        "other programs had 45.0 % of the time of CPUs 0-3, 40.0 % while none was idle (make 7: 30.0 %, "
        "cc1plus 9: 12.5 %); 25.0 % is too much: end them, or give the run CPUs of its own"
    )


def test_storage_in_user_space_works_for_the_run() -> None:
    facts = counted(foreign=0.6, contended=0.6) | {"storage": {"fuse": True}}
    assert [finding.kind for finding in disturbances("quick", [facts])] == ["warning"]


def test_what_stands_still_for_most_of_the_time_demonstrates_nothing() -> None:
    (finding,) = found("demo", stood=0.8, longest_s=0.08)
    assert finding == Finding(
        "reason",
        "work stood still for 80.0 % of a window (longest pause 80 ms, usual 2 ms); 50.0 % is too much: "
        "find what stopped it (a signal, a quota, a hypervisor, storage that hangs), and measure again",
    )


def test_a_demo_ends_well_where_others_explain_why_it_stood_still() -> None:
    busy = {"stood": 0.8, "foreign": 0.85, "contended": 0.8}
    assert kinds("demo", **busy) == ["warning", "warning"]
    assert all(finding.text.startswith("noisy: ") for finding in found("demo", **busy))
    assert kinds("quick", **busy) == ["reason", "reason"]


def test_another_run_makes_a_figure_invalid_that_may_be_quoted() -> None:
    (finding,) = found("quick", other_runs=[12, 14])
    told = "another run of inferkit measured on the same CPUs (process 12, 14): wait for it, or end it"
    assert finding == Finding("reason", told)
    assert found("demo", other_runs=[12, 14]) == [Finding("warning", f"noisy: {told}")]


def test_of_several_ranks_the_worst_is_named() -> None:
    ranks = [{"rank": 0, **counted()}, {"rank": 1, **counted(stood=0.4)}, {"rank": 2, **counted(stood=0.2)}]
    (finding,) = disturbances("quick", [{"ranks": ranks}])
    assert finding.kind == "reason"
    assert finding.text.startswith("rank 1: work stood still for 40.0 % of a window")


def test_of_a_shorter_time_nothing_is_said() -> None:
    assert kinds("quick", seconds=LEAST_S * 0.9, stood=0.9, foreign=0.9, contended=0.9) == []


@pytest.mark.parametrize("profile", ["demo", "quick"])
def test_what_the_run_goes_by_is_not_changed_under_it(profile: str) -> None:
    (finding,) = found(profile, allowed="0", seconds=0.3)
    assert finding.kind == "reason"
    assert "began on CPUs 0-3, and then had 0:" in finding.text
    (finding,) = disturbances(profile, [counted(clock=0.5), counted(clock=0.5)])
    assert finding.kind == "reason"
    assert "clock went 0.50 s in each second of the kernel's" in finding.text
    assert found(profile, clock=0.995) == found(profile, clock=None) == []
    assert found(profile, clock=0.92, seconds=1.0) == []  # two clocks are not read at one instant
    assert [finding.kind for finding in found(profile, clock=0.98)] == ["reason"]
    (finding,) = found(profile, regrouped=True)
    assert finding.kind == "reason"
    assert "another control group" in finding.text
