"""The verdict: whether a figure is what it says it is."""

from dataclasses import dataclass, field

from inferkit.params import Parameters, Reading
from inferkit.pipeline.job import PROFILES, Job, Outcome
from inferkit.run import Figure, Json
from inferkit.units import percent

FROM_STORAGE = 0.9
"""Least share of the delivered bytes that must have come from the storage for a run that declares so."""
LARGEST_COV = 0.025
"""Spread of the repeats above which a figure is called unsteady (trtexec warns at the same)."""
MLPERF_SPREAD = 0.05
"""Largest distance of any repeat from the mean in profile mlperf (MLPerf Storage: runs within 5 %)."""


@dataclass
class Judgement:
    """What speaks against a figure, what nobody could check, and what a reader should know."""

    reasons: list[str] = field(default_factory=list)
    unverified: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def judge(params: Parameters, job: Job, outcome: Outcome, measured: Figure | None) -> Judgement:
    """Weigh a finished run.

    Parameters
    ----------
    params, job, outcome, measured
        What was asked, what the rank was told, what it answered, and the figure made of that.
    """
    found = Judgement(warnings=list(outcome.warnings), unverified=list(outcome.unverified))
    _window(params, job, found)
    _spread(params, outcome, measured, found)
    if isinstance(params, Reading) and params.source == "storage" and job.reader in params.readers:
        _source(job, outcome.facts.get("storage"), found)
    if outcome.facts.get("verified_images") == 0 and job.reader != "memory":
        found.unverified.append("content of the images: " + _why_not_verified(job))
    return found


def _why_not_verified(job: Job) -> str:
    if not job.verify_batches:
        return "verify_batches is 0"
    return "the data set has no hashes beside it (inferkit dataset make writes them)"


def _window(params: Parameters, job: Job, found: Judgement) -> None:
    profile = PROFILES[params.profile]
    if params.profile == "demo":
        return
    for name, unit in (("warmup_s", " s"), ("duration_s", " s"), ("repeats", "")):
        asked, least = getattr(job.window, name), getattr(profile, name)
        if asked < least:
            found.reasons.append(f"{name} was {asked}{unit}, profile {params.profile} demands {least}{unit}")


def _spread(params: Parameters, outcome: Outcome, measured: Figure | None, found: Judgement) -> None:
    if measured is None or measured.cov is None:
        return
    if measured.cov > LARGEST_COV:
        found.warnings.append(
            f"unsteady: the repeats' coefficient of variation is {percent(measured.cov)} (over {percent(LARGEST_COV)})"
        )
    rates = [repeat.bytes_per_s for repeat in outcome.repeats if not repeat.warmup]
    mean = sum(rates) / len(rates)
    if params.profile == "mlperf" and mean and max(abs(rate - mean) for rate in rates) > MLPERF_SPREAD * mean:
        far = percent(MLPERF_SPREAD)
        found.reasons.append(f"a repeat lies over {far} off the mean, which profile mlperf forbids")


def _source(job: Job, storage: dict[str, Json] | None, found: Judgement) -> None:
    """Hold the declaration that the bytes come from storage against what the kernel counted."""
    if storage is None:
        found.reasons.append(f"source is storage, but reader {job.reader} reads none: declare source: memory")
        return
    if storage["in_memory"]:
        found.reasons.append(
            f"source is storage, but {job.folder} lies on {storage['filesystem']}, which is memory: "
            "declare source: memory"
        )
        return
    share = storage["from_storage"]
    if share is None:
        found.unverified.append("that the bytes came from storage: the kernel does not count this process's reads")
    elif share < FROM_STORAGE:
        found.reasons.append(
            f"source is storage, but only {percent(share)} of the bytes came from it, the rest from the page cache: "
            "use reader direct, set evict: true, or declare source: memory"
        )
