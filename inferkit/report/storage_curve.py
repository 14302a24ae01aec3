"""How a storage's throughput grows with the servers that read from it at once: a law fitted to what was measured."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, sqrt

from inferkit.units import percent

LEAST_COUNTS = 3
"""Numbers of servers from which on a law is fitted: one more than a plain ceiling has parameters."""


@dataclass(frozen=True)
class Curve:
    """What a storage gives ``n`` servers at once.

    Parameters
    ----------
    name
        ``ceiling``: min(λ·n, most). ``usl``: λ·n ÷ (1 + σ·(n − 1) + κ·n·(n − 1)), the universal scalability law
        (Gunther, Guerrilla Capacity Planning, 2007). ``measured``: too few numbers of servers for either.
    each
        λ: what a single server would get.
    most
        Of a ceiling.
    sigma, kappa
        Of the law: what is done one after another, and what servers make each other wait.
    error
        Root mean square of the relative distances from what was measured, by degrees of freedom.
    largest
        Number of servers that was measured.
    """

    name: str
    each: float
    most: float = inf
    sigma: float = 0.0
    kappa: float = 0.0
    error: float | None = None
    largest: int = 1

    def at(self, servers: float) -> float:
        """Return what so many servers get together; by the law too many get less than fewer."""
        wait = 1 + self.sigma * (servers - 1) + self.kappa * servers * (servers - 1)
        return min(self.each * servers / wait, self.most)

    @property
    def best(self) -> float:
        """What it gives at the most, to whatever number of servers."""
        if self.kappa:
            return self.at(max(1.0, sqrt(max(0.0, 1 - self.sigma) / self.kappa)))
        # Above 1 each further server takes more than it brings, so that one alone gets the most.
        return min(self.each / min(self.sigma, 1.0) if self.sigma else inf, self.most)

    def __str__(self) -> str:
        if self.name == "measured":
            return (
                f"no law: fewer than {LEAST_COUNTS} numbers of servers were measured, so never more than the most seen"
            )
        error = f"± {percent(self.error or 0.0)} about what was measured"
        if self.name == "ceiling":
            return f"a plain ceiling, {error}"
        return f"the universal scalability law (σ {self.sigma:.3g}, κ {self.kappa:.2g}), {error}"


def fit(measured: Mapping[int, float]) -> Curve:
    """Fit both laws to what was measured, and return the one that lies nearer; of equals the ceiling.

    Parameters
    ----------
    measured
        Throughput by the number of servers that read at once.
    """
    counts = sorted(measured)
    each = measured[counts[0]] / counts[0]
    if len(counts) < LEAST_COUNTS:
        return Curve("measured", each, max(measured.values()), largest=counts[-1])
    found = [_ceiling(measured), *_law(measured)]
    return min(found, key=lambda curve: (round(curve.error or 0.0, 6), curve.name))


def _error(curve: Curve, measured: Mapping[int, float], parameters: int) -> float:
    squares = sum((curve.at(n) / value - 1) ** 2 for n, value in measured.items())
    return sqrt(squares / max(1, len(measured) - parameters))


def _ceiling(measured: Mapping[int, float]) -> Curve:
    """Try every split into servers that get all they ask for, and those that share the most there is."""
    counts = sorted(measured)
    curves = []
    for k in range(1, len(counts) + 1):
        free, capped = counts[:k], counts[k:]
        each = _mean([measured[n] / n for n in free])
        most = _mean([measured[n] for n in capped]) if capped else inf
        curves.append(Curve("ceiling", each, most, largest=counts[-1]))
    best = min(curves, key=lambda curve: _error(curve, measured, 2))
    return _with_error(best, measured, 2)


def _with_error(curve: Curve, measured: Mapping[int, float], parameters: int) -> Curve:
    return replace(curve, error=_error(curve, measured, parameters))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _law(measured: Mapping[int, float]) -> Iterator[Curve]:
    """Fit the law by linear least squares: n ÷ C(n) = a + b·(n − 1) + c·n·(n − 1), none of them below 0."""
    import numpy as np

    n = np.array(sorted(measured), float)
    value = np.array([measured[int(k)] for k in n])
    columns = np.stack([np.ones_like(n), n - 1, n * (n - 1)], axis=1) * (value / n)[:, None]  # relative distances
    for kept in ([0, 1, 2], [0, 1], [0, 2], [0]):
        solved = np.linalg.lstsq(columns[:, kept], np.ones_like(n), rcond=None)[0]
        if (solved < 0).any() or solved[0] <= 0:
            continue
        a, b, c = (float(solved[kept.index(k)]) if k in kept else 0.0 for k in range(3))
        curve = Curve("usl", 1 / a, sigma=b / a, kappa=c / a, largest=int(n[-1]))
        yield _with_error(curve, measured, len(kept))
