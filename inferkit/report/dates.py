"""When a run was begun. All dates are of UTC: records come from machines in several time zones."""

from datetime import UTC, datetime, timedelta

from inferkit.errors import ParameterError

NEVER = datetime.min.replace(tzinfo=UTC)
"""Stands for when a run was begun whose record does not tell it in a way that can be read: before all others."""
AHEAD = timedelta(days=1)
"""How far another machine's clock may be ahead of this one's."""


def moment(text: str) -> datetime:
    """Read a date, or a date and time; without a time zone it is UTC.

    Raises
    ------
    ParameterError
        If it is none.
    """
    try:
        found = datetime.fromisoformat(text.strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        message = f"{text!r} is no date: write it like 2026-11-20, or 2026-11-20T14:00 (UTC)"
        raise ParameterError(message) from error


def begun_at(started: str) -> datetime:
    """Return when a run was begun, from its record; :data:`NEVER` where that is no date, or one that is yet to come.

    A run of a clock that was wrong once would be the newest for good.
    """
    try:
        found = moment(started)
    except ParameterError:
        return NEVER
    return found if found <= datetime.now(UTC) + AHEAD else NEVER
