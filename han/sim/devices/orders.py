"""Which activation a device has still to carry out, and what an Activate Firmware command means for it. Pure.

A device has one order, that of the command it accepted last: any other accepted command replaces it, whatever
becomes of that one.

    command                     answer                        afterwards
    without a time              the outcome, once known       due at once
    with a time                 NULL, at once                 due then; at once, if that has passed
    with the time of `CANCEL`   NULL, at once                 nothing is due
    heard before                as before, if it was given    as it was
    a counter not greater       none                          as it was

Whether there is a time in the command decides the form of what follows, and which time it is does not:
whoever sent one that had passed on the way waits for NULL and the alert like everybody who sent one (GBCS
11.5: if a time is present, record it and answer "accepted"). To cancel where nothing is pending is a success
too: who cancels wants that nothing happens. The hash is looked at when the order is carried out, and not
before: the image may arrive in between.

The order survives a power cut, because all of it is in the device's memory. A moment that passed while the
device was off has come when it knows the time again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from han.gbcs.codes import AlertCode
from han.gbcs.envelope import Envelope
from han.gbcs.messages import firmware_activated, future_dated_alert, payload_of
from han.gbcs.payloads import (
    CANCEL,
    ActivateFirmwareAlert,
    ActivateFirmwareCommand,
    ActivateFirmwareResponse,
    ActivateImageResponseCode,
    ActivationOutcome,
)
from han.sim.devices.memory import Memory

AT_ONCE: Final = datetime.min.replace(tzinfo=UTC)
"""When an order without a time is due, whatever the clock says, and if it says nothing."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A new command stands. ``due`` is `AT_ONCE`, or `CANCEL` for never.

    ``replaces``: another one was pending, and is not any more.
    """

    due: datetime
    replaces: bool


@dataclass(frozen=True, slots=True)
class Repeated:
    """The command that stands came once more and changed nothing."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A command came that must not be obeyed, and changed nothing."""

    why: str


@dataclass(frozen=True, slots=True)
class Tell:
    """This whole message is for the Supplier."""

    message: bytes


@dataclass(frozen=True, slots=True)
class Execute:
    """Now activate the image with this hash, and say with `Orders.executed` how that went."""

    manufacturer_image_hash: bytes


Item = Accepted | Repeated | Refused | Tell | Execute


class Orders:
    """The order of one device.

    Args:
        memory: where it is kept.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._items: list[Item] = []

    def receive(self, command: Envelope, now: datetime) -> None:
        """Take a CS06 command whose protection holds; ``now`` dates the answer."""
        memory, said = self._memory, _said(command)
        octets = command.to_bytes()
        if octets == memory.command:
            self._items.append(Repeated())
            if memory.answer is not None and memory.answer not in memory.unsent:
                self._items.append(Tell(memory.answer))
        elif memory.command is not None and command.counter <= Envelope.parse(memory.command).counter:
            self._items.append(
                Refused(f"its counter {command.counter} is not greater than that of an earlier command")
            )
        elif said.originator_counter != command.counter:
            self._items.append(Refused("the counters of message and payload differ"))
        else:
            self._items.append(Accepted(said.execute_at or AT_ONCE, replaces=memory.is_pending))
            memory.command, memory.answer = octets, None
            memory.is_pending = said.execute_at != CANCEL
            if said.execute_at is not None:
                self._answer(command, ActivateFirmwareResponse(), now)

    def timer(self) -> datetime | None:
        """When the order is due, by the device's own clock; None if there is none."""
        return _said(self._command()).execute_at or AT_ONCE if self._memory.is_pending else None

    def tick(self, now: datetime | None) -> None:
        """The device's own clock says this; None while it is not set."""
        due = self.timer()
        if due is not None and (due == AT_ONCE or (now is not None and now >= due)):
            self._items.append(Execute(_said(self._command()).manufacturer_image_hash))

    def executed(self, outcome: ActivationOutcome, now: datetime) -> None:
        """The order was carried out, with this outcome: tell it in the form that the command asked for."""
        command, memory = self._command(), self._memory
        memory.is_pending = False
        if _said(command).execute_at is None:
            self._answer(command, ActivateFirmwareResponse(outcome), now)
            return
        went_well = outcome.response is ActivateImageResponseCode.SUCCESS
        code = AlertCode.FUTURE_DATED_DONE if went_well else AlertCode.FUTURE_DATED_FAILED
        memory.originator_counter += 1
        alert = ActivateFirmwareAlert(code, now, command.counter, outcome)
        device = command.recipient
        self._items.append(Tell(future_dated_alert(device, memory.originator_counter, alert).to_bytes()))

    def drain(self) -> list[Item]:
        """What came of it since the last call, in order."""
        items, self._items = self._items, []
        return items

    def _answer(self, command: Envelope, response: ActivateFirmwareResponse, now: datetime) -> None:
        self._memory.answer = firmware_activated(command, response, now).to_bytes()
        self._items.append(Tell(self._memory.answer))

    def _command(self) -> Envelope:
        assert self._memory.command is not None, "an order comes with a command"
        return Envelope.parse(self._memory.command)


def _said(command: Envelope) -> ActivateFirmwareCommand:
    said = payload_of(command)
    assert isinstance(said, ActivateFirmwareCommand), "only such a command is an order"
    return said
