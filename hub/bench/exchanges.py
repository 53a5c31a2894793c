"""Image Block Requests and what became of them, read from the air as a stranger with the keys would.

Facts of the parties would do for ours; a peer's host tells none. So all are judged by their frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from han.sim.air.medium import air_time
from han.sim.air.rebuild import Opener
from han.sim.wire import aps, mac, nwk
from han.sim.wire.errors import WireError
from han.zcl import OTA_CLUSTER

_CLUSTER_SPECIFIC: Final = 1
_FROM_SERVER: Final = 0x08
_BLOCK_REQUEST, _BLOCK_RESPONSE = 0x03, 0x05
_SMALLEST: Final = 11 + 8 + 18 + 8 + 3
"""Nothing shorter is an OTA command under NWK security."""


@dataclass(slots=True)
class Asked:
    """One Image Block Request: by whom, when it was over, and when its answer began; None: never.

    Both times are those of the first transmission, in seconds of the capture.
    """

    device: int
    sequence: int
    heard: float
    answered: float | None = None


def block_requests(frames: Iterable[tuple[float, bytes]], keys: Iterable[bytes]) -> list[Asked]:
    """Every block request of a capture, in order; one that is repeated under its old number counts once.

    ``frames`` are those of `han.sim.air.capture.read_pcap`, ``keys`` those that open them.
    """
    opener = Opener(list(keys))
    asked: list[Asked] = []
    open_requests: dict[int, Asked] = {}
    for start, psdu in frames:
        if len(psdu) < _SMALLEST:
            continue
        found = _command(opener, psdu)
        if found is None:
            continue
        device, command, sequence = found
        latest = open_requests.get(device)
        if command == _BLOCK_REQUEST:
            if latest is None or latest.sequence != sequence:
                open_requests[device] = request = Asked(device, sequence, start + air_time(len(psdu)))
                asked.append(request)
        elif latest is not None and latest.sequence == sequence and latest.answered is None:
            latest.answered = start
    return asked


def _command(opener: Opener, psdu: bytes) -> tuple[int, int, int] | None:
    """The device, the command's id and its sequence number, of a block request or response."""
    try:
        outer = mac.parse_psdu(psdu)
        frame = nwk.NwkFrame.parse(outer.payload)
        message = opener.open(outer, frame)
    except WireError:
        return None  # spoilt, or none of ours: not an answer in any case
    zcl = message.payload
    if message.type is not aps.FrameType.DATA or message.cluster != OTA_CLUSTER or len(zcl) < 3:
        return None
    control, sequence, command = zcl[:3]
    if control & 3 != _CLUSTER_SPECIFIC:
        return None
    if control & _FROM_SERVER:
        return (frame.destination, command, sequence) if command == _BLOCK_RESPONSE else None
    return (frame.source, command, sequence) if command == _BLOCK_REQUEST else None
