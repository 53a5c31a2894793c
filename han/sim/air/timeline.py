"""The one order in which everything in a simulated house happens.

A house full of radios is a discrete-event simulation: nobody waits, everybody asks to be called at a time.
Calls that fall on the same instant run in the order in which they were asked for, so a seed decides a whole
run.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any


class Handle:
    """A call that is going to be made, until it is cancelled."""

    __slots__ = ("args", "call")

    def __init__(self, call: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.call: Callable[..., object] | None = call
        self.args = args

    def cancel(self) -> None:
        """Do not make the call. Harmless when it has been made or cancelled already."""
        self.call = None
        self.args = ()


class Timeline:
    """Calls ordered by time, then by the order of asking. ``now`` is in seconds.

    A call sees its own scheduled time as ``now``, however late the program that drives the timeline may be.
    """

    __slots__ = ("_asked", "_heap", "now")

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self._heap: list[tuple[float, int, Handle]] = []
        self._asked = 0

    def at(self, when: float, call: Callable[..., object], *args: Any) -> Handle:  # noqa: ANN401 - passed through
        """Call ``call(*args)`` at ``when``; a time that has passed means as soon as possible."""
        handle = Handle(call, args)
        self._asked = asked = self._asked + 1
        heappush(self._heap, (max(when, self.now), asked, handle))
        return handle

    def after(self, delay: float, call: Callable[..., object], *args: Any) -> Handle:  # noqa: ANN401 - passed through
        """Call ``call(*args)`` in ``delay`` seconds."""
        handle = Handle(call, args)
        self._asked = asked = self._asked + 1
        heappush(self._heap, (self.now + delay, asked, handle))
        return handle

    def timer(self) -> float | None:
        """When the next call is due, or None when nothing is planned."""
        heap = self._heap
        while heap and heap[0][2].call is None:
            heappop(heap)
        return heap[0][0] if heap else None

    def step(self) -> bool:
        """Make the next call, jumping to its time; False when nothing is planned."""
        heap = self._heap
        while heap:
            when, _, handle = heappop(heap)
            call = handle.call
            if call is not None:
                handle.call = None
                self.now = when
                call(*handle.args)
                return True
        return False

    def run(self, until: float) -> float | None:
        """Make every call that is due by ``until``, then let ``now`` be ``until`` (it never goes back).

        Gives what ``timer`` would give then.
        An exception of a call passes through; the calls behind it stay planned.
        """
        heap = self._heap
        while heap and heap[0][0] <= until:
            when, _, handle = heappop(heap)
            call = handle.call
            if call is not None:
                handle.call = None
                self.now = when
                call(*handle.args)
        self.now = max(self.now, until)
        while heap and heap[0][2].call is None:
            heappop(heap)
        return heap[0][0] if heap else None
