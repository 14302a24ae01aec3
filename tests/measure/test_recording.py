"""What a Run is made of, beyond what its ranks measured."""

from inferkit.measure.recording import run_of
from inferkit.plan.build import plan
from inferkit.records.figures import Figure, Repeat
from inferkit.records.job import Outcome
from inferkit.records.params import SingleProcess
from inferkit.records.run import UNSTEADY, Run
from tests.measure.test_prediction import alone

STEADY = Outcome(
    repeats=[Repeat(start_s=0, seconds=2, images=200, nbytes=2000, batches=20)],
    stages={},
    measured=Figure(images_per_s=100, bytes_per_s=1000, half_width=0.01),
)


def pipeline_beside(ceiling: Run) -> Run:
    planned = plan(SingleProcess.check({"readers": ["memory"], "engines": ["null"], "shape": [3, 8, 8]}))
    (point,) = [point for point in planned.points if point.measure == "pipeline"]
    return run_of(planned, point, STEADY, {"copy": ceiling})


def test_what_is_held_against_a_steady_ceiling_is_valid() -> None:
    run = pipeline_beside(alone(101, measure="copy", profile="demo"))
    assert (run.verdict, run.bottleneck) == ("VALID", "copy")


def test_of_a_demo_that_is_held_against_an_unsteady_ceiling_that_is_said() -> None:
    reasons = [f"{UNSTEADY}: ± 60 %"]
    run = pipeline_beside(alone(101, measure="copy", profile="demo", verdict="INVALID", reasons=reasons))
    assert "the ceiling of copy is itself unsteady: see its record" in run.warnings
    assert run.predicted is not None


def test_in_other_profiles_it_is_no_ceiling() -> None:
    reasons = [f"{UNSTEADY}: ± 60 %"]
    run = pipeline_beside(alone(101, measure="copy", profile="quick", verdict="INVALID", reasons=reasons))
    assert "no ceiling of copy: alone it was not VALID, so the prediction lacks it" in run.warnings
    assert run.predicted is None
