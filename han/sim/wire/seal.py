"""What the seals of NWK and APS frames have in common (Zigbee specification, 4.3 and 4.4, annex A).

Zigbee always works at security level 5 (encryption, MIC of 4 octets) but sends the level as 0. It is put
back before nonce and authenticated header are formed. The auxiliary header stands between header and
payload.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from han.security import ccm
from han.security.errors import SealError
from han.sim.wire.errors import ForgedError

MIC: Final = ccm.MIC
LEVEL: Final = 5
EXTENDED_NONCE: Final = 0x20
_LEVEL_PUT_BACK: Final = tuple(bytes((control & ~7 | LEVEL,)) for control in range(256))


class KeyIdentifier(IntEnum):
    """Which key sealed a frame (4.5.1.1.2)."""

    DATA = 0  # a link key itself
    NETWORK = 1
    KEY_TRANSPORT = 2  # derived from a link key; seals a network key on its way
    KEY_LOAD = 3  # derived from a link key; seals another link key on its way


KEY_IDENTIFIERS: Final = tuple(KeyIdentifier)


def seal(key: bytes, header: bytes, auxiliary: bytes, source: int, plain: bytes) -> bytes:
    """Header, auxiliary header and sealed payload. ``auxiliary`` comes with its level bits at 0."""
    level = _LEVEL_PUT_BACK[auxiliary[0]]
    nonce = source.to_bytes(8, "little") + auxiliary[1:5] + level
    return header + auxiliary + ccm.seal(key, nonce, header + level + auxiliary[1:], plain)


def open_(key: bytes, header: bytes, auxiliary: bytes, source: int, sealed: bytes) -> bytes:
    """The payload in plain. ``auxiliary`` is the auxiliary header as received.

    Raises:
        ForgedError: if the MIC does not match, or is not even there.
    """
    level = _LEVEL_PUT_BACK[auxiliary[0]]
    nonce = source.to_bytes(8, "little") + auxiliary[1:5] + level
    try:
        return ccm.open_(key, nonce, header + level + auxiliary[1:], sealed)
    except SealError as error:
        raise ForgedError("the message integrity code does not match") from error
