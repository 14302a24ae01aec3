"""The verdict: whether a figure is what it says it is."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from inferkit.readers import READERS
from inferkit.records.figures import Figure, Json
from inferkit.records.groups import Parameters, Reading
from inferkit.records.job import Job, ReadOptions, device_of, reading_of
from inferkit.records.outcome import Outcome
from inferkit.records.run import UNSTEADY
from inferkit.records.windows import PROFILES
from inferkit.units import duration, percent
from inferkit.validity.coverage import part
from inferkit.validity.data_origin import Finding, weigh
from inferkit.validity.decoding import decoding
from inferkit.validity.direct_storage import direct_storage
from inferkit.validity.disturbance import disturbances

DEMO_WIDTH = 0.25
"""Half-width of the interval above which even a figure of the demo profile is INVALID."""
MLPERF_SPREAD = 0.05
"""Largest distance of any repeat from the mean in profile mlperf (MLPerf Storage: runs within 5 %)."""


_FIGURES = re.compile(r"[\d.,]*\d")
"""What differs between the words of two processes that were disturbed alike."""


@dataclass
class Judgement:
    """What speaks against a figure, what nobody could check, and what a reader should know."""

    reasons: list[str] = field(default_factory=list)
    unverified: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, other: "Judgement") -> None:
        """Add what speaks against a further process, but what was said before with other figures."""
        for name in ("reasons", "unverified", "warnings"):
            own = getattr(self, name)
            said = {_FIGURES.sub("#", text) for text in own}
            own += [text for text in getattr(other, name) if _FIGURES.sub("#", text) not in said]


def judge(params: Parameters, job: Job, outcome: Outcome, measured: Figure | None) -> Judgement:
    """Weigh a finished run.

    Parameters
    ----------
    params, job, outcome, measured
        What was asked, what the rank was told, what it answered, and the figure made of that.
    """
    found, processes = Judgement(), [outcome, *outcome.others]
    _window(params, job, found)
    _spread(params, outcome, measured, found)
    for process in processes:
        found.add(_of_process(params, job, process))
    _take(disturbances(params.profile, [process.facts for process in processes]), found)
    reading = reading_of(job)
    if reading is not None and isinstance(params, Reading) and params.source == "storage":
        _take(part(reading, outcome), found)
    if (
        reading is not None
        and READERS[reading.reader].capabilities.has_files
        and outcome.facts.get("verified_images") == 0
        and "pixels" not in outcome.facts
    ):
        found.unverified.append("content of the images: " + _why_not_verified(reading))
    return found


def _of_process(params: Parameters, job: Job, outcome: Outcome) -> Judgement:
    """Weigh what one process, or one group of ranks, told."""
    found = Judgement(list(outcome.reasons), list(outcome.unverified), list(outcome.warnings))
    reading, device = reading_of(job), device_of(job)
    if isinstance(params, Reading) and reading is not None and reading.reader in params.readers and not reading.held:
        storage = outcome.facts.get("storage")
        _take(weigh(params.source, reading, storage, demo=params.profile == "demo"), found)
    _take(decoding(outcome.facts), found)
    _take(direct_storage(outcome.facts), found)
    if device is not None and device.kind == "cuda":
        _gpus(outcome.facts.get("gpus", {}), found)
    return found


def _take(findings: Iterable[Finding], found: Judgement) -> None:
    lists = {"reason": found.reasons, "unverified": found.unverified, "warning": found.warnings}
    for kind, text in findings:
        lists[kind].append(text)


def _why_not_verified(reading: ReadOptions) -> str:
    if READERS[reading.reader].capabilities.decodes:
        return "nobody hashed what JPEG files decode to (a data set of stage 01 has hashes)"
    if not reading.verify_batches:
        return "verify_batches is 0"
    return "the data set has no hashes beside it (inferkit dataset make writes them)"


def _gpus(gpus: dict[str, Json], found: Judgement) -> None:
    """Refuse figures of a GPU that was slowed down or shared; a power cap is normal under load."""
    if "missing" in gpus:
        found.unverified.append(f"clocks, slowdown and other processes of the GPU: {gpus['missing']}")
        return
    for gpu, told in gpus.items():
        if told.get("slowed_by"):
            found.reasons.append(
                f"GPU {gpu} was slowed down: {', '.join(told['slowed_by'])}; look at cooling and power"
            )
        if told.get("power_capped"):
            found.warnings.append(f"GPU {gpu} ran at its power limit, which is normal under load")
        if told["others"]:
            pids = ", ".join(map(str, told["others"]))
            found.reasons.append(f"GPU {gpu} was shared with process {pids}: end it, or take another GPU")
        if told["others"] is None or "slowed_by" not in told:
            found.unverified.append(f"that GPU {gpu} was neither shared nor slowed down: NVML does not tell here")


def _window(params: Parameters, job: Job, found: Judgement) -> None:
    profile = PROFILES[params.profile]
    if params.profile == "demo":
        return
    for name, unit in (("warmup_s", " s"), ("duration_s", " s"), ("repeats", "")):
        asked, least = getattr(job.window, name), getattr(profile, name)
        if asked < least:
            found.reasons.append(f"{name} was {asked}{unit}, profile {params.profile} demands {least}{unit}")


def _steady(profile: str, outcome: Outcome, half_width: float | None, found: Judgement) -> None:
    """Refuse what is not as steady as the profile wants; in the demo profile only warn, up to a bound."""
    demo, target = profile == "demo", PROFILES[profile].target
    if half_width is None:
        text = f"{UNSTEADY}: too few batches to tell its error; lengthen duration_s, or take a smaller batch_size"
        found.reasons.append(text)
    elif half_width > target:
        seconds = sum(repeat.seconds for repeat in outcome.repeats if not repeat.warmup)
        text = (
            f"{UNSTEADY}: ± {percent(half_width)} after {duration(seconds)}, profile {profile} wants "
            f"± {percent(target)}: end other programs on this machine, or lengthen duration_s"
        )
        (found.warnings if demo and half_width <= DEMO_WIDTH else found.reasons).append(text)


def _spread(params: Parameters, outcome: Outcome, measured: Figure | None, found: Judgement) -> None:
    if measured is None:
        return
    _steady(params.profile, outcome, measured.half_width, found)
    rates = [repeat.bytes_per_s for repeat in outcome.repeats if not repeat.warmup]
    mean = sum(rates) / len(rates)
    if params.profile == "mlperf" and mean and max(abs(rate - mean) for rate in rates) > MLPERF_SPREAD * mean:
        far = percent(MLPERF_SPREAD)
        found.reasons.append(f"a repeat lies over {far} off the mean, which profile mlperf forbids")
