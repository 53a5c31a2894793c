"""How far the devices have come, as their hubs last told. Nothing depends on it, so no restart keeps it."""

from __future__ import annotations

from typing import Final

from hub.messages import Progress, TransferEntry
from ota.eui64 import Eui64

REMEMBERED: Final = 4096
"""Devices of which the latest is remembered; the ones not heard of for longest go first."""


class Downloads:
    """The latest progress of each device."""

    def __init__(self) -> None:
        self._latest: dict[Eui64, Progress] = {}

    def note(self, progress: Progress) -> None:
        """A hub tells of a device."""
        device = Eui64.parse(progress.device)
        self._latest.pop(device, None)
        self._latest[device] = progress
        if len(self._latest) > REMEMBERED:
            del self._latest[next(iter(self._latest))]

    def of(self, request_id: str, device: Eui64) -> TransferEntry | None:
        """How the device stands with the image of this request, if anything was told."""
        told = self._latest.get(device)
        if told is None or told.request_id != request_id:
            return None
        return TransferEntry(
            image_id=told.image_id,
            request_id=told.request_id,
            state=told.state,
            offset=told.offset,
            size=told.size,
            percent=told.percent,
            octets_per_second=told.octets_per_second,
            seconds_left=told.seconds_left,
        )
