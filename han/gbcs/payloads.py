"""The payloads of GBCS messages about firmware, as they travel without their envelope. Pure.

    CS06   Activate Firmware: command, response, and the alert that follows a future-dated command
    CS08   Read Firmware Version: command and response
    CS09   Firmware Activation Alert, from a PPMID by itself
    CCS08  Firmware Transfer Alert, from the Communications Hub

Layouts: GBCS message templates and the published test messages (RTDS). A firmware version is four octets,
    most
significant first, and a number here. Until messages get their envelopes, which name the use case,
`parse_from_device` and `parse_to_device` tell them apart by their shape: per direction no two share one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum

from han.errors import OurError, TheirError
from han.gbcs.codes import AlertCode
from han.gbcs.der import Value, decode, encode
from ota.eui64 import Eui64

CANCEL = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""The execution time of a CS06 command that cancels a pending one."""

_HASH_SIZE = 32


class TransferResult(IntEnum):
    """The response code of a Firmware Transfer Alert (CCS08)."""

    SUCCESS = 0
    DISCARDED = 1
    HARDWARE_MISMATCH = 2
    TRANSFER_FAILURE = 3


class ActivateImageResponseCode(IntEnum):
    """How an activation by CS06 went."""

    SUCCESS = 0
    NO_IMAGE_HELD = 1
    HASH_MISMATCH = 2
    ACTIVATION_FAILURE = 3


@dataclass(frozen=True, slots=True)
class ActivationOutcome:
    """How an activation went, and the version that runs now."""

    response: ActivateImageResponseCode
    file_version: int

    def value(self) -> Value:
        """As a DER value."""
        return (int(self.response), _version(self.file_version))


@dataclass(frozen=True, slots=True)
class ActivateFirmwareCommand:
    """CS06 command: activate the image with this hash, now or at ``execute_at``; `CANCEL` cancels."""

    manufacturer_image_hash: bytes
    originator_counter: int
    execute_at: datetime | None = None

    def to_der(self) -> bytes:
        """The payload. Raises OurError for a hash that is not 32 octets."""
        if len(self.manufacturer_image_hash) != _HASH_SIZE:
            raise OurError(
                f"a Manufacturer Image Hash has 32 octets, not {len(self.manufacturer_image_hash)}"
            )
        when = () if self.execute_at is None else (self.execute_at,)
        return encode((self.manufacturer_image_hash, self.originator_counter, *when))


@dataclass(frozen=True, slots=True)
class ActivateFirmwareResponse:
    """CS06 response: the outcome, or None for accepted, future-dated or cancelled."""

    outcome: ActivationOutcome | None = None

    def to_der(self) -> bytes:
        """The payload. Without an outcome the same NULL as a CS08 command, which goes the other way."""
        return encode(None if self.outcome is None else self.outcome.value())


@dataclass(frozen=True, slots=True)
class ActivateFirmwareAlert:
    """CS06 alert: how a future-dated command went."""

    alert_code: int
    executed_at: datetime
    originator_counter: int
    outcome: ActivationOutcome

    def to_der(self) -> bytes:
        """The payload."""
        return encode((self.alert_code, self.executed_at, self.originator_counter, self.outcome.value()))


@dataclass(frozen=True, slots=True)
class ReadFirmwareVersionCommand:
    """CS08 command."""

    def to_der(self) -> bytes:
        """The payload: NULL."""
        return encode(None)


@dataclass(frozen=True, slots=True)
class ReadFirmwareVersionResponse:
    """CS08 response: the version that runs, or None for a failure to read it."""

    file_version: int | None

    def to_der(self) -> bytes:
        """The payload; a failure is told by four zero octets and the response 1."""
        failed = self.file_version is None
        return encode((_version(self.file_version or 0), int(failed)))


@dataclass(frozen=True, slots=True)
class FirmwareActivationAlert:
    """CS09 alert: a PPMID tried its new image; ``file_version`` runs now."""

    at: datetime
    file_version: int
    is_success: bool
    alert_code: int = AlertCode.PPMID_ACTIVATION

    def to_der(self) -> bytes:
        """The payload."""
        return encode((self.alert_code, self.at, _version(self.file_version), int(not self.is_success)))


@dataclass(frozen=True, slots=True)
class FirmwareTransferAlert:
    """CCS08 alert: how the transfer of an image to a device ended."""

    at: datetime
    device: Eui64
    file_version: int
    result: TransferResult

    @property
    def alert_code(self) -> int:
        """0x8F8A for a success, else 0x8F89."""
        if self.result is TransferResult.SUCCESS:
            return AlertCode.TRANSFER_SUCCEEDED
        return AlertCode.TRANSFER_FAILED

    def to_der(self) -> bytes:
        """The payload."""
        device = self.device.to_bytes(8, "big")
        return encode((self.alert_code, self.at, device, _version(self.file_version), int(self.result)))


DeviceMessage = (
    ActivateFirmwareResponse | ActivateFirmwareAlert | ReadFirmwareVersionResponse | FirmwareActivationAlert
)
"""What a device tells."""

HubMessage = ActivateFirmwareCommand | ReadFirmwareVersionCommand
"""What a device is told."""


def parse_from_device(payload: bytes) -> DeviceMessage:
    """Read what a device told, whichever of its messages it is.

    Raises:
        TheirError: if it is none of them.
    """
    match decode(payload):
        case None:
            return ActivateFirmwareResponse()
        case (int() as response, bytes() as version):
            return ActivateFirmwareResponse(_outcome(response, version))
        case (bytes() as version, int() as failed):
            return ReadFirmwareVersionResponse(None if failed else _read_version(version))
        case (int() as code, datetime() as at, bytes() as version, int() as failed):
            return FirmwareActivationAlert(at, _read_version(version), not failed, code)
        case (int() as code, datetime() as at, int() as counter, (int() as response, bytes() as version)):
            return ActivateFirmwareAlert(code, at, counter, _outcome(response, version))
        case _:
            raise TheirError("no firmware message that a device sends has this shape")


def parse_to_device(payload: bytes) -> HubMessage:
    """Read what a device was told.

    Raises:
        TheirError: if it is none of the commands.
    """
    match decode(payload):
        case None:
            return ReadFirmwareVersionCommand()
        case (bytes() as image_hash, int() as counter, *when) if len(image_hash) == _HASH_SIZE:
            match when:
                case []:
                    return ActivateFirmwareCommand(image_hash, counter)
                case [datetime() as execute_at]:
                    return ActivateFirmwareCommand(image_hash, counter, execute_at)
                case _:
                    raise TheirError("a CS06 command ends with its execution time")
        case _:
            raise TheirError("no firmware command has this shape")


def parse_transfer_alert(payload: bytes) -> FirmwareTransferAlert:
    """Read a Firmware Transfer Alert.

    Raises:
        TheirError: if it is none, or its code contradicts its response.
    """
    match decode(payload):
        case (int() as code, datetime() as at, bytes() as device, bytes() as version, int() as result) if len(
            device
        ) == 8 and result in set(TransferResult):
            alert = FirmwareTransferAlert(
                at, Eui64.from_bytes(device, "big"), _read_version(version), TransferResult(result)
            )
            if alert.alert_code == code:
                return alert
            raise TheirError(f"alert code {code:#06x} does not go with response {result}")
        case _:
            raise TheirError("not a Firmware Transfer Alert")


def _outcome(response: int, version: bytes) -> ActivationOutcome:
    if response not in set(ActivateImageResponseCode):
        raise TheirError(f"an activation has a response of 0 to 3, not {response}")
    return ActivationOutcome(ActivateImageResponseCode(response), _read_version(version))


def _version(file_version: int) -> bytes:
    try:
        return file_version.to_bytes(4, "big")
    except OverflowError as error:
        raise OurError(f"a firmware version has four octets: {file_version:#x} has not") from error


def _read_version(octets: bytes) -> int:
    if len(octets) != 4:
        raise TheirError(f"a firmware version has 4 octets, not {len(octets)}")
    return int.from_bytes(octets, "big")
