"""What the head end knows of the devices in homes: type, Communications Hub, version."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ota.eui64 import Eui64

DEVICE_TYPES = ("ESME", "GSME", "GPF", "CHF", "HCALCS", "PPMID", "IHD", "CAD")
"""The values of DUIS DeviceType."""


class DeviceStatus(StrEnum):
    """How far a device has come in the Smart Metering Inventory, as far as firmware update asks."""

    PENDING = "Pending"
    COMMISSIONED = "Commissioned"
    SUSPENDED = "Suspended"
    DECOMMISSIONED = "Decommissioned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device of the inventory. ``version`` is eight upper-case hex digits, None while unknown."""

    eui64: Eui64
    device_type: str
    hub: Eui64
    version: str | None = None
    status: DeviceStatus = DeviceStatus.COMMISSIONED

    def __post_init__(self) -> None:
        if self.device_type not in DEVICE_TYPES:
            raise ValueError(
                f"{self.device_type!r} is no device type: expected one of {', '.join(DEVICE_TYPES)}"
            )
