"""What every alert promises: told once, in order, and its GBCS message says what its JSON says."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from han.clock import Utc
from han.facts import Fact
from han.gbcs.codes import MessageCode
from han.gbcs.envelope import Envelope
from han.gbcs.messages import payload_of
from han.gbcs.parties import ACCESS_CONTROL_BROKER, Purpose, lab_party
from han.gbcs.payloads import FirmwareTransferAlert
from han.gbcs.protection import is_signed_by
from ota.eui64 import Eui64


def signed_by_certificate(message: Envelope) -> bool:
    """Whether the lab's certificate of the originator vouches for the signature."""
    key = lab_party(message.originator).certificate(Purpose.SIGNING).public_key()
    assert isinstance(key, EllipticCurvePublicKey)
    return is_signed_by(message, key)


def differences(alert: Fact, hub: Eui64, utc: Utc) -> list[str]:
    """Where the GBCS message of an alert that the head end received contradicts the JSON around it."""
    message = Envelope.parse(bytes.fromhex(alert.gbcs))
    expected: dict[str, tuple[object, object]] = {"signature": (signed_by_certificate(message), True)}
    if alert.kind == "firmware-transfer":
        said = payload_of(message)
        assert isinstance(said, FirmwareTransferAlert)
        expected |= {
            "message code": (message.code, MessageCode.FIRMWARE_TRANSFER),
            "originator": (message.originator, hub),
            "recipient": (message.recipient, ACCESS_CONTROL_BROKER),
            "alert code": (f"0x{said.alert_code:04X}", alert.code),
            "response": (said.result.value, alert.response),
            "device": (str(said.device), alert.device),
            "version": (f"{said.file_version:08X}", alert.file_version),
            "time": (said.at, _whole_seconds(utc.at(alert.raised_at))),
        }
    else:
        expected["originator"] = (str(message.originator), alert.device)
    return [
        f"alert {alert.id}: {name} is {got!r} in GBCS, {told!r} in JSON"
        for name, (got, told) in expected.items()
        if got != told
    ]


def _whole_seconds(moment: datetime) -> datetime:
    """GBCS times have no fractions. A float's last digit must not make a second of difference."""
    return (moment + timedelta(microseconds=1)).replace(microsecond=0)


@dataclass(slots=True)
class AlertsTold:
    """Hears the facts of a run; ``broken`` are the promises about alerts that did not hold."""

    hub: Eui64
    utc: Utc
    raised: list[str] = field(default_factory=list)
    received: list[Fact] = field(default_factory=list)
    _counter: int = -1
    _broken: list[str] = field(default_factory=list)

    def hear(self, fact: Fact) -> None:
        """Take note of an alert that the hub owes, or that the head end has received."""
        match fact.who, fact.what:
            case "hub", "alert.raised":
                self.raised.append(fact.id)
            case "dsp", "alert.received":
                self.received.append(fact)
                self._look_into(fact)
            case _:
                pass

    def of_kind(self, kind: str) -> list[Fact]:
        """The received alerts of this kind, such as ``firmware-transfer``."""
        return [alert for alert in self.received if alert.kind == kind]

    def broken(self) -> list[str]:
        """What did not hold, once the run is over and nothing is under way."""
        once: Counter[Any] = Counter(self.raised)
        broken = [f"alert {each} was raised {times} times" for each, times in once.items() if times > 1]
        got = [alert.id for alert in self.received]
        if got != self.raised:
            lost = [each for each in self.raised if each not in got]
            invented = [each for each in got if each not in self.raised]
            twice = [each for each, times in Counter(got).items() if times > 1]
            broken.append(
                f"alerts were not received as raised: lost {lost}, invented {invented}, twice {twice},"
                f" in order: {sorted(got) != sorted(self.raised)}"
            )
        return broken + self._broken

    def _look_into(self, alert: Fact) -> None:
        self._broken += differences(alert, self.hub, self.utc)
        if alert.kind != "firmware-transfer":
            return
        counter = Envelope.parse(bytes.fromhex(alert.gbcs)).counter
        if counter <= self._counter:
            self._broken.append(f"alert {alert.id} has counter {counter}, one before it had {self._counter}")
        self._counter = counter
