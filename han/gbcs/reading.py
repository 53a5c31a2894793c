"""A GBCS message field by field, for people. Pure.

Reads what `han.gbcs.envelope` reads, and the payloads of the messages about firmware; of other messages it
shows the payload's octets. It says what a message claims, not whether signature and MAC hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from han.gbcs.codes import ALERTS, USE_CASES
from han.gbcs.dlms import read_date_time
from han.gbcs.envelope import Envelope
from han.gbcs.messages import payload_of
from han.gbcs.payloads import (
    CANCEL,
    ActivateFirmwareAlert,
    ActivateFirmwareCommand,
    ActivateFirmwareResponse,
    ActivationOutcome,
    FirmwareActivationAlert,
    FirmwareTransferAlert,
    ReadFirmwareVersionCommand,
    ReadFirmwareVersionResponse,
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
        fields.append(_moment("date-time", read_date_time(message.date_time)))
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
    said = payload_of(message)
    match said:
        case None:
            return [Field("payload", message.payload.hex())]
        case FirmwareTransferAlert() | FirmwareActivationAlert() | ActivateFirmwareAlert() | ReceiptAlert():
            return [_alert_code(said.alert_code), *_alert(said)]
        case ActivateFirmwareCommand() | ReadFirmwareVersionCommand():
            return _command(said)
        case _:
            return _response(said)


def _alert(
    said: FirmwareTransferAlert | FirmwareActivationAlert | ActivateFirmwareAlert | ReceiptAlert,
) -> list[Field]:
    match said:
        case FirmwareTransferAlert(at=at, device=device, file_version=version, result=result):
            return [
                _moment("at", at),
                Field("device", str(device)),
                _version(version),
                Field("response code", f"{result.value} {_words(result.name)}"),
            ]
        case FirmwareActivationAlert(at=at, file_version=version, is_success=is_success):
            code = Field("activate image code", "0 success" if is_success else "1 failure")
            return [_moment("at", at), _version(version), code]
        case ActivateFirmwareAlert(executed_at=at, originator_counter=counter, outcome=outcome):
            of_command = Field("originator counter of the command", str(counter))
            return [_moment("executed at", at), of_command, *_outcome(outcome)]
        case ReceiptAlert(at=at, manufacturer_image_hash=image_hash):
            return [_moment("at", at), Field("manufacturer image hash", image_hash.hex())]


def _command(said: ActivateFirmwareCommand | ReadFirmwareVersionCommand) -> list[Field]:
    if isinstance(said, ReadFirmwareVersionCommand):
        return [Field("payload", "NULL")]
    return [
        Field("manufacturer image hash", said.manufacturer_image_hash.hex()),
        Field("originator counter in the payload", str(said.originator_counter)),
        Field("to be executed", _when(said.execute_at)),
    ]


def _response(said: ActivateFirmwareResponse | ReadFirmwareVersionResponse) -> list[Field]:
    if isinstance(said, ReadFirmwareVersionResponse):
        if said.file_version is None:
            return [Field("read response", "1 failure")]
        return [_version(said.file_version), Field("read response", "0 success")]
    if said.outcome is None:
        return [Field("outcome", "accepted for later, or cancelled")]
    return _outcome(said.outcome)


def _when(execute_at: datetime | None) -> str:
    if execute_at is None:
        return "at once"
    return "never: cancels a pending activation" if execute_at == CANCEL else _shown(execute_at)


def _outcome(outcome: ActivationOutcome) -> list[Field]:
    return [
        Field("response code", f"{outcome.response.value} {_words(outcome.response.name)}"),
        _version(outcome.file_version),
    ]


def _alert_code(code: int) -> Field:
    return Field("alert code", f"{code:#06x} {ALERTS.get(code, 'not one about firmware')}")


def _version(version: int) -> Field:
    return Field("firmware version", f"{version:08X}")


def _moment(name: str, at: datetime) -> Field:
    return Field(name, _shown(at))


def _shown(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _words(name: str) -> str:
    return name.replace("_", " ").lower()
