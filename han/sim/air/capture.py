"""What a sniffer keeps: a capture that Wireshark opens, and the keys to decrypt it.

The capture is a pcap file with nanosecond times and link type 283 (IEEE 802.15.4 TAP): a few fields
with channel, signal strength and quality stand before each frame; the frame comes with its check
sequence. ``rebuild`` makes upgrade files of both.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from math import floor
from pathlib import Path
from typing import BinaryIO, Final, Protocol, Self

_NANOSECONDS: Final = 0xA1B23C4D
_MICROSECONDS: Final = 0xA1B2C3D4
_TAP: Final = 283
_WITH_FCS: Final = 195
_SNAPLEN: Final = 256
_FILE_HEADER: Final = struct.Struct("<IHHiIII")
_RECORD: Final = struct.Struct("<IIII")
# TAP header (version 0, length 36), then FCS type 1 (16 bits), RSS in dBm, channel and page, link quality.
_TAP_HEADER: Final = struct.Struct("<BBH HHI HHf HHHBx HHI")
_KEY_LINE: Final = re.compile(r'"([0-9a-fA-F]{32})","Normal","([^"]*)"')
_TAP_FCS, _TAP_RSS, _TAP_CHANNEL, _TAP_LQI = 0, 1, 3, 10


class CaptureError(Exception):
    """The file is no capture or key file that we can read, or it contradicts itself."""


class Sink(Protocol):
    """As much of an open binary file as a writer needs."""

    def write(self, octets: bytes, /) -> object:
        """Take these octets."""
        ...

    def flush(self) -> object:
        """Hold nothing back."""
        ...


class PcapWriter:
    """Writes what the sniffer hears to an open binary file, one write a frame: a reader can follow it live.

    ``epoch`` is a number of whole seconds that is added to each time; times near zero keep their
    nanoseconds that way, where a float of seconds since 1970 would round them to a quarter of a
    microsecond.
    """

    def __init__(self, file: Sink, channel: int, *, page: int = 0, epoch: int = 0) -> None:
        self._file = file
        self._channel = channel
        self._page = page
        self._epoch = epoch
        self.frames = 0  # how many have been written
        self._put(_FILE_HEADER.pack(_NANOSECONDS, 2, 4, 0, 0, _SNAPLEN, _TAP))

    def write(
        self,
        at_utc_seconds: float,
        psdu_with_fcs: bytes,
        rssi: float = 0.0,
        lqi: int = 255,
        *,
        channel: int | None = None,
    ) -> None:
        """Add a frame that began at this time; ``rssi`` in dBm, ``channel`` if it is not the writer's."""
        whole = floor(at_utc_seconds)
        nanoseconds = round((at_utc_seconds - whole) * 1e9)
        if nanoseconds == 1_000_000_000:
            whole, nanoseconds = whole + 1, 0
        size = _TAP_HEADER.size + len(psdu_with_fcs)
        self._put(
            _RECORD.pack(whole + self._epoch, nanoseconds, size, size)
            + _TAP_HEADER.pack(
                *(0, 0, _TAP_HEADER.size),
                *(_TAP_FCS, 1, 1),
                *(_TAP_RSS, 4, rssi),
                *(_TAP_CHANNEL, 3, self._channel if channel is None else channel, self._page),
                *(_TAP_LQI, 1, lqi),
            )
            + psdu_with_fcs
        )
        self.frames += 1

    def _put(self, octets: bytes) -> None:
        self._file.write(octets)
        self._file.flush()


def read_pcap(file: BinaryIO) -> Iterator[tuple[float, bytes]]:
    """The frames of a capture, each with its time in UTC seconds and its check sequence.

    Reads what ``PcapWriter`` writes and other programs' pcap files of link type 283 or 195, in either byte
    order.

    Raises:
        CaptureError: if it is another kind of file, or ends inside a frame.
    """
    header = file.read(_FILE_HEADER.size)
    order = _byte_order(header)
    magic, *_, link_type = struct.unpack(order + _FILE_HEADER.format[1:], header)
    if link_type not in (_TAP, _WITH_FCS):
        raise CaptureError(f"link type {link_type} is neither 283 (IEEE 802.15.4 TAP) nor 195 (with FCS)")
    fraction = 1e-9 if magic == _NANOSECONDS else 1e-6
    while record := file.read(_RECORD.size):
        if len(record) < _RECORD.size:
            raise CaptureError("the capture ends inside a frame's header")
        seconds, parts, size, _ = struct.unpack(order + _RECORD.format[1:], record)
        octets = file.read(size)
        if len(octets) < size:
            raise CaptureError("the capture ends inside a frame")
        yield seconds + parts * fraction, _without_tap(octets) if link_type == _TAP else octets


def _byte_order(header: bytes) -> str:
    if len(header) == _FILE_HEADER.size:
        for order in "<>":
            if struct.unpack_from(order + "I", header)[0] in (_NANOSECONDS, _MICROSECONDS):
                return order
    raise CaptureError("this is no pcap file (a pcapng file must be converted first: editcap -F nsecpcap)")


def _without_tap(octets: bytes) -> bytes:
    if len(octets) < 4 or (size := int.from_bytes(octets[2:4], "little")) > len(octets):
        raise CaptureError("a frame's TAP header is cut short")
    return octets[size:]


class KeyFile:
    """The keys that open a capture. Only its owner may read it.

    A line each: 16 octets in hex, their order, a label. That is Wireshark's own form: it reads such a file if
    it is called ``zigbee_pc_keys`` and stands in the folder that WIRESHARK_CONFIG_DIR names.
    """

    def __init__(self, path: Path) -> None:
        # Removing an older file first: it might be readable to others, and its mode would stay.
        path.unlink(missing_ok=True)
        self._file = os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        )
        self._known: set[bytes] = set()

    def add(self, key: bytes, label: str) -> None:
        """Write a key, unless it is there already.

        Raises:
            ValueError: if the key has not 16 octets.
        """
        if len(key) != 16:
            raise ValueError(f"a Zigbee key has 16 octets, not {len(key)}")
        if key in self._known:
            return
        self._known.add(key)
        self._file.write(f'"{key.hex()}","Normal","{_plain(label)}"\n')
        self._file.flush()

    def close(self) -> None:
        """Close the file; a second time is harmless."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _plain(label: str) -> str:
    """A label without what has a meaning in the file."""
    return " ".join(label.translate({ord(mark): None for mark in '"\\'}).split())


def read_keys(path: Path) -> list[tuple[bytes, str]]:
    """The keys of a key file with their labels, in the file's order.

    Raises:
        CaptureError: if a line is none that `KeyFile` writes. The message names the line, not its content.
    """
    keys = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        match = _KEY_LINE.fullmatch(line)
        if match is None:
            raise CaptureError(f'{path}, line {number}: expected "32 hex digits","Normal","label"')
        keys.append((bytes.fromhex(match[1]), match[2]))
    return keys
