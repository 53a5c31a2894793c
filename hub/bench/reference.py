"""Reference times: what a download takes on the air if nobody ever waits for anything but physics.

IEEE 802.15.4 at 2.4 GHz, 250 kbit/s: mean backoff, channel assessment, turnaround, frame, turnaround, MAC
acknowledgement, and the long interframe space where one sender sends two frames back to back. One hop, no
loss, no time for thinking. The numbers stand here a second time on purpose: taken from the simulated radio,
they would follow its mistakes. Times are seconds, sizes octets.

A real run can be slightly faster than its reference time, as backoffs of two senders overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

SECONDS_PER_OCTET = 32e-6
BACKOFF_UNIT = 320e-6
MEAN_BACKOFF = 3.5 * BACKOFF_UNIT
"""The first backoff is 0 to 7 units."""
CCA = 128e-6
TURNAROUND = 192e-6
LIFS = 640e-6

_PHY = 6
_MAC_ACK = _PHY + 5
_MAC = 9 + 2
_NWK = 8
_NWK_SECURITY = 14 + 4
_APS = 8
_APS_SECURITY = 5 + 4
_ZCL = 3
_BLOCK_REQUEST = 14
_BLOCK_RESPONSE = 14
_PAGE_REQUEST = 18


def frame_seconds(psdu: int, *, backoff: float = MEAN_BACKOFF) -> float:
    """From the start of the backoff to the end of the MAC acknowledgement."""
    return backoff + CCA + TURNAROUND + (_PHY + psdu + _MAC_ACK) * SECONDS_PER_OCTET + TURNAROUND


def psdu_size(zcl_fields: int, *, aps_secured: bool) -> int:
    """A frame of the OTA cluster whose command has so many octets of fields."""
    return aps_ack_size(aps_secured=aps_secured) + _ZCL + zcl_fields


def aps_ack_size(*, aps_secured: bool) -> int:
    """An APS acknowledgement has the headers of a message and nothing behind them."""
    return _MAC + _NWK + _NWK_SECURITY + _APS + (_APS_SECURITY if aps_secured else 0)


@dataclass(frozen=True, slots=True)
class Serial:
    """The serial line between dongle and host at ``baud``; 0 takes no time.

    Only two pieces of a block's talk can hold up the air: the callback that brings the request, and the
    command that sends the answer. All others travel while the air is busy.
    """

    baud: int

    def round_trip(self, request: int, response: int) -> float:
        """From a request's arrival at the dongle to its answer's, for ZCL frames of these sizes."""
        return self._seconds(_INCOMING + request) + self.command(response)

    def command(self, response: int) -> float:
        """How long the command that sends a ZCL frame of this size is on the line."""
        return self._seconds(_SEND_UNICAST + response)

    def _seconds(self, ezsp_frame: int) -> float:
        return (ezsp_frame * _STUFFED + _ASH) * 10 / self.baud if self.baud else 0.0


_EZSP_HEADER = 5
_APS_FRAME = 11
_INCOMING = _EZSP_HEADER + 1 + _APS_FRAME + 1 + 1 + 2 + 1 + 1 + 1
"""incomingMessageHandler of EZSP 8 to 13: type, APS frame, LQI, RSSI, sender, two indices, length."""
_SEND_UNICAST = _EZSP_HEADER + 1 + 2 + _APS_FRAME + 1 + 1
"""sendUnicast: type, destination, APS frame, tag, length."""
_ASH = 1 + 2 + 1
"""Control, CRC, flag."""
_STUFFED = 1 + 6 / 256
"""ASH randomises what it carries; six values of an octet are sent as two."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """How blocks are fetched.

    Attributes:
        block: octets of image in one response.
        aps_secured: whether APS security is on top of NWK security, which always is.
        acknowledged: whether requests and responses are acknowledged by APS.
        page: octets of one Image Page Request; None fetches block by block. Pages are never acknowledged.
        baud: of the serial line; 0 takes no time.
    """

    block: int = 56
    aps_secured: bool = True
    acknowledged: bool = True
    page: int | None = None
    baud: int = 0

    def seconds(self, size: int, *, backoff: float = MEAN_BACKOFF) -> float:
        """The reference time of an image of ``size`` octets; ``backoff`` 0 gives the least there can be."""
        if self.page is not None:
            return self._pages(size, self.page, backoff)
        whole, rest = divmod(size, self.block)
        seconds = whole * self._one(self.block, backoff)
        return seconds + self._one(rest, backoff) if rest else seconds

    def _one(self, data: int, backoff: float) -> float:
        """One block: request, answer and their acknowledgements, on the critical path.

        The dongle acknowledges a request on the air while it tells the host of it, so the answer waits for
        the longer of the two. Everything else is one after the other.
        """
        request = self._air(_BLOCK_REQUEST, backoff)
        response = self._air(_BLOCK_RESPONSE + data, backoff)
        turn = Serial(self.baud).round_trip(_ZCL + _BLOCK_REQUEST, _ZCL + _BLOCK_RESPONSE + data)
        if not self.acknowledged:
            return request + turn + response
        ack = frame_seconds(aps_ack_size(aps_secured=self.aps_secured), backoff=backoff) + LIFS
        return request + max(ack, turn) + response + ack

    def _pages(self, size: int, page: int, backoff: float) -> float:
        """One request a page; the dongle sends the page's blocks with only the interframe space between.

        The serial line is a pipe beside the air: of a page's blocks the first one comes after it in full, of
        the others whichever of the two takes longer.
        """
        whole, rest = divmod(size, page)
        seconds = whole * self._page(page, backoff)
        return seconds + self._page(rest, backoff) if rest else seconds

    def _page(self, page: int, backoff: float) -> float:
        serial = Serial(self.baud)
        blocks = [self.block] * (page // self.block) + ([page % self.block] if page % self.block else [])
        first, *others = blocks
        seconds = self._air(_PAGE_REQUEST, backoff)
        seconds += serial.round_trip(_ZCL + _PAGE_REQUEST, _ZCL + _BLOCK_RESPONSE + first)
        seconds += self._air(_BLOCK_RESPONSE + first, backoff)
        for data in others:
            on_air = LIFS + self._air(_BLOCK_RESPONSE + data, backoff)
            seconds += max(on_air, serial.command(_ZCL + _BLOCK_RESPONSE + data))
        return seconds

    def _air(self, fields: int, backoff: float) -> float:
        return frame_seconds(psdu_size(fields, aps_secured=self.aps_secured), backoff=backoff)
