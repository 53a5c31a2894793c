"""What the hub's OTA machine is given: its settings, and the images that it offers."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Self

from ota.errors import OurError
from ota.eui64 import Eui64
from ota.image import Header
from ota.pacing import O_QPSK_2400, BlockSize, Phy, largest_block
from ota.status import Status


class Activation(enum.Enum):
    """What a target that holds the whole image is told to do."""

    NOW = "now"
    """Upgrade at once: the PPMID after 11.4."""
    WAIT = "wait"
    """Hold it until an activate command comes another way: ESME, GSME and HCALCS after 11.1."""


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
    upgrade_at: float | None = None
    """Where the targets upgrade at once, but not before this time of the machine's clock."""

    @classmethod
    def of(
        cls,
        data: bytes,
        targets: Iterable[Eui64],
        activation: Activation,
        begun: Iterable[Eui64] | None = None,
        upgrade_at: float | None = None,
    ) -> Self:
        """Offer this file. Raises ImageFormatError if it has no OTA header."""
        known = None if begun is None else frozenset(begun)
        image_id, header = hashlib.sha256(data).hexdigest(), Header.parse(data)
        return cls(image_id, data, header, frozenset(targets), activation, known, upgrade_at)


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
    serves_pages: bool | None = None

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
    invalid_images_allowed: int = 2
    """So often a client may find an image invalid that it took, before its transfer has failed. A block that
    went wrong on the way is mended by taking the image once more; another reason is not."""
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
    serves_pages: bool = True
    """Whether Image Page Requests are served. Without, a client falls back to blocks."""
    page_window: int = 2
    """How many blocks of a lone page may be in the dongle at a time: one on the air and one behind it."""
    page_spacing: float = 0.0
    """The least time between two blocks of a page, whatever the client asks for. One vendor's servers raise
    it to 0.3 s; a device that cannot take blocks so fast says so in its request."""
    downloads_at_once: int | None = None
    """How many clients may download at a time; the others are told to wait for their turn. None: all."""
    turn_wait: float = 60.0
    """Whoever waits for its turn is told to ask again after so long."""
    wait_at_most: float = 3600.0
    """No client is told to wait longer: deployed ones cut it to an hour, and so does a good custom."""
    air_time_per_hour: float | None = None
    """Seconds for which the hub's radio may be on the air with blocks in any hour. None: as long as it takes.
    Sub-GHz radios are Limited from 54 s on, and Critical from 75 s on."""
    phy: Phy = O_QPSK_2400
    """The radio for which the air time is counted."""
    requests_per_second: int = 200
    """A client that asks for octets more often floods: no 2.4 GHz channel carries so many exchanges."""
    repeats_per_minute: int = 20
    """A client that asks for the same octets more often floods: one that waits for answers asks every 3 s."""
    queries_per_minute: int = 12
    """A client that asks for the next image more often floods, and is answered so often."""
    flood_wait: float = 5.0
    """A client that floods with requests for octets is told to ask again after so long."""
    repeats_before_smaller: int = 3
    """A client that asks so often for octets that its radio has acknowledged gets smaller blocks."""
    notify_type: int = 0
    """The payload type of an Image Notify: 0 the jitter alone, 1 with the manufacturer, 2 and the image type,
    3 and the version. In unicast they all mean the same."""
    notify_jitter: int = 100
    """1 to 100: of so many of a hundred devices a broadcast Image Notify wants a query at once."""
    notify_by_broadcast: bool = False
    """Whether a new offer is made known by one broadcast. Reminders, and targets that stay silent, are
    spoken to one by one. A broadcast has no link key: Smart Energy devices may not believe it."""
    countdown_at_most: float = 3600.0
    """A target that is to upgrade later than so is told to wait, and told again: deployed clients cut a
    longer countdown to this and upgrade early."""
    utc: Callable[[float], int] | None = None
    """Seconds since 2000-01-01 UTC at a time of the machine's. None: all times are told as delays, which
    clients without a clock understand too."""

    def __post_init__(self) -> None:
        BlockSize(self.block_ceiling)
        if self.preempted_answer not in (Status.ABORT, Status.NO_IMAGE_AVAILABLE):
            raise OurError("a preempted client is answered ABORT or NO_IMAGE_AVAILABLE")
        if self.nothing_for_you not in (Status.NO_IMAGE_AVAILABLE, Status.NOT_AUTHORIZED):
            raise OurError("a client without an image is answered NO_IMAGE_AVAILABLE or NOT_AUTHORIZED")
        if (
            min(
                self.notify_every,
                self.notify_every_at_most,
                self.stall_after,
                self.pause_wait,
                self.turn_wait,
                self.wait_at_most,
                self.flood_wait,
                self.countdown_at_most,
            )
            <= 0
            or self.aborts_allowed < 1
        ):
            raise OurError("periods are longer than 0 s, and a client may abort at least once")
        if self.page_spacing < 0 or (self.air_time_per_hour is not None and self.air_time_per_hour <= 0):
            raise OurError("blocks of a page are 0 s or more apart, and an hour has more than 0 s of air")
        if self.downloads_at_once is not None and self.downloads_at_once < 1:
            raise OurError("at least one client may download at a time")
        if (
            min(
                self.page_window,
                self.requests_per_second,
                self.repeats_per_minute,
                self.queries_per_minute,
                self.repeats_before_smaller,
                self.invalid_images_allowed,
            )
            < 1
        ):
            raise OurError("a window of a page and the allowances of a client are 1 or more")
        if not (0 <= self.notify_type <= 3 and 1 <= self.notify_jitter <= 100):
            raise OurError("an Image Notify has payload type 0 to 3 and a jitter of 1 to 100")
