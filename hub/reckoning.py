"""What the slot reckons time by: steady time, with what must survive a restart kept on the flash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from han.facts import Facts
from hub.flash import Flash
from hub.memory import Memory
from hub.steady import KEEP_EVERY, LOOK_EVERY, SteadySettings, SteadyTime


@dataclass(frozen=True, slots=True)
class Moment:
    """Now: in seconds on the hub's clock, which nobody sets, and as UTC, which may be set."""

    at: float
    utc: datetime


class Reckoning:
    """Steady time for the custody of an image.

    Args:
        settings: see SteadySettings.
        flash: where the sum of the steps and the last steady second are kept.
        facts: where "clock.stepped" is said, with ``by`` in seconds.
        now: the present moment.
    """

    def __init__(
        self, settings: SteadySettings, flash: Flash, *, facts: Facts, now: Callable[[], Moment]
    ) -> None:
        self._flash = flash
        self._facts = facts
        self._now = now
        self._time = SteadyTime(settings, flash.memory.steady)
        self.seconds()
        if flash.memory.steady.last is None:  # a clock set back in the first power cut must show, too
            flash.change(steady=self._time.mark)

    def seconds(self) -> float:
        """The present steady second. A step that shows now is on the flash when this returns."""
        now = self._now()
        step = self._time.receive(now.utc.timestamp(), now.at)
        if step:
            self._flash.change(steady=self._time.mark)
            self._facts.say("hub", "clock.stepped", by=round(step, 3))
        return self._time.now

    def believe(self) -> None:
        """Take the time that the hub was off for settled: no image is there that it could have cost time."""
        self._time.believe()

    def note(self) -> None:
        """Keep the present steady second, if the one kept is old."""
        kept = self._flash.memory.steady.last
        if kept is None or self.seconds() - kept >= KEEP_EVERY:
            self._flash.change(steady=self._time.mark)

    def marked(self, memory: Memory) -> Memory:
        """The memory with the steady second of the last reading, where one is about to be kept anyway.

        Without it a clock that goes back in a power cut right after a promise was made would draw that out.
        """
        return msgspec.structs.replace(memory, steady=self._time.mark)

    def wait(self, due: float | None) -> float:
        """Seconds until a steady second, or until the clocks should be compared again."""
        if due is None:
            return LOOK_EVERY
        return min(max(0.0, due - self.seconds()), LOOK_EVERY)

    def utc(self, steady: float) -> datetime:
        """A steady second as the outside is shown it."""
        return datetime.fromtimestamp(self._time.utc(steady), UTC)
