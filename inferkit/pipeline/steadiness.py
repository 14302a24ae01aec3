"""The error of a figure: one way for the course of one process and for the summed course of several."""

from collections.abc import Iterator, Sequence

import numpy as np

from inferkit.records.figures import Figure, Repeat, figure_of
from inferkit.stats import Floats, drift, interval
from inferkit.units import percent

LEAST_DRIFT = 0.01
"""Drift below this share of the figure is not worth a word."""


def with_error(figure: Figure, rates: Floats, repeats: Sequence[Repeat]) -> Figure:
    """Give a figure its 95 % interval.

    Parameters
    ----------
    figure
        A mean over the measured windows.
    rates
        The course over them, in equal parts: images per second, or bytes where there are no images.
    repeats
        The windows, of which the warm-up does not count.
    """
    kept = [repeat for repeat in repeats if not repeat.warmup]
    field = "images_per_s" if figure.images_per_s else "bytes_per_s"
    found = interval(rates, np.array([getattr(repeat, field) for repeat in kept]))
    if found is None:
        return figure
    seconds = sum(repeat.seconds for repeat in kept)
    return figure.model_copy(update={"half_width": found.half_width, "block_s": found.block * seconds})


def figure_with_error(rates: Floats, repeats: list[Repeat]) -> Figure | None:
    """Return the mean over the measured windows with its interval; None where there is no measured window."""
    figure = figure_of(repeats)
    return None if figure is None else with_error(figure, rates, repeats)


def drifted(rates: Floats) -> Iterator[str]:
    """Say where a rate drifted while it was measured."""
    change = drift(rates)
    if abs(change) > LEAST_DRIFT:
        way = "rose" if change > 0 else "fell"
        yield (
            f"drift: the rate {way} by {percent(abs(change))} from the start to the end of the measured time "
            "(clocks, caches, another program): lengthen warmup_s, or look for what changes"
        )
