"""Several machines in words and tables: the knee, efficiency, the slowest, and who did it."""

from typing import Any

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher

from inferkit.records.figures import Figure
from inferkit.records.run import Run
from inferkit.report.answer import Answer
from inferkit.report.charts.nodes import over_nodes
from inferkit.report.charts.theme import Nothing
from inferkit.report.conclusion import conclude
from inferkit.report.headline import headline
from inferkit.report.nodes import knees, nodes_table, of_nodes
from inferkit.report.scaling import setting, workers
from tests.report.conftest import MakeRun


@pytest.fixture
def make(make_run: MakeRun) -> MakeRun:
    def of(nodes: int, rate: float, read: float, infer: float, **changes: Any) -> Run:
        ceilings = {
            "read": Figure(images_per_s=read, bytes_per_s=read * 1e6),
            "infer": Figure(images_per_s=infer),
            "feed": Figure(images_per_s=read),
        }
        told = [{"name": f"n{k}", "rate": rate / nodes * (0.9 if k else 1.1)} for k in range(nodes)]
        values = {
            "notebook": "03d",
            "ceilings": ceilings,
            "measured": Figure(images_per_s=rate, bytes_per_s=rate * 1e6, half_width=0.01),
            "facts": {"nodes": told[::-1]},
        }
        made = make_run(rate, **{**values, **changes})
        return made.model_copy(update={"point": {"nodes": nodes, "ranks": 2, "gpus": 2, **made.point}})

    return of


def test_the_knee_is_where_reading_becomes_the_lower_ceiling_for_good(make: MakeRun) -> None:
    runs = [make(1, 900, 5000, 1000), make(2, 1800, 7000, 2000), make(4, 3000, 3500, 4000), make(8, 3100, 3600, 8000)]
    ((lead, told),) = knees(runs)
    assert lead.endswith("over the number of machines")
    assert told == "from 4 machines on reading, not the machines, is the bottleneck: 3.60 GB/s"
    assert told in str(conclude(runs))


def test_a_storage_that_is_never_the_limit_and_one_that_always_is(make: MakeRun) -> None:
    ((_, never),) = knees([make(1, 900, 5000, 1000), make(2, 1800, 9000, 2000)])
    assert never.startswith("up to 2 machines the machines, not reading, are the bottleneck")
    ((_, always),) = knees([make(1, 900, 950, 5000), make(2, 1800, 1900, 9000)])
    assert always.startswith("with any number of machines reading is the bottleneck")


def test_a_dip_in_between_is_no_knee(make: MakeRun) -> None:
    ((_, told),) = knees([make(1, 900, 950, 1000), make(2, 1800, 9000, 2000), make(4, 3500, 3600, 4000)])
    assert told.startswith("from 4 machines on")


def test_no_knee_is_told_of_what_is_not_valid(make: MakeRun) -> None:
    assert list(knees([make(2, 1.0, 2.0, 3.0, verdict="INVALID", reasons=["short"])])) == []
    assert list(knees([])) == []


def test_the_answer_tells_the_knee_of_its_own_work_and_draws_it(
    make: MakeRun, published: CapturingDisplayPublisher
) -> None:
    other = [make(n, 10.0 * n, 5000, 12.0 * n, point={"model": "vgg16"}) for n in (1, 2)]
    Answer().show_all([*other, make(1, 900, 5000, 1000), make(2, 1700, 1800, 2000)])
    last = {str(output["transient"]): output["data"] for output in published.outputs if output["transient"]}
    head, _, picture, _ = list(last.values())[:4]
    assert head["text/plain"].startswith("These 2 machines infer 1,700")
    assert "From 2 machines on reading, not the machines, is the bottleneck: 1.80 GB/s." in head["text/plain"]
    assert "What do more machines bring?" in str(picture)
    assert "vgg16" not in str(picture)
    assert "From 2 machines" not in headline([make(2, 1700, 1800, 2000)]).sentence


def test_one_number_of_machines_is_not_drawn_over_their_number(make: MakeRun) -> None:
    chart = over_nodes([make(2, 1700, 1800, 2000)])
    assert isinstance(chart, Nothing)
    assert "one number was measured" in chart.why


def test_one_number_of_machines_has_no_knee(make: MakeRun) -> None:
    assert list(knees([make(2, 1800, 7000, 2000)])) == []
    assert "(100 % of the mean)" not in str(nodes_table([make(1, 900, 5000, 1000)]))


def test_efficiency_is_of_the_smallest_and_the_slowest_is_named(make: MakeRun) -> None:
    runs = [make(2, 1800, 7000, 2000), make(1, 1000, 5000, 1000)]
    ((_, steps),) = of_nodes(runs)
    assert [(step.nodes, step.efficiency) for step in steps] == [(1, 1.0), (2, pytest.approx(0.9))]
    table = str(nodes_table(runs))
    assert "n1 (90 % of the mean)" in table
    assert "90 %" in table.replace("90 % of the mean", "")


def test_who_did_it_is_said(make: MakeRun) -> None:
    sentence, _ = headline([make(4, 3000, 3500, 4000)])
    assert sentence.startswith("These 4 machines infer 3,000")
    assert headline([make(1, 3000, 3500, 4000)])[0].startswith("This server infers")
    run = make(4, 3000, 3500, 4000)
    assert setting(run) == "4 machines, 2 GPUs, 2 processes"
    assert workers(run) == 8
