"""How much of an image one unfragmented frame carries.

A 2.4 GHz frame has 127 octets. Taken away: MAC header and check 11, NWK header 8, NWK security 18, APS
header 8, ZCL header 3, the fields of an Image Block Response 14: 65 are left. APS security takes 9 more
(auxiliary header 5, integrity code 4), a source route 2 and 2 for each relay.
"""

from __future__ import annotations

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
        """The radio refused ``size`` octets of data. False if there is nothing smaller left to try."""
        smaller = next((step for step in _LADDER if step < min(size, self.limit + 1)), None)
        if smaller is None:
            return False
        self.limit = smaller
        return True
