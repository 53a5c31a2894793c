"""What a device's OTA machine can tell: read this file to know all of it.

Times are seconds on the clock that the machine is told; offsets and sizes are octets.
"""

from __future__ import annotations

from dataclasses import dataclass

from ota.image import ImageKey
from ota.status import Status


@dataclass(frozen=True, slots=True)
class Queried:
    """The device asks what comes next."""


@dataclass(frozen=True, slots=True)
class DownloadStarted:
    """Blocks are asked for, from ``offset`` on: not 0 when a stored download goes on."""

    key: ImageKey
    size: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class BlockReceived:
    """These octets are stored."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class FellBack:
    """Pages are asked for no more: the download goes on block by block."""

    why: str


@dataclass(frozen=True, slots=True)
class DownloadComplete:
    """The whole file is stored and was found good. Only now the server is told."""

    key: ImageKey
    data: bytes


@dataclass(frozen=True, slots=True)
class MoreNeeded:
    """This file is whole and good, but the device needs others before it upgrades."""

    key: ImageKey
    data: bytes


@dataclass(frozen=True, slots=True)
class Activating:
    """The image takes over at this time."""

    key: ImageKey
    at: float


@dataclass(frozen=True, slots=True)
class WaitingToActivate:
    """The image is held until the device is told, by the server or by a GBCS command."""

    key: ImageKey


@dataclass(frozen=True, slots=True)
class Activated:
    """The image took over; the device runs this version now, or one of its parts does."""

    file_version: int
    part: int | None = None
    """The part's image type; None for the device's own firmware."""


@dataclass(frozen=True, slots=True)
class Aborted:
    """The download ended without an image: on the server's word, or because the file is wrong."""

    status: Status


@dataclass(frozen=True, slots=True)
class GaveUp:
    """Too many tries went unanswered. What is stored is kept for the next offer of the same image."""

    why: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """Something came that cannot be used, and changed nothing."""

    why: str


Event = (
    Queried
    | DownloadStarted
    | BlockReceived
    | FellBack
    | DownloadComplete
    | MoreNeeded
    | Activating
    | WaitingToActivate
    | Activated
    | Aborted
    | GaveUp
    | Ignored
)
