"""What the kinds of device have in common and where they differ, as values.

Zigbee device ids are those that the field uses for these kinds (not settled by any public text, so they
decide nothing here). A two-stage device takes an image by 11.1 and runs it only on an Activate Firmware
command (CS06); a PPMID takes it by 11.4, runs it as soon as the hub says so and then tells (CS09), unless it
dates from before SECMP0007.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from han.gbcs.codes import MessageCode
from han.gbcs.messages import ReceiptForm
from han.sim.home import DeviceDescription, Kind, Profile
from han.zcl import HOME_AUTOMATION_PROFILE, SMART_ENERGY_PROFILE


@dataclass(frozen=True, slots=True)
class Nature:
    """How a kind of device behaves."""

    zigbee_device_id: int
    two_stage: bool
    """Only a CS06 command activates, and its images carry a trailer with the Supplier's signature."""
    tells_activation: bool
    """Sends the PPMID activation alert (CS09)."""
    tells_version: bool
    """Answers Read Firmware Version (CS08)."""
    receipt: ReceiptForm | None = None
    """How it writes the Firmware Distribution Receipt Alert, if it sends one once it has checked an image."""
    profile: int = SMART_ENERGY_PROFILE
    """The application profile of its endpoint."""
    relays_only: bool = False
    """It joins and relays for others; it has neither tunnel nor firmware to tell of."""

    @property
    def has_tunnel(self) -> bool:
        """Whether GBCS messages reach it and leave it: only Smart Energy has the cluster for them."""
        return self.profile == SMART_ENERGY_PROFILE and not self.relays_only


_PPMID = Nature(zigbee_device_id=0x0502, two_stage=False, tells_activation=True, tells_version=True)
_OLD_PPMID = Nature(zigbee_device_id=0x0502, two_stage=False, tells_activation=False, tells_version=False)
_HCALCS = Nature(
    zigbee_device_id=0x0504,
    two_stage=True,
    tells_activation=False,
    tells_version=True,
    receipt=MessageCode.RECEIPT_GSME,
)
"""It speaks the ZCL's language like a GSME, so it would write its receipts so too. No source says that it
writes any."""
_GSME = Nature(
    zigbee_device_id=0x0501,
    two_stage=True,
    tells_activation=False,
    tells_version=False,
    receipt=MessageCode.RECEIPT_GSME,
)
_ESME = replace(_GSME, receipt=MessageCode.RECEIPT_ESME)
_METER_INTERFACE = Nature(
    zigbee_device_id=0x0053,
    two_stage=False,
    tells_activation=False,
    tells_version=False,
    profile=HOME_AUTOMATION_PROFILE,
)
"""What Home Automation has that is most like a PPMID."""

_ROUTER = Nature(
    zigbee_device_id=0x0008, two_stage=False, tells_activation=False, tells_version=False, relays_only=True
)
"""A range extender."""
_HOME_ROUTER = replace(_ROUTER, profile=HOME_AUTOMATION_PROFILE)


def nature_of(description: DeviceDescription) -> Nature:
    """How the described device behaves."""
    match description.kind:
        case Kind.PPMID if description.profile is Profile.HOME_AUTOMATION:
            return _METER_INTERFACE
        case Kind.PPMID:
            return _OLD_PPMID if description.silent else _PPMID
        case Kind.HCALCS:
            return _with_receipts(_HCALCS, description)
        case Kind.GSME:
            return _with_receipts(_GSME, description)
        case Kind.ESME:
            return _with_receipts(_ESME, description)
        case Kind.ROUTER:
            return _HOME_ROUTER if description.profile is Profile.HOME_AUTOMATION else _ROUTER


def _with_receipts(nature: Nature, description: DeviceDescription) -> Nature:
    return nature if description.tells_receipt else replace(nature, receipt=None)
