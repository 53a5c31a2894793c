"""What a sniffer hears, while it hears it: ZEP version 2 (ZigBee Encapsulation Protocol) for Wireshark.

A UDP datagram a frame: 32 octets of header in network order, then the frame with its check sequence. ZEP has
no place for a signal strength in dBm; it carries the link quality.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from math import floor
from typing import Final

# Preamble, version, type (1: data), channel, device, 1 for "the frame ends with its CRC", link quality, NTP
# time in seconds and their fraction, sequence number, ten octets reserved, length of the frame.
_HEADER: Final = struct.Struct(">2sBBBHBBIII10xB")
_VERSION, _DATA, _WITH_CRC = 2, 1, 1
_NTP_EPOCH: Final = 2_208_988_800
"""Seconds from 1900, where NTP begins, to 1970."""


class ZepWriter:
    """Makes a datagram of each frame and hands it to ``send``.

    ``epoch`` is a number of whole seconds that is added to each time, as for a `PcapWriter`. ``device`` tells
    several sniffers apart.
    """

    def __init__(
        self, send: Callable[[bytes], None], channel: int, *, epoch: int = 0, device: int = 1
    ) -> None:
        self._send = send
        self._channel = channel
        self._epoch = epoch
        self._device = device
        self.frames = 0  # how many have been sent

    def write(
        self,
        at_utc_seconds: float,
        psdu_with_fcs: bytes,
        rssi: float = 0.0,  # noqa: ARG002 - ZEP has no place for it
        lqi: int = 255,
        *,
        channel: int | None = None,
    ) -> None:
        """Send a frame that began at this time; ``channel`` if it is not the writer's."""
        whole = floor(at_utc_seconds)
        fraction = min(int((at_utc_seconds - whole) * (1 << 32)), 0xFFFF_FFFF)
        self.frames += 1
        header = _HEADER.pack(
            b"EX",
            _VERSION,
            _DATA,
            self._channel if channel is None else channel,
            self._device,
            _WITH_CRC,
            lqi,
            (whole + self._epoch + _NTP_EPOCH) & 0xFFFF_FFFF,  # NTP's seconds begin anew in 2036
            fraction,
            self.frames & 0xFFFF_FFFF,
            len(psdu_with_fcs),
        )
        self._send(header + psdu_with_fcs)
