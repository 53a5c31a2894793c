"""The date-time of DLMS, in which some GBCS messages tell the time: 12 octets. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from han.errors import TheirError


def write_date_time(at: datetime) -> bytes:
    """Year, month, day, day of the week, time: in UTC, whole seconds, without summer time."""
    at = at.astimezone(UTC)
    time = bytes((at.month, at.day, at.isoweekday(), at.hour, at.minute, at.second, 0))
    return at.year.to_bytes(2, "big") + time + bytes(3)


def read_date_time(octets: bytes) -> datetime:
    """The moment that these 12 octets name.

    Raises:
        TheirError: if there is no such moment.
    """
    if len(octets) != 12:
        raise TheirError(f"a date-time has 12 octets, not {len(octets)}")
    month, day, _, hour, minute, second = octets[2:8]
    try:
        return datetime(int.from_bytes(octets[:2], "big"), month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise TheirError(f"not a date: {error}") from error
