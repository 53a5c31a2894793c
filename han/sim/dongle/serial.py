"""The serial line between dongle and host: baud rate, order, and what gets lost on the way.

Ten bits an octet, each direction with a queue of its own. What one side writes reaches the other in one piece
when its last bit has gone over. Without a host the dongle's octets are lost, as on a port that nobody holds
open. What happens to a piece on the way is not this file's business: see `faults`.
"""

from __future__ import annotations

from collections.abc import Callable

from han.sim.air.timeline import Timeline

Sink = Callable[[bytes], None]


class HostEnd:
    """The host's end of the line, held by whoever opened the port last."""

    def __init__(self, line: SerialLine, sink: Sink, on_taken: Callable[[], None]) -> None:
        self._line = line
        self.sink = sink
        self.on_taken = on_taken

    @property
    def is_open(self) -> bool:
        """Whether this end still holds the port."""
        return self._line.host is self

    def write(self, octets: bytes) -> None:
        """Send octets to the dongle; nothing happens once the port belongs to somebody else."""
        if self.is_open:
            self._line.write_to_dongle(octets)

    def close(self) -> None:
        """Let go of the port. Octets still on their way to this host are lost."""
        self._line.release(self)


class SerialLine:
    """The line itself. ``to_dongle`` is called with what arrives at the dongle.

    ``baud`` 0 is a line that takes no time. ``carry`` gives what becomes of a write on its way, in either
    direction.
    """

    def __init__(
        self,
        timeline: Timeline,
        to_dongle: Sink,
        *,
        baud: int = 115_200,
        carry: Callable[[bytes], bytes] = bytes,
    ) -> None:
        self._timeline = timeline
        self._carry = carry
        self._to_dongle = to_dongle
        self._seconds_per_octet = 10 / baud if baud else 0.0
        self._silenced = 0
        self._free_to_dongle = 0.0
        self._free_to_host = 0.0
        self.host: HostEnd | None = None

    def open(self, sink: Sink, on_taken: Callable[[], None]) -> HostEnd:
        """Open the port. The newest host wins: a half-open connection must not lock out its successor.

        ``sink`` is called with the dongle's octets; ``on_taken`` once if another host takes the port away.
        """
        before = self.host
        end = HostEnd(self, sink, on_taken)
        self.host = end
        if before is not None:
            before.on_taken()
        return end

    def release(self, end: HostEnd) -> None:
        """The host closed its end."""
        if self.host is end:
            self.host = None

    def write_to_dongle(self, octets: bytes) -> None:
        """Put octets on the line towards the dongle."""
        if not octets:
            return
        self._free_to_dongle = arrival = self._arrival(self._free_to_dongle, len(octets))
        self._timeline.at(arrival, self._to_dongle, self._carry(octets))

    def write_to_host(self, octets: bytes) -> None:
        """Put octets on the line towards the host."""
        if not octets:
            return
        self._free_to_host = arrival = self._arrival(self._free_to_host, len(octets))
        if self.host is not None:
            self._timeline.at(arrival, self._deliver, self.host, self._silenced, self._carry(octets))

    def silence(self) -> None:
        """The dongle restarts: what it had put into its transmit queue but not sent is gone."""
        self._free_to_host = self._timeline.now
        self._silenced += 1

    def _arrival(self, free: float, count: int) -> float:
        return max(free, self._timeline.now) + count * self._seconds_per_octet

    def _deliver(self, host: HostEnd, silenced: int, octets: bytes) -> None:
        if host is self.host and silenced == self._silenced:
            host.sink(octets)
