"""How transfers read in tables and lines."""

from __future__ import annotations

from hub.messages import Progress, TransferEntry


def speed(octets_per_second: float | None) -> str:
    """``2830 B/s``; a dash where it is not known."""
    return "-" if octets_per_second is None else f"{octets_per_second:.0f} B/s"


def time_left(seconds: float | None) -> str:
    """``4:10``, ``1:02:07``; a dash where it cannot be foretold."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def transfer(entry: Progress | TransferEntry | None) -> str:
    """How a transfer stands, in a few words: ``downloading, 37 %, 2830 B/s, 4:10 left``."""
    if entry is None:
        return ""
    if entry.state in ("waiting", "complete"):
        return entry.state
    words = [entry.state, f"{entry.percent} %"]
    if entry.octets_per_second:
        words.append(speed(entry.octets_per_second))
    if entry.seconds_left is not None:
        words.append(f"{time_left(entry.seconds_left)} left")
    return ", ".join(words)
