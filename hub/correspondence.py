"""GBCS messages that travel between remote parties and devices through the tunnels.

This file brings octets to a device and hands what a device sends to whoever listens for such a message. What
the messages are about stands beside it: `hub.activation`, `hub.device_alerts`. The hub has no key of the
remote parties: it looks at who says what to whom, and leaves signatures and MACs to those whom they are for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from han.errors import HanError, TheirError
from han.facts import Facts
from han.gbcs.envelope import Envelope
from han.gbcs.messages import Payload, payload_of
from han.zcl import TUNNELLING_CLUSTER, TransferData, ZclFrame, decode_tunnel, default_response, encode_tunnel
from hub.line import Line
from hub.tunnels import Arrived, Complained, Delivered, Send, Tunnels, TunnelSettings
from ota.commands import DefaultResponse
from ota.eui64 import Eui64


@dataclass(frozen=True, slots=True)
class Letter:
    """A message from a device: who sent it, what it says, and its octets as they came."""

    device: Eui64
    message: Envelope
    said: Payload
    octets: bytes


Listener = Callable[[Letter], None]
"""Takes a letter; raises TheirError if it is not to be believed, and has then changed nothing."""


class Correspondence:
    """Sends messages to devices, however long that takes, and opens those that come.

    Args:
        settings: the tunnels'.
        line: into the house.
        facts: where "tunnel.refused" and "gbcs.refused" are said.
    """

    def __init__(self, settings: TunnelSettings, line: Line, facts: Facts) -> None:
        self._tunnels = Tunnels(settings)
        self._line = line
        self._facts = facts
        self._listeners: dict[type[Payload], Listener] = {}
        self._when_delivered: dict[tuple[Eui64, bytes], Callable[[], None]] = {}
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None

    def listen(self, kind: type[Payload], listener: Listener) -> None:
        """From now on messages that say this go there."""
        self._listeners[kind] = listener

    def deliver(self, device: Eui64, message: bytes, delivered: Callable[[], None] | None = None) -> None:
        """Bring a message to a device; ``delivered`` is called when its radio has acknowledged it."""
        if delivered is not None:
            self._when_delivered[device, message] = delivered
        self._tunnels.deliver(device, message, self._loop.time())
        self._settle()

    def withdraw(self, device: Eui64, message: bytes) -> None:
        """The message need not be delivered any more."""
        self._when_delivered.pop((device, message), None)
        self._tunnels.withdraw(device, message)

    def forget(self, device: Eui64) -> None:
        """A device was struck off: its tunnel is gone, and nothing waits for it any more."""
        for key in [each for each in self._when_delivered if each[0] == device]:
            del self._when_delivered[key]
        self._tunnels.forget(device)

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
                    case Complained(peer=peer, why=why):
                        self._facts.say("hub", "tunnel.refused", device=str(peer), why=why)
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
        then = self._when_delivered.pop((device, message), None)
        if then is not None:
            then()

    def _arrived(self, device: Eui64, octets: bytes) -> None:
        try:
            letter = _opened(device, octets)
            listener = self._listeners.get(type(letter.said))
            if listener is None:
                raise _unasked(letter.message)
            listener(letter)
        except TheirError as error:
            self._facts.say("hub", "gbcs.refused", device=str(device), why=str(error))


def _opened(device: Eui64, octets: bytes) -> Letter:
    message = Envelope.parse(octets)
    said = payload_of(message)
    if message.originator != device:
        raise TheirError(f"it says that it comes from {message.originator}")
    if said is None:
        raise _unasked(message)
    return Letter(device, message, said, octets)


def _unasked(message: Envelope) -> TheirError:
    return TheirError(f"nobody asked for a message {message.code:#06x}")
