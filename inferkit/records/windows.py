"""How long is measured, and until when: the profiles and what parameters make of them."""

from typing import TYPE_CHECKING

from inferkit.records.part import Part

if TYPE_CHECKING:  # no rank needs the models of parameters: a twentieth of its start
    from inferkit.records.groups import Windows


class Window(Part):
    """How long to measure.

    Parameters
    ----------
    warmup_s
        Seconds before the first window.
    duration_s, images
        Each window lasts at least so many seconds and so many images.
    repeats
        Windows, at the least: each in a process of its own, but those of bare copies, which follow one another in one.
    target
        Half-width of the 95 % interval ÷ the mean at which a figure is steady: processes are added until then, and in
        each the warm-up is prolonged until the rate no longer drifts. 0: neither.
    longest_s
        All processes together, their starts included, take no longer than this because of ``target``.
    """

    warmup_s: float = 0.5
    duration_s: float = 1.0
    repeats: int = 3
    images: int = 0
    target: float = 0.0
    longest_s: float = 0.0

    def wants_another(self, half_width: float | None, needed_s: float) -> bool:
        """Tell whether one more process is needed, and allowed where all with it need so much time."""
        unsteady = half_width is None or half_width > self.target
        return self.target > 0 and unsteady and needed_s <= self.longest_s

    @property
    def seconds(self) -> float:
        """The least that warm-up and windows take together."""
        return self.warmup_s + self.duration_s * self.repeats


PROFILES: dict[str, Window] = {
    "demo": Window(warmup_s=0.5, duration_s=1.0, repeats=3, target=0.1, longest_s=15.0),
    "quick": Window(warmup_s=5.0, duration_s=30.0, repeats=3, target=0.025, longest_s=600.0),
    # MLPerf Inference rules, Offline scenario: at least 600 s and 24,576 samples.
    "mlperf": Window(warmup_s=10.0, duration_s=600.0, repeats=5, images=24_576, target=0.01, longest_s=7200.0),
}


def window_of(params: "Windows") -> Window:
    """Return the profile's window with what the parameters set themselves; the longest time grows with the windows."""
    profile = PROFILES[params.profile]
    duration_s, repeats = params.duration_s or profile.duration_s, params.repeats or profile.repeats
    share = duration_s * repeats / (profile.duration_s * profile.repeats)
    return profile.changed(
        warmup_s=params.warmup_s or profile.warmup_s,
        duration_s=duration_s,
        repeats=repeats,
        longest_s=profile.longest_s * share,
    )
