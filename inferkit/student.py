"""Quantiles of Student's t. A terminal that words an error must not wait for NumPy, so this imports nothing."""

_STUDENT_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Two-sided 95 % quantiles for 1 … 10 degrees of freedom."""


def student_95(degrees: int) -> float:
    """Return the two-sided 95 % quantile; over 10 degrees of freedom within 0.02 of it."""
    return _STUDENT_95[degrees - 1] if degrees <= len(_STUDENT_95) else 1.96 + 2.4 / degrees
