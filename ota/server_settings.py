"""What the hub's OTA machine is given: its settings, and the images that it offers."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self

from ota.errors import OurError
from ota.eui64 import Eui64
from ota.image import Header
from ota.pacing import BlockSize, largest_block
from ota.status import Status


class Activation(enum.Enum):
    """What a target that holds the whole image is told to do."""

    NOW = "now"
    """Upgrade at once: the PPMID after 11.4."""
    WAIT = "wait"
    """Hold it until an activate command comes another way: GSME and HCALCS after 11.1."""


@dataclass(frozen=True, slots=True)
class Offer:
    """An upgrade file and the devices it is for. ``image_id`` is the file's SHA-256 in lower-case hex.

    ``begun`` are the targets known to have part of this very file. Any other one that would go on in the
    middle has part of another file with the same version, and is told to start anew; None: nobody knows.
    """

    image_id: str
    data: bytes
    header: Header
    targets: frozenset[Eui64]
    activation: Activation
    begun: frozenset[Eui64] | None = None

    @classmethod
    def of(
        cls,
        data: bytes,
        targets: Iterable[Eui64],
        activation: Activation,
        begun: Iterable[Eui64] | None = None,
    ) -> Self:
        """Offer this file. Raises ImageFormatError if it has no OTA header."""
        known = None if begun is None else frozenset(begun)
        image_id, header = hashlib.sha256(data).hexdigest(), Header.parse(data)
        return cls(image_id, data, header, frozenset(targets), activation, known)


BlockPeriodUnit = Literal["ms", "s", "probe"]
"""What a device counts its minimum block period in. Cluster revisions 1 and 3 say milliseconds, 2 says
seconds; "probe" finds out by timing a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSettings:
    """What a hub does differently for one device; None: as for all others. Times are seconds, sizes octets.

    Raises:
        OurError: for a value that the machine cannot keep.
    """

    block_ceiling: int | None = None
    minimum_block_period: float | None = None
    """The least time between two block requests; None: none."""
    block_period_unit: BlockPeriodUnit = "probe"
    acknowledged_blocks: bool | None = None
    stall_after: float | None = None

    def __post_init__(self) -> None:
        if self.block_ceiling is not None:
            BlockSize(self.block_ceiling)
        if self.minimum_block_period is not None and not 0 <= self.minimum_block_period <= 3600:
            raise OurError("a minimum block period lies between 0 and 3600 s")
        if self.stall_after is not None and self.stall_after <= 0:
            raise OurError("a client stalls after more than 0 s")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What a hub may do differently. Times are seconds, sizes octets.

    Raises:
        OurError: for a value that the machine cannot keep.
    """

    block_ceiling: int = largest_block(aps_secured=False)
    preempted_answer: Status = Status.ABORT
    """To a client in mid-download of a withdrawn image: ABORT, or a Default Response NO_IMAGE_AVAILABLE."""
    nothing_for_you: Status = Status.NO_IMAGE_AVAILABLE
    """To a query that no offer suits. One real hub model says NOT_AUTHORIZED before its first image."""
    notify_every: float = 900.0
    """Until the first reminder of a silent target; each further one waits twice as long, up to a limit."""
    notify_every_at_most: float = 21600.0
    stall_after: float = 600.0
    """A client in mid-download that is silent for so long counts as stalled. Slow devices need more."""
    aborts_allowed: int = 3
    """So often a client may break off without progress, and try again, before its transfer has failed."""
    reinstall: bool = False
    """Whether a device is given the version that it already runs."""
    hardware_version_needed: bool = False
    """Whether an image with a hardware range is kept from devices that do not tell theirs."""
    gbcs_wait: bool = True
    """Whether "hold the image" is said as GBCS 11.2.1 has it, in wildcards and 0xFFFFFFFF for both times."""
    acknowledged_blocks: bool = True
    """Whether blocks want an APS acknowledgement. Certification asks for it; without, a block takes half the
    air. Blocks that answer a page request never want one."""
    pause_wait: float = 60.0
    """A client that the user has paused is told to ask again after so long."""

    def __post_init__(self) -> None:
        BlockSize(self.block_ceiling)
        if self.preempted_answer not in (Status.ABORT, Status.NO_IMAGE_AVAILABLE):
            raise OurError("a preempted client is answered ABORT or NO_IMAGE_AVAILABLE")
        if self.nothing_for_you not in (Status.NO_IMAGE_AVAILABLE, Status.NOT_AUTHORIZED):
            raise OurError("a client without an image is answered NO_IMAGE_AVAILABLE or NOT_AUTHORIZED")
        if (
            min(self.notify_every, self.notify_every_at_most, self.stall_after, self.pause_wait) <= 0
            or self.aborts_allowed < 1
        ):
            raise OurError("periods are longer than 0 s, and a client may abort at least once")
