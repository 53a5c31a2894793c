"""The Keep-Alive client: a device asks now and then whether its Trust Centre is still there (ZCL7 3.18).

How often, the Trust Centre says itself: a base in minutes and a jitter in seconds. The device reads them, and
that they come is the sign of life. Three times in a row without an answer mean that the Trust Centre or the
way to it is gone, and the device looks for its network again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from han.clusters import KEEP_ALIVE_BASE, KEEP_ALIVE_CLUSTER, KEEP_ALIVE_JITTER
from han.facts import Facts
from han.sim.air.timeline import Handle, Timeline
from han.sim.devices.questions import Questions
from han.zcl import AttributeValue

MISSES = 3
DEFAULT_BASE = 10
DEFAULT_JITTER = 300
"""Minutes and seconds; what the cluster defines as defaults, for a server that does not tell."""
FIRST_RETRY = 60.0
LONGEST_RETRY = 3600.0
"""Seconds between two attempts of which the first was not answered. It doubles, and goes on doubling after a
search that changed nothing: a hub that is switched off for days is left in peace."""


class KeepAlive:
    """Watches over one device's way to its Trust Centre.

    Args:
        on_lost: called when the Trust Centre does not answer any more. Nothing is asked then until `start`.
    """

    def __init__(
        self,
        *,
        questions: Questions,
        timeline: Timeline,
        dice: random.Random,
        facts: Facts,
        name: str,
        on_lost: Callable[[], None],
    ) -> None:
        self._questions = questions
        self._timeline = timeline
        self._dice = dice
        self._facts = facts
        self._name = name
        self._on_lost = on_lost
        self._missed = 0
        self._retry = FIRST_RETRY
        self._timer: Handle | None = None

    def start(self) -> None:
        """The hub has a Keep-Alive server: ask it."""
        self._missed = 0
        self._read()

    def stop(self) -> None:
        """The hub or the power is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _read(self) -> None:
        self._questions.read(KEEP_ALIVE_CLUSTER, (KEEP_ALIVE_BASE, KEEP_ALIVE_JITTER), self._told)

    def _told(self, values: Mapping[int, AttributeValue] | None) -> None:
        if values is None:
            self._miss()
            return
        self._missed, self._retry = 0, FIRST_RETRY
        base, jitter = values.get(KEEP_ALIVE_BASE), values.get(KEEP_ALIVE_JITTER)
        pause = 60.0 * (base if isinstance(base, int) and base else DEFAULT_BASE)
        pause += self._dice.uniform(0.0, jitter if isinstance(jitter, int) else DEFAULT_JITTER)
        self._timer = self._timeline.after(pause, self._read)

    def _miss(self) -> None:
        self._missed += 1
        pause, self._retry = self._retry, min(2 * self._retry, LONGEST_RETRY)
        if self._missed < MISSES:
            self._timer = self._timeline.after(pause, self._read)
            return
        self._facts.say(self._name, "keep-alive.lost", why=f"{MISSES} questions in a row were not answered")
        self._on_lost()
