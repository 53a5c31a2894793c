"""Activation: CS06 goes down to a device that holds an image, and its answer comes back as an outcome.

    now      the response carries the outcome
    dated    the response says accepted; the outcome comes at its time, in an alert 0x00CA
    cancel   the response says accepted, and that is all

A command is on the flash before it is sent, and sent again after a restart unless the device's radio had
acknowledged it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import msgspec

from han.errors import TheirError
from han.facts import Facts
from han.gbcs.codes import AlertCode
from han.gbcs.envelope import Envelope
from han.gbcs.messages import payload_of
from han.gbcs.payloads import (
    CANCEL,
    ActivateFirmwareAlert,
    ActivateFirmwareCommand,
    ActivateFirmwareResponse,
    ActivateImageResponseCode,
)
from han.gbcs.payloads import ActivationOutcome as GbcsOutcome
from hub.alerts import UNKNOWN_VERSION, alert_id
from hub.correspondence import Correspondence, Letter
from hub.custody import Custody
from hub.memory import PendingActivation, remember
from hub.messages import REMOVED, ActivateRequest, ActivationOutcome, Alert, Envelopes
from hub.reckoning import Moment
from ota.eui64 import Eui64


@dataclass(frozen=True, slots=True)
class TooBusy:
    """The command was not taken, and why; it may be asked again."""

    why: str


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
        known = {each.eui64 for each in self._custody.memory.devices}
        for pending in self._custody.memory.activations:
            if pending.device not in known:  # the power went just when it was removed
                self.removed(pending.device)
            elif not pending.is_sent:
                self._send(pending)

    def removed(self, device: Eui64) -> None:
        """A device was struck off: nothing more will come of the commands that it has pending."""
        self._correspondence.forget(device)
        for pending in [each for each in self._custody.memory.activations if each.device == device]:
            memory = self._custody.memory
            alert = ActivationOutcome(
                device=str(device),
                file_version=UNKNOWN_VERSION,
                code=REMOVED,
                response=None,
                at=self._now().at,
                reason="the device was removed from this HAN before it told the outcome",
                request_id=pending.request_id,
                **self._envelopes.stamp(alert_id(self._hub, "CS06", pending.request_id, device, REMOVED)),
            )
            after = msgspec.structs.replace(
                memory,
                activations=tuple(each for each in memory.activations if each is not pending),
                ended=remember(memory.ended, pending.request_id),
            )
            self._custody.owe(alert, after)
            self._owed()

    def activate(self, request: ActivateRequest) -> Literal["sent", "repeated", "ended"] | TooBusy:
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
        busy = self._custody.overload() or self._custody.backlog(device)
        if busy is not None:
            return TooBusy(busy)
        pending = PendingActivation(request_id=request.request_id, device=device, command=command)
        self._custody.change(activations=(*memory.activations, pending))
        self._facts.say("hub", "activation.asked", device=str(device), request=request.request_id)
        self._send(pending)
        return "sent"

    def _send(self, pending: PendingActivation) -> None:
        self._correspondence.deliver(pending.device, pending.command, partial(self._delivered, pending))

    def _delivered(self, pending: PendingActivation) -> None:
        """Note it, so that a restart does not send the command again."""
        self._facts.say("hub", "activation.delivered", device=str(pending.device), request=pending.request_id)
        self._custody.change(
            activations=tuple(
                msgspec.structs.replace(each, is_sent=True)
                if (each.device, each.command) == (pending.device, pending.command)
                else each
                for each in self._custody.memory.activations
            )
        )

    def _responded(self, letter: Letter) -> None:
        said = letter.said
        assert isinstance(said, ActivateFirmwareResponse), "what this listens for"
        self._answered(letter, letter.message.counter, said.outcome, "CS06")

    def _alerted(self, letter: Letter) -> None:
        said = letter.said
        assert isinstance(said, ActivateFirmwareAlert), "what this listens for"
        is_done = said.outcome.response is ActivateImageResponseCode.SUCCESS
        if said.alert_code != (AlertCode.FUTURE_DATED_DONE if is_done else AlertCode.FUTURE_DATED_FAILED):
            name = said.outcome.response.name
            raise TheirError(f"alert code {said.alert_code:#06x} does not go with the outcome {name}")
        self._answered(letter, said.originator_counter, said.outcome, f"0x{said.alert_code:04X}")

    def _answered(self, letter: Letter, counter: int, outcome: GbcsOutcome | None, code: str) -> None:
        pending = self._pending(letter.device, counter)
        if pending is None:
            raise TheirError("an answer to no CS06 that is under way")
        asked_by = Envelope.parse(pending.command).originator
        if letter.message.recipient != asked_by:
            raise TheirError(f"it is for {letter.message.recipient}, the command came from {asked_by}")
        what = "accepted" if outcome is None else "done"
        alert = ActivationOutcome(
            device=str(letter.device),
            file_version=UNKNOWN_VERSION if outcome is None else f"{outcome.file_version:08X}",
            code=code,
            response=None if outcome is None else int(outcome.response),
            at=self._now().at,
            gbcs=letter.octets.hex(),
            request_id=pending.request_id,
            reason=_accepted(pending) if outcome is None else outcome.response.name.lower(),
            **self._envelopes.stamp(alert_id(self._hub, "CS06", pending.request_id, letter.device, what)),
        )
        self._keep_outcome(pending, alert)
        if outcome is not None:
            self._version(letter.device, outcome.file_version)
        self._owed()

    def _keep_outcome(self, pending: PendingActivation, alert: Alert) -> None:
        """In one step: the alert is owed, a final one ends the request, and earlier commands are void.

        A device has one pending activation. By obeying this command it has let go of any earlier one, and
        would obey none with a lower counter: of those nothing will come, and nothing is said in their name.
        """
        memory = self._custody.memory
        over = [each for each in memory.activations if _is_replaced(each, pending)]
        waiting: tuple[PendingActivation, ...] = ()
        if alert.response is None and not _is_cancel(pending):
            waiting = (msgspec.structs.replace(pending, is_sent=True),)
        else:
            over.append(pending)
        ended = memory.ended
        for each in over:
            ended = remember(ended, each.request_id)
            self._correspondence.withdraw(each.device, each.command)
        rest = tuple(each for each in memory.activations if each not in over and each is not pending)
        after = msgspec.structs.replace(memory, activations=(*rest, *waiting), ended=ended)
        self._custody.owe(alert, after)
        for each in over:
            if each is not pending:
                self._facts.say(
                    "hub",
                    "activation.replaced",
                    device=str(each.device),
                    request=each.request_id,
                    by=pending.request_id,
                )

    def _pending(self, device: Eui64, counter: int) -> PendingActivation | None:
        """The command that this answers: the device's own with the counter that its answer repeats."""
        for each in self._custody.memory.activations:
            if each.device == device and _command(each).originator_counter == counter:
                return each
        return None


def _command(pending: PendingActivation) -> ActivateFirmwareCommand:
    said = payload_of(Envelope.parse(pending.command))
    assert isinstance(said, ActivateFirmwareCommand), "nothing else is kept"
    return said


def _is_cancel(pending: PendingActivation) -> bool:
    return _command(pending).execute_at == CANCEL


def _is_replaced(earlier: PendingActivation, by: PendingActivation) -> bool:
    counter = _command(by).originator_counter
    return earlier.device == by.device and _command(earlier).originator_counter < counter


def _accepted(pending: PendingActivation) -> str:
    return "accepted: nothing is pending now" if _is_cancel(pending) else "accepted, to be executed later"


def _require_activation(octets: bytes, device: Eui64) -> None:
    message = Envelope.parse(octets)
    if message.recipient != device:
        raise TheirError(f"the message is for {message.recipient}, not for {device}")
    said = payload_of(message)
    if not isinstance(said, ActivateFirmwareCommand):
        raise TheirError(f"message {message.code:#06x} activates no firmware")
    if said.originator_counter != message.counter:
        raise TheirError(
            f"the counters of message and payload differ: {message.counter}, {said.originator_counter}"
        )
