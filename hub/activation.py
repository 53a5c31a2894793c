"""Activation: CS06 goes down to a device that holds an image, and its answer comes back as an outcome.

A command is on the flash before it is sent, and sent again after a restart unless the device's radio had
acknowledged it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import msgspec

from han.errors import TheirError
from han.facts import Facts
from han.gbcs.envelope import Envelope
from han.gbcs.messages import payload_of
from han.gbcs.payloads import (
    ActivateFirmwareAlert,
    ActivateFirmwareCommand,
    ActivateFirmwareResponse,
)
from han.gbcs.payloads import ActivationOutcome as GbcsOutcome
from hub.correspondence import Correspondence, Letter
from hub.custody import UNKNOWN_VERSION, Custody, Moment, alert_id
from hub.memory import PendingActivation, remember
from hub.messages import ActivateRequest, ActivationOutcome, Alert, Envelopes
from ota.eui64 import Eui64


class Activation:
    """Relays activation commands and their outcomes.

    Args:
        custody: where commands wait and alerts are owed.
        correspondence: brings commands to devices, and their answers.
        hub: the hub's own address.
        facts: where "activation.*" are said.
        envelopes: for the alerts.
        now: the present moment.
        owed: called when an alert is owed.
        version: called with a device and the file version that it says it runs.
    """

    def __init__(
        self,
        custody: Custody,
        correspondence: Correspondence,
        *,
        hub: Eui64,
        facts: Facts,
        envelopes: Envelopes,
        now: Callable[[], Moment],
        owed: Callable[[], None],
        version: Callable[[Eui64, int], None],
    ) -> None:
        self._custody = custody
        self._correspondence = correspondence
        self._hub = hub
        self._facts = facts
        self._envelopes = envelopes
        self._now = now
        self._owed = owed
        self._version = version
        correspondence.listen(ActivateFirmwareResponse, self._responded)
        correspondence.listen(ActivateFirmwareAlert, self._alerted)

    def resume(self) -> None:
        """Send again what no device had acknowledged before the restart."""
        for pending in self._custody.memory.activations:
            if not pending.is_sent:
                self._send(pending)

    def activate(self, request: ActivateRequest) -> Literal["sent", "repeated", "ended"]:
        """Send CS06 to a device, now or as soon as it can be reached.

        Raises:
            TheirError: if the message is none, or not for this device. Its signature and its MAC are for the
                device to check: the hub has neither key.
        """
        memory = self._custody.memory
        if request.request_id in memory.ended:
            return "ended"
        if any(each.request_id == request.request_id for each in memory.activations):
            return "repeated"
        device = Eui64.parse(request.device)
        command = bytes.fromhex(request.gbcs)
        _require_activation(command, device)
        pending = PendingActivation(request_id=request.request_id, device=device, command=command)
        self._custody.change(activations=(*memory.activations, pending))
        self._facts.say("hub", "activation.asked", device=str(device), request=request.request_id)
        self._send(pending)
        return "sent"

    def _send(self, pending: PendingActivation) -> None:
        device, command = pending.device, pending.command
        self._correspondence.deliver(device, command, partial(self._delivered, device, command))

    def _delivered(self, device: Eui64, message: bytes) -> None:
        """Note it, so that a restart does not send the command again."""
        self._facts.say("hub", "activation.delivered", device=str(device))
        self._custody.change(
            activations=tuple(
                msgspec.structs.replace(each, is_sent=True)
                if (each.device, each.command) == (device, message)
                else each
                for each in self._custody.memory.activations
            )
        )

    def _responded(self, letter: Letter) -> None:
        said = letter.said
        assert isinstance(said, ActivateFirmwareResponse), "what this listens for"
        self._answered(letter.device, said.outcome, letter.message.counter, letter.octets)

    def _alerted(self, letter: Letter) -> None:
        said = letter.said
        assert isinstance(said, ActivateFirmwareAlert), "what this listens for"
        self._answered(letter.device, said.outcome, said.originator_counter, letter.octets)

    def _answered(self, device: Eui64, outcome: GbcsOutcome | None, counter: int, message: bytes) -> None:
        pending = self._pending(device, counter)
        if pending is None:
            raise TheirError("an answer to no CS06 that is under way")
        alert = ActivationOutcome(
            device=str(device),
            file_version=UNKNOWN_VERSION if outcome is None else f"{outcome.file_version:08X}",
            code="CS06",
            response=None if outcome is None else int(outcome.response),
            at=self._now().at,
            gbcs=message.hex(),
            request_id=pending.request_id,
            reason="accepted, to be executed later" if outcome is None else outcome.response.name.lower(),
            **self._envelopes.stamp(
                alert_id(
                    self._hub, "CS06", pending.request_id, device, "accepted" if outcome is None else "done"
                )
            ),
        )
        self._keep_outcome(pending, alert)
        if outcome is not None:
            self._version(device, outcome.file_version)
        self._owed()

    def _keep_outcome(self, pending: PendingActivation, alert: Alert) -> None:
        """In one step: the alert is owed, and a final one ends the request."""
        memory = self._custody.memory
        if alert.response is None:
            after = tuple(
                msgspec.structs.replace(each, is_sent=True) if each is pending else each
                for each in memory.activations
            )
            ended = memory.ended
        else:
            after = tuple(each for each in memory.activations if each is not pending)
            ended = remember(memory.ended, pending.request_id)
            self._correspondence.withdraw(pending.device, pending.command)
        self._custody.owe(alert, msgspec.structs.replace(memory, activations=after, ended=ended))

    def _pending(self, device: Eui64, counter: int) -> PendingActivation | None:
        """The command that this answers: the device's own with the counter that its answer repeats."""
        for each in self._custody.memory.activations:
            if each.device == device and Envelope.parse(each.command).counter == counter:
                return each
        return None


def _require_activation(octets: bytes, device: Eui64) -> None:
    message = Envelope.parse(octets)
    if message.recipient != device:
        raise TheirError(f"the message is for {message.recipient}, not for {device}")
    if not isinstance(payload_of(message), ActivateFirmwareCommand):
        raise TheirError(f"message {message.code:#06x} activates no firmware")
