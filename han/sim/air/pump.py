"""Where the simulated house meets an event loop.

On the ordinary loop the house runs in real time, with one timer. A loop whose time jumps runs the house
itself, from call to call and beside other houses, as long as nobody else on the loop has anything to do in
between: that saves a timer and a round of the loop for each call.
"""

from __future__ import annotations

import asyncio

from han.clock import VirtualLoop
from han.sim.air.timeline import Timeline


class Pump:
    """Makes the calls of a timeline when the loop's clock says that they are due.

    The timeline's time is the loop's time. Whoever plans something on the timeline from outside (not from
    one of its own calls) calls ``wake`` before and after: before, so that its ``now`` is the present;
    after, so that the timer is set.
    """

    def __init__(self, timeline: Timeline, loop: asyncio.AbstractEventLoop) -> None:
        self._timeline = timeline
        self._loop = loop
        self._virtual = loop if isinstance(loop, VirtualLoop) else None
        self._timer: asyncio.TimerHandle | None = None
        self._running = False
        self._stopped = False

    def wake(self) -> None:
        """Make every call that is due, bring the timeline to the present, set the timer for the next call."""
        if self._running or self._stopped:
            return
        try:
            self.run(self._loop.time())
        finally:
            self._arm()

    def stop(self) -> None:
        """Make no call any more: the house stands still."""
        self._stopped = True
        self._arm()

    def run(self, until: float) -> float | None:
        """Make every call that is due by ``until``; gives ``timer``. For the loop: others call ``wake``."""
        self._running = True
        try:
            due = self._timeline.run(until)
        finally:
            self._running = False
        return None if self._stopped else due

    def timer(self) -> float | None:
        """When the next call is due; None: never, or the house stands still."""
        return None if self._stopped else self._timeline.timer()

    def _arm(self) -> None:
        due = self.timer()
        if self._virtual is not None:
            self._virtual.plan(self, due)
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if due is None else self._loop.call_at(due, self._due, due)

    def _due(self, when: float) -> None:
        # A loop may fire a timer a hair early: what was asked for is due all the same.
        self._timer = None
        try:
            self.run(max(when, self._loop.time()))
        finally:
            self._arm()
