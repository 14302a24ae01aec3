"""What a Run is made of, beyond what its ranks measured."""

from typing import Any

import pytest

from inferkit.measure.recording import run_of
from inferkit.plan.build import plan
from inferkit.records.figures import Figure, Repeat
from inferkit.records.outcome import Outcome
from inferkit.records.params import SingleProcess
from inferkit.records.run import UNSTEADY, Run
from inferkit.report.headline import headline
from tests.measure.test_prediction import alone

STEADY = Outcome(
    repeats=[Repeat(start_s=0, seconds=2, images=200, nbytes=2000, batches=20)],
    stages={},
    measured=Figure(images_per_s=100, bytes_per_s=1000, half_width=0.01),
)


NOISE: dict[str, Any] = {"verdict": "INVALID", "reasons": [f"{UNSTEADY}: ± 60 %"]}


def pipeline_beside(**ceilings: Run) -> Run:
    planned = plan(SingleProcess.check({"readers": ["memory"], "engines": ["null"], "shape": [3, 8, 8]}))
    (point,) = [point for point in planned.points if point.measure == "pipeline"]
    return run_of(planned, point, STEADY, ceilings)


@pytest.mark.parametrize("profile", ["demo", "quick"])
def test_what_is_held_against_a_steady_ceiling_is_valid(profile: str) -> None:
    run = pipeline_beside(copy=alone(101, measure="copy", profile=profile))
    assert (run.verdict, run.bottleneck) == ("VALID", "copy")
    assert run.predicted is not None


@pytest.mark.parametrize(("profile", "why"), [("demo", "was too noisy"), ("quick", "had no VALID figure")])
def test_nothing_is_predicted_from_a_ceiling_that_is_invalid(profile: str, why: str) -> None:
    """The figure stays VALID: it was steady. So does what is known of the other stages."""
    noisy, steady = alone(101, measure="read", profile=profile, **NOISE), alone(300, measure="copy", profile=profile)
    run = pipeline_beside(read=noisy, copy=steady)
    assert (run.verdict, run.predicted, run.bottleneck, run.reached) == ("VALID", None, None, None)
    assert run.warnings == [f"no prediction: reading alone {why}: see its record"]
    assert run.ceilings.keys() == {"copy"}
    assert headline([run]).sentence.endswith(f"; no prediction: reading alone {why}.")


def test_what_the_feed_tells_need_not_be_known_stage_by_stage() -> None:
    noisy = {name: alone(500, measure=name, profile="demo", **NOISE) for name in ("read", "copy")}
    steady = {name: alone(rate, measure="pipeline", profile="demo") for name, rate in (("feed", 300), ("infer", 101))}
    run = pipeline_beside(**noisy, **steady)
    assert run.predicted is not None
    assert (run.predicted.images_per_s, run.bottleneck) == (101, "infer")
    assert set(run.ceilings) - {"cpu"} == {"feed", "infer"}
    without = pipeline_beside(**noisy, infer=steady["infer"])
    assert without.predicted is None
    assert without.warnings == ["no prediction: reading alone and copying alone were too noisy: see its record"]
