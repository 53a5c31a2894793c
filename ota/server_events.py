"""What the hub's OTA machine can tell: read this file to know all of it.

``image_id`` is the SHA-256 of the upgrade file, in hex. Offsets and sizes are octets; offset 0 is the first
octet of the OTA header.
"""

from __future__ import annotations

from dataclasses import dataclass

from ota.eui64 import Eui64
from ota.status import Status


@dataclass(frozen=True, slots=True)
class VersionSeen:
    """A device told what it runs, in a Query Next Image Request."""

    peer: Eui64
    manufacturer: int
    image_type: int
    file_version: int
    hardware_version: int | None


@dataclass(frozen=True, slots=True)
class Notified:
    """An Image Notify goes out to a target; ``attempt`` counts from 1."""

    peer: Eui64
    image_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class TransferStarted:
    """A target asks for blocks, from this offset: anew, or where it stood before one of us restarted."""

    peer: Eui64
    image_id: str
    offset: int


@dataclass(frozen=True, slots=True)
class BlockServed:
    """The Send just before this event carries these octets."""

    peer: Eui64
    image_id: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class TransferCompleted:
    """A target holds the whole image and found it good (Upgrade End Request SUCCESS). Once per target."""

    peer: Eui64
    image_id: str


@dataclass(frozen=True, slots=True)
class TransferInterrupted:
    """A target broke off but may try again: it is notified once more."""

    peer: Eui64
    image_id: str
    status: Status


@dataclass(frozen=True, slots=True)
class TransferFailed:
    """A target will not take this image: it said so, or broke off too often."""

    peer: Eui64
    image_id: str
    status: Status
    asked: int | None
    """The highest offset that it asked for; None: it asked for nothing."""
    notified: int
    """How often it was notified."""


@dataclass(frozen=True, slots=True)
class HardwareMismatch:
    """A target's hardware version lies outside the range in the image's header. Once per target."""

    peer: Eui64
    image_id: str
    hardware_version: int | None


@dataclass(frozen=True, slots=True)
class AlreadyRunning:
    """A target asks for the next image while it runs the version that is offered. Once per target."""

    peer: Eui64
    image_id: str


@dataclass(frozen=True, slots=True)
class TransferStalled:
    """A target in mid-download fell silent before ``offset``; it is notified again."""

    peer: Eui64
    image_id: str
    offset: int


@dataclass(frozen=True, slots=True)
class Paused:
    """The user paused this target's transfer: it is told to wait whenever it asks."""

    peer: Eui64
    image_id: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """The user lets this target's transfer go on."""

    peer: Eui64
    image_id: str


@dataclass(frozen=True, slots=True)
class TransferAborted:
    """The user ended this target's transfer; the client hears ABORT at its next request.

    ``asked`` and ``notified`` are as in TransferFailed.
    """

    peer: Eui64
    image_id: str
    asked: int | None
    notified: int


@dataclass(frozen=True, slots=True)
class TurnAwaited:
    """As many others download as may: this target is told to wait for its turn. Once per wait."""

    peer: Eui64
    image_id: str


@dataclass(frozen=True, slots=True)
class MoreImagesNeeded:
    """A target holds this image and needs others before it upgrades (REQUIRE_MORE_IMAGE)."""

    peer: Eui64
    image_id: str


@dataclass(frozen=True, slots=True)
class Paced:
    """A client is told to leave at least ``period`` seconds between two block requests."""

    peer: Eui64
    period: float


@dataclass(frozen=True, slots=True)
class BlockPeriodFound:
    """By its timing a client counts its minimum block period in this ``unit``: "ms" or "s"."""

    peer: Eui64
    unit: str


@dataclass(frozen=True, slots=True)
class Flooding:
    """A client asks without end, and is answered more slowly: ``what`` it asks. Once until it calms down."""

    peer: Eui64
    what: str


@dataclass(frozen=True, slots=True)
class AirSpent:
    """The hub has used up its air time: whoever asks for octets is told to wait."""

    wait: float


@dataclass(frozen=True, slots=True)
class ClientIgnoresBlock:
    """A client goes on asking for octets that its radio has acknowledged: blocks get ``size`` octets."""

    peer: Eui64
    image_id: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class BlockShrunk:
    """The radio could not carry a block to this target: from now on its blocks have ``size`` octets."""

    peer: Eui64
    size: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A request was turned down with this status."""

    peer: Eui64
    why: str
    status: Status


@dataclass(frozen=True, slots=True)
class PeerRefused:
    """A device turned down a command of ours with a Default Response."""

    peer: Eui64
    command_id: int
    status: Status


DeviceEvent = (
    VersionSeen
    | Notified
    | TransferStarted
    | BlockServed
    | TransferCompleted
    | TransferInterrupted
    | TransferFailed
    | HardwareMismatch
    | AlreadyRunning
    | TransferStalled
    | Paused
    | Resumed
    | TransferAborted
    | TurnAwaited
    | MoreImagesNeeded
    | Paced
    | BlockPeriodFound
    | Flooding
    | ClientIgnoresBlock
    | BlockShrunk
    | Refused
    | PeerRefused
)
"""About one device."""

Event = DeviceEvent | AirSpent
"""Whatever the machine tells."""
