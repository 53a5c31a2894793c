"""When a concentrator asks everyone for the way to itself (many-to-one route requests). Pure.

It asks soon after it was switched on, and then every ``longest`` seconds. So many route errors or failed
deliveries make it ask at once, but never within ``least`` seconds of the last time.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConcentratorSettings:
    """How a concentrator behaves; the names and meanings are those of EZSP's setConcentrator. Seconds."""

    least: float = 10.0
    longest: float = 60.0
    route_errors: int = 3
    """So many make it ask anew."""
    delivery_failures: int = 1
    radius: int = 0
    """How far its requests go; 0: as far as the network's radius."""
    keeps_routes: bool = True
    """Whether it keeps source routes (high RAM). If not, devices send a route record before every message."""
    capacity: int = 200
    """How many source routes fit."""


class Concentrator:
    """The timing of one concentrator; of no effect until it is switched on."""

    def __init__(self) -> None:
        self.settings: ConcentratorSettings | None = None
        self._due: float | None = None
        self._asked_at: float | None = None
        self._errors = 0
        self._failures = 0

    def switch(self, settings: ConcentratorSettings | None, now: float) -> None:
        """Be a concentrator with these settings, or none."""
        self.settings = settings
        self._errors = self._failures = 0
        self._asked_at = None
        self._due = None if settings is None else now + settings.least

    def ask_now(self, now: float) -> None:
        """Ask as soon as it is allowed."""
        if self.settings is None:
            return
        earliest = now if self._asked_at is None else max(now, self._asked_at + self.settings.least)
        self._due = earliest if self._due is None else min(self._due, earliest)

    def route_failed(self, now: float) -> None:
        """A route error came."""
        self._errors += 1
        if self.settings is not None and self._errors >= self.settings.route_errors:
            self.ask_now(now)

    def delivery_failed(self, now: float) -> None:
        """A message of ours was not acknowledged end to end."""
        self._failures += 1
        if self.settings is not None and self._failures >= self.settings.delivery_failures:
            self.ask_now(now)

    def timer(self) -> float | None:
        """When to ask next."""
        return self._due

    def tick(self, now: float) -> bool:
        """Whether to ask now; the next time is set then."""
        settings = self.settings
        if settings is None or self._due is None or now < self._due:
            return False
        self._asked_at = now
        self._errors = self._failures = 0
        self._due = now + settings.longest
        return True
