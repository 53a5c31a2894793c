"""Activation: what travels between remote parties and devices through the tunnels.

CS06 goes down to a device that holds an image, its answer comes back as an activation outcome. CS09 comes up
from a PPMID that has tried a new image. The hub relays and invents nothing: of a PPMID that never tells
nothing is told.

A command is on the flash before it is sent, and sent again after a restart unless the device's radio had
acknowledged it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Literal

import msgspec

from han.errors import HanError, TheirError
from han.facts import Facts
from han.gbcs.codes import AlertCode
from han.gbcs.envelope import Envelope
from han.gbcs.messages import payload_of
from han.gbcs.payloads import (
    ActivateFirmwareAlert,
    ActivateFirmwareCommand,
    ActivateFirmwareResponse,
    FirmwareActivationAlert,
)
from han.gbcs.payloads import ActivationOutcome as GbcsOutcome
from han.zcl import TUNNELLING_CLUSTER, TransferData, ZclFrame, decode_tunnel, default_response, encode_tunnel
from hub.custody import UNKNOWN_VERSION, Custody, Moment, alert_id
from hub.line import Line
from hub.memory import PendingActivation, remember
from hub.messages import ActivateRequest, ActivationOutcome, Alert, Envelopes, PpmidActivationAlert
from hub.tunnels import Arrived, Delivered, Send, Tunnels, TunnelSettings
from ota.commands import DefaultResponse
from ota.eui64 import Eui64


class Activation:
    """Relays activation commands and their outcomes.

    Args:
        settings: the tunnels'.
        custody: where commands wait and alerts are owed.
        line: into the house.
        hub: the hub's own address.
        facts: where "activation.*" and "gbcs.refused" are said.
        envelopes: for the alerts.
        now: the present moment.
        owed: called when an alert is owed.
        version: called with a device and the file version that it says it runs.
    """

    def __init__(
        self,
        settings: TunnelSettings,
        custody: Custody,
        line: Line,
        *,
        hub: Eui64,
        facts: Facts,
        envelopes: Envelopes,
        now: Callable[[], Moment],
        owed: Callable[[], None],
        version: Callable[[Eui64, int], None],
    ) -> None:
        self._tunnels = Tunnels(settings)
        self._custody = custody
        self._line = line
        self._hub = hub
        self._facts = facts
        self._envelopes = envelopes
        self._now = now
        self._owed = owed
        self._version = version
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None

    def resume(self) -> None:
        """Send again what no device had acknowledged before the restart."""
        for pending in self._custody.memory.activations:
            if not pending.is_sent:
                self._tunnels.deliver(pending.device, pending.command, self._loop.time())
        self._settle()

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
        self._tunnels.deliver(device, command, self._loop.time())
        self._settle()
        return "sent"

    def receive(self, sender: Eui64, frame: ZclFrame) -> None:
        """Take a frame of the Tunnelling cluster from a device."""
        try:
            command = decode_tunnel(frame)
        except TheirError as error:
            self._facts.say("hub", "tunnel.refused", device=str(sender), why=str(error))
            self._line.post(sender, TUNNELLING_CLUSTER, default_response(frame, error.status))
            return
        if not isinstance(command, DefaultResponse):
            self._tunnels.receive(sender, command, frame.sequence, self._loop.time())
            self._settle()

    def owes(self, device: Eui64) -> bool:
        """Whether a message waits for a later attempt to reach this device."""
        return self._tunnels.owes(device)

    def heard_from(self, device: Eui64) -> None:
        """A device said something: whatever waits for it can reach it now."""
        self._tunnels.heard_from(device, self._loop.time())
        self._settle()

    def stop(self) -> None:
        """Set no more timers."""
        if self._alarm is not None:
            self._alarm.cancel()

    def _settle(self) -> None:
        while items := self._tunnels.drain():
            for item in items:
                match item:
                    case Send():
                        self._send(item)
                    case Arrived(peer=peer, message=message):
                        self._arrived(peer, message)
                    case Delivered(peer=peer, message=message):
                        self._delivered(peer, message)
        if self._alarm is not None:
            self._alarm.cancel()
        due = self._tunnels.timer()
        self._alarm = None if due is None else self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._alarm = None
        self._tunnels.tick(self._loop.time())
        self._settle()

    def _send(self, send: Send) -> None:
        sequence = self._line.next_sequence() if send.sequence is None else send.sequence

        def outcome(error: HanError | None) -> None:
            self._tunnels.sent(send.peer, is_delivered=error is None, now=self._loop.time())
            self._settle()

        then = outcome if isinstance(send.command, TransferData) else None
        self._line.post(send.peer, TUNNELLING_CLUSTER, encode_tunnel(send.command, sequence), then)

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

    def _arrived(self, device: Eui64, octets: bytes) -> None:
        try:
            message = Envelope.parse(octets)
            said = payload_of(message)
        except TheirError as error:
            self._refuse(device, str(error))
            return
        if message.originator != device:
            self._refuse(device, f"it says that it comes from {message.originator}")
            return
        match said:
            case FirmwareActivationAlert():
                self._tried(device, said, octets)
            case ActivateFirmwareResponse(outcome=outcome):
                self._answered(device, outcome, message.counter, octets)
            case ActivateFirmwareAlert(outcome=outcome, originator_counter=counter):
                self._answered(device, outcome, counter, octets)
            case _:
                self._refuse(device, f"nobody asked for a message {message.code:#06x}")

    def _refuse(self, device: Eui64, why: str) -> None:
        self._facts.say("hub", "gbcs.refused", device=str(device), why=why)

    def _tried(self, device: Eui64, said: FirmwareActivationAlert, message: bytes) -> None:
        known = [each for each in self._custody.memory.devices if each.eui64 == device]
        if not known or known[0].device_type != "PPMID" or said.alert_code != AlertCode.PPMID_ACTIVATION:
            self._refuse(device, "only a PPMID sends CS09, and with 0x8F8B")
            return
        digest = hashlib.sha256(message).hexdigest()
        alert = PpmidActivationAlert(
            device=str(device),
            file_version=f"{said.file_version:08X}",
            code="0x8F8B",
            response=0 if said.is_success else 1,
            at=self._now().at,
            gbcs=message.hex(),
            **self._envelopes.stamp(alert_id(self._hub, "CS09", device, digest)),
        )
        if self._custody.owe(alert):
            self._version(device, said.file_version)
            self._owed()

    def _answered(self, device: Eui64, outcome: GbcsOutcome | None, counter: int, message: bytes) -> None:
        pending = self._pending(device, counter)
        if pending is None:
            self._refuse(device, "an answer to no CS06 that is under way")
            return
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
            self._tunnels.withdraw(pending.device, pending.command)
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
