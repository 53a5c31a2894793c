"""A device's clock: it is set by the hub's Time server, daily, and counts on from there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from han.clusters import CURRENT_TIME, TIME_CLUSTER
from han.facts import Facts
from han.sim.air.timeline import Handle, Timeline
from han.sim.devices.questions import Questions
from han.zcl import AttributeValue

READ_EVERY = 24 * 3600.0
"""Seconds. A quartz of 20 ppm is 2 s off by then, which is good enough for whoever dates a message."""
RETRY = 3600.0
"""Seconds until the next attempt when the hub gave no time."""
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
"""Where UTCTime begins (ZCL7 2.6.2.19)."""
INVALID = 0xFFFF_FFFF


class TimeOfDay:
    """What UTC the hub says it is. A power cut loses it.

    Args:
        on_set: called whenever the hub has told the time.
    """

    def __init__(
        self,
        *,
        questions: Questions,
        timeline: Timeline,
        facts: Facts,
        name: str,
        on_set: Callable[[], None],
    ) -> None:
        self._questions = questions
        self._timeline = timeline
        self._facts = facts
        self._name = name
        self._on_set = on_set
        self._set: tuple[float, datetime] | None = None
        self._timer: Handle | None = None

    def utc(self) -> datetime | None:
        """The time of day, or None while nobody has told it."""
        if self._set is None:
            return None
        at, utc = self._set
        return utc + timedelta(seconds=self._timeline.now - at)

    def start(self) -> None:
        """The hub has a Time server: ask it, now and then."""
        self._read()

    def stop(self) -> None:
        """The hub is gone; the clock counts on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def power_off(self) -> None:
        """Forget the time."""
        self.stop()
        self._set = None

    def _read(self) -> None:
        self._questions.read(TIME_CLUSTER, (CURRENT_TIME,), self._told)

    def _told(self, values: Mapping[int, AttributeValue] | None) -> None:
        seconds = None if values is None else values.get(CURRENT_TIME)
        if not isinstance(seconds, int) or seconds == INVALID:
            self._timer = self._timeline.after(RETRY, self._read)
            return
        self._set = (self._timeline.now, EPOCH + timedelta(seconds=seconds))
        self._facts.say(self._name, "time.set", utc=self._set[1].isoformat())
        self._timer = self._timeline.after(READ_EVERY, self._read)
        self._on_set()
