"""Whether an alert is what its sender said: who signed it, for whom it is, and whether the JSON agrees. Pure.

A hub relays; the head end is the first that can check. An alert is believed if the GBCS message in it comes
from whom it should come from, is for whom it should be for, says what the JSON beside it says, and carries
the signature of its originator. Of a message that fails nothing is concluded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from han.errors import TheirError
from han.gbcs import payloads
from han.gbcs.envelope import Envelope
from han.gbcs.messages import Payload, payload_of
from han.gbcs.parties import ACCESS_CONTROL_BROKER, SUPPLIER, lab_party
from han.gbcs.protection import has_mac_of, is_signed_by
from han.gbcs.receipt import ReceiptAlert
from hub.messages import (
    REMOVED,
    ActivationOutcome,
    Alert,
    FirmwareTransferAlert,
    FirmwareVerificationAlert,
    PpmidActivationAlert,
    Response,
)
from ota.eui64 import Eui64


class Belief(Enum):
    """What an alert is worth."""

    PROVEN = "proven"
    UNVERIFIED = "unverified"  # it may be true, and nobody here can tell; accepted at the user's own risk
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Finding:
    """What an alert is worth, and why if that is less than it should be."""

    belief: Belief
    why: str = ""


PROVEN = Finding(Belief.PROVEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whose word counts.

    Attributes:
        keys: the signing keys of the parties; None takes those of the lab, which are made from the EUI-64 for
            everybody to see and so prove that a message is whole, not who sent it.
        agreement: likewise the key agreement keys, which give the MAC of an answer to CS08.
        is_required: refuse what cannot be checked, for want of a message, of a key, or of a lab key behind
            it. Otherwise it is accepted as unverified. What contradicts itself or a key that was given is
            refused in any case.
    """

    keys: Mapping[Eui64, EllipticCurvePublicKey] | None = None
    agreement: Mapping[Eui64, EllipticCurvePublicKey] | None = None
    is_required: bool = True


def examine(alert: Alert, hub: Eui64, counter: int | None, trust: Trust) -> Finding:
    """Examine an alert of this hub.

    Args:
        alert: as the hub sent it.
        hub: whose topic it came on.
        counter: of the CS06 command that an activation outcome answers, None if that is not known here.
        trust: see Trust.
    """
    if isinstance(alert, ActivationOutcome) and alert.code == REMOVED and not alert.gbcs:
        return PROVEN  # the hub speaks for itself, and no device could say it
    if not alert.gbcs:
        return _uncheckable(trust, "no GBCS message came with it")
    try:
        message = Envelope.parse(bytes.fromhex(alert.gbcs))
        said = payload_of(message)
    except TheirError as error:
        return Finding(Belief.REFUSED, f"its GBCS message cannot be read: {error}")
    problem = _misdirected(alert, hub, message) or _contradiction(alert, message, said, counter)
    return _signed(message, trust) if problem is None else Finding(Belief.REFUSED, problem)


def examine_reading(response: Response, device: Eui64, counter: int | None, trust: Trust) -> Finding:
    """Examine the CS08 answer that a hub's response to an 11.2 brings: its MAC, its parties, its version."""
    try:
        message = Envelope.parse(bytes.fromhex(response.gbcs))
        said = payload_of(message)
    except TheirError as error:
        return Finding(Belief.REFUSED, f"its GBCS message cannot be read: {error}")
    if not isinstance(said, payloads.ReadFirmwareVersionResponse):
        return Finding(Belief.REFUSED, f"its GBCS message {message.code:#06x} is of another kind")
    read = None if said.file_version is None else f"{said.file_version:08X}"
    for what, in_message, expected in (
        ("originator", message.originator, device),
        ("recipient", message.recipient, ACCESS_CONTROL_BROKER),
        ("counter", message.counter, counter),
        ("version", read, response.file_version if response.ok else None),
    ):
        if in_message != expected:
            return Finding(Belief.REFUSED, f"{what}: its GBCS message says {in_message}, not {expected}")
    return _authentic(message, trust)


def _authentic(message: Envelope, trust: Trust) -> Finding:
    """Whether its MAC is right: the key is agreed between the sender and the ACB, who is of the lab."""
    sender, own = message.originator, lab_party(ACCESS_CONTROL_BROKER).agreement
    if trust.agreement is None:
        if has_mac_of(message, own, lab_party(sender).agreement.public_key()):
            return PROVEN
        return _uncheckable(trust, f"the MAC is missing, or not by the lab's key of {sender}")
    key = trust.agreement.get(sender)
    if key is None:
        return _uncheckable(trust, f"there is no certificate of {sender} to check its MAC by")
    if has_mac_of(message, own, key):
        return PROVEN
    return Finding(Belief.REFUSED, f"the MAC is missing, or not that of {sender}")


def _signed(message: Envelope, trust: Trust) -> Finding:
    sender = message.originator
    if trust.keys is None:
        if is_signed_by(message, lab_party(sender).signing.public_key()):
            return PROVEN
        return _uncheckable(trust, f"the signature is missing, or not by the lab's key of {sender}")
    key = trust.keys.get(sender)
    if key is None:
        return _uncheckable(trust, f"there is no certificate of {sender} to check its signature by")
    if is_signed_by(message, key):
        return PROVEN
    return Finding(Belief.REFUSED, f"the signature is missing, or not that of {sender}")


def _uncheckable(trust: Trust, why: str) -> Finding:
    return Finding(Belief.REFUSED if trust.is_required else Belief.UNVERIFIED, why)


def _misdirected(alert: Alert, hub: Eui64, message: Envelope) -> str | None:
    sender = hub if isinstance(alert, FirmwareTransferAlert) else Eui64.parse(alert.device)
    to_the_broker = isinstance(alert, FirmwareTransferAlert | PpmidActivationAlert)
    receiver = ACCESS_CONTROL_BROKER if to_the_broker else SUPPLIER
    if message.originator != sender:
        return f"its GBCS message comes from {message.originator}, not from {sender}"
    if message.recipient != receiver:
        return f"its GBCS message is for {message.recipient}, not for {receiver}"
    return None


def _contradiction(alert: Alert, message: Envelope, said: Payload | None, counter: int | None) -> str | None:
    """Where the message does not say what the JSON beside it says; None if they agree."""
    match alert, said:
        case FirmwareTransferAlert(), payloads.FirmwareTransferAlert():
            told: Iterable[tuple[str, object, object]] = (
                ("device", str(said.device), alert.device),
                ("version", f"{said.file_version:08X}", alert.file_version),
                ("code", _code(said.alert_code), alert.code),
                ("response", int(said.result), alert.response),
            )
        case PpmidActivationAlert(), payloads.FirmwareActivationAlert():
            told = (
                ("version", f"{said.file_version:08X}", alert.file_version),
                ("code", _code(said.alert_code), alert.code),
                ("response", int(not said.is_success), alert.response),
            )
        case FirmwareVerificationAlert(), ReceiptAlert():
            told = (
                ("code", _code(said.alert_code), alert.code),
                ("hash", said.manufacturer_image_hash.hex(), alert.manufacturer_image_hash),
            )
        case ActivationOutcome(), payloads.ActivateFirmwareResponse(outcome=outcome):
            told = (
                ("code", "CS06", alert.code),
                *_outcome(outcome, alert),
                ("counter", message.counter, message.counter if counter is None else counter),
            )
        case ActivationOutcome(), payloads.ActivateFirmwareAlert(outcome=outcome, originator_counter=quoted):
            told = (
                ("code", _code(said.alert_code), alert.code),
                *_outcome(outcome, alert),
                ("counter", quoted, quoted if counter is None else counter),
            )
        case _:
            return f"its GBCS message {message.code:#06x} is of another kind"
    for what, in_message, in_json in told:
        if in_message != in_json:
            return f"{what}: its GBCS message says {in_message}, the hub {in_json}"
    return None


def _outcome(
    outcome: payloads.ActivationOutcome | None, alert: ActivationOutcome
) -> Iterable[tuple[str, object, object]]:
    if outcome is None:
        return (("response", None, alert.response),)
    return (
        ("response", int(outcome.response), alert.response),
        ("version", f"{outcome.file_version:08X}", alert.file_version),
    )


def _code(number: int) -> str:
    return f"0x{number:04X}"
