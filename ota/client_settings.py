"""What a device is, how it behaves, and what its flash keeps: all that its OTA machine is made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ota.errors import OurError
from ota.eui64 import Eui64
from ota.image import Header, ImageKey
from ota.pacing import largest_block


@dataclass(frozen=True, slots=True)
class Part:
    """Something in a device that has files of its own: firmware, a second processor, a configuration."""

    image_type: int
    file_version: int
    is_device_specific: bool = False
    """Whether its files are made for this one device (Query Device Specific File)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a device is and runs.

    Raises:
        OurError: if two parts have the same image type, or a device without an address has one of its own.
    """

    manufacturer: int
    image_type: int
    file_version: int
    hardware_version: int | None = None
    stack_version: int = 0x0002
    """Attribute CurrentZigbeeStackVersion: 2 is Zigbee PRO."""
    image_stamp: int = 0xFFFFFFFF
    """Attribute ImageStamp: tells images of the same version apart. Of one that was taken over the air it is
    the CRC-32 of the file."""
    address: Eui64 | None = None
    parts: tuple[Part, ...] = ()
    """What the device has besides its firmware."""

    def __post_init__(self) -> None:
        types = [self.image_type, *(part.image_type for part in self.parts)]
        if len(set(types)) < len(types):
            raise OurError("each part of a device has an image type of its own")
        if self.address is None and any(part.is_device_specific for part in self.parts):
            raise OurError("a device without an address has no device-specific files")

    @property
    def firmware(self) -> Part:
        """The device's own firmware, seen as one of its parts."""
        return Part(self.image_type, self.file_version)

    @property
    def all_parts(self) -> tuple[Part, ...]:
        """Its firmware, and what it has besides."""
        return (self.firmware, *self.parts)

    def has_use_for(self, key: ImageKey) -> bool:
        """Whether an image by this name is for the device, or for one of its parts."""
        types = [part.image_type for part in self.all_parts]
        return key.manufacturer == self.manufacturer and key.image_type in types

    def running(self, header: Header, image_stamp: int) -> Identity:
        """The same device when the file with this header has taken over.

        Raises:
            OurError: if it has no part with the file's image type.
        """
        if header.image_type == self.image_type:
            return replace(
                self,
                file_version=header.file_version,
                stack_version=header.stack_version,
                image_stamp=image_stamp,
            )
        if header.image_type not in (part.image_type for part in self.parts):
            raise OurError(f"this device has nothing of image type {header.image_type:#06x}")
        return replace(
            self,
            parts=tuple(
                replace(part, file_version=header.file_version)
                if part.image_type == header.image_type
                else part
                for part in self.parts
            ),
        )


@dataclass(frozen=True, slots=True)
class StoredDownload:
    """What a device's flash holds of an image: the octets from 0 on; whole when they are ``size``."""

    key: ImageKey
    size: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """How a device behaves. Times are seconds, sizes octets; defaults are those of a widespread stack."""

    maximum_data_size: int = largest_block(aps_secured=False)
    page_size: int | None = None
    """Octets of a page; None for a device that asks for blocks one by one."""
    page_spacing: float = 0.05
    """The time between the blocks of a page that the server is asked for. 0: as fast as it can."""
    page_timeout: float = 10.0
    """How long a device waits for the first block of a page: deployed ones take about so long."""
    page_tries: int = 2
    """So many pages in a row without any block end page mode until the next restart."""
    acknowledged: bool = True
    """Whether requests for octets want an APS acknowledgement. One that is lost without costs a time-out."""
    storage: int = 1 << 20
    """A larger image is turned down with INSUFFICIENT_SPACE."""
    first_query_within: float = 255.0
    """After power on, the first query comes at a random moment of this span."""
    query_every: float = 300.0
    resume_within: float = 5.0
    """After power on with a stored file, the device goes on at a random moment of this span."""
    answer_timeout: float = 3.0
    back_off: float = 2.0
    """The pause after a first unanswered request; each further one in a row doubles it, up to a limit."""
    back_off_at_most: float = 60.0
    query_tries: int = 3
    errors_allowed: int = 10
    """So many unanswered or useless answers in a row end a download."""
    end_back_off_at_most: float = 600.0
    end_tries: int = 10
    hold_repeat: float = 3600.0
    """A device told to hold an image asks this often whether it may go."""
    wait_at_most: float = 3600.0
    invalid_wait: float = 300.0
    """What a WAIT_FOR_DATA whose request time lies before its current time is worth."""
    activation_delay: float = 3.0
    """From "now" to the restart, so that acknowledgements can flow."""
    pause_between_blocks: float = 0.0
    reports_block_period: bool = False
    """Whether block requests carry the device's minimum block period."""
    cluster_revision: int = 3
    """Attribute ClusterRevision. It decides what a minimum block period counts: seconds in revision 2, of
    the time of SE 1.2b, milliseconds before and after."""
    out_of_band_only: bool = False
    """Attribute UpgradeActivationPolicy: only a command from elsewhere activates (ESME, GSME, HCALCS)."""
    apply_after_timeout: bool = True
    """Attribute UpgradeTimeoutPolicy: without an answer to its Upgrade End Requests the device goes ahead."""
    upgrades_together: bool = False
    """Whether a device with parts takes a file for each before any of them runs (REQUIRE_MORE_IMAGE).
    Otherwise each is upgraded by itself."""
    accepts_downgrade: bool = True
    accepts_running_version: bool = False
    keeps_aborted: bool = False
    """Whether what is stored survives an ABORT from the server."""
    utc: Callable[[float], float | None] | None = None
    """The device's own clock: seconds since 2000-01-01 UTC at a time of the machine's, None if it is not set.
    Without one, the difference of the two times that a server names is what counts."""
    verify: Callable[[bytes], bool] | None = None
    """A device's own check of the whole file, besides header and size."""

    @property
    def block_period_unit(self) -> float:
        """What a minimum block period counts, in seconds."""
        return 1.0 if self.cluster_revision == 2 else 0.001

    def delay(self, current_time: int, then: int, now: float) -> float | None:
        """Seconds from ``now`` to a time that the server names together with its current time.

        With a current time of 0 the other is a delay; otherwise both are UTC. None if they contradict each
        other.
        """
        if current_time == 0:
            return then
        if then < current_time:
            return None
        utc = None if self.utc is None else self.utc(now)
        return then - current_time if utc is None else max(then - utc, 0)
