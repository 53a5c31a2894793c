"""Who may join now, with which key, and until when. Pure: times are seconds on the caller's clock.

A dongle has one window for all: it is open as long as anybody may join. Each device comes with the key of its
own install code, and only in its own time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from ota.eui64 import Eui64

LONGEST_PERMIT = 254
"""Seconds that joining can be open at a time (Mgmt_Permit_Joining)."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A device that may join until then, and the key that it will come with."""

    eui64: Eui64
    until: float
    link_key: bytes = field(repr=False)

    def seconds_left(self, now: float) -> int:
        """For how long it still may, in whole seconds, rounded up."""
        return max(0, min(LONGEST_PERMIT, math.ceil(self.until - now)))


class JoiningWindow:
    """The devices that are expected, and when the window of the dongle closes."""

    def __init__(self) -> None:
        self._expected: dict[Eui64, Expected] = {}
        self._closes_at: float | None = None

    def expect(self, eui64: Eui64, link_key: bytes, until: float) -> None:
        """Let this device join until then, with this key."""
        self._expected[eui64] = Expected(eui64, until, link_key)

    def forget(self, eui64: Eui64) -> None:
        """It may not join any more, or has left for good."""
        self._expected.pop(eui64, None)

    def is_expected(self, eui64: Eui64, now: float) -> bool:
        """Whether it was admitted so lately that it may join with its install code."""
        expected = self._expected.get(eui64)
        return expected is not None and expected.until > now

    def expected(self, now: float) -> Iterator[Expected]:
        """Those whose time is not over, in the order of their admission; the others are forgotten."""
        self._expected = {eui64: each for eui64, each in self._expected.items() if each.until > now}
        yield from list(self._expected.values())

    def open_until(self, then: float) -> None:
        """The dongle's window is open until then."""
        self._closes_at = then

    def close(self) -> None:
        """The dongle's window is closed; those who are expected stay so, for a dongle that restarts."""
        self._closes_at = None

    def timer(self) -> float | None:
        """When the window has to be closed, if it is open."""
        return self._closes_at

    def seconds_left(self, now: float) -> int:
        """For how long it is still open, in whole seconds, rounded up; 0 if it is closed."""
        if self._closes_at is None:
            return 0
        return max(0, min(LONGEST_PERMIT, math.ceil(self._closes_at - now)))
