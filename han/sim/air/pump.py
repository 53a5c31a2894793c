"""Where the simulated house meets an event loop: one timer, nothing else.

On the ordinary loop the house runs in real time. On a loop whose time jumps, the pump goes on from call to
call as long as nobody else on the loop has anything to do in between, which saves a round of the loop for
each.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, runtime_checkable

from han.sim.air.timeline import Timeline


@runtime_checkable
class Skipping(Protocol):
    """A loop that lets its time be moved on while nothing else would happen."""

    def skip_to(self, when: float) -> bool:
        """Make ``when`` the present, unless anything else is ready or due by then; whether that was done."""
        ...


class Pump:
    """Makes the calls of a timeline when the loop's clock says that they are due.

    The timeline's time is the loop's time. Whoever plans something on the timeline from outside (not from
    one of its own calls) calls ``wake`` before and after: before, so that its ``now`` is the present;
    after, so that the timer is set.
    """

    def __init__(self, timeline: Timeline, loop: asyncio.AbstractEventLoop) -> None:
        self._timeline = timeline
        self._loop = loop
        self._skipping = loop if isinstance(loop, Skipping) else None
        self._timer: asyncio.TimerHandle | None = None
        self._running = False
        self._stopped = False

    def wake(self) -> None:
        """Make every call that is due, bring the timeline to the present, set the timer for the next call."""
        if self._running or self._stopped:
            return
        # Whoever wakes us is in the middle of something: time must not go on under its feet.
        self._run(self._loop.time(), ahead=None)

    def stop(self) -> None:
        """Make no call any more: the house stands still."""
        self._stopped = True
        self._disarm()

    def _due(self, when: float) -> None:
        # A loop may fire a timer a hair early: what was asked for is due all the same.
        self._timer = None
        self._run(max(when, self._loop.time()), ahead=self._skipping)

    def _run(self, until: float, ahead: Skipping | None) -> None:
        timeline = self._timeline
        self._disarm()
        self._running = True
        try:
            timeline.run(until)
            due = timeline.timer()
            while ahead is not None and due is not None and not self._stopped and ahead.skip_to(due):
                timeline.run(due)
                due = timeline.timer()
        finally:
            self._running = False
            due = timeline.timer()
            if due is not None and not self._stopped:
                self._timer = self._loop.call_at(due, self._due, due)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
