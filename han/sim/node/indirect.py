"""Frames that wait in a parent until the child they are for asks for them (IEEE 802.15.4, 5.1.6.3).

A child whose radio is off cannot be called: it asks by a data request, and what waits for it is sent then. A
frame that the child asked for and did not acknowledge goes back to the head of its queue and is sent again,
octet for octet, when the child asks again. What nobody asks for in time is given up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from han.sim.air.timeline import Handle, Timeline
from han.sim.wire.mac import MacFrame
from ota.eui64 import Eui64

PERSISTENCE = 7.68
"""How long a frame waits, in seconds (macTransactionPersistenceTime)."""

Address = int | Eui64


class Held:
    """One frame that waits. ``make`` builds it when it leaves: its frame counter is then the newest."""

    __slots__ = ("expires", "expiry", "make", "on_done", "psdu")

    def __init__(self, make: Callable[[], MacFrame], on_done: Callable[[bool], object]) -> None:
        self.make = make
        self.on_done = on_done
        self.psdu: bytes | None = None
        """Its octets, once it has been sent without an acknowledgement."""
        self.expires = 0.0
        self.expiry: Handle | None = None


class IndirectQueue:
    """All frames of one parent that wait. ``on_expired(address)`` is told of each that nobody asked for."""

    def __init__(self, timeline: Timeline, on_expired: Callable[[Address], object]) -> None:
        self._timeline = timeline
        self._on_expired = on_expired
        self._waiting: dict[Address, deque[Held]] = {}
        self.persistence = PERSISTENCE

    def __contains__(self, address: object) -> bool:
        return address in self._waiting

    def put(self, address: Address, held: Held) -> None:
        """Let a frame wait for this child."""
        held.expires = self._timeline.now + self.persistence
        self._wait(address, held).append(held)

    def take(self, address: Address) -> Held | None:
        """The oldest frame for this child, out of the queue; None if none waits."""
        queue = self._waiting.get(address)
        if queue is None:
            return None
        held = queue.popleft()
        if held.expiry is not None:
            held.expiry.cancel()
        if not queue:
            del self._waiting[address]
        return held

    def put_back(self, address: Address, held: Held) -> None:
        """The child did not acknowledge what it asked for: let it ask again while there is time."""
        self._wait(address, held).appendleft(held)

    def clear(self) -> None:
        """Forget everything, without a word."""
        for queue in self._waiting.values():
            for held in queue:
                if held.expiry is not None:
                    held.expiry.cancel()
        self._waiting.clear()

    def _wait(self, address: Address, held: Held) -> deque[Held]:
        held.expiry = self._timeline.at(held.expires, self._expire, address, held)
        return self._waiting.setdefault(address, deque())

    def _expire(self, address: Address, held: Held) -> None:
        queue = self._waiting[address]
        queue.remove(held)
        if not queue:
            del self._waiting[address]
        self._on_expired(address)
        held.on_done(False)
