"""How much of an image one unfragmented frame carries, and how much air it costs.

A 2.4 GHz frame has 127 octets. Taken away: MAC header and check 11, NWK header 8, NWK security 18, APS
header 8, ZCL header 3, the fields of an Image Block Response 14: 65 are left. APS security takes 9 more
(auxiliary header 5, integrity code 4), a source route 2 and 2 for each relay.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from ota.errors import OurError

_FRAME = 127
_HEADERS = 11 + 8 + 18 + 8 + 3 + 14
_APS_SECURITY = 9

_LADDER = (65, 56, 52, 50, 49, 48, 46, 44, 40, 32, 24, 16, 8)
"""Where to go when a block does not fit: what common header combinations leave, then quickly down."""


def largest_block(*, aps_secured: bool, relays: int = 0) -> int:
    """The octets of image data that fit one frame: 65, or 56 with APS security; less with relays."""
    if relays < 0:
        raise OurError(f"a route has no {relays} relays")
    source_route = 2 + 2 * relays if relays else 0
    return _FRAME - _HEADERS - (_APS_SECURITY if aps_secured else 0) - source_route


class BlockSize:
    """The largest block to send to one peer: starts at a ceiling, shrinks when the radio says too long."""

    def __init__(self, ceiling: int) -> None:
        if not 1 <= ceiling <= 0xFF:
            raise OurError(f"a block has 1 to 255 octets, not {ceiling}")
        self.limit = ceiling

    def least(self, asked: int) -> int:
        """What to send to a client that takes at most ``asked`` octets."""
        return min(asked, self.limit)

    def too_long(self, size: int) -> bool:
        """So many octets of data are too many. False if there is nothing smaller left to try."""
        smaller = next((step for step in _LADDER if step < min(size, self.limit + 1)), None)
        if smaller is None:
            return False
        self.limit = smaller
        return True


@dataclass(frozen=True, slots=True)
class Phy:
    """How long a radio is on the air: what stands before a frame, and its speed."""

    seconds_per_octet: float
    preamble: int
    """Octets before a frame: preamble, start of frame, length."""

    def air_time(self, psdu: int) -> float:
        """Seconds for a frame of so many octets, MAC check included."""
        return (self.preamble + psdu) * self.seconds_per_octet


O_QPSK_2400 = Phy(32e-6, 6)
"""2.4 GHz, 250 kbit/s."""
FSK_SUB_GHZ = Phy(80e-6, 12)
"""GB's sub-GHz bands, 100 kbit/s; IEEE 802.15.4 channel pages 28 to 31."""

_MAC_ACK = 5
_APS_ACK = 11 + 8 + 18 + 8 + _APS_SECURITY


def block_air_time(size: int, *, phy: Phy, acknowledged: bool, asked: bool = True) -> float:
    """Seconds for which a hub is on the air to serve a block of ``size`` octets under APS security.

    That is the block, the MAC acknowledgement of the request for it, unless it was not ``asked`` for one by
    one, and with APS acknowledgements the hub's for the request and a second MAC acknowledgement.
    """
    air_time = phy.air_time(_HEADERS + _APS_SECURITY + size)
    if asked:
        air_time += phy.air_time(_MAC_ACK)
    if acknowledged:
        air_time += phy.air_time(_APS_ACK) + phy.air_time(_MAC_ACK)
    return air_time


class AirBudget:
    """The seconds on the air that a radio may spend in any hour: the duty cycle of a sub-GHz band.

    Kept in minutes, the youngest counted whole: the window is never shorter than an hour.
    """

    WINDOW = 3600.0
    _MINUTE = 60.0

    def __init__(self, seconds_per_hour: float) -> None:
        self._limit = seconds_per_hour
        self._minutes: deque[tuple[int, float]] = deque()
        self._spent = 0.0

    def spend(self, seconds: float, now: float) -> None:
        """So much air has gone by, or is about to."""
        minute = int(now // self._MINUTE)
        self._spent += seconds
        if self._minutes and self._minutes[-1][0] == minute:
            seconds += self._minutes.pop()[1]
        self._minutes.append((minute, seconds))

    def wait(self, now: float) -> float:
        """Seconds until some of the budget is free again; 0 while some is left."""
        while self._minutes and self._leaves(self._minutes[0][0]) <= now:
            self._minutes.popleft()
            self._spent = sum(spent for _, spent in self._minutes)
        if self._spent < self._limit or not self._minutes:
            return 0.0
        return self._leaves(self._minutes[0][0]) - now

    def _leaves(self, minute: int) -> float:
        return (minute + 1) * self._MINUTE + self.WINDOW
