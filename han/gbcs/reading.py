"""A GBCS message field by field, for people. Pure.

Reads what `han.gbcs.envelope` reads, and the payloads of the messages about firmware; of other messages it
shows the payload's octets. It says what a message claims, not whether signature and MAC hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from han.errors import TheirError
from han.gbcs.codes import ALERTS, USE_CASES, MessageCode
from han.gbcs.envelope import Envelope, MessageKind
from han.gbcs.payloads import (
    CANCEL,
    ActivateFirmwareAlert,
    ActivateFirmwareCommand,
    ActivateFirmwareResponse,
    ActivationOutcome,
    FirmwareActivationAlert,
    ReadFirmwareVersionResponse,
    parse_from_device,
    parse_to_device,
    parse_transfer_alert,
)
from han.gbcs.receipt import ReceiptAlert


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its name, and what it says."""

    name: str
    meaning: str


def explain(octets: bytes) -> list[Field]:
    """Every field of a message, in the order in which they come.

    Raises:
        TheirError: if these octets are no GBCS message, or its payload is not what its code announces.
    """
    message = Envelope.parse(octets)
    fields = [
        Field("message", f"{message.code:#06x} {USE_CASES.get(message.code, 'no message about firmware')}"),
        Field("kind", message.kind.name.lower()),
        Field("originator counter", f"{message.counter} ({message.counter:#018x})"),
        Field("originator", str(message.originator)),
        Field("recipient", str(message.recipient)),
    ]
    if message.date_time:
        fields.append(Field("date-time", message.date_time.hex()))
    third = message.supplementary
    if third is not None:
        fields.append(Field("supplementary remote party", str(third.remote_party)))
        if third.remote_party_counter is not None:
            fields.append(Field("its counter", str(third.remote_party_counter)))
        if third.originator_counter is not None:
            fields.append(Field("supplementary originator counter", str(third.originator_counter)))
    if message.certificate:
        fields.append(Field("certificate", message.certificate.hex()))
    fields += _payload(message)
    if message.is_finished:
        fields.append(Field("signature", "none" if message.signature is None else message.signature.hex()))
    else:
        fields.append(Field("signature", "still to come: a pre-command"))
    fields.append(Field("MAC", "none" if message.mac is None else message.mac.hex()))
    return fields


def _payload(message: Envelope) -> list[Field]:
    reader = _READERS.get((message.code, message.kind))
    if reader is None:
        return [Field("payload", message.payload.hex())]
    return reader(message.payload)


def _transfer_alert(payload: bytes) -> list[Field]:
    alert = parse_transfer_alert(payload)
    return [
        _alert_code(alert.alert_code),
        _moment("at", alert.at),
        Field("device", str(alert.device)),
        _version("firmware version", alert.file_version),
        Field("response code", f"{alert.result.value} {_words(alert.result.name)}"),
    ]


def _activate_command(payload: bytes) -> list[Field]:
    command = parse_to_device(payload)
    if not isinstance(command, ActivateFirmwareCommand):
        raise TheirError("the payload is no Activate Firmware command")
    when = command.execute_at
    if when is None:
        told = "at once"
    else:
        told = "never: cancels a pending activation" if when == CANCEL else _shown(when)
    return [
        Field("manufacturer image hash", command.manufacturer_image_hash.hex()),
        Field("originator counter in the payload", str(command.originator_counter)),
        Field("to be executed", told),
    ]


def _activate_response(payload: bytes) -> list[Field]:
    response = parse_from_device(payload)
    if not isinstance(response, ActivateFirmwareResponse):
        raise TheirError("the payload is no Activate Firmware response")
    if response.outcome is None:
        return [Field("outcome", "accepted for later, or cancelled")]
    return _outcome(response.outcome)


def _activate_alert(payload: bytes) -> list[Field]:
    alert = parse_from_device(payload)
    if not isinstance(alert, ActivateFirmwareAlert):
        raise TheirError("the payload is no alert of a future-dated activation")
    return [
        _alert_code(alert.alert_code),
        _moment("executed at", alert.executed_at),
        Field("originator counter of the command", str(alert.originator_counter)),
        *_outcome(alert.outcome),
    ]


def _version_command(payload: bytes) -> list[Field]:
    parse_to_device(payload)
    return [Field("payload", "NULL")]


def _version_response(payload: bytes) -> list[Field]:
    response = parse_from_device(payload)
    if not isinstance(response, ReadFirmwareVersionResponse):
        raise TheirError("the payload is no answer to Read Firmware Version")
    if response.file_version is None:
        return [Field("read response", "1 failure")]
    return [_version("firmware version", response.file_version), Field("read response", "0 success")]


def _activation_alert(payload: bytes) -> list[Field]:
    alert = parse_from_device(payload)
    if not isinstance(alert, FirmwareActivationAlert):
        raise TheirError("the payload is no PPMID Firmware Activation Alert")
    return [
        _alert_code(alert.alert_code),
        _moment("at", alert.at),
        _version("firmware version", alert.file_version),
        Field("activate image code", "0 success" if alert.is_success else "1 failure"),
    ]


def _receipt(alert: ReceiptAlert) -> list[Field]:
    return [
        _alert_code(alert.alert_code),
        _moment("at", alert.at),
        Field("manufacturer image hash", alert.manufacturer_image_hash.hex()),
    ]


_READERS: dict[tuple[int, MessageKind], Callable[[bytes], list[Field]]] = {
    (MessageCode.ACTIVATE_FIRMWARE, MessageKind.COMMAND): _activate_command,
    (MessageCode.ACTIVATE_FIRMWARE, MessageKind.RESPONSE): _activate_response,
    (MessageCode.FUTURE_DATED_ACTIVATION, MessageKind.ALERT): _activate_alert,
    (MessageCode.RECEIPT_ESME, MessageKind.ALERT): lambda payload: _receipt(ReceiptAlert.from_dlms(payload)),
    (MessageCode.RECEIPT_GSME, MessageKind.ALERT): lambda payload: _receipt(ReceiptAlert.from_gbz(payload)),
    (MessageCode.FIRMWARE_TRANSFER, MessageKind.ALERT): _transfer_alert,
    (MessageCode.READ_PPMID_OR_HCALCS_VERSION, MessageKind.COMMAND): _version_command,
    (MessageCode.READ_PPMID_OR_HCALCS_VERSION, MessageKind.RESPONSE): _version_response,
    # The public decoder knows CS09 under the code of CS08 alone; the published messages use 0x012B.
    (MessageCode.READ_PPMID_OR_HCALCS_VERSION, MessageKind.ALERT): _activation_alert,
    (MessageCode.PPMID_ACTIVATION, MessageKind.ALERT): _activation_alert,
}


def _outcome(outcome: ActivationOutcome) -> list[Field]:
    return [
        Field("response code", f"{outcome.response.value} {_words(outcome.response.name)}"),
        _version("firmware version", outcome.file_version),
    ]


def _alert_code(code: int) -> Field:
    return Field("alert code", f"{code:#06x} {ALERTS.get(code, 'not one about firmware')}")


def _version(name: str, version: int) -> Field:
    return Field(name, f"{version:08X}")


def _moment(name: str, at: datetime) -> Field:
    return Field(name, _shown(at))


def _shown(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _words(name: str) -> str:
    return name.replace("_", " ").lower()
