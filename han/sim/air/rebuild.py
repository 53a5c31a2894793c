"""Rebuild upgrade files from a capture, as a stranger with the keys would.

This reads the Image Block Responses by itself, not with the classes that the hub and the devices use: a
mistake that both of them share would show here as a file that differs from the one served.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

from han.sim.air.capture import CaptureError
from han.sim.wire import aps, mac, nwk
from han.sim.wire.errors import ForgedError, WireError
from ota.eui64 import Eui64

_OTA_CLUSTER: Final = 0x0019
_CLUSTER_SPECIFIC: Final = 1
_MANUFACTURER_SPECIFIC: Final = 0x04
_FROM_SERVER: Final = 0x08
_IMAGE_BLOCK_RESPONSE: Final = 0x05
# An Image Block Response: status, manufacturer, image type, file version, file offset, data size.
_BLOCK: Final = struct.Struct("<BHHIIB")
# Nothing shorter than MAC, NWK, APS and ZCL headers, these fields and the check sequence holds a block.
_SMALLEST: Final = 9 + 8 + 8 + 3 + _BLOCK.size + 2


class Download(NamedTuple):
    """Whose download it was (its network address) and of which file."""

    destination: int
    manufacturer: int
    image_type: int
    file_version: int


def rebuild_images(
    frames: Iterable[tuple[float, bytes]],
    keys: Iterable[bytes],
    *,
    source: int | None = None,
    destination: int | None = None,
) -> dict[Download, bytes]:
    """The files in a capture's Image Block Responses, each from offset 0 to the first octet nobody sent.

    ``frames`` are those of ``capture.read_pcap``; ``keys`` the network and link keys, tried in turn.
    ``source`` and ``destination`` are network addresses that narrow the choice. Spoilt frames, and such as
    no key opens, are passed over.

    Raises:
        CaptureError: if two responses disagree about the same octets of the same download.
    """
    opener = Opener(list(keys))
    blocks: dict[Download, dict[int, bytes]] = {}
    for _, psdu in frames:
        if len(psdu) < _SMALLEST:
            continue
        try:
            outer = mac.parse_psdu(psdu)
            frame = nwk.NwkFrame.parse(outer.payload)
            if source not in (None, frame.source) or destination not in (None, frame.destination):
                continue
            message = opener.open(outer, frame)
        except WireError:
            continue
        block = _block(frame.destination, message)
        if block is None:
            continue
        download, offset, data = block
        known = blocks.setdefault(download, {})
        known[offset] = _agreed(download, offset, known.get(offset, b""), data)
    return {download: _joined(download, parts) for download, parts in blocks.items()}


def _block(destination: int, message: aps.ApsFrame) -> tuple[Download, int, bytes] | None:
    """The offset and octets of an Image Block Response with data; ``None`` of anything else."""
    zcl = message.payload
    if (
        message.type is not aps.FrameType.DATA
        or message.cluster != _OTA_CLUSTER
        or len(zcl) < 3 + _BLOCK.size
    ):
        return None
    control = zcl[0]
    if (
        control & 3 != _CLUSTER_SPECIFIC
        or control & _MANUFACTURER_SPECIFIC
        or not control & _FROM_SERVER
        or zcl[2] != _IMAGE_BLOCK_RESPONSE
    ):
        return None
    status, manufacturer, image_type, file_version, offset, size = _BLOCK.unpack_from(zcl, 3)
    data = zcl[3 + _BLOCK.size :]
    if status != 0 or len(data) < size:
        return None
    return Download(destination, manufacturer, image_type, file_version), offset, data[:size]


def _joined(download: Download, parts: dict[int, bytes]) -> bytes:
    whole = bytearray()
    for offset, data in sorted(parts.items()):
        if offset > len(whole):
            break
        whole[offset : offset + len(data)] = _agreed(
            download, offset, bytes(whole[offset : offset + len(data)]), data
        )
    return bytes(whole)


def _agreed(download: Download, offset: int, one: bytes, other: bytes) -> bytes:
    """The longer of two accounts of the octets from ``offset``, which must not disagree."""
    longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
    if not longer.startswith(shorter):
        raise CaptureError(f"{download}: two responses disagree about the octets from offset {offset}")
    return longer


class Opener:
    """Opens data frames with a bunch of keys; remembers which EUI-64 speaks from which network address.

    Feed it a capture's frames in their order: a device's EUI-64 is learnt from its own frames.
    """

    def __init__(self, keys: list[bytes]) -> None:
        self._network_keys = keys
        self._link_keys = list(keys)
        self._ieee: dict[int, Eui64] = {}

    def open(self, outer: mac.MacFrame, frame: nwk.NwkFrame) -> aps.ApsFrame:
        """The application support frame in plain.

        Raises:
            WireError: if there is none, or no key opens it.
        """
        if outer.type is not mac.FrameType.DATA or frame.type is not nwk.FrameType.DATA:
            raise WireError("no application data")
        if frame.security:
            frame = self._open_nwk(outer, frame)
        message = aps.ApsFrame.parse(frame.payload)
        return self._open_aps(frame, message) if message.security else message

    def _open_nwk(self, outer: mac.MacFrame, frame: nwk.NwkFrame) -> nwk.NwkFrame:
        sequence = nwk.NwkAuxiliary.parse(frame.payload).key_sequence
        for key in self._network_keys:
            try:
                opened, auxiliary = nwk.open_frame(outer.payload, {sequence: key}, frame)
            except ForgedError:
                continue
            if outer.source == frame.source:
                # The first hop: who sealed the frame is who wrote it.
                self._ieee[frame.source] = auxiliary.source
            if frame.source_ieee is not None:
                self._ieee[frame.source] = frame.source_ieee
            self._network_keys = _first(key, self._network_keys)
            return opened
        raise WireError("no key opens the network frame")

    def _open_aps(self, frame: nwk.NwkFrame, message: aps.ApsFrame) -> aps.ApsFrame:
        for key in self._link_keys:
            try:
                opened, _ = aps.open_frame(frame.payload, key, self._ieee.get(frame.source), message)
            except ForgedError:
                continue
            self._link_keys = _first(key, self._link_keys)
            return opened
        raise WireError("no key opens the application support frame")


def _first(key: bytes, keys: list[bytes]) -> list[bytes]:
    """The keys with this one in front: the next frame is most likely sealed with it too."""
    return keys if keys[0] == key else [key, *(other for other in keys if other != key)]
