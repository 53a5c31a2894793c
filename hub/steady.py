"""Steady time: seconds of UTC from which every step of the clock has been taken out. Pure.

A promise such as "14 days from now" must not depend on somebody setting the clock. So what the slot reckons
with is UTC less all steps seen. A step shows when UTC and a clock that nobody can set (the loop's monotonic
one) disagree about how long it has been since they were last read. Across a restart only UTC is there, and
the last steady second that was kept: steady time goes on from the later of the two.

What cannot be known is decided so that a promise is never cut short:

* The clock went back while the hub was off: the time it was off does not count.
* The clock went forward while the hub was off: that cannot be told from a long time off, and counts. If it is
  set back after the start, as by a time server that was reached late, that much is taken back again.
* A machine that was asleep (suspended) finds a step when it wakes: its sleep does not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

DRIFT: Final = 500e-6
"""Seconds per second that two clocks may part though nobody has set one: the most that the NTP discipline of
Unix systems slews (RFC 5905, section 11.3)."""
LOOK_EVERY: Final = 600.0
"""Seconds between two looks at the clocks: the more often, the less of a step could pass for drift."""
KEEP_EVERY: Final = 3600.0
"""Seconds between two writings of the steady second while an image is held. Flash wears; and this much at
most does not count if the clock goes back in a power cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SteadySettings:
    """When a difference between two clocks is a step.

    Attributes:
        smallest_step: seconds; a smaller difference between two looks is a clock being corrected as it runs.
            A leap second is one, and time services that are let step (from 0.4 to 1 s on) do it at once; two
            seconds more or less in two weeks matter to nobody.
    """

    smallest_step: float = 2.0


class SteadyMark(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of steady time over a restart."""

    steps: float = 0.0
    """Sum of all steps, in seconds: steady time is UTC less this."""
    last: float | None = None
    """A steady second that has certainly been; None: none is known."""


class SteadyTime:
    """Takes the steps out of UTC.

    Args:
        settings: when a difference is a step.
        mark: what was kept before a restart.
    """

    def __init__(self, settings: SteadySettings, mark: SteadyMark) -> None:
        self._settings = settings
        self._steps = mark.steps
        self._kept = mark.last
        self._utc = 0.0
        self._monotonic: float | None = None
        self._presumed_off = 0.0  # what UTC alone says of the time since the last steady second kept

    def receive(self, utc: float, monotonic: float) -> float:
        """Take a reading of both clocks; gives the step that shows, in seconds, or 0.

        Args:
            utc: seconds since 1970.
            monotonic: seconds since whenever, on a clock that nobody sets, since this object was made.
        """
        if self._monotonic is None:
            step = self._start(utc)
        else:
            step = self._compare(utc, monotonic - self._monotonic)
        self._utc, self._monotonic = utc, monotonic
        return step

    @property
    def now(self) -> float:
        """The steady second of the last reading."""
        return self._utc - self._steps

    @property
    def mark(self) -> SteadyMark:
        """What to keep for a restart."""
        return SteadyMark(steps=self._steps, last=self.now)

    def believe(self) -> None:
        """Take it that the hub was off as long as UTC says: nothing is kept that it could have cost time."""
        self._presumed_off = 0.0

    def utc(self, steady: float) -> float:
        """A steady second as the clock shows it, if it is not set again: for whoever lives by UTC."""
        return steady + self._steps

    def _start(self, utc: float) -> float:
        if self._kept is None:
            return 0.0
        since = utc - self._steps - self._kept
        self._presumed_off = max(0.0, since)
        if since >= 0:
            return 0.0
        self._steps += since
        return since

    def _compare(self, utc: float, passed: float) -> float:
        step = utc - self._utc - passed
        if abs(step) <= self._settings.smallest_step + DRIFT * passed:
            return 0.0
        taken_back = min(self._presumed_off, max(0.0, -step))
        self._presumed_off -= taken_back
        self._steps += step + taken_back
        return step
