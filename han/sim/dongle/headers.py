"""The three headers that EZSP frames have had.

    version          host to dongle                   dongle to host
    any, at first    sequence, control, id            the same (only ``version``, until both have agreed)
    4                sequence, control, id            the same
    5 to 7           sequence, control, FF, 00, id    the same
    8 and newer      sequence, control, 01, id as two octets; the 01 is the high octet of the frame control

Pure: octets in, octets out.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

EXTENDED_FORMAT: Final = 0x01
ESCAPE_ID: Final = 0xFF


class Opened(NamedTuple):
    """A frame of the host without its header."""

    sequence: int
    frame_id: int
    parameters: bytes


class Header(Protocol):
    """How one generation writes the header of its frames."""

    def wrap(self, sequence: int, control: int, frame_id: int, parameters: bytes) -> bytes:
        """A frame for the host."""
        ...

    def open(self, frame: bytes) -> Opened | None:
        """A frame of the host, or None if it does not begin with this header."""
        ...


class ShortHeader:
    """Three octets: version 4, and what every version understands before ``version`` is settled."""

    def wrap(self, sequence: int, control: int, frame_id: int, parameters: bytes) -> bytes:
        """A frame for the host."""
        return bytes((sequence, control, frame_id & 0xFF)) + parameters

    def open(self, frame: bytes) -> Opened | None:
        """A frame of the host, or None if it does not begin with this header."""
        return Opened(frame[0], frame[2], frame[3:]) if len(frame) >= 3 else None


class EscapedHeader:
    """Versions 5 to 7: an id that no command has, then the real one."""

    def wrap(self, sequence: int, control: int, frame_id: int, parameters: bytes) -> bytes:
        """A frame for the host."""
        return bytes((sequence, control, ESCAPE_ID, 0x00, frame_id & 0xFF)) + parameters

    def open(self, frame: bytes) -> Opened | None:
        """A frame of the host, or None if it does not begin with this header."""
        if len(frame) < 5 or frame[2] != ESCAPE_ID:
            return None
        return Opened(frame[0], frame[4], frame[5:])


class ExtendedHeader:
    """Version 8 and newer: two octets of frame control, two of id."""

    def wrap(self, sequence: int, control: int, frame_id: int, parameters: bytes) -> bytes:
        """A frame for the host."""
        head = bytes((sequence, control, EXTENDED_FORMAT, frame_id & 0xFF, frame_id >> 8))
        return head + parameters

    def open(self, frame: bytes) -> Opened | None:
        """A frame of the host, or None if it does not begin with this header."""
        if len(frame) < 5 or frame[2] != EXTENDED_FORMAT:
            return None
        return Opened(frame[0], frame[3] | frame[4] << 8, frame[5:])


SHORT: Final = ShortHeader()


def header_of(version: int) -> Header:
    """The header of an EZSP version."""
    if version < 5:
        return SHORT
    return EscapedHeader() if version < 8 else ExtendedHeader()
