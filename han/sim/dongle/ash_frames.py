"""ASH on the wire: flag, escapes, randomisation, CRC, control byte (UG101, sections 2 to 4).

Pure functions between octets. Which frame may come when is the business of `ash`.
"""

from __future__ import annotations

import re
from binascii import crc_hqx
from enum import IntEnum
from typing import Final

ESCAPE: Final = 0x7D
XON: Final = 0x11
XOFF: Final = 0x13
SUBSTITUTE: Final = 0x18
CANCEL: Final = 0x1A

RST: Final = 0xC0
RSTACK: Final = 0xC1
ERROR: Final = 0xC2
VERSION: Final = 2
"""The ASH version that RSTACK and ERROR carry."""

MAX_DATA: Final = 220
"""Longest DATA field a dongle with EZSP 13 or newer takes."""
MAX_FRAME: Final = MAX_DATA + 3
"""Control octet, data, CRC."""

CRC_START: Final = 0xFFFF
_RESERVED = re.compile(rb"[\x11\x13\x18\x1a\x7d\x7e]")
FLAG_OCTET: Final = b"\x7e"


class ResetCode(IntEnum):
    """Why the NCP restarted (in RSTACK) or gave up (in ERROR)."""

    UNKNOWN = 0x00
    EXTERNAL = 0x01
    POWER_ON = 0x02
    WATCHDOG = 0x03
    ASSERT = 0x06
    BOOTLOADER = 0x09
    SOFTWARE = 0x0B
    ACK_TIMEOUTS = 0x51


def _random_sequence(length: int) -> bytes:
    """The pseudo-random octets of UG101 4.3: seed 0x42, shift right, XOR 0xB8 when a one falls out."""
    octets = bytearray()
    register = 0x42
    for _ in range(length):
        octets.append(register)
        register = (register >> 1) ^ (0xB8 if register & 1 else 0)
    return bytes(octets)


_SEQUENCE: Final = _random_sequence(256)
_SEQUENCE_AS_NUMBER: Final = [int.from_bytes(_SEQUENCE[:length], "little") for length in range(257)]


def randomised(data: bytes) -> bytes:
    """A DATA field with the pseudo-random sequence laid over it; doing it twice gives the field back."""
    length = len(data)
    return (int.from_bytes(data, "little") ^ _SEQUENCE_AS_NUMBER[length]).to_bytes(length, "little")


def stuffed(frame: bytes) -> bytes:
    """Control octet and field, with CRC, reserved octets escaped, flag behind: what goes on the line."""
    sealed = frame + crc_hqx(frame, CRC_START).to_bytes(2, "big")
    if _RESERVED.search(sealed):
        sealed = _RESERVED.sub(_escape, sealed)
    return sealed + FLAG_OCTET


def _escape(found: re.Match[bytes]) -> bytes:
    return bytes((ESCAPE, found[0][0] ^ 0x20))


def unstuffed(between_flags: bytes) -> bytes | None:
    """The octets of a frame with their escapes undone, CRC still behind; None if an escape makes no sense."""
    head, *escaped = between_flags.split(b"\x7d")
    if not escaped:
        return between_flags
    octets = bytearray(head)
    for piece in escaped:
        if not piece:
            return None
        octets.append(piece[0] ^ 0x20)
        octets += piece[1:]
    return bytes(octets)


def crc_is_right(frame: bytes) -> bool:
    """Whether a frame's last two octets are the CRC of those before."""
    return crc_hqx(frame, CRC_START) == 0


def data_frame(number: int, *, again: bool, ack: int, payload: bytes) -> bytes:
    """A DATA frame as it goes on the line. ``again`` is the retransmission bit."""
    return stuffed(bytes((number << 4 | again << 3 | ack,)) + randomised(payload))


def ack_frame(ack: int) -> bytes:
    """An ACK that expects frame ``ack`` next."""
    return stuffed(bytes((0x80 | ack,)))


def nak_frame(ack: int) -> bytes:
    """A NAK that wants everything from frame ``ack`` on again."""
    return stuffed(bytes((0xA0 | ack,)))


def rstack_frame(code: int) -> bytes:
    """RSTACK, with the cancel octet in front that real NCPs send."""
    return bytes((CANCEL,)) + stuffed(bytes((RSTACK, VERSION, code)))


def error_frame(code: int) -> bytes:
    """ERROR, without a cancel octet, as real NCPs send it."""
    return stuffed(bytes((ERROR, VERSION, code)))
