"""A path on which chosen application support frames get lost."""

from __future__ import annotations

from collections.abc import Callable

from han.sim.air.medium import Flight
from han.sim.wire.aps import ApsFrame
from han.sim.wire.mac import FrameType, MacFrame
from han.sim.wire.nwk import FrameType as NwkFrameType
from han.sim.wire.nwk import NwkFrame, open_frame


class Eater:
    """Loses frames for as long as ``lost`` chooses them, and counts them (MAC repetitions too)."""

    def __init__(self, network_key: bytes) -> None:
        self._network_key = network_key
        self.lost: Callable[[ApsFrame], bool] = lambda frame: False
        self.eaten = 0

    def arrivals(self, flight: Flight, listeners):
        frame = aps_frame_of(flight, self._network_key)
        if frame is not None and self.lost(frame):
            self.eaten += 1
            return []
        return listeners


def aps_frame_of(flight: Flight, network_key: bytes) -> ApsFrame | None:
    """The application support frame in a flight, still sealed if it is; None if there is none."""
    if flight.psdu[0] & 7 != FrameType.DATA:
        return None
    octets = MacFrame.parse(flight.psdu[:-2]).payload
    frame = NwkFrame.parse(octets)
    if frame.security:
        frame, _ = open_frame(octets, {0: network_key})
    return ApsFrame.parse(frame.payload) if frame.type is NwkFrameType.DATA else None


def times(number: int, which: Callable[[ApsFrame], bool]) -> Callable[[ApsFrame], bool]:
    """The first so many frames that are like this."""
    left = [number]

    def lost(frame: ApsFrame) -> bool:
        if left[0] and which(frame):
            left[0] -= 1
            return True
        return False

    return lost
