"""The messages about firmware, whole: which payload goes in which envelope, and who protects it how. Pure.

    CS06   command     Supplier signs, ACB adds the MAC     to a two-stage device
           response    device signs                         to the Supplier
           alert       device signs                         to the Supplier, when a dated command was acted on
    FDRA   alert       device signs                         to the Supplier, when an image was checked
    CS08   command     ACB adds the MAC                     to a PPMID or an HCALCS
           response    device adds the MAC                  to the ACB
    CS09   alert       PPMID signs                          to the ACB
    CCS08  alert       Communications Hub signs             to the ACB

As the published test messages have it (RTDS). The parties are those of the lab, see `han.gbcs.parties`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, Literal

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

from han.errors import TheirError
from han.gbcs.codes import USE_CASES, MessageCode
from han.gbcs.dlms import write_date_time
from han.gbcs.envelope import Envelope, MessageKind
from han.gbcs.parties import ACCESS_CONTROL_BROKER, SUPPLIER, lab_party
from han.gbcs.payloads import (
    ActivateFirmwareAlert,
    ActivateFirmwareCommand,
    ActivateFirmwareResponse,
    FirmwareActivationAlert,
    FirmwareTransferAlert,
    ReadFirmwareVersionCommand,
    ReadFirmwareVersionResponse,
    parse_from_device,
    parse_to_device,
    parse_transfer_alert,
)
from han.gbcs.protection import has_mac_of, is_signed_by, signed, with_mac
from han.gbcs.receipt import ReceiptAlert
from ota.eui64 import Eui64

Payload = (
    ActivateFirmwareCommand
    | ActivateFirmwareResponse
    | ActivateFirmwareAlert
    | ReadFirmwareVersionCommand
    | ReadFirmwareVersionResponse
    | FirmwareActivationAlert
    | FirmwareTransferAlert
    | ReceiptAlert
)
"""What the messages about firmware say."""

ReceiptForm = Literal[MessageCode.RECEIPT_ESME, MessageCode.RECEIPT_GSME]
"""The message code of a receipt alert, which says in which of two forms it is written."""

_COMMAND, _RESPONSE, _ALERT = MessageKind


def payload_of(message: Envelope) -> Payload | None:
    """What a message says; None if it is not about firmware.

    Raises:
        TheirError: if its payload is not what its code announces.
    """
    announced = _ANNOUNCED.get((message.code, message.kind))
    if announced is None:
        return None
    kind, read = announced
    payload = read(message.payload)
    if not isinstance(payload, kind):
        raise TheirError(f"the payload is none of {USE_CASES[message.code]}, {message.kind.name.lower()}")
    return payload


def activate_firmware(device: Eui64, command: ActivateFirmwareCommand) -> Envelope:
    """CS06 command. Its counter is also the message's."""
    message = Envelope(
        _COMMAND,
        command.originator_counter,
        SUPPLIER,
        device,
        MessageCode.ACTIVATE_FIRMWARE,
        command.to_der(),
    )
    return with_mac(signed(message, lab_party(SUPPLIER).signing), *_mac_keys(ACCESS_CONTROL_BROKER, device))


def firmware_activated(command: Envelope, response: ActivateFirmwareResponse, at: datetime) -> Envelope:
    """CS06 response: what the device answers this command, and when.

    Without an outcome it is the NULL that accepts a future-dated command or a cancellation.
    """
    message = _answer(command, response.to_der(), write_date_time(at))
    return signed(message, lab_party(message.originator).signing)


def future_dated_alert(device: Eui64, counter: int, alert: ActivateFirmwareAlert) -> Envelope:
    """CS06 alert: how a future-dated command went.

    ``counter`` is the device's own, of this alert; what the alert quotes is the command's.
    """
    return _signed_alert(device, SUPPLIER, counter, MessageCode.FUTURE_DATED_ACTIVATION, alert.to_der())


def receipt_alert(device: Eui64, counter: int, form: ReceiptForm, alert: ReceiptAlert) -> Envelope:
    """Firmware Distribution Receipt Alert, in the form of an ESME or in that of a GSME.

    Raises:
        OurError: if the alert does not fit.
    """
    payload = alert.to_dlms(counter) if form == MessageCode.RECEIPT_ESME else alert.to_gbz()
    return _signed_alert(device, SUPPLIER, counter, form, payload)


def read_firmware_version(device: Eui64, counter: int) -> Envelope:
    """CS08 command."""
    code, payload = MessageCode.READ_PPMID_OR_HCALCS_VERSION, ReadFirmwareVersionCommand().to_der()
    message = Envelope(_COMMAND, counter, ACCESS_CONTROL_BROKER, device, code, payload)
    return with_mac(message, *_mac_keys(ACCESS_CONTROL_BROKER, device))


def firmware_version_read(command: Envelope, response: ReadFirmwareVersionResponse) -> Envelope:
    """CS08 response: what the device answers this command."""
    message = _answer(command, response.to_der(), b"")
    return with_mac(message, *_mac_keys(message.originator, message.recipient))


def ppmid_activation(ppmid: Eui64, counter: int, alert: FirmwareActivationAlert) -> Envelope:
    """CS09 alert."""
    return _signed_alert(ppmid, ACCESS_CONTROL_BROKER, counter, MessageCode.PPMID_ACTIVATION, alert.to_der())


def firmware_transfer(hub: Eui64, counter: int, alert: FirmwareTransferAlert) -> Envelope:
    """CCS08 alert."""
    return _signed_alert(hub, ACCESS_CONTROL_BROKER, counter, MessageCode.FIRMWARE_TRANSFER, alert.to_der())


def require_protected_command(message: Envelope, device: Eui64) -> None:
    """Nothing, if this is a command for the device with all the protection that it should have.

    Raises:
        TheirError: naming what is wrong.
    """
    if message.kind is not MessageKind.COMMAND:
        raise TheirError(f"a device is sent commands, not a {message.kind.name.lower()}")
    if message.recipient != device:
        raise TheirError(f"the message is for {message.recipient}")
    if not has_mac_of(message, *_mac_keys(device, ACCESS_CONTROL_BROKER)):
        raise TheirError("its MAC is missing or wrong")
    if message.code == MessageCode.ACTIVATE_FIRMWARE and not (
        message.originator == SUPPLIER and is_signed_by(message, lab_party(SUPPLIER).signing.public_key())
    ):
        raise TheirError("its signature is missing, or not the Supplier's")
    if (
        message.code == MessageCode.READ_PPMID_OR_HCALCS_VERSION
        and message.originator != ACCESS_CONTROL_BROKER
    ):
        raise TheirError(f"it comes from {message.originator}, and only the ACB reads this version")


def _answer(command: Envelope, payload: bytes, date_time: bytes) -> Envelope:
    return Envelope(
        _RESPONSE,
        command.counter,
        command.recipient,
        command.originator,
        command.code,
        payload,
        date_time=date_time,
    )


def _signed_alert(
    originator: Eui64, recipient: Eui64, counter: int, code: MessageCode, payload: bytes
) -> Envelope:
    message = Envelope(_ALERT, counter, originator, recipient, code, payload)
    return signed(message, lab_party(originator).signing)


def _mac_keys(own: Eui64, other: Eui64) -> tuple[EllipticCurvePrivateKey, EllipticCurvePublicKey]:
    return lab_party(own).agreement, lab_party(other).agreement.public_key()


_ANNOUNCED: Final[Mapping[tuple[int, MessageKind], tuple[type[Payload], Callable[[bytes], Payload]]]] = {
    (MessageCode.ACTIVATE_FIRMWARE, _COMMAND): (ActivateFirmwareCommand, parse_to_device),
    (MessageCode.ACTIVATE_FIRMWARE, _RESPONSE): (ActivateFirmwareResponse, parse_from_device),
    (MessageCode.FUTURE_DATED_ACTIVATION, _ALERT): (ActivateFirmwareAlert, parse_from_device),
    (MessageCode.RECEIPT_ESME, _ALERT): (ReceiptAlert, ReceiptAlert.from_dlms),
    (MessageCode.RECEIPT_GSME, _ALERT): (ReceiptAlert, ReceiptAlert.from_gbz),
    (MessageCode.FIRMWARE_TRANSFER, _ALERT): (FirmwareTransferAlert, parse_transfer_alert),
    (MessageCode.READ_PPMID_OR_HCALCS_VERSION, _COMMAND): (ReadFirmwareVersionCommand, parse_to_device),
    (MessageCode.READ_PPMID_OR_HCALCS_VERSION, _RESPONSE): (ReadFirmwareVersionResponse, parse_from_device),
    # The public decoder knows CS09 under the code of CS08 alone; the published messages use 0x012B.
    (MessageCode.READ_PPMID_OR_HCALCS_VERSION, _ALERT): (FirmwareActivationAlert, parse_from_device),
    (MessageCode.PPMID_ACTIVATION, _ALERT): (FirmwareActivationAlert, parse_from_device),
}
