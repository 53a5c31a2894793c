"""The numbers by which GBCS tells messages and alerts apart, as far as they concern firmware. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final


class MessageCode(IntEnum):
    """The use case of a message. Values as the published test messages carry them."""

    ACTIVATE_FIRMWARE = 0x0012
    READ_ESME_OR_CH_VERSION = 0x0059
    READ_GSME_VERSION = 0x0084
    FUTURE_DATED_ACTIVATION = 0x00CA
    RECEIPT_ESME = 0x00CE
    RECEIPT_GSME = 0x00CF
    FIRMWARE_TRANSFER = 0x0128
    READ_PPMID_OR_HCALCS_VERSION = 0x0129
    PPMID_ACTIVATION = 0x012B
    GENERIC_CRITICAL = 0x1000
    GENERIC_NON_CRITICAL = 0x1001


USE_CASES: Final[Mapping[int, str]] = {
    MessageCode.ACTIVATE_FIRMWARE: "CS06 Activate Firmware",
    MessageCode.READ_ESME_OR_CH_VERSION: "ECS52 Read ESME or CH firmware version",
    MessageCode.READ_GSME_VERSION: "GCS38 Read GSME firmware version",
    MessageCode.FUTURE_DATED_ACTIVATION: "CS06 Future-dated firmware activation alert",
    MessageCode.RECEIPT_ESME: "Firmware Distribution Receipt Alert (ESME)",
    MessageCode.RECEIPT_GSME: "Firmware Distribution Receipt Alert (GSME)",
    MessageCode.FIRMWARE_TRANSFER: "CCS08 Firmware Transfer Alert",
    MessageCode.READ_PPMID_OR_HCALCS_VERSION: "CS08 Read PPMID or HCALCS firmware version",
    MessageCode.PPMID_ACTIVATION: "CS09 PPMID Firmware Activation Alert",
    MessageCode.GENERIC_CRITICAL: "Generic Critical Alert",
    MessageCode.GENERIC_NON_CRITICAL: "Generic Non-Critical Alert",
}
"""What people call them."""


ANSWERS_CS08: Final = frozenset({"PPMID", "HCALCS"})
"""The device types that tell their version by CS08; meters answer other messages (ECS52, GCS38)."""


class AlertCode(IntEnum):
    """What an alert is about."""

    VERIFICATION_FAILED_AT_POWER_ON = 0x8F1B
    VERIFICATION_FAILED = 0x8F1C
    FUTURE_DATED_DONE = 0x8F66
    FUTURE_DATED_FAILED = 0x8F67
    VERIFICATION_SUCCEEDED = 0x8F72
    TRANSFER_FAILED = 0x8F89
    TRANSFER_SUCCEEDED = 0x8F8A
    PPMID_ACTIVATION = 0x8F8B


ALERTS: Final[Mapping[int, str]] = {
    AlertCode.VERIFICATION_FAILED_AT_POWER_ON: "firmware verification failed at power on",
    AlertCode.VERIFICATION_FAILED: "firmware verification failed: the image's signature",
    AlertCode.FUTURE_DATED_DONE: "future-dated command successfully actioned",
    AlertCode.FUTURE_DATED_FAILED: "future-dated command not successfully actioned",
    AlertCode.VERIFICATION_SUCCEEDED: "firmware verification successful",
    AlertCode.TRANSFER_FAILED: "firmware transfer failed",
    AlertCode.TRANSFER_SUCCEEDED: "firmware transfer successful",
    AlertCode.PPMID_ACTIVATION: "PPMID firmware activation",
}
"""What they say in words."""
